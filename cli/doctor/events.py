"""Checks of an event over the bus and of a file through the inbox."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from cli.doctor.findings import TENANT, Context, Finding, State
from cli.doctor.outside import tenant
from cli.tailing import Listener
from vidu_relay.adapters.event_bus import SOURCE
from vidu_relay.domain.queued_requests import REJECTED_PREFIX, REQUESTS_PREFIX
from vidu_relay.domain.states import EVENT_TYPE_REJECTED

PREFIX = "relay-doctor-"
"""Of the temporary rules and queues."""
DETAIL_TYPE = "RelayDoctor"
LEFT_AFTER = timedelta(minutes=10)
"""What is older was left by a run that was killed."""
LIVE_BY, CAME_BY, SEEN_BY = 40.0, 80.0, 100.0
"""Seconds after the beginning: a new rule of EventBridge takes effect within a minute, files take seconds."""


class _Probe:
    """A temporary queue that receives the events of checks and rejections, and what it has received."""

    def __init__(self, context: Context, listener: Listener) -> None:
        self._context, self._listener = context, listener
        self._received: list[dict[str, Any]] = []

    def received(self, wanted: Callable[[dict[str, Any]], bool]) -> bool:
        """Whether such an event has arrived by now."""
        self._received += self._listener.receive(1)
        return any(wanted(event) for event in self._received)

    def works(self, by: float) -> bool:
        """Whether an event of this check arrives, put repeatedly: a new rule takes effect after some time."""
        run, events = secrets.token_hex(8), self._context.client("events")
        entry = {"Source": TENANT, "DetailType": DETAIL_TYPE, "Detail": json.dumps({"run": run})}

        def put_and_received() -> bool:
            events.put_events(Entries=[{**entry, "EventBusName": self._listener.bus}])
            return self.received(lambda event: event["detail"].get("run") == run)

        return self._context.comes(put_and_received, by)


@contextmanager
def _listening(context: Context) -> Iterator[_Probe]:
    Listener.remove_leftovers(context.connection, PREFIX, time.time() - LEFT_AFTER.total_seconds())
    listener = Listener(context.connection, PREFIX)
    try:
        listener.set_up({"source": [TENANT, SOURCE], "detail-type": [DETAIL_TYPE, EVENT_TYPE_REJECTED]})
        yield _Probe(context, listener)
    finally:
        listener.remove()


def bus(context: Context) -> Finding:
    """Put an event, and see it arrive."""
    with _listening(context) as probe:
        if probe.works(SEEN_BY):
            return Finding(State.OK, "it arrived")
    return Finding(State.NOT, "it did not arrive", "check the bus and its policy in the EventBridge console")


def inbox(context: Context) -> Finding:
    """Drop an invalid file, and see it rejected: in S3, and on the bus."""
    tenant(context)
    s3, bucket, name = context.client("s3"), context.resource("InboxBucket"), f"{TENANT}/{secrets.token_hex(8)}.json"
    with _listening(context) as probe:
        live = False
        with suppress(ClientError):  # `bus` reports it
            live = probe.works(LIVE_BY)
        try:
            s3.put_object(Bucket=bucket, Key=REQUESTS_PREFIX + name, Body=b"{}")
            came = context.comes(lambda: _is_there(s3, bucket, REJECTED_PREFIX + name), CAME_BY)
            seen = came and context.comes(lambda: probe.received(lambda event: _is_about(event, name)), SEEN_BY)
        finally:
            _remove(s3, bucket, name)
    if not came:
        remedy = "sam logs --name AcceptRequest; S3 may send no event in the first five minutes after the first deploy"
        return Finding(State.NOT, "it did not come back", remedy)
    if seen:
        return Finding(State.OK, "it came back, and VideoTaskRejected was seen")
    found = "it came back, but VideoTaskRejected was not seen"
    return Finding(State.NOT if live else State.UNKNOWN, found, "sam logs --name AcceptRequest; the policy of the bus")


def _is_there(s3: Any, bucket: str, key: str) -> bool:
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return False
        raise
    return True


def _is_about(event: dict[str, Any], name: str) -> bool:
    return event["detail-type"] == EVENT_TYPE_REJECTED and str(event["detail"]["source"]).endswith(f"/{name}")


def _remove(s3: Any, bucket: str, name: str) -> None:
    """Remove the file and its answer, each with its versions, and what killed runs have left."""
    left_before = datetime.now(UTC) - LEFT_AFTER
    for prefix in (REQUESTS_PREFIX, REJECTED_PREFIX):
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=f"{prefix}{TENANT}/"):
            for found in (*page.get("Versions", []), *page.get("DeleteMarkers", [])):
                if found["Key"].endswith(name) or found["LastModified"] < left_before:
                    s3.delete_object(Bucket=bucket, Key=found["Key"], VersionId=found["VersionId"])
