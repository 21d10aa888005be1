"""Writes the schemas of events, and what is made of them: `make schemas`."""

from pathlib import Path

from local.programs import ROOT
from vidu_relay.description.asyncapi import describe_bus
from vidu_relay.description.document import written
from vidu_relay.description.events import published
from vidu_relay.description.models import written_models

__all__ = ["FOLDER", "files"]

FOLDER = ROOT / "docs" / "schemas"


def files() -> dict[Path, str]:
    """Every file as it should be."""
    return {
        **{FOLDER / f"{name}.json": written(schema) for name, schema in published().items()},
        FOLDER / "events.py": written_models(),
        ROOT / "docs" / "asyncapi.json": written(describe_bus()),
    }


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, "utf-8")
