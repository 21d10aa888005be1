"""The whole copy, from a source that may do anything into a bucket: its result, and that no part of a video is left."""

import gzip
import hashlib
import os
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.httpchecksum import AwsChunkedWrapper, Sha256Checksum
from moto import mock_aws

from tests.contract.socket_server import (
    CHUNKED,
    Connection,
    SocketServer,
    Treatment,
    answers,
    chunks,
    floods,
    says,
    then,
)
from tests.unit.builders import box, movie, mp4
from tests.unit.domain.muxed import LAYOUTS, muxed, top_boxes
from vidu_relay.adapters import video_source
from vidu_relay.adapters.video_archive import PART_BYTES, VideoArchive
from vidu_relay.adapters.video_source import VideoSource
from vidu_relay.domain.errors import DeliveryError
from vidu_relay.domain.task import Video
from vidu_relay.outbound.address_guard import AddressGuard

BUCKET, KEY = "videos", "videos/acme/2027/01/15/t/1.mp4"
MAX = 40_000_000
DATA = muxed(LAYOUTS["moov at the end, with sound"])
LARGE = mp4(2 * PART_BYTES)

# one session, because reading botocore's service data takes longer than the tests
SESSION = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with mock_aws():
        client = SESSION.client("s3", config=Config(retries={"total_max_attempts": 1}))
        client.create_bucket(Bucket=BUCKET)
        yield client
        client.close()


def copy(s3: Any, *treatments: Treatment, seconds: float = 30, max_bytes: int = MAX) -> Video:
    with SocketServer(*treatments) as server:
        source = VideoSource(AddressGuard(trusted_origins=[server.origin]), max_bytes)
        with source.open(server.origin + "/v.mp4", deadline=time.monotonic() + seconds) as stream:
            return VideoArchive(s3, BUCKET).store(KEY, stream)


def ok(*headers: str, body: bytes = DATA, length: int | None = -1) -> Treatment:
    return says("200 OK", "Content-Type: video/mp4", *headers, body=body, length=length)


GZIP = "Content-Encoding: gzip"
FRAMINGS: dict[str, Callable[[bytes], Treatment]] = {
    "length": lambda data: ok(body=data),
    "to the end": lambda data: ok(body=data, length=None),
    "gzip": lambda data: ok(GZIP, body=gzip.compress(data, 1)),
    "chunked, with a length that is none": lambda data: ok(CHUNKED, body=chunks(data, 777), length=5),
    "length said twice, and more behind it": lambda data: ok(
        f"Content-Length: {len(data)}", body=data + b"HTTP/1.1 200 OK\r\n\r\n", length=len(data)
    ),
}


@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS)
@pytest.mark.parametrize("data", [DATA, LARGE], ids=["short", "long"])
def test_a_video_arrives_byte_for_byte_however_it_is_served(
    s3: Any, framing: Callable[[bytes], Treatment], data: bytes
) -> None:
    video = copy(s3, framing(data))
    assert s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == data
    assert (video.size, video.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    facts = (video.duration_seconds, video.width, video.height)
    assert facts == ((2.5, 96, 64) if data is DATA else (5.0, 1280, 720))
    assert s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []


HEAD = box(b"ftyp", b"isom\0\0\2\0") + movie() + box(b"mdat", size=0)
"""A film that goes on and on."""


def bomb(connection: Connection) -> None:
    """Inflates to a gigabyte."""
    packer = zlib.compressobj(9, wbits=31)
    answers(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + packer.compress(HEAD))(connection)
    zeros = bytes(100_000)
    for _ in range(10_000):
        connection.send(packer.compress(zeros))


def drips(connection: Connection) -> None:
    ok(body=DATA[:1000], length=len(DATA))(connection)
    connection.drip(DATA[1000:], 0.05)


INSIDE = top_boxes(DATA)[2][1] + 100
FRAGMENTS = muxed(LAYOUTS["fragments, with sound"])
BETWEEN = next(end for kind, _, end in top_boxes(FRAGMENTS) if kind == b"mdat")
PART = LARGE[: PART_BYTES + 200_000]

BAD: dict[str, tuple[str, Treatment]] = {
    "shorter than announced, between fragments": (
        "source_interrupted",
        ok(body=FRAGMENTS[:BETWEEN], length=len(FRAGMENTS)),
    ),
    "chunks that break off between fragments": (
        "source_interrupted",
        ok(CHUNKED, body=chunks(FRAGMENTS[:BETWEEN], end=b""), length=None),
    ),
    "longer than announced": ("truncated", ok(length=INSIDE)),
    "longer than announced, large": ("truncated", ok(body=LARGE, length=PART_BYTES + 5)),
    "cut, in parts": ("truncated", ok(body=LARGE[:-1], length=None)),
    "gzip that breaks off": ("truncated", ok(GZIP, body=gzip.compress(LARGE, 1)[:-9], length=None)),
    "negative length": ("truncated", ok("Content-Length: -5", body=DATA[:INSIDE], length=None)),
    "endless": ("too_large", floods(b"HTTP/1.1 200 OK\r\n\r\n" + HEAD, bytes(65536))),
    "endless chunks": (
        "too_large",
        floods(f"HTTP/1.1 200 OK\r\n{CHUNKED}\r\n\r\n".encode() + chunks(HEAD, end=b""), chunks(bytes(65536), end=b"")),
    ),
    "gzip bomb": ("too_large", bomb),
    "stalls after a part": ("source_interrupted", then(ok(body=PART, length=None), Connection.hold)),
    "resets between chunks": (
        "source_interrupted",
        then(ok(CHUNKED, body=chunks(PART, end=b""), length=None), Connection.reset),
    ),
    "drips": ("source_too_slow", drips),
}


@pytest.mark.parametrize(("code", "treatment"), BAD.values(), ids=BAD)
def test_whatever_goes_wrong_has_a_code_and_leaves_nothing_half_written(
    s3: Any, code: str, treatment: Treatment, monkeypatch: pytest.MonkeyPatch
) -> None:
    if code == "source_interrupted":  # no other waits for a silence to end
        monkeypatch.setattr(video_source, "SOCKET_SECONDS", 1)
    with pytest.raises(DeliveryError) as caught:
        copy(s3, treatment, seconds=1 if code == "source_too_slow" else 30)
    assert caught.value.code == code
    assert s3.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 0
    assert s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []


class ChunkSizes:
    """An S3 client that keeps the sizes of the chunks botocore makes of a body, the empty one at the end left out."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def put_object(self, *, Body: Any, **_: Any) -> dict[str, str]:  # noqa: N803 - boto3's name
        sent, at = AwsChunkedWrapper(Body, Sha256Checksum).read(), 0
        while size := int(sent[at : (end := sent.index(b"\r\n", at))], 16):
            self.sizes.append(size)
            at = end + 2 + size + 2
        return {"ChecksumSHA256": sent[end:].decode().partition(":")[2].strip()}


@pytest.mark.parametrize("crumb", [1, 8191, 8192])
def test_no_chunk_but_the_last_is_below_what_s3_takes_from_a_source_that_pauses(
    crumb: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 answers `InvalidChunkSizeError` to a chunk of fewer than 8,192 bytes that is not the last one."""
    monkeypatch.setattr(video_source, "MAX_BLOCK_SECONDS", 0.02)

    def pauses(connection: Connection) -> None:
        ok(body=LARGE[:crumb], length=len(LARGE))(connection)
        for start in range(crumb, 10 * crumb, crumb):
            time.sleep(0.05)
            connection.send(LARGE[start : start + crumb])
        connection.send(LARGE[10 * crumb :])

    client = ChunkSizes()
    video = copy(client, pauses)
    assert min(client.sizes[:-1]) >= 8192
    assert (sum(client.sizes), video.sha256) == (len(LARGE), hashlib.sha256(LARGE).hexdigest())


def test_a_gzip_bomb_is_bounded_in_memory() -> None:
    """A kilobyte of it becomes a megabyte; it is inflated no faster than it is passed on."""
    with SocketServer(bomb) as server:
        source = VideoSource(AddressGuard(trusted_origins=[server.origin]), 1 << 30)
        with source.open(server.origin + "/", deadline=time.monotonic() + 30) as stream:
            stream.read(131_072)
            tracemalloc.start()
            for _ in range(100):
                assert len(stream.read(131_072)) <= 131_072
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    assert peak < 4 << 20
