"""`python -m tabario.cli`, the same as `tabario`."""

from tabario.cli.main import main

main()
