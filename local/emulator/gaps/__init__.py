"""The gaps between MiniStack and AWS that this stack would fall into: one module each, by the order of their names."""

from importlib import import_module
from pkgutil import iter_modules

from local.emulator.settings import Settings

GAPS = tuple(import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__))


def close_all(settings: Settings) -> None:
    """Close every gap. Once, before MiniStack serves its first request."""
    for gap in GAPS:
        gap.close(settings)
