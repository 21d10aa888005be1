"""What goes over the API, as JSON Schema: answers from their types, the request from its model.

Tests compare the schemas with real answers.
"""

from __future__ import annotations

from local.description.json_schema import COMPONENTS, Schema, nullable, object_of, ref, schema_of
from vidu_relay.domain import documents
from vidu_relay.domain.image_format import FORMATS, MAX_IMAGE_BYTES, MIN_IMAGE_PIXELS, RATIO_BOUNDS
from vidu_relay.domain.image_reference import DATA_URI_TYPES
from vidu_relay.domain.request_model import (
    MAX_IMAGES,
    MAX_IMAGES_PER_SUBJECT,
    MAX_SUBJECTS,
    MAX_URL_BYTES,
    MODEL,
    VideoRequest,
)
from vidu_relay.domain.states import Status

__all__ = ["EXAMPLES", "PARAMETERS", "TASK_ID_SCHEMA", "schemas"]

TASK_ID_SCHEMA: Schema = schema_of(documents.TaskId)

PARAMETERS = {
    "model": "The model.",
    "subjects": f"What the prompt speaks of: 1 to {MAX_SUBJECTS} subjects with 1 to {MAX_IMAGES} images in total. "
    "Either these or `images`.",
    "images": "1 to 7 reference images without subjects, each as in `Subject.images`. Either these or `subjects`.",
    "prompt": "What the video shows, in 1 to 2,000 characters (of any script: an emoji counts as one). With "
    "`subjects`, each `@id` in it must be the id of one.",
    "audio": "Whether the video has sound. True needs `subjects` and excludes `off_peak`.",
    "duration": "Seconds.",
    "seed": "Seed of the random numbers; 0, or none, for a random one.",
    "aspect_ratio": "Width to height: 16:9, 9:16, 1:1, or any other two whole numbers of at most five digits.",
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
"""What each parameter means. Limits stand in the schema."""

SUBJECT = {
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
    "WebhookTestRequest": {"callback_url": "https://example.com/hook"},
}

ECHOED = frozenset({"type", "description", "properties", "items", "anyOf", "additionalProperties", "required"})
"""Of the request's schema, what a task promises: names and types. Limits may grow without a notice to consumers, and
the request of a task has no defaults, only what was given."""


def schemas() -> dict[str, Schema]:
    """Every schema by name, closed but for API Gateway's own."""
    request, subject = _request()
    every = {
        "VideoRequest": _taken(request),
        "Subject": subject,
        **{name: object_of(getattr(documents, name)) for name in documents.__all__},
        "GatewayMessage": {
            "description": "What API Gateway answers itself, before or in place of the relay.",
            "type": "object",
            "required": ["message"],
            "properties": {"message": nullable({"type": "string"})},
        },
        **_shown(request, subject),
    }
    for name, example in EXAMPLES.items():
        every[name]["examples"] = [example]
    return every


def _request() -> tuple[Schema, Schema]:
    """The schemas of the request and of its subject as the model has them, each parameter explained."""
    request = VideoRequest.model_json_schema(ref_template=COMPONENTS + "{model}")
    subject = request.pop("$defs")["Subject"]
    request["description"] = (
        "The provider's parameters. Others are refused. An optional one that is null or an empty string was not given. "
        "A whole number may be written with a point or an exponent: 5.0 and 5e0 are 5."
    )
    subject["description"] = "What the prompt can mention as `@id`."
    for schema, meanings in ((request, PARAMETERS), (subject, SUBJECT)):
        del schema["title"]
        for name, property_ in schema["properties"].items():
            del property_["title"]
            property_["description"] = meanings[name]
            if property_.get("default", ...) is None:
                del property_["default"]  # null says the same as leaving it out
    # What the model checks in code.
    request["properties"]["images"]["anyOf"][0] |= {"minItems": 1, "maxItems": MAX_IMAGES}
    for name in ("wm_url", "callback_url"):
        request["properties"][name]["anyOf"][0] |= {"format": "uri", "maxLength": MAX_URL_BYTES}
    return request, subject


def _taken(request: Schema) -> Schema:
    """The request as a client may send it: each optional parameter may be null, which is the same as leaving it out."""
    properties = {
        name: schema
        if name in request["required"] or "anyOf" in schema
        else {
            **nullable({key: value for key, value in schema.items() if key not in ("default", "description")}),
            "default": schema["default"],
            "description": schema["description"],
        }
        for name, schema in request["properties"].items()
    }
    return {**request, "properties": properties}


def _shown(request: Schema, subject: Schema) -> dict[str, Schema]:
    """The request and its subject as a task shows them: what was given, images by reference."""
    shown = {"TaskRequest": _echo(request), "TaskSubject": _echo(subject)}
    del shown["TaskRequest"]["required"], shown["TaskRequest"]["description"]
    shown["TaskRequest"]["properties"]["subjects"]["anyOf"][0]["items"] = ref("TaskSubject")
    return shown


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
        elif key in ECHOED:
            kept[key] = value
    return kept
