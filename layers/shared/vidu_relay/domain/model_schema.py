"""A catalogue entry as data that a form can be drawn from: a JSON Schema of the request, and what is known of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from vidu_relay.domain.catalogue import (
    GIVEN,
    MAX_IMAGES_PER_SUBJECT,
    MAX_SUBJECT_ID_CHARACTERS,
    MAX_URL_BYTES,
    MAX_VOICE_ID_CHARACTERS,
    Choice,
    Either,
    Offering,
    Parameter,
    When,
)
from vidu_relay.domain.client_fields import client_field_schemas

if TYPE_CHECKING:
    from vidu_relay.domain import model_documents

__all__ = ["SUBJECT", "describe_model", "describe_models", "parameter_schema", "request_schema"]

_JSON_TYPE = {"boolean": "boolean", "integer": "integer", "images": "array", "subjects": "array"}
_IMAGE = {"type": "string"}
SUBJECT: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "minLength": 1, "maxLength": MAX_SUBJECT_ID_CHARACTERS},
        "images": {"type": "array", "items": _IMAGE, "minItems": 1, "maxItems": MAX_IMAGES_PER_SUBJECT},
        "voice_id": {"type": "string", "maxLength": MAX_VOICE_ID_CHARACTERS},
    },
    "required": ["id", "images"],
}
"""A subject that the prompt can mention as `@id`."""


PriceOf = Callable[[Choice], dict[str, Any] | None]
"""What is known of the price of a model (`domain.price_list.describe_price`)."""


def describe_models(offering: Offering, price: PriceOf = lambda _: None) -> list[model_documents.OfferedModel]:
    """Every model that the deployment offers."""
    return [found for model_id in offering.model_ids() if (found := describe_model(model_id, offering, price))]


def describe_model(
    model_id: str, offering: Offering, price: PriceOf = lambda _: None
) -> model_documents.OfferedModel | None:
    """One model as `GET /v1/models` shows it; None where the deployment does not offer it."""
    choice = offering.find(model_id)
    if choice is None:
        return None
    offer = choice.offer
    shown = {"images", "subjects"} & offer.parameters.keys()
    pair = offer.images.pair
    return {
        "id": choice.model.id,
        "kind": choice.model.kind,
        "provider": choice.provider,
        "listed": choice.provider == choice.limits_of,
        "audio": offer.audio,
        "off_peak": offer.off_peak and offering.off_peak,
        "cancel": offer.cancel,
        "images": {
            "min_pixels": offer.images.least_pixels,
            "max_ratio": offer.images.ratio,
            "pair": list(pair) if pair else None,
        }
        if shown
        else None,
        "price": price(choice),
        "evidence": {
            "level": offer.evidence,
            "source": offer.source,
            "date": offer.read_on,
            "unseen": list(offer.unseen),
        },
        "note": choice.model.note,
        "request": request_schema(choice, off_peak=offering.off_peak),
    }


def request_schema(choice: Choice, *, off_peak: bool = True) -> dict[str, Any]:
    """The JSON Schema of a request for this model, whole in itself; `off_peak`: whether the deployment has that mode.

    Rules between parameters are in it as `allOf` and `description`.
    """
    offer = choice.offer
    properties = {name: parameter_schema(spec) for name, spec in offer.parameters.items()}
    if offer.off_peak and not off_peak:
        properties["off_peak"]["enum"] = [False]
    schema: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "model": {"const": choice.model.id},
            **properties,
            "callback_url": parameter_schema(Parameter(type="url")),
            **client_field_schemas(),
        },
        "required": ["model", *(name for name, spec in offer.parameters.items() if spec.required)],
    }
    if "subjects" in offer.parameters:
        schema["$defs"] = {"Subject": SUBJECT}
    rules = [_rule(rule, offer.parameters) for rule in offer.rules]
    return {**schema, "allOf": rules} if rules else schema


def parameter_schema(spec: Parameter) -> dict[str, Any]:
    """The JSON Schema of one parameter's values; of subjects it refers to `#/$defs/Subject`."""
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
            found |= {"format": "uri", "maxLength": MAX_URL_BYTES}
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
    if allowed == (GIVEN,):
        return {"required": [name]}
    has = {"properties": {name: {"enum": list(allowed)}}}
    default = parameters[name].default if name in parameters else None
    return has if default is None or default in allowed else {**has, "required": [name]}
