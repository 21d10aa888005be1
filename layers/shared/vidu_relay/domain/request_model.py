"""Check a request by the catalogue's entry of its model. The only pydantic here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    create_model,
)
from pydantic_core import PydanticCustomError

from vidu_relay.domain.catalogue import (
    MAX_IMAGES,
    MAX_IMAGES_PER_SUBJECT,
    MAX_SUBJECT_ID_CHARACTERS,
    MAX_URL_BYTES,
    MAX_VOICE_ID_CHARACTERS,
    Choice,
    Offer,
    Offering,
    Parameter,
    find_model,
    models,
)
from vidu_relay.domain.client_fields import CLIENT_FIELDS, take_client_fields
from vidu_relay.domain.errors import Fault, InvalidRequestError
from vidu_relay.domain.image_reference import S3_SCHEME, check_data_uri, is_bare_base64, is_data_uri, read_s3_uri
from vidu_relay.domain.mentions import unknown_mentions
from vidu_relay.domain.request import Request
from vidu_relay.domain.strict_json import form_faults, read_json

__all__ = ["Subject", "check_request", "parse_request", "request_type"]

OUTSIDE_FOLDER = (
    "a key must be relative to the folder of the request file, without . or .. or empty parts: fox.png, images/fox.png"
)
MAX_PLACE_CHARACTERS = 100
"""Of each part of a fault's place: a client may send an unknown parameter with a very long name."""


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


_RATIO = r"^[1-9][0-9]{0,4}:[1-9][0-9]{0,4}$"


def _field(spec: Parameter) -> tuple[Any, Any]:
    """Type and limits of one parameter, as `create_model` takes them."""
    kind: Any
    limits: dict[str, Any] = {}
    match spec.type:
        case "images":  # their number is a rule: some providers have a code for it
            kind, limits = tuple[Image, ...], {"strict": False}
        case "subjects":
            kind, limits = tuple[Subject, ...], {"strict": False, "min_length": spec.least, "max_length": spec.most}
        case "integer":
            kind, limits = int, {"ge": spec.least, "le": spec.most}
        case "boolean":
            kind = bool
        case "ratio":
            kind, limits = str, {"pattern": _RATIO}
        case "url":
            kind = Url
        case "json":
            kind, limits = Annotated[str, AfterValidator(_json_object)], {"max_length": spec.most}
        case "text":
            kind, limits = str, {"min_length": spec.least, "max_length": spec.most}
    if spec.choices:
        kind, limits = Literal[spec.choices], {}
    return (kind, Field(**limits)) if spec.required else (kind | None, Field(default=None, **limits))


@cache
def request_type(model_id: str, provider: str) -> type[BaseModel]:
    """The form of a request for a model at a provider that offers it. Built when it is first needed."""
    parameters = models()[model_id].offers[provider].parameters
    fields: dict[str, Any] = {name: _field(spec) for name, spec in parameters.items()}
    fields = {"model": (Literal[model_id], ...), **fields, "callback_url": (Url | None, None)}
    return create_model(model_id, __base__=_Strict, **fields)


def _whole_faults(values: Mapping[str, Any], offer: Offer) -> Iterator[Fault]:
    """The faults between parameters of which each one is good."""
    yield from _coded_faults(values, offer)
    for rule in offer.rules:
        yield from (fault for fault in rule.faults(values, offer.parameters) if not fault.code)
    for name, spec in offer.parameters.items():
        if spec.type == "images" and not spec.code and not _counts(values.get(name), spec):
            yield Fault(name, f"must have {_range(spec)}, not {len(values[name])}")
        if spec.type == "subjects" and values.get(name):
            yield from _subject_faults(values[name], values["prompt"], spec)


def _coded_faults(values: Mapping[str, Any], offer: Offer) -> Iterator[Fault]:
    """The faults that a provider has a code for, on parsed or raw values alike. The first is the refusal's own."""
    for rule in offer.rules:
        yield from (fault for fault in rule.faults(values, offer.parameters) if fault.code)
    for name, spec in offer.parameters.items():
        if spec.type == "images" and spec.code and not _counts(values.get(name), spec):
            yield Fault(name, f"{name.capitalize()} parameter must contain {_range(spec)}", spec.code)


def _counts(value: object, spec: Parameter) -> bool:
    """Whether a list has as many members as it may have; also where it is none."""
    return not isinstance(value, list | tuple) or (spec.least or 0) <= len(value) <= (spec.most or len(value))


def _range(spec: Parameter) -> str:
    count = f"{spec.least}-{spec.most}" if spec.least != spec.most else f"{spec.most}"
    return f"{count} image{'' if count == '1' else 's'}"


def _subject_faults(subjects: Sequence[Any], prompt: str, spec: Parameter) -> Iterator[Fault]:
    images = sum(len(subject.images) for subject in subjects)
    if images > MAX_IMAGES:
        yield Fault("subjects", f"subjects may have 1-{MAX_IMAGES} images in total, not {images}", spec.code)
    ids = [subject.id for subject in subjects]
    for number, known in enumerate(ids):
        if known in ids[:number]:
            yield Fault(f"subjects.{number}.id", f"the id {known!r} is used twice")
    yield from (Fault("prompt", message) for message in unknown_mentions(prompt, ids))


def parse_request(body: bytes | str, offering: Offering, *, folder: str | None = None) -> Request:
    """Read and check a request. Raises `InvalidRequestError`: as `read_json` and `check_request` do."""
    return check_request(read_json(body), offering, folder=folder)


def check_request(raw: Any, offering: Offering, *, folder: str | None = None) -> Request:
    """Check a request that `read_json` gave. An optional parameter given as null or "" was not given.

    `folder` is the `s3://` URI, with its slash, that relative image keys are below; None where an image must be whole.

    Raises `InvalidRequestError`: code `validation_error`, or the provider's own code if one fits, with every fault
    listed by location.
    """
    if not isinstance(raw, dict):
        raise _refusal((Fault("", "must be a JSON object"),))
    choice = offering.find(raw.get("model"))
    form = tuple(form_faults(raw))
    if choice is None:
        raise _refusal((_model_fault(raw, offering), *(fault for fault in form if fault.loc != "model")))
    if form:
        coded = tuple(_coded_faults(raw, choice.offer))
        places = {fault.loc for fault in coded}
        raise _refusal((*coded, *(fault for fault in form if fault.loc not in places)))
    given = _without_empty(raw, choice.offer)
    own, faults = take_client_fields(given)
    try:
        parsed = request_type(choice.model.id, choice.limits_of).model_validate(given, context={"folder": folder})
    except ValidationError as error:  # it repeats the input, payload and images included
        raise _refusal((*_faults_of(error, given, choice), *faults)) from None
    values = {name: getattr(parsed, name) for name in parsed.model_fields_set}
    if faults := (*_whole_faults(values, choice.offer), *faults):
        raise _refusal(faults)
    if given.get("off_peak") and not offering.off_peak:
        raise _refusal((Fault("off_peak", "off-peak mode is temporarily unavailable: send false, or leave it out"),))
    request = Request.of({**parsed.model_dump(mode="json", exclude_unset=True, exclude_none=True), **own})
    return replace(request, provider=choice.provider, image_rules=choice.offer.images)


def _model_fault(raw: Mapping[str, Any], offering: Offering) -> Fault:
    known = ", ".join(offering.model_ids())
    if "model" not in raw:
        return Fault("model", f"Field required: the models are {known}")
    if isinstance(raw["model"], str) and (model := find_model(raw["model"])):
        return Fault("model", f"{offering.why_not(model)}; the models are {known}")
    return Fault("model", f"unknown model; the models are {known}")


def _without_empty(raw: Mapping[str, Any], offer: Offer) -> dict[str, Any]:
    """The request without the optional parameters, its own and its subjects', that are null or ""."""
    required = {"model", *(name for name, spec in offer.parameters.items() if spec.required)}
    known = {*offer.parameters, "callback_url", *CLIENT_FIELDS} - required
    given = {name: value for name, value in raw.items() if value not in (None, "") or name not in known}
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


_OPTIONAL_OF_SUBJECT = frozenset(name for name, field in Subject.model_fields.items() if not field.is_required())


def _faults_of(error: ValidationError, raw: Mapping[str, Any], choice: Choice) -> tuple[Fault, ...]:
    items = error.errors(include_url=False, include_input=False)
    # a list whose only element is wrong is not "too short" besides
    inner = {item["loc"][:depth] for item in items for depth in range(1, len(item["loc"]))}
    faults = [
        Fault(_location(item["loc"]), _message(item, choice))
        for item in items
        if not (item["type"] == "too_short" and item["loc"] in inner)
    ]
    # single parameters are wrong, so the rules between them were not asked: those that need no types are
    return (*faults, *_coded_faults(raw, choice.offer))


def _refusal(faults: tuple[Fault, ...]) -> InvalidRequestError:
    code = next((fault.code for fault in faults if fault.code), "validation_error")
    return InvalidRequestError(code, "The request is not valid. See `errors`.", faults)


def _location(loc: tuple[int | str, ...]) -> str:
    return ".".join(str(part)[:MAX_PLACE_CHARACTERS] for part in loc)


def _message(item: Mapping[str, Any], choice: Choice) -> str:
    kind = item["type"]
    if kind == "extra_forbidden":
        return _unknown(item["loc"], choice)
    if kind == "string_pattern_mismatch":
        return "must be two whole numbers with a colon, for example 16:9"
    if kind in ("too_long", "too_short"):  # pydantic names Python's type of what is a list to the client
        bound, limit = ("most", "max_length") if kind == "too_long" else ("least", "min_length")
        count = item["ctx"][limit]
        return f"must have at {bound} {count} item{'' if count == 1 else 's'}"
    return str(item["msg"])


def _unknown(loc: tuple[int | str, ...], choice: Choice) -> str:
    """What to say of a parameter that the model does not have: which models have it, or which parameters there are."""
    if len(loc) > 1:
        return f"unknown field; known are: {', '.join(Subject.model_fields)}"
    having = sorted(
        each.id for each in models().values() for offer in each.offers.values() if loc[0] in offer.parameters
    )
    if having:
        return f"{choice.model.id} does not take this; models that do: {', '.join(dict.fromkeys(having))}"
    known = ", ".join((*choice.offer.parameters, "callback_url", *CLIENT_FIELDS))
    return f"unknown parameter; known are: model, {known}"
