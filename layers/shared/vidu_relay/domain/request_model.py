"""The request of a video task: the provider page's parameters, each with its limit. The only pydantic here.

Source of every limit: the provider's page for `viduq2_pro_fast_reference2video`. Limits that the page lacks are
marked as ours.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from vidu_relay.domain.errors import Fault, InvalidRequestError
from vidu_relay.domain.image_reference import S3_SCHEME, check_data_uri, is_bare_base64, is_data_uri, read_s3_uri
from vidu_relay.domain.request import MAX_URL_BYTES, Request
from vidu_relay.domain.strict_json import form_faults, read_json

__all__ = [
    "MAX_IMAGES",
    "MAX_IMAGES_PER_SUBJECT",
    "MAX_SUBJECTS",
    "MAX_URL_BYTES",
    "MODEL",
    "Subject",
    "VideoRequest",
    "check_request",
    "parse_request",
]

MODEL = "viduq2_pro_fast_reference2video"
MAX_SUBJECTS = 7
MAX_IMAGES = 7
MAX_IMAGES_PER_SUBJECT = 3
MAX_PROMPT_CHARACTERS = 2000
MAX_PAYLOAD_CHARACTERS = 1_048_576
MAX_SUBJECT_ID_CHARACTERS = 100  # ours
MAX_VOICE_ID_CHARACTERS = 200  # ours
MAX_META_DATA_CHARACTERS = 65_536  # ours
OUTSIDE_FOLDER = (
    "a key must be relative to the folder of the request file, without . or .. or empty parts: fox.png, images/fox.png"
)
MAX_PLACE_CHARACTERS = 100
"""Of each part of a fault's place: a client may send an unknown parameter with a very long name."""

CODE_AUDIO_NEEDS_SUBJECTS = "008017001"
CODE_IMAGES_OR_SUBJECTS = "008017002"
CODE_IMAGES_COUNT = "008017003"

_MENTION = re.compile(r"(?<![A-Za-z0-9_\u00c0-\u024f@])@(?=\w)")
"""Not behind Latin characters or digits, as in an e-mail address. Other scripts set no space before it."""


def _url(value: str) -> str:
    """The URL without blanks around it. What a request line cannot carry is percent-encoded when the URL is opened."""
    value = value.strip(" \t\r\n")
    if len(value.encode()) > MAX_URL_BYTES:
        raise PydanticCustomError("url_too_long", "must have at most {limit} bytes in UTF-8", {"limit": MAX_URL_BYTES})
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError as fault:
        raise PydanticCustomError("url_parsing", "is not a valid URL") from fault
    if any(c == "\\" or ord(c) < 0x20 or ord(c) == 0x7F for c in value):
        raise PydanticCustomError("url_parsing", "has a control character or a backslash: percent-encode it")
    odd = any(c.isspace() and c != " " for c in value) or " " in parts.netloc
    if parts.scheme not in ("http", "https") or not host or odd:
        raise PydanticCustomError("url_parsing", "must be an http(s) URL with a host, and no white space but blanks")
    return value


def _image(value: str, info: ValidationInfo) -> str:
    if is_bare_base64(value):
        raise PydanticCustomError(
            "image_data_uri", "is bare base 64: put data:image/png;base64, (or the type that it has) before it"
        )
    folder = (info.context or {}).get("folder")
    if folder is not None and value and "://" not in value and not is_data_uri(value):
        if any(part in ("", ".", "..") for part in value.split("/")):
            raise PydanticCustomError("relative_key", "{reason}", {"reason": OUTSIDE_FOLDER})
        value = folder + value
    if value.startswith(S3_SCHEME):
        return _s3_uri(value)
    if not is_data_uri(value):
        return _url(value)
    try:
        check_data_uri(value)
    except ValueError as fault:
        code = "image_base64" if "valid base 64" in str(fault) else "image_data_uri"
        raise PydanticCustomError(code, "{reason}", {"reason": str(fault)}) from fault
    return value


def _s3_uri(value: str) -> str:
    try:
        read_s3_uri(value)
    except ValueError as fault:
        raise PydanticCustomError("s3_uri", "{reason}", {"reason": str(fault)}) from fault
    return value


def _json_object(value: str) -> str:
    if not value:  # the page: "When this parameter is empty, default to vidu-generated metadata identifier"
        return value
    try:
        parsed = json.loads(value, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as fault:
        raise PydanticCustomError("meta_data_json", "must be a JSON object in a string") from fault
    if not isinstance(parsed, dict):
        raise PydanticCustomError("meta_data_json", "must be a JSON object in a string")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


Image = Annotated[str, AfterValidator(_image)]
Url = Annotated[str, AfterValidator(_url)]


class _Strict(BaseModel):
    # strict: "5" is not 5 and 1 is not true (5.0 is 5: `read_json`); forbid: a misspelt parameter must not be paid for
    # unnoticed
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Subject(_Strict):
    """A subject that the prompt can mention as `@id`."""

    id: str = Field(min_length=1, max_length=MAX_SUBJECT_ID_CHARACTERS)
    images: tuple[Image, ...] = Field(min_length=1, max_length=MAX_IMAGES_PER_SUBJECT, strict=False)
    voice_id: str | None = Field(default=None, max_length=MAX_VOICE_ID_CHARACTERS)


class VideoRequest(_Strict):
    """A request as the client sends it; optional parameters that it did not give have their default."""

    model: Literal["viduq2_pro_fast_reference2video"]
    subjects: tuple[Subject, ...] | None = Field(default=None, min_length=1, max_length=MAX_SUBJECTS, strict=False)
    images: tuple[Image, ...] | None = Field(default=None, strict=False)
    prompt: str = Field(min_length=1, max_length=MAX_PROMPT_CHARACTERS)
    audio: bool = False
    duration: int = Field(default=5, ge=1, le=8)
    seed: int = Field(default=0, ge=-(2**63), le=2**63 - 1)
    aspect_ratio: str = Field(default="16:9", pattern=r"^[1-9][0-9]{0,4}:[1-9][0-9]{0,4}$")
    resolution: Literal["720p", "1080p"] = "720p"
    payload: str | None = Field(default=None, max_length=MAX_PAYLOAD_CHARACTERS)
    off_peak: bool = False
    watermark: bool = False
    wm_position: int = Field(default=3, ge=1, le=4)
    wm_url: Url | None = None
    meta_data: Annotated[str, AfterValidator(_json_object)] | None = Field(
        default=None, max_length=MAX_META_DATA_CHARACTERS
    )
    callback_url: Url | None = None

    @model_validator(mode="after")
    def _whole(self) -> VideoRequest:
        faults = list(self._faults())
        if faults:
            raise PydanticCustomError("request", "{faults}", {"faults": faults})
        return self

    def _faults(self) -> Iterator[Fault]:
        yield from _coded_faults(self.images, self.subjects, self.audio)
        if self.images and self.subjects:
            yield Fault("images", "give either subjects or images, not both")
        if self.audio and self.off_peak:
            yield Fault("off_peak", "audio=true does not support off-peak mode: drop one of the two")
        if self.subjects:
            yield from self._subject_faults(self.subjects)

    def _subject_faults(self, subjects: tuple[Subject, ...]) -> Iterator[Fault]:
        images = sum(len(subject.images) for subject in subjects)
        if images > MAX_IMAGES:
            yield Fault(
                "subjects", f"subjects may have 1-{MAX_IMAGES} images in total, not {images}", CODE_IMAGES_COUNT
            )
        ids = [subject.id for subject in subjects]
        for number, known in enumerate(ids):
            if known in ids[:number]:
                yield Fault(f"subjects.{number}.id", f"the id {known!r} is used twice")
        for mention in _MENTION.finditer(self.prompt):
            rest = self.prompt[mention.end() :]
            if not any(_mentions(rest, known) for known in ids):
                word = re.match(r"\w+", rest)
                name = word.group() if word else rest[:20]
                yield Fault("prompt", f"@{name} names no subject; known ids: {', '.join(ids)}{_spelling(rest, ids)}")


def _mentions(rest: str, known: str) -> bool:
    """Whether a text after an @ begins with this id, and not with a longer word: `@10` does not mention `1`."""
    after = rest[len(known) : len(known) + 1]
    joined = known[-1].isascii() and known[-1].isalnum() and after.isascii() and (after.isalnum() or after == "_")
    return rest.startswith(known) and not joined


def _spelling(rest: str, ids: list[str]) -> str:
    """What to add where a mention and an id look the same: é is one character (NFC) or e with an accent (NFD)."""
    for known in ids:
        if _mentions(unicodedata.normalize("NFC", rest), unicodedata.normalize("NFC", known)):
            return f". {known} looks the same but has other characters (Unicode NFC and NFD): write both in NFC"
    return ""


def _coded_faults(images: object, subjects: object, audio: object) -> Iterator[Fault]:
    """The faults the provider's page gives a code, on parsed or raw values alike."""
    # in the order of the codes: the first is the refusal's own
    if audio is True and not subjects:
        yield Fault("subjects", "When audio=true, subjects parameter is required", CODE_AUDIO_NEEDS_SUBJECTS)
    if images is None and subjects in (None, [], ()):
        yield Fault("", "Images or subjects parameter must provide one", CODE_IMAGES_OR_SUBJECTS)
    if isinstance(images, list | tuple) and not 1 <= len(images) <= MAX_IMAGES:
        yield Fault("images", "Images parameter must contain 1-7 images", CODE_IMAGES_COUNT)


def parse_request(body: bytes | str, *, off_peak_available: bool, folder: str | None = None) -> Request:
    """Read and check a request. Raises `InvalidRequestError`: as `read_json` and `check_request` do."""
    return check_request(read_json(body), off_peak_available=off_peak_available, folder=folder)


def check_request(raw: Any, *, off_peak_available: bool, folder: str | None = None) -> Request:
    """Check a request that `read_json` gave. An optional parameter given as null or "" was not given.

    `folder` is the `s3://` URI, with its slash, that relative image keys are below; None where an image must be whole.

    Raises `InvalidRequestError`: code `validation_error`, or the provider's own code if one fits, with every fault
    listed by location.
    """
    _check_form(raw)
    given = _without_empty(raw)
    try:
        model = VideoRequest.model_validate(given, context={"folder": folder})
    except ValidationError as error:
        raise _invalid(error, given) from None  # the pydantic error repeats the input, payload and images included
    if model.off_peak and not off_peak_available:
        raise _refusal((Fault("off_peak", "off-peak mode is temporarily unavailable: send false, or leave it out"),))
    return Request.of(model.model_dump(mode="json", exclude_unset=True, exclude_none=True))


def _check_form(raw: Any) -> None:
    """Raises `InvalidRequestError`, as `parse_request` does, if a request's outer form is wrong (`form_faults`)."""
    form = tuple(form_faults(raw)) if isinstance(raw, dict) else ()
    if form:
        coded = tuple(_coded_faults(raw.get("images"), raw.get("subjects"), raw.get("audio")))
        listed = {fault.loc for fault in coded}
        raise _refusal((*coded, *(fault for fault in form if fault.loc not in listed)))


def _without_empty(raw: Any) -> Any:
    """The request without the optional parameters, its own and its subjects', that are null or ""."""
    if not isinstance(raw, dict):
        return raw
    given = {name: value for name, value in raw.items() if value not in (None, "") or name not in _OPTIONAL}
    if isinstance(given.get("subjects"), list):
        given["subjects"] = [
            {
                name: value
                for name, value in subject.items()
                if value not in (None, "") or name not in _OPTIONAL_OF_SUBJECT
            }
            if isinstance(subject, dict)
            else subject
            for subject in given["subjects"]
        ]
    return given


def _optional(model: type[BaseModel]) -> frozenset[str]:
    return frozenset(name for name, field in model.model_fields.items() if not field.is_required())


_OPTIONAL = _optional(VideoRequest)
_OPTIONAL_OF_SUBJECT = _optional(Subject)


def _invalid(error: ValidationError, raw: Any) -> InvalidRequestError:
    faults: list[Fault] = []
    whole = False
    items = error.errors(include_url=False, include_input=False)
    # a list whose only element is wrong is not "too short" besides
    inner = {item["loc"][:depth] for item in items for depth in range(1, len(item["loc"]))}
    for item in items:
        if item["type"] == "too_short" and item["loc"] in inner:
            continue
        if item["type"] == "request":
            faults.extend(item["ctx"]["faults"])
            whole = True
        else:
            faults.append(Fault(_location(item["loc"]), _message(item)))
    if not whole and isinstance(raw, dict):
        # single fields were wrong, so the rules between fields did not run: run those that need no types
        faults.extend(_coded_faults(raw.get("images"), raw.get("subjects"), raw.get("audio")))
    return _refusal(tuple(faults))


def _refusal(faults: tuple[Fault, ...]) -> InvalidRequestError:
    code = next((fault.code for fault in faults if fault.code), "validation_error")
    return InvalidRequestError(code, "The request is not valid. See `errors`.", faults)


def _location(loc: tuple[int | str, ...]) -> str:
    return ".".join(str(part)[:MAX_PLACE_CHARACTERS] for part in loc)


def _message(item: Mapping[str, Any]) -> str:
    kind = item["type"]
    if kind == "extra_forbidden":
        return (
            f"unknown parameter; known are: {', '.join(VideoRequest.model_fields)}"
            if len(item["loc"]) == 1
            else (f"unknown field; known are: {', '.join(Subject.model_fields)}")
        )
    if kind == "string_pattern_mismatch":
        return "must be two whole numbers with a colon, for example 16:9"
    if kind in ("too_long", "too_short"):  # pydantic names Python's type of what is a list to the client
        bound, limit = ("most", "max_length") if kind == "too_long" else ("least", "min_length")
        count = item["ctx"][limit]
        return f"must have at {bound} {count} item{'' if count == 1 else 's'}"
    return str(item["msg"])
