"""AWS on this machine: MiniStack, with the gaps closed that this stack would fall into.

Runs in an environment of its own (``requirements/emulator.txt``): ``python -m local.emulator``. Each module in
`local.emulator.gaps` stands in for one thing that MiniStack leaves out or does otherwise than AWS.
"""
