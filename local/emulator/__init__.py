"""AWS on this machine: MiniStack, with patches where it differs from AWS in what this stack uses.

Runs in an environment of its own (``requirements/emulator.txt``): ``python -m local.emulator``.
"""
