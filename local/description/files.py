"""Every file that is generated: `make schemas` writes them."""

from pathlib import Path

from local.description.asyncapi import describe_bus
from local.description.events import describe_events
from local.description.json_schema import written
from local.description.models import written_models
from local.description.openapi import describe
from local.programs import ROOT
from vidu_relay.domain.catalogue import PROVIDERS, models
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
    """The table of the models, with the evidence at each provider."""
    rows = [["model", "kind", *PROVIDERS], ["---"] * (2 + len(PROVIDERS))]
    for model in models().values():
        levels = {provider: offer.evidence.removesuffix(" of page") for provider, offer in model.offers.items()}
        rows.append([f"`{model.id}`", model.kind, *(levels.get(provider, "") for provider in PROVIDERS)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, "utf-8")
