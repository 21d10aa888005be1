"""The videos bucket: nothing is visible before it is proven, nothing is overwritten, nothing is sent twice."""

import hashlib
import io
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.awsrequest import AWSResponse, HTTPHeaders
from botocore.exceptions import EndpointConnectionError, HTTPClientError
from botocore.httpsession import URLLib3Session
from botocore.response import StreamingBody
from botocore.stub import Stubber
from moto.core.models import botocore_stubber
from urllib3 import HTTPResponse

from tests.unit.adapters.conftest import BUCKET
from tests.unit.builders import MP4_FRAME, box, movie, mp4
from vidu_relay.adapters.video_archive import BLOCK_BYTES, MAX_LOOKS, PART_BYTES, VideoArchive
from vidu_relay.adapters.video_links import VideoLinks
from vidu_relay.domain.errors import BadSourceError, DeliveryError, DeliveryInterruptedError
from vidu_relay.domain.task import Video
from vidu_relay.domain.video_proof import UNKNOWN

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEY = "videos/acme/2027/01/15/t/1.mp4"


class Source:
    """A stream that hands out `data` in blocks of at most `block`, and may break off."""

    def __init__(
        self, data: bytes, *, length: int | None = None, block: int = 1 << 30, fault: DeliveryError | None = None
    ) -> None:
        self.length = length
        self.left = memoryview(data)
        self.block = block
        self.fault = fault
        self.largest = 0

    def read(self, size: int) -> bytes:
        self.largest = max(self.largest, size)
        step = min(size, self.block)
        out, self.left = bytes(self.left[:step]), self.left[step:]
        if not out and self.fault:
            raise self.fault
        return out


def known(data: bytes, **more: Any) -> Source:
    return Source(data, length=len(data), **more)


@pytest.fixture
def calls(s3: "S3Client") -> Iterator[list[str]]:
    """The names of the S3 calls made, in order."""
    made: list[str] = []
    s3.meta.events.register("before-call.s3", lambda model, **_: made.append(model.name))
    yield made
    s3.meta.events.unregister("before-call.s3")


def held(s3: "S3Client") -> dict[str, bytes]:
    """What the bucket holds."""
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
    return {key: s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


def assert_nothing_left(s3: "S3Client") -> None:
    assert held(s3) == {}
    assert s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []


def described(data: bytes) -> Video:
    """The video that `mp4` makes: 5 s in 1280×720."""
    return Video(BUCKET, KEY, len(data), hashlib.sha256(data).hexdigest(), "video/mp4", 5.0, 1280, 720)


ONE_BLOCK, ONE_PART = BLOCK_BYTES - MP4_FRAME, PART_BYTES - MP4_FRAME


@pytest.mark.parametrize(
    ("media", "known_length"),
    [
        *((media, True) for media in (1, ONE_BLOCK - 1, ONE_BLOCK, ONE_BLOCK + 1, 3 * BLOCK_BYTES + 5)),
        *((media, False) for media in (1, ONE_BLOCK, ONE_PART, ONE_PART + 1, 2 * PART_BYTES + 7)),
        (ONE_PART + PART_BYTES, False),
    ],
)
@pytest.mark.parametrize("block", [1 << 30, 70_001])
def test_a_video_is_stored_byte_for_byte_in_one_put_or_in_parts_where_its_length_is_unknown(
    s3: "S3Client", calls: list[str], media: int, known_length: bool, block: int
) -> None:
    data = mp4(media)
    source = Source(data, length=len(data) if known_length else None, block=block)
    assert VideoArchive(s3, BUCKET).store(KEY, source) == described(data)
    parts = ["UploadPart"] * -(-len(data) // PART_BYTES)
    in_parts = ["CreateMultipartUpload", *parts, "CompleteMultipartUpload"]
    assert calls == (["PutObject"] if known_length or len(parts) == 1 else in_parts)
    assert held(s3) == {KEY: data}
    assert s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []


@pytest.mark.parametrize("length", [None, MP4_FRAME + 1, MP4_FRAME + ONE_PART])
def test_metadata_is_the_object_s_and_changes_no_byte(s3: "S3Client", length: int | None) -> None:
    data = mp4((length or MP4_FRAME + 2 * PART_BYTES) - MP4_FRAME)
    labels = {"external-id": "4711", "label-Team": "%C3%A4%20b"}
    assert VideoArchive(s3, BUCKET).store(KEY, Source(data, length=length), labels) == described(data)
    head = s3.head_object(Bucket=BUCKET, Key=KEY)
    assert {name.lower(): value for name, value in head["Metadata"].items()} == {
        "external-id": "4711",
        "label-team": "%C3%A4%20b",
    }
    assert (head["ContentType"], held(s3)) == ("video/mp4", {KEY: data})


def test_s3_itself_checks_the_sha_256_and_refuses_to_overwrite(s3: "S3Client") -> None:
    sent: list[Any] = []
    s3.meta.events.register("before-send.s3.PutObject", lambda request, **_: sent.append(request.headers))
    VideoArchive(s3, BUCKET).store(KEY, known(mp4()))
    (headers,) = sent
    assert headers["X-Amz-Trailer"] == b"x-amz-checksum-sha256"
    assert headers["If-None-Match"] == b"*"
    assert headers["Content-Type"] == b"video/mp4"


# --- sources that are not a video


WHOLE = mp4(600_000)
LARGE = mp4(2 * PART_BYTES)
CUT_BOX = box(b"free", bytes(40))[:-1]
BAD = {
    "web page": b"<!DOCTYPE html>" + b"x" * 600_000,
    "cut": WHOLE[:-1],
    "cut in the first block": WHOLE[:1000],
    "no media": WHOLE[:MP4_FRAME],
    "cut behind the media": WHOLE + CUT_BOX,
    "empty": b"",
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
@pytest.mark.parametrize("length", [None, "true", "promised"])
def test_a_bad_source_leaves_nothing_behind(s3: "S3Client", data: bytes, length: str | None) -> None:
    source = Source(data, length={"true": len(data), "promised": len(WHOLE)}.get(length or ""))
    with pytest.raises(BadSourceError):
        VideoArchive(s3, BUCKET).store(KEY, source)
    assert_nothing_left(s3)


@pytest.mark.parametrize("data", [LARGE[:-1], LARGE[: PART_BYTES + 200_000], LARGE + CUT_BOX], ids=len)
def test_parts_of_a_bad_source_are_thrown_away(s3: "S3Client", calls: list[str], data: bytes) -> None:
    with pytest.raises(BadSourceError):
        VideoArchive(s3, BUCKET).store(KEY, Source(data))
    assert calls[-1] == "AbortMultipartUpload"
    assert_nothing_left(s3)


def test_what_is_certainly_bad_is_never_brought_to_s3(s3: "S3Client", calls: list[str]) -> None:
    for data in (b"", BAD["web page"], BAD["cut"]):
        with pytest.raises(BadSourceError):
            VideoArchive(s3, BUCKET).store(KEY, Source(data))
    with pytest.raises(BadSourceError):
        VideoArchive(s3, BUCKET).store(KEY, known(b""))
    assert calls == []


@pytest.mark.parametrize("length", [None, "known"])
def test_memory_stays_the_same_whatever_the_size(
    s3: "S3Client", length: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 64_000_000
    block = bytes(BLOCK_BYTES)
    head = box(b"ftyp", b"isom\0\0\2\0") + movie() + box(b"mdat", size=8 + size)
    sent = 0

    class Endless:
        def __init__(self) -> None:
            self.length = len(head) + size if length else None
            self.head, self.left = head, size

        def read(self, wanted: int) -> bytes:
            if self.head:
                self.head, out = b"", self.head
                return out
            step = min(wanted, self.left)
            self.left -= step
            return block[:step]

    def swallow(_: object, request: Any) -> AWSResponse:
        nonlocal sent
        while data := request.body.read(131_072) if hasattr(request.body, "read") else b"":
            sent += len(data)
        answer = b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
        headers = {"x-amz-checksum-sha256": "q" * 43 + "=", "ETag": '"e"'}
        raw = HTTPResponse(io.BytesIO(answer), headers=headers, status=200, preload_content=False)
        return AWSResponse(request.url, 200, HTTPHeaders.from_dict(headers), raw)

    monkeypatch.setattr(botocore_stubber, "enabled", False)
    monkeypatch.setattr(URLLib3Session, "send", swallow)
    VideoArchive(s3, BUCKET).store(KEY, Endless())  # whatever is loaded or cached once
    sent = 0
    tracemalloc.start()
    VideoArchive(s3, BUCKET).store(KEY, Endless())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sent > size
    assert peak < (8 << 20 if length is None else 2 << 20)


@pytest.mark.parametrize("length", [None, len(WHOLE)])
@pytest.mark.parametrize(
    "fault", [BadSourceError("truncated", ""), DeliveryInterruptedError("source_interrupted", "")], ids=repr
)
@pytest.mark.parametrize("arrived", [0, 400_000, len(WHOLE)])
def test_a_source_that_breaks_off_leaves_nothing_behind_and_its_own_fault_is_reported(
    s3: "S3Client", length: int | None, fault: DeliveryError, arrived: int
) -> None:
    with pytest.raises(DeliveryError) as caught:
        VideoArchive(s3, BUCKET).store(KEY, Source(WHOLE[:arrived], length=length, fault=fault))
    assert caught.value is fault
    assert_nothing_left(s3)


def test_a_fault_that_the_http_client_wraps_is_still_reported(s3: "S3Client") -> None:
    """botocore turns what goes wrong while it reads the body into an error of its own."""

    def sends(request: Any, **_: Any) -> None:
        try:
            while request.body.read():
                pass
        except DeliveryError as error:
            raise HTTPClientError(error=error) from error

    s3.meta.events.register_first("before-send.s3.PutObject", sends)
    with pytest.raises(BadSourceError) as caught:
        VideoArchive(s3, BUCKET).store(KEY, known(BAD["cut"]))
    assert caught.value.code == "truncated"


# --- a key that is taken


@pytest.mark.parametrize("length", [None, "known"])
def test_what_is_there_is_described_and_never_overwritten(s3: "S3Client", length: str | None) -> None:
    first, second = mp4(1000), mp4(PART_BYTES)
    assert VideoArchive(s3, BUCKET).find(KEY) is None
    VideoArchive(s3, BUCKET).store(KEY, known(first))
    source = known(second) if length else Source(second)
    assert VideoArchive(s3, BUCKET).store(KEY, source) == described(first)
    assert held(s3) == {KEY: first}
    assert s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []


@pytest.mark.parametrize("moov", ["first", "last"])
def test_what_a_stored_video_says_of_itself_is_read_without_its_media(
    s3: "S3Client", calls: list[str], moov: str
) -> None:
    ftyp, media = box(b"ftyp", b"isom\0\0\2\0"), box(b"mdat", bytes(3_000_000))
    data = ftyp + (movie() + media if moov == "first" else media + movie())
    archive = VideoArchive(s3, BUCKET)
    stored = archive.store(KEY, known(data))
    assert stored == described(data)
    calls.clear()
    assert archive.find(KEY) == stored
    assert calls == ["HeadObject", *["GetObject"] * (1 if moov == "first" else 2)]


def test_a_stored_video_of_very_many_fragments_is_described_without_what_it_says_of_itself(
    s3: "S3Client", calls: list[str]
) -> None:
    """What is not known is left open; looking for it has an end."""
    fragment = box(b"moof", box(b"mfhd", bytes(8))) + box(b"mdat", bytes(70_000))
    data = box(b"ftyp", b"isom\0\0\2\0") + movie() + fragment * 60
    archive = VideoArchive(s3, BUCKET)
    stored = archive.store(KEY, known(data))
    assert stored.duration_seconds == 5.0
    calls.clear()
    assert archive.find(KEY) == replace(stored, duration_seconds=None, width=None, height=None, notes=UNKNOWN.notes)
    assert calls == ["HeadObject", *["GetObject"] * MAX_LOOKS]


@pytest.mark.parametrize(
    "data", [mp4(600_000), b"notes of an operator", mp4(9_000)[:-1], b""], ids=["mp4", "text", "cut", "empty"]
)
@pytest.mark.parametrize("checksum", ["SHA256", "CRC32"])
def test_what_is_there_is_described_as_it_is_with_a_sha_256_of_its_own_or_not(
    s3: "S3Client", data: bytes, checksum: Any
) -> None:
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=data, ChecksumAlgorithm=checksum)
    found = VideoArchive(s3, BUCKET).find(KEY)
    sha256 = hashlib.sha256(data).hexdigest()
    unknown = Video(BUCKET, KEY, len(data), sha256, "video/mp4", notes=UNKNOWN.notes)
    assert found == (described(data) if len(data) > 600_000 else unknown)


def test_what_is_odd_about_a_video_is_noted_and_it_is_stored(s3: "S3Client") -> None:
    data = WHOLE + b"\xff"
    stored = VideoArchive(s3, BUCKET).store(KEY, known(data))
    assert stored == replace(described(data), notes=("trailing_bytes",))
    assert held(s3) == {KEY: data}
    assert VideoArchive(s3, BUCKET).find(KEY) == stored


def test_a_checksum_of_parts_is_not_taken_for_that_of_the_video(s3: "S3Client") -> None:
    """S3 marks a checksum of checksums with the number of parts."""
    data = mp4(100)
    with Stubber(s3) as stub:
        stub.add_response(
            "head_object",
            {"ContentLength": len(data), "ChecksumSHA256": "+M3QxiKsnCrn+x6JUs267GRYxNbQKHVJkJ+Jcf60hYk=-3"},
            {"Bucket": BUCKET, "Key": KEY, "ChecksumMode": "ENABLED"},
        )
        stub.add_response(
            "get_object", {"Body": StreamingBody(io.BytesIO(data), len(data))}, {"Bucket": BUCKET, "Key": KEY}
        )
        assert VideoArchive(s3, BUCKET).find(KEY) == described(data)


# --- trouble with S3


Call = Callable[[VideoArchive], object]
TROUBLE: dict[str, tuple[list[tuple[str, Any]], Call]] = {
    **{
        f"{code} to a PUT": ([("put_object", code)], lambda archive: archive.store(KEY, known(mp4())))
        for code in ("SlowDown", "InternalError", "AccessDenied", "ConditionalRequestConflict")
    },
    "to a HEAD": ([("head_object", "SlowDown")], lambda archive: archive.find(KEY)),
    "to the read of a hash": (
        [("head_object", {"ContentLength": 5}), ("get_object", "SlowDown")],
        lambda archive: archive.find(KEY),
    ),
    "gone after a 412": (
        [("put_object", "PreconditionFailed"), ("head_object", "404")],
        lambda archive: archive.store(KEY, known(mp4())),
    ),
}
STATUS = {"PreconditionFailed": 412, "404": 404}


@pytest.mark.parametrize(("answers", "call"), TROUBLE.values(), ids=TROUBLE)
def test_trouble_with_s3_is_not_the_source_s_fault(s3: "S3Client", answers: list[tuple[str, Any]], call: Call) -> None:
    with Stubber(s3) as stub:
        for method, answer in answers:
            if isinstance(answer, str):
                stub.add_client_error(method, answer, http_status_code=STATUS.get(answer, 503))
            else:
                stub.add_response(method, answer, None)
        with pytest.raises(DeliveryInterruptedError):
            call(VideoArchive(s3, BUCKET))


@pytest.mark.parametrize("operation", ["PutObject", "HeadObject"])
def test_an_s3_that_cannot_be_reached_is_not_the_source_s_fault(s3: "S3Client", operation: str) -> None:
    def unreachable(**_: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://s3.example")

    s3.meta.events.register_first(f"before-send.s3.{operation}", unreachable)
    archive = VideoArchive(s3, BUCKET)
    with pytest.raises(DeliveryInterruptedError):
        archive.store(KEY, known(mp4())) if operation == "PutObject" else archive.find(KEY)


def test_an_upload_that_fails_is_aborted(s3: "S3Client") -> None:
    with Stubber(s3) as stub:
        stub.add_response("create_multipart_upload", {"UploadId": "u"}, None)
        stub.add_client_error("upload_part", "SlowDown")
        stub.add_client_error(
            "abort_multipart_upload", "SlowDown", expected_params={"Bucket": BUCKET, "Key": KEY, "UploadId": "u"}
        )
        with pytest.raises(DeliveryInterruptedError, match="SlowDown to UploadPart"):
            VideoArchive(s3, BUCKET).store(KEY, Source(LARGE))
        stub.assert_no_pending_responses()


# --- links


def test_a_link_opens_our_copy_for_at_most_a_quarter_of_an_hour(s3: "S3Client") -> None:
    link = VideoLinks(s3).link(described(mp4()))
    assert KEY in link
    assert BUCKET in link
    age = next(part for part in link.replace("?", "&").split("&") if part.startswith(("X-Amz-Expires", "Expires")))
    name, _, value = age.partition("=")
    assert name == "X-Amz-Expires"
    assert int(value) <= 900
