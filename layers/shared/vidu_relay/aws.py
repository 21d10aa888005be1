"""AWS clients for the functions: one session, one client a service, time-outs that fit a Lambda."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import boto3
from botocore.config import Config

__all__ = ["client", "single_try_client", "upload_client", "when_needed"]

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
"""One thread at a time makes a client: a session is not thread-safe, and `cache` lets all threads in that come early.
A client that is made may be used by many."""


@cache
def _session() -> boto3.Session:
    return boto3.Session()


@cache
def client(service: str) -> Any:
    """The client of a service, made when it is first asked for and kept."""
    with _making:
        return _client(_session(), service)


@cache
def _client(session: boto3.Session, service: str) -> Any:
    config = _CALLS.merge(_S3) if service == "s3" else _CALLS
    return session.client(service, config=config)  # type: ignore[call-overload]  # the name is not a literal here


@cache
def single_try_client(service: str) -> Any:
    """The client of a service for calls that must not be sent again: botocore never repeats one."""
    config = _CALLS.merge(Config(retries={"total_max_attempts": 1}))
    with _making:
        return _session().client(service, config=config)  # type: ignore[call-overload]  # the name is not a literal here


@cache
def upload_client() -> Any:
    """The S3 client for streamed uploads: without retries."""
    return _session().client("s3", config=_UPLOADS)


class _WhenNeeded:
    """Stands for a client until one of its operations is called."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def __getattr__(self, name: str) -> Any:
        return getattr(self._make(), name)


def when_needed(service: str, *, single_try: bool = False) -> Any:
    """The client of a service that a function seldom calls: made at the first call, not at the function's start.

    `single_try` for calls that must not be sent again.
    """
    return _WhenNeeded(lambda: single_try_client(service) if single_try else client(service))
