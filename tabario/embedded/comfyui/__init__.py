"""A stand-in for a ComfyUI server: the same protocol, painted storyboard cards instead of a GPU's pictures.

`validation` refuses bad prompts, `queue` orders them, `executor` runs one at a time, `evaluation` is what each node
does, `painter` paints. `faults` makes it misbehave on request, `journal` tells what it has run.
"""
