"""What goes over the API, as JSON Schema: answers from their types, requests from the catalogue.

Tests compare the schemas with real answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from itertools import count
from typing import is_typeddict

from local.description.json_schema import COMPONENTS, Schema, nullable, object_of, ref, schema_of
from vidu_relay.domain import batch_documents, documents, model_documents, money_documents, webhook_documents
from vidu_relay.domain.catalogue import DEFAULT_MODEL as MODEL
from vidu_relay.domain.catalogue import MAX_IMAGES, MAX_IMAGES_PER_SUBJECT, Model, Offer, Parameter, models
from vidu_relay.domain.client_fields import client_field_schemas
from vidu_relay.domain.image_format import FORMATS, MAX_IMAGE_BYTES, MIN_IMAGE_PIXELS, RATIO_BOUNDS
from vidu_relay.domain.image_reference import DATA_URI_TYPES
from vidu_relay.domain.model_schema import SUBJECT, parameter_schema
from vidu_relay.domain.states import Status

__all__ = ["EXAMPLES", "PARAMETERS", "TASK_ID_SCHEMA", "any_request", "schemas"]

TASK_ID_SCHEMA: Schema = schema_of(documents.TaskId)

PARAMETERS = {
    "model": "The model, which says what else the request has.",
    "subjects": f"What the prompt speaks of: subjects with 1 to {MAX_IMAGES} images in total. Where a model also takes "
    "`images`, either these or those.",
    "images": "Images, each as in `Subject.images`: the first frame, the first and the last, or references without "
    "subjects.",
    "prompt": "What the video shows (characters of any script: an emoji counts as one). With `subjects`, each `@id` in "
    "it must be the id of one.",
    "audio": "Whether the video has sound.",
    "audio_type": "Which sound.",
    "voice_id": "The voice. None, or an empty one, for the provider's recommendation.",
    "auto_subjects": "The provider's automatic subjects; its page does not say more.",
    "bgm": "Whether the provider adds background music.",
    "is_rec": "Whether the provider writes the prompt itself, for more.",
    "movement_amplitude": "How much moves.",
    "style": "The style of the pictures.",
    "duration": "Seconds.",
    "seed": "Seed of the random numbers; 0, or none, for a random one.",
    "aspect_ratio": "Width to height, as two whole numbers of at most five digits: 16:9.",
    "resolution": "Lines of the video.",
    "payload": "Carried to the provider and shown with the task, unchanged.",
    "off_peak": "Generated within 48 hours, for less. Refused unless the operator has switched it on.",
    "watermark": "Whether the video is marked.",
    "wm_position": "Where the watermark stands: 1 top left, 2 top right, 3 bottom right, 4 bottom left.",
    "wm_url": "An image to use as the watermark in place of the provider's own.",
    "meta_data": "A JSON object, written as a string, for the file's metadata. Empty for the provider's own.",
    "callback_url": "Your own webhook: the relay calls it on `processing` and at the end, signed by the Standard "
    "Webhooks specification. https, port 443, a public host, no user-info. The provider never gets it.",
}
"""What each parameter means. Limits stand in the schema of each model."""

SUBJECT_FIELDS = {
    "id": "The name that the prompt mentions as `@id`. Each once in a request.",
    "images": f"1 to {MAX_IMAGES_PER_SUBJECT} reference images, {FORMATS}, {MIN_IMAGE_PIXELS}×{MIN_IMAGE_PIXELS} "
    f"pixels or more, between {RATIO_BOUNDS}, up to {MAX_IMAGE_BYTES // 1024**2} MB: by http(s) URL, as "
    f"`data:image/{DATA_URI_TYPES[0]};base64,…` (or {', '.join(DATA_URI_TYPES[1:])}), or as `s3://bucket/key` of an "
    "upload, of an object under `requests/<tenant>/` of the inbox bucket, or of one in a bucket that is mapped to the "
    "tenant.",
    "voice_id": "The voice. None, or an empty one, for the provider's recommendation.",
}

REQUEST_EXAMPLE = {
    "model": MODEL,
    "subjects": [
        {"id": "1", "images": ["https://example.com/fox.png"]},
        {"id": "2", "images": ["https://example.com/robot.png"]},
    ],
    "prompt": "@1 and @2 eating hotpot together",
    "duration": 5,
    "resolution": "720p",
}

TASK_EXAMPLE: documents.Task = {
    "billing": {
        "state": "settled",
        "reserved_usd": "0.2345",
        "cost_usd": "0.2345",
        "evidence": {"source": "callback", "at": "2026-11-30T09:14:02.113Z"},
    },
    "task_id": TASK_ID_SCHEMA["examples"][0],
    "status": Status.COMPLETED.value,
    "version": 1795424404,
    "model": MODEL,
    "created_at": "2026-11-23T09:00:00.000Z",
    "updated_at": "2026-11-23T09:01:30.250Z",
    "request": REQUEST_EXAMPLE,
    "error": None,
    "output": [
        {
            "task_id": "8812760039",
            "task_status": "done",
            "results": [{"type": "video", "url": "https://bucket.s3.eu-central-1.amazonaws.com/videos/…"}],
        }
    ],
    "usage": {"cost": "0.2000", "discount": 1},
    "metadata": {"remote_task_id": "8812760039", "model": MODEL},
    "videos": [
        {
            "bucket": "vidu-relay-videos",
            "key": "videos/acme/2026/11/23/myswlg5gzefra7xdps2scd42jm/1.mp4",
            "size": 4718592,
            "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "content_type": "video/mp4",
            "duration_seconds": 5.04,
            "width": 1280,
            "height": 720,
            "notes": [],
        }
    ],
    "delivery": None,
    "history": [{"at": "2026-11-23T09:00:00.000Z", "status": Status.ACCEPTED.value, "source": "http"}],
}

EXAMPLES = {
    "VideoRequest": REQUEST_EXAMPLE,
    "Task": TASK_EXAMPLE,
    "UploadRequest": {"content_type": "image/png"},
    "BatchUploadRequest": {"sha256": TASK_EXAMPLE["videos"][0]["sha256"], "size": 4711},
    "WebhookTestRequest": {"callback_url": "https://example.com/hook"},
}

CALLBACK_URL = Parameter(type="url")
SENT_BY_EVENT = (
    "The parameters of every model, by name and type. What the request's own model takes, and within which limits, "
    "stands in the API's description and in `GET /v1/models`."
)
VIDEO_REQUEST = (
    "The parameters of one model; others are refused. An optional one that is null or an empty string was not given. "
    "A whole number may be written with a point or an exponent: 5.0 and 5e0 are 5. Where two providers have the model, "
    "the limits here are the wider ones: `GET /v1/models` has those of your deployment."
)


def schemas() -> dict[str, Schema]:
    """Every schema by name, closed but for API Gateway's own."""
    pages = (batch_documents, documents, model_documents, money_documents, webhook_documents)
    types = {name: kind for page in pages for name in page.__all__ if is_typeddict(kind := getattr(page, name))}
    every = {
        **_requests(),
        "Subject": _subject(),
        **{name: object_of(types[name]) for name in sorted(types)},
        "GatewayMessage": {
            "description": "What API Gateway answers itself, before or in place of the relay.",
            "type": "object",
            "required": ["message"],
            "properties": {"message": nullable({"type": "string"})},
        },
        "TaskRequest": {"type": "object", "properties": _shown(), "additionalProperties": False},
        "TaskSubject": _echo(_subject()),
    }
    for name, example in EXAMPLES.items():
        every[name]["examples"] = [example]
    return every


def any_request() -> Schema:
    """A request for any model: names and types alone, so that a new model changes nothing here."""
    shown = {
        name: schema if name == "model" else {**nullable(schema), "description": schema.pop("description")}
        for name, schema in {**_known(), **_client_fields()}.items()
    }
    return {"description": SENT_BY_EVENT, "type": "object", "required": ["model"], "properties": shown}


def _requests() -> dict[str, Schema]:
    """`VideoRequest`, the request of each model under the model's id, and the parameters, which models share."""
    shared: dict[str, Schema] = {}
    forms = {model.id: _form(model, shared) for model in models().values()}
    mapping = {model_id: COMPONENTS + model_id for model_id in forms}
    request = {
        "description": VIDEO_REQUEST,
        "oneOf": [ref(model_id) for model_id in forms],
        "discriminator": {"propertyName": "model", "mapping": mapping},
    }
    return {"VideoRequest": request, **forms, **shared}


def _form(model: Model, shared: dict[str, Schema]) -> Schema:
    offers = list(model.offers.values())
    found = _widest(offers)
    required = [name for name in found if all(name in o.parameters and o.parameters[name].required for o in offers)]
    rules = dict.fromkeys(rule.text for offer in offers for rule in offer.rules)
    said = [f"{model.kind}, at {' and '.join(model.offers)}", model.note.rstrip("."), *rules]
    return {
        "description": ". ".join(part for part in said if part) + ".",
        "type": "object",
        "required": ["model", *required],
        "properties": {
            "model": {"type": "string", "const": model.id},
            **{name: _share(name, _taken(name, spec, name in required), shared) for name, spec in found.items()},
            **{name: _share(name, nullable(schema), shared) for name, schema in client_field_schemas().items()},
        },
        "additionalProperties": False,
    }


def _share(name: str, schema: Schema, shared: dict[str, Schema]) -> Schema:
    """A reference to a parameter's schema: named after the parameter, with a number where models differ."""
    title = "".join(part.capitalize() for part in name.split("_"))
    names = (f"{title}{number if number > 1 else ''}" for number in count(1))
    return ref(next(key for key in names if shared.setdefault(key, schema) == schema))


def _taken(name: str, spec: Parameter, required: bool) -> Schema:
    """A parameter as a client may send it: null is the same as leaving an optional one out."""
    schema = _schema(spec)
    if spec.type == "url" and not required:
        schema["format"] = "uri-reference"  # "" is none
    default = {} if spec.default is None else {"default": schema.pop("default")}
    return {**(schema if required else nullable(schema)), **default, "description": PARAMETERS[name]}


def _schema(spec: Parameter) -> Schema:
    made: Schema = json.loads(json.dumps(parameter_schema(replace(spec, about=""))).replace("#/$defs/", COMPONENTS))
    return made


def _widest(offers: Iterable[Offer]) -> dict[str, Parameter]:
    """Every parameter that one of the offers has, with limits within which each of them takes it."""
    found: dict[str, Parameter] = {}
    for offer in offers:
        for name, spec in offer.parameters.items():
            found[name] = _wider(found[name], spec) if name in found else spec
    return {name: found[name] for name in PARAMETERS if name in found} | {"callback_url": CALLBACK_URL}


def _wider(one: Parameter, other: Parameter) -> Parameter:
    least = [limit for limit in (one.least, other.least) if limit is not None]
    most = [limit for limit in (one.most, other.most) if limit is not None]
    return replace(
        one,
        type=one.type if one.type == other.type else "text",
        default=one.default if one.default == other.default else None,
        choices=tuple(dict.fromkeys((*one.choices, *other.choices))) if one.choices and other.choices else (),
        least=min(least) if len(least) > 1 else None,
        most=max(most) if len(most) > 1 else None,
    )


def _known() -> dict[str, Schema]:
    """Every parameter by name and type. Limits may grow without a notice to consumers."""
    found = _widest(offer for model in models().values() for offer in model.offers.values())
    types = {"model": {"type": "string"}, **{name: _echo(_schema(spec)) for name, spec in found.items()}}
    return {name: {**schema, "description": PARAMETERS[name]} for name, schema in types.items()}


def _client_fields() -> dict[str, Schema]:
    return {
        name: {key: schema[key] for key in ("type", "description")} for name, schema in client_field_schemas().items()
    }


def _shown() -> dict[str, Schema]:
    """The parameters as a task shows them: what was given, images by reference."""
    known = _known()
    known["subjects"]["items"] = ref("TaskSubject")
    return known


def _subject() -> Schema:
    """A subject as a client may send it."""
    properties = {
        name: {**(schema if name in SUBJECT["required"] else nullable(schema)), "description": SUBJECT_FIELDS[name]}
        for name, schema in SUBJECT["properties"].items()
    }
    return {**SUBJECT, "description": "What the prompt can mention as `@id`.", "properties": properties}


def _echo(schema: Schema) -> Schema:
    """The schema without limits and defaults."""
    kept: Schema = {}
    for key, value in schema.items():
        if key == "properties":
            kept[key] = {name: _echo(inner) for name, inner in value.items()}
        elif key == "items":
            kept[key] = _echo(value)
        elif key == "anyOf":
            kept[key] = [_echo(choice) for choice in value]
        elif key in ("type", "description", "additionalProperties", "required", "$ref"):
            kept[key] = value
    return kept
