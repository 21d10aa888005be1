"""The document that is packaged with this module, for the address it is served at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["DOCUMENT", "document_at"]

DOCUMENT = Path(__file__).with_name("openapi.json")
"""Written by `make openapi`, which a test checks."""


def document_at(address: str) -> dict[str, Any]:
    """The document with this base address as its server."""
    document: dict[str, Any] = json.loads(DOCUMENT.read_text("utf-8"))
    document["servers"] = [{"url": address}]
    return document
