"""The video provider on this machine: its API, its callbacks, its videos, and every way it can go wrong."""

from local.simulator.simulator import BadRequestError, Simulator, SimulatorFaultError

__all__ = ["BadRequestError", "Simulator", "SimulatorFaultError"]
