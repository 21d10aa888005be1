"""The provider's rules for a request's parameters, by its own copy of each model's limits."""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from local.simulator.image_files import ImageFormatError, ImageInfo, read_image_info
from local.simulator.models import Model

MAX_BODY_BYTES = 20 * 1024 * 1024
MAX_IMAGE_BYTES = 50 * 1024 * 1024
MAX_IMAGE_RATIO = 4

Reason = Literal["FieldInvalid", "FieldLacking", "FieldUnwanted", "FieldItemCountOutOfRange", "PageSizeOutOfRange"]

_DATA_URI = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,", re.IGNORECASE)
_IMAGE_TYPES = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/webp": "webp"}
_RATIO = re.compile(r"[1-9]\d{0,4}:[1-9]\d{0,4}")


@dataclass(frozen=True)
class Fault:
    """One reason to refuse a request. `code` is the gateway's, where its page names one; `reason` the upstream's."""

    message: str
    code: str | None = None
    location: str = ""
    reason: Reason = "FieldInvalid"


@dataclass(frozen=True)
class Rules:
    """What depends on the account: whether off-peak tasks are taken where the page says "temporarily unavailable", and
    whether the upstream API takes models that its pages do not list."""

    off_peak_available: bool = False
    unlisted_models: bool = False


def validate(params: dict[str, Any], model: Model, rules: Rules) -> list[Fault]:
    """All faults of the parameters, the most telling first; empty if the provider would take them."""
    faults = list(_coded_faults(params, model))
    refused = {fault.location for fault in faults}
    for name, spec in model.parameters.items():
        if name in refused:
            continue
        if name in params:
            faults += _CHECKS[spec["type"]](params[name], spec, name, model)
            faults += _between(params, name, model, rules)
        elif spec.get("required"):
            faults.append(Fault(f"{name}: required", location=name, reason="FieldLacking"))
    if params.get("model", model.name) != model.name:
        faults.append(Fault("model: does not match the request's model", location="model"))
    faults += _url(params.get("callback_url", ""), {}, "callback_url", model)
    unknown = sorted(set(params) - set(model.parameters) - {"model", "callback_url"})
    return faults + [Fault(f"{name}: unknown", location=name, reason="FieldUnwanted") for name in unknown]


def _coded_faults(params: Mapping[str, Any], model: Model) -> Iterator[Fault]:
    """What the page of the one model has codes for that takes either images or subjects."""
    if not model.codes:
        return
    subjects = params.get("subjects")
    if subjects in (None, []) and params.get("audio") is True:
        code = model.codes["audio_needs_subjects"]
        yield Fault("When audio=true, subjects parameter is required", code, "subjects", "FieldLacking")
    elif subjects == [] or (subjects is None and params.get("images") is None):
        code = model.codes["images_or_subjects"]
        yield Fault("Images or subjects parameter must provide one", code, "subjects", "FieldLacking")


def _between(params: Mapping[str, Any], name: str, model: Model, rules: Rules) -> Iterator[Fault]:
    """The faults of a parameter that depend on others, or on the account."""
    spec, value = model.parameters[name], params[name]
    if value is False:
        return
    for other, wanted in spec.get("requires", {}).items():
        if model.value(other, params) is not wanted:
            yield Fault(f"{name}: needs {other} {json.dumps(wanted)}", location=name)
    if by := spec.get("by"):
        allowed = spec.get(str(model.value(by, params)), {}).get("enum")
        if allowed and value not in allowed:
            yield Fault(f"{name}: must be one of {', '.join(allowed)} for this {by}", location=name)
    if spec.get("unavailable") and not rules.off_peak_available:
        yield Fault(f"{name}: temporarily unavailable", location=name)


Spec = Mapping[str, Any]


def _images(value: object, spec: Spec, where: str, model: Model) -> list[Fault]:
    if not isinstance(value, list) or not spec["min_items"] <= len(value) <= spec["max_items"]:
        message = f"{where.capitalize()} parameter must contain {spec['min_items']}-{spec['max_items']} images"
        code = None if "." in where else model.codes.get("image_count")
        return [Fault(message, code, where, "FieldItemCountOutOfRange")]
    faults: list[Fault] = []
    sizes: list[ImageInfo | None] = []
    for index, image in enumerate(value):
        why, size = _image(image, model)
        sizes.append(size)
        if why:
            place = f"{where}[{index}]"
            reason: Reason = "PageSizeOutOfRange" if size else "FieldInvalid"
            faults.append(Fault(f"{place}: {why}", location=place, reason=reason))
    if differ := pair_fault(sizes, model):
        faults.append(Fault(f"{where}[1]: {differ}", location=f"{where}[1]", reason="PageSizeOutOfRange"))
    return faults


def _subjects(value: object, spec: Spec, where: str, model: Model) -> list[Fault]:
    least, most = spec["min_items"], spec["max_items"]
    if not isinstance(value, list) or not least <= len(value) <= most:
        return [Fault(f"{where}: {least} to {most} are needed", location=where, reason="FieldItemCountOutOfRange")]
    faults = [fault for number, subject in enumerate(value) for fault in _subject(subject, spec, number, model)]
    total = sum(len(subject.get("images", ())) for subject in value) if not faults else 0
    if total > spec["total_images"][1]:
        code = model.codes.get("image_count")
        faults.append(Fault("Images parameter must contain 1-7 images", code, where, "FieldItemCountOutOfRange"))
    return faults


def _subject(subject: object, spec: Spec, number: int, model: Model) -> Iterator[Fault]:
    where = f"subjects[{number}]"
    if not isinstance(subject, dict):
        yield Fault(f"{where}: must be an object", location=where)
        return
    for name, rule in spec["fields"].items():
        if name in subject:
            yield from _CHECKS[rule["type"]](subject[name], rule, f"{where}.{name}", model)
        elif rule.get("required"):
            yield Fault(f"{where}.{name}: required", location=f"{where}.{name}", reason="FieldLacking")
    for name in sorted(set(subject) - set(spec["fields"])):
        yield Fault(f"{where}.{name}: unknown", location=f"{where}.{name}", reason="FieldUnwanted")


def _image(image: object, model: Model) -> tuple[str | None, ImageInfo | None]:
    """What is wrong with an image, and its size where the request holds it."""
    if not isinstance(image, str) or not image:
        return "must be a URL or a base64 data URI", None
    if not image.lower().startswith("data:"):
        return (None if _is_web_url(image) else "not an http(s) URL"), None
    header = _DATA_URI.match(image)
    if header is None or header.group(1).lower() not in _IMAGE_TYPES:
        return "data URI must name png, jpeg or webp and be base64, e.g. data:image/png;base64,…", None
    try:
        data = base64.b64decode(image[header.end() :], validate=True)
    except binascii.Error:
        return "not valid base64", None
    return image_bytes_fault(data, model, _IMAGE_TYPES[header.group(1).lower()])


def image_bytes_fault(
    data: bytes, model: Model, expected_format: str | None = None
) -> tuple[str | None, ImageInfo | None]:
    """Why the provider would refuse these bytes as an image of the model, or None; and the image's size."""
    if len(data) > MAX_IMAGE_BYTES:
        return "larger than 50 MB", None
    try:
        info = read_image_info(data)
    except ImageFormatError as error:
        return str(error), None
    width, height = model.images.get("min_px", (1, 1))
    if expected_format not in (None, info.format):
        return f"said to be {expected_format}, is {info.format}", info
    if info.width < width or info.height < height:
        return f"{info.width}x{info.height}: at least {width}x{height} needed", info
    if max(info.width, info.height) > MAX_IMAGE_RATIO * min(info.width, info.height):
        return f"{info.width}x{info.height}: aspect ratio beyond 1:4 or 4:1", info
    return None, info


def pair_fault(sizes: Sequence[ImageInfo | None], model: Model) -> str | None:
    """Why the first image and the second differ too much, or None; also where the size of one is not known."""
    bounds = model.images.get("pair_resolution_ratio")
    if not bounds or len(sizes) != 2 or not sizes[0] or not sizes[1]:
        return None
    first, second = sizes[0], sizes[1]
    wide, high = first.width / second.width, first.height / second.height
    aspect = (first.width * second.height) / (first.height * second.width)
    if all(bounds[0] <= quotient <= bounds[1] for quotient in (wide, high, aspect)):
        return None
    sides = f"{first.width}x{first.height} and {second.width}x{second.height}"
    return f"start frame and end frame differ too much: {sides}"


def _is_web_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and " " not in text
    except ValueError:
        return False


def _says(fault: Callable[[Any, Spec], str | None]) -> Callable[[Any, Spec, str, Model], list[Fault]]:
    """The check of a parameter that holds one value."""

    def check(value: Any, spec: Spec, where: str, model: Model) -> list[Fault]:  # noqa: ARG001
        message = fault(value, spec)
        return [Fault(f"{where}: {message}", location=where)] if message else []

    return check


@_says
def _text(value: Any, spec: Spec) -> str | None:
    if not isinstance(value, str):
        return "must be a string"
    if spec.get("required") and not value:
        return "required"
    if "enum" in spec and value not in spec["enum"]:
        return f"must be one of {', '.join(spec['enum'])}"
    return f"longer than {spec['max_length']} characters" if len(value) > spec.get("max_length", len(value)) else None


@_says
def _boolean(value: Any, spec: Spec) -> str | None:  # noqa: ARG001
    return None if isinstance(value, bool) else "must be true or false"


@_says
def _integer(value: Any, spec: Spec) -> str | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return "must be an integer"
    if "enum" in spec:
        return None if value in spec["enum"] else f"must be one of {', '.join(map(str, spec['enum']))}"
    low, high = spec.get("min", value), spec.get("max", value)
    return None if low <= value <= high else f"must be {low} to {high}"


@_says
def _ratio(value: Any, spec: Spec) -> str | None:  # noqa: ARG001
    # The pages list three options and note that q2 models take any ratio: the note holds.
    return None if isinstance(value, str) and _RATIO.fullmatch(value) else "must be width:height"


@_says
def _url(value: Any, spec: Spec) -> str | None:  # noqa: ARG001
    return None if isinstance(value, str) and (not value or _is_web_url(value)) else "must be an http(s) URL"


@_says
def _json_text(value: Any, spec: Spec) -> str | None:  # noqa: ARG001
    if not isinstance(value, str):
        return "must be a string"
    try:
        json.loads(value or "{}")
    except ValueError:
        return "must be a JSON format string"
    return None


_CHECKS: dict[str, Callable[[Any, Spec, str, Model], list[Fault]]] = {
    "string": _text,
    "integer": _integer,
    "boolean": _boolean,
    "ratio": _ratio,
    "url": _url,
    "json": _json_text,
    "images": _images,
    "subjects": _subjects,
}
