"""Every file that is generated: `make schemas` writes them."""

from pathlib import Path

from local.description.asyncapi import describe_bus
from local.description.events import describe_events
from local.description.json_schema import written
from local.description.models import written_models
from local.description.openapi import describe
from local.programs import ROOT
from vidu_relay.openapi_page import OPENAPI

__all__ = ["files"]


def files() -> dict[Path, str]:
    """The text of each file, by its path."""
    documents = {
        OPENAPI: describe(),
        ROOT / "docs" / "asyncapi.json": describe_bus(),
        ROOT / "docs" / "schemas" / "events.json": describe_events(),
    }
    return {
        **{path: written(document) + "\n" for path, document in documents.items()},
        ROOT / "docs" / "schemas" / "events.py": written_models(),
    }


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, "utf-8")
