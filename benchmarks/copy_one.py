"""One copy of a video in a process of its own: ``python -m benchmarks.copy_one WAY URL``, for `benchmarks/copy.py`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from benchmarks.copy_servers import sink_requests

WARM_UP_BYTES = 300_000


def measure(way: str, url: str) -> tuple[float, float, float]:
    """Elapsed seconds, CPU seconds, and MB that the resident set grew by at most."""
    run = _fileobj() if way == "upload_fileobj" else _relay(url)
    before = _resident("VmRSS")
    parts = url.split("/")
    run("/".join([*parts[:3], str(WARM_UP_BYTES), *parts[4:]]))
    sink_requests(int(os.environ["AWS_ENDPOINT_URL_S3"].rpartition(":")[2]), os.environ["AWS_CA_BUNDLE"])
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    began, used = time.perf_counter(), time.process_time()
    run(url)
    return time.perf_counter() - began, time.process_time() - used, (_resident("VmHWM") - before) / 1024


def _relay(url: str) -> Callable[[str], object]:
    import certifi

    # the relay trusts certifi's bundle alone; ours signed the source
    certifi.where = lambda: os.environ["SSL_CERT_FILE"]
    from vidu_relay import aws
    from vidu_relay.adapters.video_archive import VideoArchive
    from vidu_relay.adapters.video_source import VideoSource
    from vidu_relay.outbound.address_guard import AddressGuard

    source = VideoSource(AddressGuard(trusted_origins=["/".join(url.split("/")[:3])]), 1 << 40)
    archive = VideoArchive(aws.upload_client(), "b")

    def run(url: str) -> None:
        with source.open(url, deadline=time.monotonic() + 300) as stream:
            archive.store("k", stream)

    return run


def _fileobj() -> Callable[[str], object]:
    import boto3

    client: Any = boto3.client("s3")

    def run(url: str) -> None:
        with closing(urlopen(url)) as body:  # noqa: S310 - the address of our own server
            client.upload_fileobj(body, "b", "k")

    return run


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(*sys.argv[1:])))
