"""The embedded stack: every server that `tabario up` starts."""
