"""Check what a request refers to before anything is billed: its images and its callback address."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from vidu_relay.adapters.image_bucket import ImageBucket, image_not_found
from vidu_relay.adapters.image_source import ImageSource
from vidu_relay.adapters.tenant_directory import TenantDirectory, TenantMapping
from vidu_relay.domain.errors import BadImageError, Fault, InvalidRequestError
from vidu_relay.domain.image_format import (
    FORMATS,
    MAX_IMAGE_BYTES,
    ImageHead,
    ImageRules,
    content_type_of,
    is_web_page,
    jpeg_continues_at,
    unreadable_because,
)
from vidu_relay.domain.image_reference import S3Object
from vidu_relay.domain.request import MAX_SENT_BYTES, ImageSlot, Request
from vidu_relay.observability import logger
from vidu_relay.outbound.address_guard import AddressGuard, RefusedAddressError

__all__ = ["ReferenceCheck", "check_references"]

MAX_HEAD_BYTES = 1024 * 1024
"""Of one read. The first one holds the size of a picture, except in JPEGs with megabytes of metadata before it."""
MAX_READS = 8
"""Of one image; each further one begins where the segments of a JPEG point."""
ALL_SECONDS = 8.0
"""For all references of one request, checked in parallel."""
SLOW_SECONDS = 2.0
REST_FACTOR = 4
_SOI = b"\xff\xd8"


class ProbeRation:
    """Limits how long the relay opens a tenant's image URLs, so that its slow hosts do not delay other tenants.

    After a check that took more than `SLOW_SECONDS`, the tenant's image URLs are left to the provider for
    `REST_FACTOR` times as long. Each execution environment counts for itself, in memory.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rest_until: dict[str, float] = {}

    def allows(self, tenant_id: str) -> bool:
        """Whether the tenant's image URLs are opened."""
        return self._rest_until.get(tenant_id, 0.0) <= self._clock()

    def used(self, tenant_id: str, seconds: float) -> None:
        """A check of the tenant's URLs took so long."""
        if seconds > SLOW_SECONDS:
            now = self._clock()
            self._rest_until = {tenant: until for tenant, until in self._rest_until.items() if until > now}
            self._rest_until[tenant_id] = now + REST_FACTOR * seconds


@dataclass(frozen=True, slots=True)
class ReferenceCheck:
    """What the check needs. Without a `source` no image URL is opened: those images are left to the provider.

    `guard` says which callback addresses may be called; it resolves names and opens nothing.
    """

    bucket: ImageBucket
    source: ImageSource | None
    tenants: TenantDirectory
    guard: AddressGuard = field(default_factory=AddressGuard)
    ration: ProbeRation = field(default_factory=ProbeRation)


Outcome = ImageHead | BadImageError | None
Probe = Callable[[], Outcome]


def check_references(request: Request, tenant_id: str, check: ReferenceCheck) -> tuple[str, ...]:
    """Check all images and the callback address in parallel, for 8 seconds at most; the images' versions.

    They have the form of `Task.image_versions`. An image takes up to 8 reads of a MiB. Raises `InvalidRequestError`:
    `invalid_image` with one fault for each image that cannot be used, `invalid_callback_url` for a callback address
    that the relay would not call, `off_peak_too_large` if an off-peak request does not fit into one create body.
    Raises what S3 and DynamoDB raise.
    """
    if check.source and not check.ration.allows(tenant_id):
        logger.info("image_urls_not_opened")
        check = replace(check, source=None)
    began = time.monotonic()
    deadline = began + ALL_SECONDS
    buckets = _mapped_buckets(request, tenant_id, check)
    rules = request.image_rules
    probes = {slot.reference: _probe(slot, buckets, tenant_id, check, deadline, rules) for slot in request.slots}
    if request.callback_url is not None:
        probes[CALLBACK_URL] = _probe_address(request.callback_url, check.guard)
    found = _side_by_side(probes, deadline)
    check.ration.used(tenant_id, time.monotonic() - began)
    _check_pair(request, found)
    _raise_faults(request, found)
    heads = [head if isinstance(head := found[slot.reference], ImageHead) else None for slot in request.slots]
    if request.off_peak:
        _check_off_peak_size(request, heads)
    versions = tuple(head.version_id or "" if head else "" for head in heads)
    return versions if any(versions) else ()


CALLBACK_URL = "callback_url"
"""The name of its outcome; no reference to an image reads like this."""


def _raise_faults(request: Request, found: Mapping[str, Outcome]) -> None:
    places = [(slot.loc, slot.reference) for slot in request.slots]
    places += [(CALLBACK_URL, CALLBACK_URL)] if CALLBACK_URL in found else []
    faults = tuple(
        Fault(loc, str(outcome.message), outcome.code)
        for loc, reference in places
        if isinstance(outcome := found[reference], BadImageError)
    )
    if [fault.loc for fault in faults] == [CALLBACK_URL]:
        raise InvalidRequestError("invalid_callback_url", "The callback address cannot be used. See `errors`.", faults)
    if faults:
        raise InvalidRequestError("invalid_image", "Some reference images cannot be used. See `errors`.", faults)


def _mapped_buckets(request: Request, tenant_id: str, check: ReferenceCheck) -> frozenset[str]:
    """The buckets named by the request that are mapped to this tenant."""
    objects = [slot.named_object for slot in request.slots if slot.named_object]
    named = {one.bucket for one in objects if one.bucket != check.bucket.inbox}
    owners = {bucket: check.tenants.find_owner(TenantMapping.BUCKET, bucket) for bucket in sorted(named)}
    return frozenset(
        bucket for bucket, owner in owners.items() if owner and owner.tenant_id == tenant_id and not owner.disabled
    )


def _probe(
    slot: ImageSlot,
    buckets: frozenset[str],
    tenant_id: str,
    check: ReferenceCheck,
    deadline: float,
    rules: ImageRules,
) -> Probe:
    """The check of one image: gives its head, None for one that is not opened, or raises `BadImageError`."""

    def probe() -> Outcome:
        if slot.content is not None:
            head = ImageHead(slot.content, len(slot.content))
        elif slot.named_object:
            if not _may_use(slot.named_object, buckets, tenant_id, check.bucket.inbox):
                raise image_not_found()
            head = _read(partial(check.bucket.read_head, slot.named_object), deadline)
        elif check.source:
            head = _read(partial(check.source.read_head, slot.reference, deadline=deadline), deadline)
        else:
            return None
        _check_head(head, rules)
        return head

    return probe


def _read(read_head: Callable[..., ImageHead], deadline: float) -> ImageHead:
    """The first bytes of an image; for a JPEG with much metadata, the bytes from its picture on.

    Such a JPEG is read on where its segments point. The bytes from there follow the two bytes that begin a JPEG, so
    that they read like a JPEG without that metadata. Raises `BadImageError`.
    """
    first = head = read_head(MAX_HEAD_BYTES, _enough())
    base, reads = 0, 1  # where in the file the first byte of `head` would stand
    while first.size and first.size <= MAX_IMAGE_BYTES and content_type_of(first.data) == "image/jpeg":
        further = jpeg_continues_at(head.data)
        at_end = base + max(further or 0, len(head.data)) >= first.size
        if further is None or at_end or _dimensions(head.data):
            break
        if reads == MAX_READS or time.monotonic() >= deadline:
            raise BadImageError("image_unreadable", "has too much metadata before its picture: save it without")
        part = read_head(MAX_HEAD_BYTES, _enough(_SOI), start=base + further)
        if part.version_id != first.version_id or not part.data:
            raise BadImageError("image_unreachable", "changed while it was read: try again")
        if not part.data.startswith(b"\xff"):
            raise BadImageError("image_unreadable", "is a JPEG whose segments point outside the file: save it again")
        head = ImageHead(_SOI + part.data, first.size, first.version_id)
        base, reads = base + further - len(_SOI), reads + 1
    return head


class _BadCallbackUrlError(BadImageError):
    """The relay would not call the callback address. Reported beside the faults of images."""

    def __init__(self, message: str) -> None:
        super().__init__("invalid_callback_url", message)


def _probe_address(url: str, guard: AddressGuard) -> Probe:
    """The check of a callback address: its name is resolved, in the guard's own time limit, and nothing is opened."""

    def probe() -> None:
        try:
            guard.check(url)
        except RefusedAddressError as error:
            raise _BadCallbackUrlError(
                f"{error}: give an https URL of a public host, port 443, without user-info, or leave it out",
            ) from error
        except OSError as error:
            raise _BadCallbackUrlError(f"{error}, so it could not be called: correct it, or try again") from error

    return probe


def _may_use(image: S3Object, allowed: frozenset[str], tenant_id: str, inbox: str) -> bool:
    if image.bucket == inbox:
        return image.key.startswith((f"uploads/{tenant_id}/", f"requests/{tenant_id}/"))
    return image.bucket in allowed


def _enough(before: bytes = b"") -> Callable[[bytes, int | None], bool]:
    """`_is_enough` for one image, evaluated only when twice as many bytes have arrived as the last time.

    Evaluated at every block, it would search a megabyte without a picture dozens of times.
    """
    asked = 0

    def enough(data: bytes, size: int | None) -> bool:
        nonlocal asked
        if len(data) < 2 * asked:
            return False
        asked = len(data)
        return _is_enough(before + data, size)

    return enough


def _is_enough(data: bytes, size: int | None) -> bool:
    """Whether more bytes would not change the result."""
    if size is None or size > MAX_IMAGE_BYTES:
        return size is not None  # read on: only the end of the image shows its size
    if len(data) < 12:
        return False
    return content_type_of(data) is None or _dimensions(data) is not None


def _check_head(head: ImageHead, rules: ImageRules) -> None:
    """Raises `BadImageError` unless these are the first bytes of an image that the provider takes for the model."""
    if head.size is not None and head.size > MAX_IMAGE_BYTES:
        raise BadImageError("image_too_large", f"has {head.size} bytes; at most {MAX_IMAGE_BYTES} are taken")
    if is_web_page(head.data):
        raise BadImageError("image_format", "is a web page, not an image: give the address of the image itself")
    if content_type_of(head.data) is None:
        raise BadImageError(
            "image_format", f"is not a {FORMATS} image by its content, whatever its name says: convert it"
        )
    dimensions = _dimensions(head.data)
    if dimensions is None:
        raise BadImageError("image_unreadable", unreadable_because(head))
    if head.size is None:
        raise BadImageError(
            "image_size_unknown",
            "its server does not say how large it is: serve it with Content-Length, or upload it (POST /v1/uploads)",
        )
    width, height = dimensions
    least, ratio = rules.least_pixels, rules.ratio
    if min(width, height) < least:
        raise BadImageError("image_too_small", f"has {width}x{height} pixels; at least {least}x{least} are needed")
    if max(width, height) > ratio * min(width, height):
        raise BadImageError(
            "image_ratio", f"has {width}x{height} pixels; the ratio must be within 1:{ratio} and {ratio}:1: crop it"
        )


def _check_pair(request: Request, found: dict[str, Outcome]) -> None:
    """Put a fault in the second image's place if the model has a rule for two, both were read and they break it."""
    bounds = request.image_rules.pair
    heads = [head for slot in request.slots if isinstance(head := found[slot.reference], ImageHead)] if bounds else []
    sizes = [size for head in heads if (size := _dimensions(head.data))]
    if bounds and len(sizes) == 2 and not request.image_rules.allow_pair(sizes[0], sizes[1]):
        first, second = request.slots
        sides = [f"{width}x{height}" for width, height in sizes]
        found[second.reference] = BadImageError(
            "image_pair",
            f"has {sides[1]} pixels and {first.loc} {sides[0]}: width, height and aspect ratio of the first must be "
            f"{bounds[0]} to {bounds[1]} times those of the second: crop or resize one",
        )


def _dimensions(data: bytes) -> tuple[int, int] | None:
    """Width and height of an image; None if these bytes do not say."""
    import imagesize  # a submission by URL with probing off never needs it

    width, height = imagesize.get(io.BytesIO(data), exif_rotation=False)
    return (width, height) if width > 0 and height > 0 else None


def _side_by_side(probes: Mapping[str, Probe], deadline: float) -> dict[str, Outcome]:
    """The outcome of every check, each on a thread of its own; one that takes too long is a `BadImageError`.

    The threads are daemons: a host that never answers delays neither the answer nor the end of the process. Raises
    what a check raises that is no `BadImageError`.
    """
    outcomes: dict[str, Outcome] = {}
    troubles: list[BaseException] = []

    def run(image: str, probe: Probe) -> None:
        try:
            outcomes[image] = probe()
        except BadImageError as fault:
            outcomes[image] = fault
        except BaseException as trouble:  # noqa: BLE001 - raised again by the thread that waits
            troubles.append(trouble)

    threads = [threading.Thread(target=run, args=item, daemon=True) for item in probes.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    if troubles:
        raise troubles[0]
    late = BadImageError(
        "image_unreachable",
        f"could not be read within {ALL_SECONDS:g} seconds: try again, or upload it (POST /v1/uploads)",
    )
    seen = dict(outcomes)  # a thread that ends later changes nothing
    return {image: seen.get(image, late) for image in probes}


def _check_off_peak_size(request: Request, heads: Sequence[ImageHead | None]) -> None:
    """Off-peak tasks start within 48 hours and links expire within 12: their images travel in the create body."""
    sizes = {
        slot.loc: head.size or 0
        for slot, head in zip(request.slots, heads, strict=True)
        if head and (slot.is_stored or slot.named_object)
    }
    size = request.largest_body_bytes(sizes)
    if size > MAX_SENT_BYTES:
        raise InvalidRequestError(
            "off_peak_too_large",
            f"An off-peak task may start after links to its images have expired, so they are sent inside the request, "
            f"which would have {size} bytes; the provider takes {MAX_SENT_BYTES}. Make the images smaller, give "
            f"lasting URLs, or send off_peak false.",
        )
