"""Where the files stand that the tool reads beside its own code: in the installed wheel, or in the checkout."""

from pathlib import Path

__all__ = ["ROOT"]

PACKAGED = Path(__file__).parent / "deployed"
ROOT = PACKAGED if PACKAGED.exists() else Path(__file__).parents[1]
