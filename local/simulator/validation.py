"""The provider page's rules for a request's parameters, with its error codes where it names one.

Written from the page alone, on purpose not shared with the relay's own request model: two readings of one page check
each other.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from local.simulator.image_files import ImageFormatError, read_image_info

MODEL = "viduq2_pro_fast_reference2video"
MAX_BODY_BYTES = 20 * 1024 * 1024
MAX_IMAGE_BYTES = 50 * 1024 * 1024
MAX_PROMPT_CHARACTERS = 2000
MAX_PAYLOAD_CHARACTERS = 1_048_576
MIN_IMAGE_PIXELS = 128
MAX_IMAGE_RATIO = 4
RESOLUTIONS = ("720p", "1080p")

AUDIO_NEEDS_SUBJECTS = "008017001"
IMAGES_OR_SUBJECTS = "008017002"
IMAGE_COUNT = "008017003"

_DATA_URI = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,", re.IGNORECASE)
_IMAGE_TYPES = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/webp": "webp"}
_RATIO = re.compile(r"[1-9]\d{0,4}:[1-9]\d{0,4}")


@dataclass(frozen=True)
class Fault:
    """One reason to refuse a request; `code` is the page's, or None where the page names none."""

    message: str
    code: str | None = None
    location: str = ""


@dataclass(frozen=True)
class Rules:
    """What depends on the account: whether off-peak tasks are taken (the page: "temporarily unavailable")."""

    off_peak_available: bool = False


def validate(params: dict[str, Any], rules: Rules) -> list[Fault]:
    """All faults of the parameters, the most telling first; empty if the provider would take them."""
    faults = _reference_faults(params)
    for name, check in _CHECKS.items():
        if name in params and (message := check(params[name])):
            faults.append(Fault(f"{name}: {message}", location=name))
    if "prompt" not in params:
        faults.append(Fault("prompt: required", location="prompt"))
    if params.get("model", MODEL) != MODEL:
        faults.append(Fault("model: does not match the request's model", location="model"))
    if params.get("off_peak") is True:
        if params.get("audio") is True:
            faults.append(Fault("off_peak: audio-video direct output does not support off-peak", location="off_peak"))
        elif not rules.off_peak_available:
            faults.append(Fault("off_peak: temporarily unavailable", location="off_peak"))
    return faults


def _reference_faults(params: dict[str, Any]) -> list[Fault]:
    subjects, images = params.get("subjects"), params.get("images")
    if subjects is None:
        if params.get("audio") is True:
            return [Fault("When audio=true, subjects parameter is required", AUDIO_NEEDS_SUBJECTS, "subjects")]
        if images is None:
            return [Fault("Images or subjects parameter must provide one", IMAGES_OR_SUBJECTS, "subjects")]
    faults = [] if images is None else _flat_image_faults(images)
    return faults if subjects is None else faults + _subject_faults(subjects)


def _flat_image_faults(images: object) -> list[Fault]:
    if not isinstance(images, list) or not 1 <= len(images) <= 7:
        return [Fault("Images parameter must contain 1-7 images", IMAGE_COUNT, "images")]
    return _image_faults(images, "images")


def _subject_faults(subjects: object) -> list[Fault]:
    if not isinstance(subjects, list):
        return [Fault("subjects: must be an array", location="subjects")]
    if not subjects:
        return [Fault("Images or subjects parameter must provide one", IMAGES_OR_SUBJECTS, "subjects")]
    if len(subjects) > 7:
        return [Fault("subjects: at most 7", location="subjects")]
    faults: list[Fault] = []
    total = 0
    for index, subject in enumerate(subjects):
        where = f"subjects[{index}]"
        if not isinstance(subject, dict):
            faults.append(Fault(f"{where}: must be an object", location=where))
            continue
        if not isinstance(subject.get("id"), str) or not subject["id"]:
            faults.append(Fault(f"{where}.id: required, a string", location=f"{where}.id"))
        if not isinstance(subject.get("voice_id", ""), str):
            faults.append(Fault(f"{where}.voice_id: must be a string", location=f"{where}.voice_id"))
        images = subject.get("images")
        if not isinstance(images, list) or not 1 <= len(images) <= 3:
            faults.append(Fault(f"{where}.images: required, 1 to 3 images", location=f"{where}.images"))
            continue
        total += len(images)
        faults += _image_faults(images, f"{where}.images")
    if total > 7:
        faults.append(Fault("Images parameter must contain 1-7 images", IMAGE_COUNT, "subjects"))
    return faults


def _image_faults(images: list[Any], where: str) -> list[Fault]:
    found = ((f"{where}[{index}]", _image_fault(image)) for index, image in enumerate(images))
    return [Fault(f"{location}: {message}", location=location) for location, message in found if message]


def _image_fault(image: object) -> str | None:
    if not isinstance(image, str) or not image:
        return "must be a URL or a base64 data URI"
    if not image.lower().startswith("data:"):
        return None if _is_web_url(image) else "not an http(s) URL"
    header = _DATA_URI.match(image)
    if header is None or header.group(1).lower() not in _IMAGE_TYPES:
        return "data URI must name png, jpeg or webp and be base64, e.g. data:image/png;base64,…"
    try:
        data = base64.b64decode(image[header.end() :], validate=True)
    except binascii.Error:
        return "not valid base64"
    return image_bytes_fault(data, _IMAGE_TYPES[header.group(1).lower()])


def image_bytes_fault(data: bytes, expected_format: str | None = None) -> str | None:
    """Why the provider would refuse these bytes as a reference image, or None."""
    if len(data) > MAX_IMAGE_BYTES:
        return "larger than 50 MB"
    try:
        info = read_image_info(data)
    except ImageFormatError as error:
        return str(error)
    if expected_format not in (None, info.format):
        return f"said to be {expected_format}, is {info.format}"
    if min(info.width, info.height) < MIN_IMAGE_PIXELS:
        return f"{info.width}x{info.height}: at least 128x128 needed"
    if max(info.width, info.height) > MAX_IMAGE_RATIO * min(info.width, info.height):
        return f"{info.width}x{info.height}: aspect ratio beyond 1:4 or 4:1"
    return None


def _is_web_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and " " not in text
    except ValueError:
        return False


def _text(limit: int | None = None, *, required: bool = False) -> Callable[[Any], str | None]:
    def check(value: object) -> str | None:
        if not isinstance(value, str):
            return "must be a string"
        if required and not value:
            return "required"
        return f"longer than {limit} characters" if limit is not None and len(value) > limit else None

    return check


def _boolean(value: object) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


def _integer(low: int | None = None, high: int | None = None) -> Callable[[Any], str | None]:
    def check(value: object) -> str | None:
        if not isinstance(value, int) or isinstance(value, bool):
            return "must be an integer"
        inside = (low is None or value >= low) and (high is None or value <= high)
        return None if inside else f"must be {low} to {high}"

    return check


def _ratio(value: object) -> str | None:
    # The page lists three options and notes that q2 models take any ratio: the note wins.
    return None if isinstance(value, str) and _RATIO.fullmatch(value) else "must be width:height"


def _resolution(value: object) -> str | None:
    return None if value in RESOLUTIONS else "must be 720p or 1080p"


def _url(value: object) -> str | None:
    return None if isinstance(value, str) and (not value or _is_web_url(value)) else "must be an http(s) URL"


def _json_text(value: object) -> str | None:
    if not isinstance(value, str):
        return "must be a string"
    try:
        json.loads(value or "{}")
    except ValueError:
        return "must be a JSON format string"
    return None


_CHECKS: dict[str, Callable[[Any], str | None]] = {
    "prompt": _text(MAX_PROMPT_CHARACTERS, required=True),
    "audio": _boolean,
    "duration": _integer(1, 8),
    "seed": _integer(),
    "aspect_ratio": _ratio,
    "resolution": _resolution,
    "payload": _text(MAX_PAYLOAD_CHARACTERS),
    "off_peak": _boolean,
    "watermark": _boolean,
    "wm_position": _integer(1, 4),
    "wm_url": _url,
    "meta_data": _json_text,
    "callback_url": _url,
}
