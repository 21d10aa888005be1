"""The use cases wired to an account in memory, with every call an effect."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.simulation.effects import Effects, Listener, observed
from tests.simulation.notifications import Backend, MessageQueue
from tests.simulation.provider import Clock, SimulatedProvider, SimulatedSource
from tests.unit.account import SWEEP_FUNCTION, Account
from tests.unit.builders import OFFERING
from vidu_relay.adapters.batch_queue import BatchQueue
from vidu_relay.adapters.batch_store import BatchStore
from vidu_relay.adapters.check_function import CheckFunction, SweepFunction
from vidu_relay.adapters.daily_quota import DailyQuota
from vidu_relay.adapters.delivery_queue import DeliveryQueue
from vidu_relay.adapters.event_bus import EventBus
from vidu_relay.adapters.failures_bucket import FailuresBucket
from vidu_relay.adapters.image_bucket import ImageBucket
from vidu_relay.adapters.ledger import Ledger
from vidu_relay.adapters.notification_log import NotificationLog
from vidu_relay.adapters.price_book import PriceBooks
from vidu_relay.adapters.provider_pause import ProviderPauses
from vidu_relay.adapters.provider_queue import ProviderQueue
from vidu_relay.adapters.request_archive import RequestArchive
from vidu_relay.adapters.request_inbox import RequestInbox
from vidu_relay.adapters.reservations import Reservations
from vidu_relay.adapters.secret_store import ProviderAccounts, Secret
from vidu_relay.adapters.task_poller import TaskPoller
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.adapters.tenant_directory import TenantDirectory
from vidu_relay.adapters.video_archive import VideoArchive
from vidu_relay.adapters.video_links import VideoLinks
from vidu_relay.adapters.webhook_origins import WebhookOrigins
from vidu_relay.domain.callback_token import CallbackKeys
from vidu_relay.domain.identifiers import task_id_for_key
from vidu_relay.domain.polling import PollingPolicy
from vidu_relay.domain.queued_requests import BatchMessage, DroppedFile, RequestEvent
from vidu_relay.domain.task import Task
from vidu_relay.domain.utc_day import BUCKET_MS
from vidu_relay.http import MAX_BODY_BYTES, problem_document
from vidu_relay.outbound.address_guard import AddressGuard
from vidu_relay.usecases.accept_batch import BatchDependencies
from vidu_relay.usecases.accept_request import AcceptRequestDependencies
from vidu_relay.usecases.attempt_submission import SubmissionDependencies
from vidu_relay.usecases.cancel_task import CancelDependencies
from vidu_relay.usecases.check_references import ReferenceCheck
from vidu_relay.usecases.deliver_videos import DeliveryDependencies
from vidu_relay.usecases.dispatch_tasks import DispatchDependencies
from vidu_relay.usecases.notify_client import NotificationDependencies
from vidu_relay.usecases.ports import Providers
from vidu_relay.usecases.receive_callback import CallbackDependencies
from vidu_relay.usecases.send_webhook import SendingDependencies
from vidu_relay.usecases.submit_task import Acceptance
from vidu_relay.usecases.verify_reservations import SETTLE_MS, ReservationDependencies
from vidu_relay.wiring import keys_for

TENANT = "acme"
KEY = "order-1"
PUBLIC_URL = "https://relay.example.com"
LEDGER = "ledger"
PRICE = Decimal("1.5")
"""What is reserved for a task: its price is unknown, and there is no other task of its model."""
POLICY = PollingPolicy(
    first_check_seconds=120,
    check_interval_seconds=10,
    task_deadline_seconds=7200,
    late_watch_hours=72,
    retain_tasks_days=30,
)
FAR_MS = 10**9
"""More time than any function has, in ms."""


@dataclass(slots=True)
class Execution:
    """An execution of `poll_task` under way, or a single check: `wake_at` is when its wait ends."""

    task_id: str
    lease: int
    wake_at: int
    errors: int = 0
    single: bool = False


@dataclass(slots=True, eq=False)
class Queued:
    """A message in the queue of deliveries, and how often it was received."""

    task_id: str
    receives: int = 0


@dataclass(slots=True, eq=False)
class Request:
    """A message in the queue of requests. `task_id` is the task that it must become; None if it must be rejected."""

    asked: DroppedFile | RequestEvent
    task_id: str | None
    failures: int = 0
    dead: bool = False


@dataclass(slots=True, eq=False)
class AboutBatch:
    """A message about a batch in the queue of requests."""

    asked: DroppedFile | BatchMessage
    visible_at: int


class WiredRelay:
    """Every dependency of the use cases, and what is recorded of the table's stream and of the bus."""

    _on_bus: Listener
    """Events were put on the bus."""
    _queued: Listener
    _started: Listener
    """An execution was started."""
    _invoked: Listener

    def __init__(self, account: Account, provider: type[SimulatedProvider]) -> None:
        self.account = account
        self.key = KEY
        """The idempotency key of the task that the scenario is about."""
        self.clock = clock = Clock()
        self.effects = effects = Effects()
        self.stream: list[dict[str, Any]] = []
        self.published: list[tuple[str, dict[str, Any]]] = []
        """Detail type and detail of every event that was put on the bus."""
        self.published_after: list[int] = []
        """For each of them, how many records the stream had then."""
        self.shown_by_then: list[dict[str, int]] = []
        """For each record of the stream, how many states the provider had shown of each remote task by then."""
        self.handed: Counter[str] = Counter()
        """How often a record of the stream was handed to the publisher, by sequence number."""
        self.addresses = ["93.184.216.34"]
        """What every host name resolves to."""
        self.time_left = FAR_MS
        """How long the functions may still run, in ms."""
        self.committed: list[Decimal] = []
        """The counter of the tenant's day after each write of it."""
        self.freed: list[Decimal] = []
        """What comparisons have given back to budgets, in US dollars."""
        self.compare_at: int | None = None
        """When the half hour of the latest reservation is compared with its tasks."""
        self._images: dict[str, Mapping[str, Any]] = {}
        listeners = {
            "dynamodb": self._changed,
            "events": self._on_bus,
            "sqs": self._queued,
            "stepfunctions": self._started,
            "lambda": self._invoked,
        }
        c = {name: observed(client, name, effects, listeners.get(name)) for name, client in account.clients.items()}
        seconds: Callable[[], float] = lambda: clock.now / 1000  # noqa: E731 - secrets age in simulated time
        accounts = ProviderAccounts(Secret(c["secretsmanager"], account.provider_secret, seconds), provider.name)
        signing, verifying = (Secret(c["secretsmanager"], account.callback_secret, seconds) for _ in range(2))
        directory = TenantDirectory(c["dynamodb"], account.table)
        self.tenants = TenantDirectory(account.clients["dynamodb"], account.table)
        """The operator's; what it does is not an effect."""
        account.clients["dynamodb"].put_item(
            TableName=account.table,
            Item={"pk": {"S": f"tenant#{TENANT}"}, "owner": {"S": "#tenants"}, "created_at": {"N": "1"}},
        )
        self.store = TaskStore(c["dynamodb"], account.table)
        self.single_try = observed(account.clients["dynamodb"], "single_try", effects)
        self.quota = DailyQuota(c["dynamodb"], account.table, once=self.single_try)
        self.provider = provider(clock, effects, lambda: accounts.account(provider.name)[1])
        self.beside: dict[str, SimulatedProvider] = {}
        """Other providers by name."""
        providers: Providers = lambda name: self.beside.get(name, self.provider)  # noqa: E731 - read at each call
        self.source = SimulatedSource(effects)
        self.requests = RequestArchive(c["s3"], account.inbox)
        self.videos = VideoLinks(c["s3"])
        self.queue = DeliveryQueue(c["sqs"], account.queue_url)
        self.poller = TaskPoller(c["stepfunctions"], account.state_machine_arn)
        self.checker = CheckFunction(c["lambda"], account.check_function)
        self.bus = EventBus(c["events"], account.bus)
        self.ledger = Ledger(c["dynamodb"], LEDGER, account.table)
        self.comparison = ReservationDependencies(
            directory, Reservations(c["dynamodb"], account.table), self.store, self.ledger, clock
        )
        self.failures = FailuresBucket(c["s3"], account.failures, "publish_events")
        self.backend = Backend(effects, lambda: len(self.stream))
        self.notifications = MessageQueue(effects, clock)
        self.images = ReferenceCheck(
            bucket=ImageBucket(c["s3"], account.inbox),
            source=None,
            tenants=directory,
            guard=AddressGuard(resolve=lambda *_: self.addresses),
        )
        self.submission = SubmissionDependencies(
            store=self.store,
            providers=providers,
            pauses=ProviderPauses(c["dynamodb"], account.table),
            tenants=directory,
            sleep=lambda _: None,
            images=self.images.bucket,
            signing_keys=lambda: CallbackKeys(signing.get()),
            public_base_url=PUBLIC_URL,
            policy=POLICY,
            clock=clock,
        )
        self.sweeper = SweepFunction(c["lambda"], SWEEP_FUNCTION)
        self.dispatch = DispatchDependencies(
            store=self.store,
            queue=ProviderQueue(c["dynamodb"], account.table),
            pauses=self.submission.pauses,
            checker=self.checker,
            policy=POLICY,
            ceiling=100,
            clock=clock,
        )
        self.acceptance = Acceptance(
            quota=self.quota,
            archive=self.requests,
            images=self.images,
            poller=self.poller,
            offering=OFFERING,
            prices=PriceBooks(c["dynamodb"], account.table, PRICE, seconds=seconds),
            submission=self.submission,
        )
        self.intake = AcceptRequestDependencies(
            acceptance=self.acceptance,
            directory=directory,
            inbox=RequestInbox(c["s3"], account.inbox),
            bus=self.bus,
            describe=problem_document,
            default_daily_cap=1000,
            max_file_bytes=MAX_BODY_BYTES,
        )
        self.batching = BatchDependencies(
            requests=self.intake,
            batches=BatchStore(c["dynamodb"], account.table),
            queue=BatchQueue(c["sqs"], account.requests_url),
            sweep=self.sweeper,
        )
        self.callbacks = CallbackDependencies(
            store=self.store,
            providers=providers,
            poller=self.poller,
            callback_keys=lambda token: keys_for(token, verifying),
            signature_keys=accounts.signing,
            signature_mode="off",
            public_base_url=PUBLIC_URL,
            policy=POLICY,
            clock=clock,
        )
        self.cancellation = CancelDependencies(
            store=self.store, providers=providers, poller=self.poller, policy=POLICY, clock=clock
        )
        self.notification = NotificationDependencies(
            store=self.store,
            tenants=directory,
            videos=self.videos,
            webhook=self.backend,
            origins=WebhookOrigins(c["dynamodb"], account.table),
            queue=self.notifications,
            bus=self.bus,
            log=NotificationLog(self.single_try, account.table),
            master=Secret(c["secretsmanager"], account.webhook_secret, seconds).get,
            policy=POLICY,
            clock=clock,
            jitter=lambda: 0.5,
        )
        self.sending = SendingDependencies(
            store=self.store,
            tenants=directory,
            quota=self.quota,
            queue=self.notifications,
            webhook=self.backend,
            master=self.notification.master,
            clock=clock,
        )
        self.delivery = DeliveryDependencies(
            store=self.store,
            providers=providers,
            source=self.source,
            archive=VideoArchive(c["s3"], account.videos),
            policy=POLICY,
            clock=clock,
        )

    # What can be observed; observing is not an effect

    def task_id(self, key: str | None = None, tenant: str = TENANT) -> str:
        return task_id_for_key(tenant, self.key if key is None else key)

    def task(self, task_id: str) -> Task:
        found = TaskStore(self.account.clients["dynamodb"], self.account.table).get(task_id)
        assert found is not None, "there is no such record"
        return found

    def item(self, pk: str) -> dict[str, Any] | None:
        reply = self.account.clients["dynamodb"].get_item(TableName=self.account.table, Key={"pk": {"S": pk}})
        found: dict[str, Any] | None = reply.get("Item")
        return found

    def items(self, *, ledger: bool = False) -> list[dict[str, Any]]:
        """Everything in the table of tasks, or in the ledger's, whose items have a `sk`."""
        found: list[dict[str, Any]] = self.account.clients["dynamodb"].scan(TableName=self.account.table)["Items"]
        return [item for item in found if ("sk" in item) is ledger]

    def batches(self) -> list[dict[str, Any]]:
        """The items of batches."""
        return [item for item in self.items() if item["pk"]["S"].startswith("batch#")]

    def forget(self, task_id: str) -> None:
        """The record is deleted, as TTL does; the names of executions stay taken."""
        del self._images[f"task#{task_id}"]
        key = {"pk": {"S": f"task#{task_id}"}}
        self.account.clients["dynamodb"].delete_item(TableName=self.account.table, Key=key)

    def token(self, task_id: str) -> str:
        """A token under the active key."""
        secret = self.account.clients["secretsmanager"].get_secret_value(SecretId=self.account.callback_secret)
        return CallbackKeys(json.loads(secret["SecretString"])).sign(task_id)

    def executions(self) -> list[tuple[str, int]]:
        """Task and lease of every execution of `poll_task` that was ever started."""
        client = self.account.clients["stepfunctions"]
        listed = client.list_executions(stateMachineArn=self.account.state_machine_arn)["executions"]
        inputs = [json.loads(client.describe_execution(executionArn=e["executionArn"])["input"]) for e in listed]
        return sorted((given["task_id"], given["lease"]) for given in inputs)

    def rejections(self) -> list[dict[str, Any]]:
        """Details of the rejections on the bus."""
        return [detail for kind, detail in self.published if kind == "VideoTaskRejected"]

    def answer(self, file: DroppedFile) -> Any:
        """The problem document beside a refused file; None without one."""
        s3, where = self.account.clients["s3"], {"Bucket": self.account.inbox}
        if not s3.list_objects_v2(**where, Prefix=file.rejected_key)["KeyCount"]:
            return None
        return json.loads(s3.get_object(**where, Key=file.rejected_key)["Body"].read())

    def stored(self, key: str) -> bytes:
        """The bytes of an object in the videos bucket."""
        data: bytes = self.account.clients["s3"].get_object(Bucket=self.account.videos, Key=key)["Body"].read()
        return data

    def linked(self, link: str) -> bytes:
        """What a presigned link to an image opens."""
        parts = urlsplit(link)
        query = parse_qs(parts.query)
        assert query["X-Amz-Signature"], "the link is not signed"
        version = {"VersionId": query["versionId"][0]} if "versionId" in query else {}
        bucket, key = parts.netloc.partition(".")[0], unquote(parts.path[1:])
        data: bytes = self.account.clients["s3"].get_object(Bucket=bucket, Key=key, **version)["Body"].read()
        return data

    def _changed(self, operation: str, arguments: Mapping[str, Any], reply: Any) -> None:
        """The table's stream, filtered as the template filters it."""
        if operation == "transact_write_items":
            written = [write["Put"]["Item"] for write in arguments["TransactItems"] if "Put" in write]
        elif operation == "put_item":
            written = [arguments["Item"]]
        elif operation == "update_item":
            key = {"TableName": arguments["TableName"], "Key": arguments["Key"]}
            written = [self.account.clients["dynamodb"].get_item(**key)["Item"]]
            if "accepted" in arguments["UpdateExpression"]:
                self.compare_at = (self.clock.now // BUCKET_MS + 1) * BUCKET_MS + SETTLE_MS
            elif "verified" in arguments["UpdateExpression"]:
                self.freed.append(-Decimal(arguments["ExpressionAttributeValues"][":difference"]["N"]))
        else:
            return
        for after in written:
            pk = after["pk"]["S"]
            if pk.startswith("cap#"):
                self.committed.append(Decimal(after.get("committed", {"N": "0"})["N"]))
            before = self._images.get(pk)
            if not pk.startswith("task#") or before == after:
                continue
            self._images[pk] = after
            self.shown_by_then.append({remote_id: len(shown) for remote_id, shown in self.provider.shown.items()})
            change: dict[str, Any] = {"SequenceNumber": f"{len(self.stream) + 1:021d}", "NewImage": after}
            if before is not None:
                change["OldImage"] = before
            self.stream.append({"eventName": "MODIFY" if before else "INSERT", "dynamodb": change})
