"""What MiniStack does otherwise than AWS, set right: one module each, applied in the order of their names."""

from importlib import import_module
from pkgutil import iter_modules

from local.emulator.settings import Settings

PATCHES = tuple(import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__))


def apply_all(settings: Settings) -> None:
    """Apply every patch. Once, before MiniStack serves its first request."""
    for patch in PATCHES:
        patch.apply(settings)
