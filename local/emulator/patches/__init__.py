"""Emulator patches: what AWS does and MiniStack does not or does otherwise, in one module a service.

The docstring of each patch says what AWS does, by which document, and what MiniStack does.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from local.emulator.settings import Settings


def replaces(owner: Any, name: str) -> Callable[[Callable[..., Any]], None]:
    """Decorator: the function is called in place of `name` of a module or table, which is its first argument."""
    table = owner if isinstance(owner, dict) else vars(owner)
    original = table[name]

    def put(function: Callable[..., Any]) -> None:
        table[name] = partial(function, original)

    return put


PATCHES = tuple(import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__))


def apply_all(settings: Settings) -> None:
    """Apply every patch. Once, before MiniStack serves its first request."""
    for patch in PATCHES:
        patch.apply(settings)
