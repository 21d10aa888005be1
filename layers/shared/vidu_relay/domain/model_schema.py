"""A catalogue entry as data that a form can be drawn from: a JSON Schema of the request, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vidu_relay.domain.catalogue import Choice, Either, Offering, Parameter, When
from vidu_relay.domain.client_fields import client_field_schemas

__all__ = ["describe_model", "describe_models", "request_schema"]

_JSON_TYPE = {"boolean": "boolean", "integer": "integer", "images": "array", "subjects": "array"}
_IMAGE = {"type": "string", "format": "uri-reference"}


def describe_models(offering: Offering) -> list[dict[str, Any]]:
    """Every model that the deployment offers."""
    return [describe_model(choice) for model_id in offering.model_ids() if (choice := offering.find(model_id))]


def describe_model(choice: Choice) -> dict[str, Any]:
    """One model as `GET /v1/models` shows it."""
    offer = choice.offer
    return {
        "id": choice.model.id,
        "kind": choice.model.kind,
        "provider": choice.provider,
        "audio": offer.audio,
        "off_peak": offer.off_peak,
        "evidence": {"level": offer.evidence, "source": offer.source, "date": offer.read_on},
        "note": choice.model.note,
        "request": request_schema(choice),
    }


def request_schema(choice: Choice) -> dict[str, Any]:
    """The JSON Schema of a request for this model. Rules between parameters are in it as `allOf` and `description`."""
    offer = choice.offer
    required = ["model", *(name for name, spec in offer.parameters.items() if spec.required)]
    schema: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "model": {"const": choice.model.id},
            **{name: _property(spec) for name, spec in offer.parameters.items()},
            "callback_url": {"type": "string", "format": "uri"},
            **client_field_schemas(),
        },
        "required": required,
    }
    rules = [_rule(rule, offer.parameters) for rule in offer.rules]
    return {**schema, "allOf": rules} if rules else schema


def _property(spec: Parameter) -> dict[str, Any]:
    found: dict[str, Any] = {"type": _JSON_TYPE.get(spec.type, "string")}
    least, most = _bounds(spec)
    if spec.choices:
        found["enum"] = list(spec.choices)
    else:
        found |= {name: value for name, value in ((least, spec.least), (most, spec.most)) if value is not None}
    match spec.type:
        case "images":
            found["items"] = _IMAGE
        case "subjects":
            found["items"] = {"$ref": "#/$defs/Subject"}
        case "ratio":
            found["pattern"] = "^[1-9][0-9]{0,4}:[1-9][0-9]{0,4}$"
        case "url":
            found["format"] = "uri"
    more = {"default": spec.default, "description": spec.about or None}
    return found | {name: value for name, value in more.items() if value is not None}


def _bounds(spec: Parameter) -> tuple[str, str]:
    if spec.type == "integer":
        return "minimum", "maximum"
    return ("minItems", "maxItems") if spec.type in ("images", "subjects") else ("minLength", "maxLength")


def _rule(rule: When | Either, parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    if isinstance(rule, Either):
        return {"oneOf": [{"required": [rule.first]}, {"required": [rule.second]}]}
    return {
        "description": rule.text,
        "if": {"allOf": [_holds(name, (value,), parameters) for name, value in rule.when.items()]},
        "then": {"allOf": [_holds(name, allowed, parameters) for name, allowed in rule.then.items()]},
    }


def _holds(name: str, allowed: tuple[Any, ...], parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """The schema of a request in which a parameter has one of these values, be it by default."""
    from vidu_relay.domain.catalogue import GIVEN

    if allowed == (GIVEN,):
        return {"required": [name]}
    has = {"properties": {name: {"enum": list(allowed)}}}
    default = parameters[name].default if name in parameters else None
    return has if default is None or default in allowed else {**has, "required": [name]}
