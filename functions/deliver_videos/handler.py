"""The deliveries queue, one message at a time → the videos of a task in our bucket."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from vidu_relay import aws
from vidu_relay.adapters.delivery_queue import read_message
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.adapters.video_archive import VideoArchive
from vidu_relay.adapters.video_source import VideoSource
from vidu_relay.observability import observed
from vidu_relay.outbound.address_guard import AddressGuard
from vidu_relay.settings import DeliverVideosSettings, load, polling_policy
from vidu_relay.usecases.deliver_videos import DeliveryDependencies, deliver_videos
from vidu_relay.wiring import provider_accounts, providers

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

settings = load(DeliverVideosSettings)
deps = DeliveryDependencies(
    store=TaskStore(aws.client("dynamodb"), settings.table_name),
    providers=providers(provider_accounts(settings)),
    source=VideoSource(
        AddressGuard(hosts=settings.video_hosts, trusted_origins=settings.trusted_origins), settings.max_video_bytes
    ),
    archive=VideoArchive(aws.upload_client(), settings.videos_bucket),
    policy=polling_policy(settings),
)

MARGIN_SECONDS = 15.0
"""Kept free after the last byte: for S3's answer and the record."""


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    deadline = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - MARGIN_SECONDS
    for record in event["Records"]:  # the batch size is 1: an exception fails exactly the message it belongs to
        again = int(record.get("attributes", {}).get("ApproximateReceiveCount", "1")) > 1
        deliver_videos(read_message(record["body"]), deps, again=again, deadline=deadline)
    return {"batchItemFailures": []}
