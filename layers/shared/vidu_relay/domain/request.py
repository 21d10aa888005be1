"""A checked request: its parameters, and the slots in them that hold reference images.

Everything that reads, stores, links or sends the images of a request does it by slot; nothing else knows where in the
parameters images stand.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vidu_relay.domain.client_fields import CLIENT_FIELDS
from vidu_relay.domain.image_format import ANY_IMAGE, FILE_ENDINGS, ImageRules
from vidu_relay.domain.image_reference import (
    DATA_SCHEME,
    NAME_SCHEME,
    S3_SCHEME,
    S3Object,
    image_key,
    name_content,
    read_data_uri,
    read_s3_uri,
)

__all__ = ["LARGE_PARAMETERS", "MAX_SENT_BYTES", "ImageSlot", "Request", "body_bytes", "with_images"]

IMAGE_PATHS = (("images", "*"), ("subjects", "*", "images", "*"))
"""Where reference images stand in the parameters, in the order of a task's `image_versions`; `*` is each member."""

LARGE_PARAMETERS = ("payload", "meta_data", "images", "subjects")
"""Parameters that a task's record may leave out; the object beside the record has them."""
INLINE_CHARACTERS = 256
"""Of `payload` and `meta_data` in a record."""
MAX_RECORD_BYTES = 16_384
"""Of a request in a record, as JSON: each write of the record pays for them."""

NOT_SENT = frozenset({"model", "callback_url"})
"""`model` has its own field in a create body; the provider calls back the relay, not the client."""
MAX_SENT_BYTES = 20_000_000
"""The provider's page: "HTTP request POST body cannot exceed 20MB", in the smaller reading."""
ENVELOPE_BYTES = 8192
"""More than what a create body holds besides the parameters: names, the model, the relay's callback address."""
DATA_URI_HEAD = f"{DATA_SCHEME}{max(FILE_ENDINGS, key=len)};base64,"
"""The longest that an image inside a create body begins with."""


@dataclass(frozen=True, slots=True)
class ImageSlot:
    """A place in a request that holds a reference image.

    - `loc` is the place as faults name it: `images.0`, `subjects.1.images.2`.
    - `reference` is a URL, an `s3://` URI or, for bytes that came with the request, the name of their content.
    - `content` are these bytes; None in a request that was read from the table or the archive.
    - `named_object` is the object that an `s3://` reference names.
    """

    loc: str
    reference: str
    content: bytes | None = None
    named_object: S3Object | None = None

    @property
    def is_stored(self) -> bool:
        """Whether the relay stores the content: it came with the request."""
        return self.reference.startswith(NAME_SCHEME)

    def object(self, inbox: str, tenant_id: str, task_id: str) -> S3Object | None:
        """Where in S3 the image of a task is; None for a URL."""
        if self.is_stored:
            return S3Object(inbox, image_key(tenant_id, task_id, self.reference))
        return self.named_object


@dataclass(frozen=True, slots=True)
class Request:
    """A request. `parameters` are JSON values, only those that the client gave, with a reference for each image.

    `image_rules` hold for the images of a request that is accepted; a stored one is not checked again.
    `provider` is asked for it; empty in a request that was read from the table or the archive: its task names it.
    `external_id`, `labels` and `priority` are the client's own (`domain.client_fields`); None where it gave none.
    """

    parameters: Mapping[str, Any]
    slots: tuple[ImageSlot, ...]
    external_id: str | None = None
    labels: Mapping[str, str] | None = None
    priority: int | None = None
    image_rules: ImageRules = field(default=ANY_IMAGE, compare=False)
    provider: str = field(default="", compare=False)

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Request:
        """The request with these parameters, from a client or as stored; images may be data URIs."""
        slots: list[ImageSlot] = []

        def slot(loc: str, image: str) -> str:
            content = read_data_uri(image) if image.startswith(DATA_SCHEME) else None
            reference = image if content is None else name_content(content, image)
            named_object = read_s3_uri(reference) if reference.startswith(S3_SCHEME) else None
            slots.append(ImageSlot(loc, reference, content, named_object))
            return reference

        named = with_images(parameters, slot)
        own: dict[str, Any] = {name: named.pop(name) or None for name in CLIENT_FIELDS if name in named}
        return cls(named, tuple(slots), **own)

    @property
    def model(self) -> str:
        """The public id of the model."""
        return str(self.parameters["model"])

    @property
    def off_peak(self) -> bool:
        """Whether the client chose the slow, cheap mode."""
        return bool(self.parameters.get("off_peak"))

    @property
    def callback_url(self) -> str | None:
        """Where the client is notified."""
        return self.parameters.get("callback_url")

    @property
    def digest(self) -> str:
        """Equal for requests with equal parameters and client fields, in any order: 128 bits of SHA-256 in base 64."""
        own = {name: value for name in CLIENT_FIELDS if (value := getattr(self, name)) is not None}
        canonical = json.dumps({**self.parameters, **own}, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return base64.urlsafe_b64encode(hashlib.sha256(canonical.encode()).digest()[:16]).rstrip(b"=").decode()

    def with_references(self, references: Iterable[str]) -> dict[str, Any]:
        """The parameters with other references in the slots, one for each, in their order."""
        following = iter(references)
        return with_images(self.parameters, lambda loc, image: next(following))  # noqa: ARG005

    def sent(self, references: Iterable[str]) -> dict[str, Any]:
        """The parameters that the provider is sent, with these references in the slots."""
        return {name: value for name, value in self.with_references(references).items() if name not in NOT_SENT}

    def largest_body_bytes(self, inside: Mapping[str, int]) -> int:
        """The size of a create body in bytes, at most. `inside`: the bytes of images that travel in it, by `loc`."""
        references = ["" if slot.loc in inside else slot.reference for slot in self.slots]
        return body_bytes(self.sent(references)) + sum(
            len(DATA_URI_HEAD) + -(-size // 3) * 4 for size in inside.values()
        )

    def for_record(self) -> tuple[dict[str, Any], bool]:
        """The parameters that a task's record keeps, and whether these are all of them.

        Long texts are left out, and `images` and `subjects` where the rest is still too large.
        """
        left_out = [name for name in ("payload", "meta_data") if len(self.parameters.get(name, "")) > INLINE_CHARACTERS]
        record = {name: value for name, value in self.parameters.items() if name not in left_out}
        if len(_json_bytes(record)) > MAX_RECORD_BYTES:
            record = {name: value for name, value in record.items() if name not in LARGE_PARAMETERS[2:]}
        return record, len(record) == len(self.parameters)


def body_bytes(sent: Mapping[str, Any]) -> int:
    """The size of the create body with these parameters in bytes, at most."""
    return ENVELOPE_BYTES + len(_json_bytes(sent))


def _json_bytes(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def with_images(parameters: Mapping[str, Any], change: Callable[[str, str], str]) -> dict[str, Any]:
    """The parameters, in the same order, with each image changed; `change` gets its `loc` and the image."""
    changed = dict(parameters)
    for path in IMAGE_PATHS:
        changed = _changed(changed, path, "", change)
    return changed


def _changed(value: Any, path: tuple[str, ...], loc: str, change: Callable[[str, str], str]) -> Any:
    if not path:
        return change(loc, value)
    step, rest = path[0], path[1:]
    before = f"{loc}." if loc else ""
    if step == "*":
        return [_changed(member, rest, f"{before}{number}", change) for number, member in enumerate(value)]
    return {**value, step: _changed(value[step], rest, before + step, change)} if value.get(step) else value
