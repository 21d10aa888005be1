"""Every file that is generated: `make schemas` writes them."""

from pathlib import Path
from textwrap import fill

from local.description.asyncapi import describe_bus
from local.description.events import describe_events
from local.description.json_schema import written
from local.description.models import written_models
from local.description.openapi import describe
from local.programs import ROOT
from vidu_relay.domain.catalogue import models
from vidu_relay.openapi_page import OPENAPI

__all__ = ["files"]

REFERENCE = ROOT / "docs" / "reference.md"


def files() -> dict[Path, str]:
    """The text of each file, by its path."""
    documents = {
        OPENAPI: describe(),
        ROOT / "docs" / "asyncapi.json": describe_bus(),
        ROOT / "docs" / "schemas" / "events.json": describe_events(),
    }
    head, begin, rest = REFERENCE.read_text("utf-8").partition("<!-- models: written by `make schemas` -->\n")
    return {
        **{path: written(document) + "\n" for path, document in documents.items()},
        ROOT / "docs" / "schemas" / "events.py": written_models(),
        REFERENCE: head + begin + _models() + rest[rest.index("<!-- end of models -->") :],
    }


def _models() -> str:
    """The list of the models: what is known at each provider, by kind."""
    kinds: dict[str, list[str]] = {}
    for model in models().values():
        known = [f"{provider} {offer.evidence.removesuffix(' of page')}" for provider, offer in model.offers.items()]
        kinds.setdefault(model.kind, []).append(f"`{model.id}` ({', '.join(known)})")
    lines = (f"- {kind}: {', '.join(found)}" for kind, found in kinds.items())
    return "".join(fill(line, 140, subsequent_indent="  ", break_on_hyphens=False) + "\n" for line in lines)


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, "utf-8")
