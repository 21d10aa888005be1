"""AWS clients for the functions: one session, one client a service, time-outs that fit a Lambda."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

import boto3
from botocore.config import Config

__all__ = ["client", "lazy_s3", "upload_client"]

_CALLS = Config(
    connect_timeout=2,
    read_timeout=6,
    retries={"mode": "standard", "total_max_attempts": 3},
    tcp_keepalive=True,
)
# Left to itself botocore signs S3 links by SigV2, which new buckets refuse, for the global host, which redirects.
_S3 = Config(
    signature_version="s3v4",
    s3={"addressing_style": "virtual", "us_east_1_regional_endpoint": "regional"},
)
# A streamed body cannot be sent twice, and a slow part is not a dead one. urllib3 takes the connect time-out for each
# write of the body too, so it must outlast a stall.
_UPLOADS = _S3.merge(Config(connect_timeout=20, read_timeout=60, retries={"total_max_attempts": 1}, tcp_keepalive=True))

_making = threading.Lock()
"""One thread at a time makes a client: a session is not thread-safe, and `cache` lets several first calls in at once.
Threads may share the client."""


@cache
def _session() -> boto3.Session:
    return boto3.Session()


@cache
def client(service: str, *, single_try: bool = False) -> Any:
    """The client of a service, made at the first call and kept. `single_try` for calls that must not be sent again."""
    with _making:
        return _client(_session(), service, single_try)


@cache
def _client(session: boto3.Session, service: str, single_try: bool) -> Any:
    config = _CALLS.merge(_S3) if service == "s3" else _CALLS
    if single_try:
        config = config.merge(Config(retries={"total_max_attempts": 1}))
    return session.client(service, config=config)  # type: ignore[call-overload]  # the name is not a literal here


@cache
def upload_client() -> Any:
    """The S3 client for streamed uploads: without retries."""
    return _session().client("s3", config=_UPLOADS)


class _LazyS3:
    def __getattr__(self, name: str) -> Any:
        return getattr(client("s3"), name)


def lazy_s3() -> Any:
    """The S3 client for a function that seldom calls S3, made at its first call.

    Making it is a tenth of a start; the clients of other services take a few milliseconds.
    """
    return _LazyS3()
