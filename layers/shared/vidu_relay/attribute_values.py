"""DynamoDB's attribute values, as far as a task's item has them: text, numbers, binary, booleans, null, lists, maps.

They read and write what `boto3.dynamodb.types` does, whose import brings all of boto3 with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

__all__ = ["from_attribute", "to_attribute"]


def to_attribute(value: Any) -> dict[str, Any]:
    """A Python value as DynamoDB takes it. Raises `TypeError` for anything else, floats and sets among them."""
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case int() | Decimal():
            return {"N": str(value)}
        case bytes() | bytearray():
            return {"B": bytes(value)}
        case Mapping():
            return {"M": {name: to_attribute(one) for name, one in value.items()}}
        case list() | tuple():
            return {"L": [to_attribute(one) for one in value]}
    raise TypeError(f"a task's item has no attribute of type {type(value).__name__}")


def from_attribute(attribute: Mapping[str, Any]) -> Any:
    """The Python value of an attribute value; numbers as `Decimal`. Raises `TypeError` for a type no task has."""
    ((kind, content),) = attribute.items()
    match kind:
        case "S" | "BOOL":
            return content
        case "N":
            return Decimal(content)
        case "B":
            return bytes(content)
        case "NULL":
            return None
        case "L":
            return [from_attribute(one) for one in content]
        case "M":
            return {name: from_attribute(one) for name, one in content.items()}
    raise TypeError(f"a task's item has no attribute of type {kind}")
