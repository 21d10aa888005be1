"""Writes the OpenAPI document of the routes in the template: `make openapi`."""

import re

from local.programs import ROOT
from vidu_relay.description.document import describe, written
from vidu_relay.description.served import DOCUMENT

__all__ = ["PAGES", "current"]

PAGES = (ROOT / "docs" / "openapi.json", DOCUMENT)
"""For readers of the repository, and for the function that serves it."""


def current() -> str:
    """The document as both files should hold it."""
    template = (ROOT / "template.yaml").read_text("utf-8")
    return written(describe(re.findall(r"\bRouteKey: '?([A-Z]+ [^', ]+)", template)))


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(current(), "utf-8")
