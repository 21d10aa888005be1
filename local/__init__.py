"""The laptop stack.

AWS is `local.emulator`, the provider `local.simulator`; `local.stack` starts both and deploys the template into them.
"""
