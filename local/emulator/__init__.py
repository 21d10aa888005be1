"""AWS on this machine: MiniStack, with patches where it differs from AWS in what this stack uses.

Runs in an environment of its own (``requirements/emulator.txt``): ``python -m local.emulator``. Each module in
`local.emulator.patches` stands in for one thing that MiniStack leaves out or does otherwise than AWS.
"""
