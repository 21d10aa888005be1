"""Writes the schemas of events, and what is made of them: `make schemas`."""

import json
from pathlib import Path

from local.programs import ROOT
from vidu_relay.adapters.event_bus import SOURCE
from vidu_relay.description.asyncapi import describe_bus, registered
from vidu_relay.description.document import written
from vidu_relay.description.events import RECEIVED, published
from vidu_relay.description.models import written_models

__all__ = ["FOLDER", "files"]

FOLDER = ROOT / "docs" / "schemas"
TEMPLATE = ROOT / "template.yaml"
BEGIN, END = "  # Written by `make schemas` from here …\n", "  # … to here.\n"


def files() -> dict[Path, str]:
    """Every file as it should be."""
    before, rest = TEMPLATE.read_text("utf-8").split(BEGIN)
    after = rest.split(END)[1]
    return {
        **{FOLDER / f"{name}.json": written(schema) for name, schema in published().items()},
        FOLDER / "events.py": written_models(),
        ROOT / "docs" / "asyncapi.json": written(describe_bus()),
        TEMPLATE: before + BEGIN + "".join(_resources()) + END + after,
    }


def _resources() -> list[str]:
    """A resource of the template for each schema, its content in one line."""
    made = []
    for name, document in registered().items():
        content = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        made.append(
            f"  {name}Schema:\n"
            "    Type: AWS::EventSchemas::Schema\n"
            "    Properties:\n"
            "      Tags: [{Key: Project, Value: vidu-relay}]\n"
            "      RegistryName: !GetAtt EventSchemas.RegistryName\n"
            f"      SchemaName: {name if name in RECEIVED else f'{SOURCE}@{name}'}\n"
            "      Type: OpenApi3\n"
            f"      Content: '{content.replace(chr(39), chr(39) * 2)}'\n\n"
        )
    return made


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, "utf-8")
