"""The published schemas of events, for tests that hold events to them."""

from functools import cache
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from cli.schemas import whole_schema

__all__ = ["closed", "faults_of"]


def closed(part: Any) -> Any:
    """The schema with objects that have nothing but what is described: what we promise to ourselves, not to others."""
    if isinstance(part, list):
        return [closed(value) for value in part]
    if not isinstance(part, dict):
        return part
    made = {key: closed(value) for key, value in part.items()}
    return {**made, "additionalProperties": False} if isinstance(made.get("properties"), dict) else made


def faults_of(detail_type: str, detail: Any) -> list[str]:
    """Where a detail differs from the published schema of its type; a field that is not described counts."""
    return [f"{error.json_path}: {error.message}" for error in _validator(detail_type).iter_errors(detail)]


@cache
def _validator(detail_type: str) -> Draft202012Validator:
    schema = closed(whole_schema(detail_type))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=FormatChecker())
