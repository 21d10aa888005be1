"""What goes over the API, as JSON Schema: the request from its model, the answers written out by hand.

Tests check the answers' schemas against real answers, and that each parameter is explained.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from vidu_relay.domain.image_format import FILE_ENDINGS, FORMATS, MAX_IMAGE_BYTES, MIN_IMAGE_PIXELS, RATIO_BOUNDS
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

__all__ = ["COMPONENTS", "TASK_ID_SCHEMA", "Schema", "nullable", "ref", "schemas"]

Schema = dict[str, Any]

COMPONENTS = "#/components/schemas/"
TASK_ID_SCHEMA: Schema = {
    "type": "string",
    "pattern": "^[a-z2-7]{26}$",
    "examples": ["myswlg5gzefra7xdps2scd42jm"],
}

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

TASK_EXAMPLE = {
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


def ref(name: str) -> Schema:
    """A reference to one of `schemas()`."""
    return {"$ref": COMPONENTS + name}


def nullable(schema: Schema) -> Schema:
    """The schema, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def schemas() -> dict[str, Schema]:
    """Every schema, by name."""
    request, subject = _request()
    shown = _shown(request)
    return {
        "VideoRequest": {**_taken(request), "examples": [REQUEST_EXAMPLE]},
        "Subject": subject,
        "Task": _task(shown),
        "TaskPage": _object(
            "A page of tasks.",
            tasks={
                "type": "array",
                "items": ref("Task"),
                "description": "Newest first; large parts left out.",
            },
            next_cursor={
                **nullable({"type": "string"}),
                "description": "Where the next page begins; null after the last. A page may be short, even empty, "
                "and still have a next one.",
            },
        ),
        "Fault": _object(
            "One thing wrong with a request.",
            optional=("code",),
            loc={"type": "string", "description": "Where: names and numbers with dots; empty for the whole."},
            msg={"type": "string", "description": "What to change."},
            code={"type": "string", "description": "The provider's code, where one fits."},
        ),
        "Problem": _object(
            "Why a request is not served (RFC 9457).",
            optional=("errors",),
            type={"const": "about:blank"},
            title={"type": "string", "description": "The status' own phrase."},
            status={"type": "integer", "description": "The HTTP status."},
            detail={"type": "string", "description": "What to change, for people."},
            code={"type": "string", "description": "The reason, for programs: stable."},
            errors={"type": "array", "items": ref("Fault"), "description": "Every fault, on validation."},
        ),
        "GatewayMessage": {
            "description": "What API Gateway answers itself, before or in place of the relay.",
            "type": "object",
            "required": ["message"],
            "properties": {"message": nullable({"type": "string"})},
        },
        "CallbackTaken": _object("The callback was understood.", status={"const": "ok"}),
        "UploadRequest": {
            **_object(
                "What is to be uploaded.",
                content_type={"enum": [*FILE_ENDINGS], "description": "Of the image."},
            ),
            "examples": [{"content_type": "image/png"}],
        },
        "Upload": _object(
            "A form that takes one image.",
            url={"type": "string", "format": "uri", "description": "Where to POST the form (multipart/form-data)."},
            fields={
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "The form's fields; the image goes last, as `file`.",
            },
            uri={"type": "string", "pattern": "^s3://", "description": "What to write into `images` afterwards."},
            expires_at={"type": "string", "format": "date-time", "description": "Until when the form is taken."},
        ),
    }


def _request() -> tuple[Schema, Schema]:
    """The request and its subject as the model has them, each parameter explained."""
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


def _shown(request: Schema) -> Schema:
    """The request as a task shows it: what was given, images by reference."""
    properties = deepcopy(request["properties"])
    return {
        "type": "object",
        "description": "The parameters as they were given. Embedded images are shown by their hash (RFC 6920: "
        "`ni:///sha-256;…`), never as bytes.",
        "properties": properties,
        "additionalProperties": False,
    }


def _task(shown: Schema) -> Schema:
    text, moment = {"type": "string"}, {"type": "string", "format": "date-time"}
    status: Schema = {"enum": [status.value for status in Status]}
    result = _object(
        "",
        optional=("url",),
        type={"const": "video"},
        url={**text, "format": "uri", "description": "Our copy, for at most 15 minutes. Read the task again for more."},
    )
    return {
        **_object(
            "A task. A client of the provider can read it: the fields of the provider's answers are among these.",
            task_id=TASK_ID_SCHEMA,
            status={
                **status,
                "description": "Where it stands. `expired` says that the wait is over and that a video may still come: "
                "`generated` and `completed` can follow.",
            },
            version={
                "type": "integer",
                "format": "int64",
                "minimum": 1,
                "description": "Begins at the second of creation and rises by one with each published change. The "
                "higher of two versions of a task is the later one, also where a later task has the same id.",
            },
            model=nullable(text),
            created_at=moment,
            updated_at=moment,
            request=shown,
            error={
                **nullable(_object("", code=text, message=text)),
                "description": "Why it failed, expired or was canceled by us. The provider's codes as they come.",
            },
            output={
                "type": "array",
                "description": "What the provider made, once it has.",
                "items": _object(
                    "",
                    task_id={**nullable(text), "description": "The provider's id of it."},
                    task_status={**text, "description": "`done`, or another word of the provider."},
                    results={"type": "array", "items": result},
                ),
            },
            usage=nullable(
                _object(
                    "",
                    cost={
                        **nullable(text),
                        "description": "US dollars, an exact decimal as the provider states it.",
                    },
                    discount=nullable({"type": "number"}),
                )
            ),
            metadata=_object(
                "",
                remote_task_id={**nullable(text), "description": "The provider's id."},
                model=nullable(text),
            ),
            videos={
                "type": "array",
                "description": "The copies in your bucket, checked. Where a task has several videos, those that were "
                "copied are here while others are missing; `completed` says that all are here.",
                "items": _object(
                    "",
                    bucket=text,
                    key=text,
                    size={"type": "integer", "minimum": 1, "description": "Bytes."},
                    sha256={**text, "pattern": "^[0-9a-f]{64}$"},
                    content_type=text,
                    duration_seconds=nullable({"type": "number"}),
                    width=nullable({"type": "integer"}),
                    height=nullable({"type": "integer"}),
                    notes={
                        "type": "array",
                        "items": text,
                        "description": "Codes for what is odd about the file, such as `track_incomplete`.",
                    },
                ),
            },
            delivery={
                **nullable(
                    _object(
                        "",
                        attempts={"type": "integer", "minimum": 1, "description": "Copies that failed."},
                        last_error={
                            **nullable(_object("", code=text, message=text)),
                            "description": "Why the latest copy failed.",
                        },
                        next_try_at={
                            **nullable(moment),
                            "description": "When it is tried again; null once that is over.",
                        },
                    )
                ),
                "description": "How the copy of its videos goes. Null where no copy failed.",
            },
            history={
                "type": "array",
                "description": "The states it went through, and what caused each change. `generated` by "
                "`delivery_delayed` is a notice: the task stays in its state.",
                "items": _object("", at=moment, status=status, source=text),
            },
        ),
        "examples": [TASK_EXAMPLE],
    }


def _object(description: str, *, optional: tuple[str, ...] = (), **properties: Schema) -> Schema:
    """A closed object whose properties are there always, but for the optional ones."""
    return {
        "type": "object",
        **({"description": description} if description else {}),
        "required": [name for name in properties if name not in optional],
        "properties": properties,
        "additionalProperties": False,
    }
