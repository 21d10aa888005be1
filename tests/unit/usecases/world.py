"""The use cases wired to an account in memory, and what AWS does between them: stream, queue, sweep, executions."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.unit.usecases.account import Account
from tests.unit.usecases.effects import Effects, ProcessDeathError, watched
from tests.unit.usecases.scripted import Clock, ScriptedProvider, ScriptedSource, ScriptedWebhook
from tests.unit.usecases.telling import Backend
from vidu_relay.adapters.daily_quota import DailyQuota
from vidu_relay.adapters.delivery_queue import DeliveryQueue, read_message
from vidu_relay.adapters.event_bus import EventBus
from vidu_relay.adapters.failures_bucket import FailuresBucket
from vidu_relay.adapters.image_bucket import ImageBucket
from vidu_relay.adapters.notification_queue import NotificationQueue
from vidu_relay.adapters.provider_pause import ProviderPauses
from vidu_relay.adapters.request_archive import RequestArchive
from vidu_relay.adapters.request_inbox import RequestInbox
from vidu_relay.adapters.secret_store import ProviderKey, Secret
from vidu_relay.adapters.task_poller import TaskPoller
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.adapters.tenant_directory import Door, TenantDirectory
from vidu_relay.adapters.video_archive import VideoArchive
from vidu_relay.adapters.video_links import VideoLinks
from vidu_relay.adapters.webhook_origins import WebhookOrigins
from vidu_relay.domain.callback_token import CallbackKeys
from vidu_relay.domain.identifiers import task_id_for_key
from vidu_relay.domain.intake import DroppedFile, RequestEvent, own_key
from vidu_relay.domain.request import VideoRequest, parse_request
from vidu_relay.domain.task import Task
from vidu_relay.domain.watching import WatchPolicy
from vidu_relay.http import MAX_BODY_BYTES, problem_document
from vidu_relay.outbound.address_guard import AddressGuard
from vidu_relay.usecases.accept_request import IntakePorts, accept_request
from vidu_relay.usecases.attempt_submission import SubmissionPorts
from vidu_relay.usecases.cancel_task import CancelPorts, cancel_task
from vidu_relay.usecases.check_images import ImageCheck
from vidu_relay.usecases.check_task import Verdict, check_task
from vidu_relay.usecases.deliver_videos import DeliveryPorts, deliver_videos
from vidu_relay.usecases.find_overdue_tasks import SweepResult, find_overdue_tasks
from vidu_relay.usecases.notify_client import NotificationPorts
from vidu_relay.usecases.publish_events import publish_events
from vidu_relay.usecases.receive_callback import Callback, CallbackPorts, receive_callback
from vidu_relay.usecases.submit_task import Acceptance, submit_task
from vidu_relay.wiring import keys_for

__all__ = ["EVENT_SOURCE", "KEY", "MODEL", "PUBLIC_URL", "TENANT", "RestlessError", "World"]

TENANT = "acme"
KEY = "order-1"
EVENT_SOURCE = "acme.orders"
MODEL = "viduq2_pro_fast_reference2video"
PUBLIC_URL = "https://relay.example.com"
POLICY = WatchPolicy(
    first_check_seconds=120,
    check_interval_seconds=10,
    task_deadline_seconds=7200,
    late_watch_hours=72,
    retain_tasks_days=30,
)
MAX_RECEIVES = 5
"""As the template has it for the queue of requests."""
FAR = 1e12
"""A monotonic deadline that no test reaches."""
FAR_MS = 10**9
"""More time than any function has, in ms."""


class RestlessError(AssertionError):
    """Time passes and passes, and there is always something left to do."""


@dataclass(slots=True)
class _Execution:
    """An execution of `poll_task` under way: `wake_at` is when its wait ends."""

    task_id: str
    lease: int
    wake_at: int
    errors: int = 0


@dataclass(slots=True, eq=False)
class _Message:
    """A message in the deliveries queue, and how often it was received."""

    body: str
    received: int = 0


@dataclass(slots=True, eq=False)
class _Request:
    """A message in the queue of requests. `task_id` is whose task it deserves; None if it deserves a rejection."""

    asked: DroppedFile | RequestEvent
    task_id: str | None
    failures: int = 0
    dead: bool = False


class _Overheard:
    """A client, with somebody who is told of each of its calls that succeeded."""

    def __init__(self, client: Any, listener: Callable[[Mapping[str, Any], Any], None]) -> None:
        self._client = client
        self._listener = listener

    def __getattr__(self, name: str) -> Any:
        def call(**arguments: Any) -> Any:
            reply = getattr(self._client, name)(**arguments)
            self._listener(arguments, reply)
            return reply

        return call


class World:
    """One relay. The plain methods call a use case once; `run` lets time pass until everything is at rest."""

    def __init__(self, account: Account, provider: type[ScriptedProvider] = ScriptedProvider) -> None:
        self.account = account
        self.clock = clock = Clock()
        self.effects = effects = Effects()
        self.key = KEY
        """The idempotency key of the task that the story is about."""
        self.stream: list[dict[str, Any]] = []
        self.published: list[tuple[str, dict[str, Any]]] = []
        """Detail type and detail of every event that got on the bus."""
        self.published_after: list[int] = []
        """For each of them, how many records the stream had then."""
        self.knew: list[dict[str, int]] = []
        """For each record of the stream, how much the provider had shown of each remote task by then."""
        self.handed: Counter[str] = Counter()
        """How often a record of the stream was handed to the publisher, by sequence number."""
        self.deaths: list[str] = []
        """Messages that were received five times in vain."""
        self.sent: list[_Request] = []
        """Every message that was ever put into the queue of requests."""
        self.pictures: dict[str, list[bytes]] = {}
        """Which images, in order, the provider is to get for a task; of others none is looked at."""
        self.addresses = ["93.184.216.34"]
        """What every host name is looked up to."""
        self.backend: Backend | None = None
        """The client's, in stories that have one."""
        self.given_up: list[str] = []
        """Dead letters of the notifications."""
        self._images: dict[str, Mapping[str, Any]] = {}
        self._position = 0
        self._seen: set[str] = set()
        self._running: list[_Execution] = []
        self._queue: list[_Message] = []
        self._requests: list[_Request] = []
        given = {
            **account.clients,
            "events": _Overheard(account.clients["events"], self._on_the_bus),
            "sqs": _Overheard(account.clients["sqs"], self._queued),
            "stepfunctions": _Overheard(account.clients["stepfunctions"], self._started),
        }
        c = {
            name: watched(client, name, effects, self._changed if name == "dynamodb" else None)
            for name, client in given.items()
        }
        seconds: Callable[[], float] = lambda: clock.now / 1000  # noqa: E731 - secrets grow old with the story's time
        key = ProviderKey(Secret(c["secretsmanager"], account.provider_secret, seconds))
        signing = Secret(c["secretsmanager"], account.callback_secret, seconds)
        verifying = Secret(c["secretsmanager"], account.callback_secret, seconds)
        self.store = TaskStore(c["dynamodb"], account.table)
        self.quota = DailyQuota(
            c["dynamodb"], account.table, once=watched(account.clients["dynamodb"], "single_try", effects)
        )
        self.provider = provider(clock, effects, key)
        self.source = ScriptedSource(effects)
        self.requests = RequestArchive(c["s3"], account.inbox)
        self.videos = VideoLinks(c["s3"])
        self.queue = DeliveryQueue(c["sqs"], account.queue_url)
        self.poller = TaskPoller(c["stepfunctions"], account.state_machine_arn)
        self.bus = EventBus(c["events"], account.bus)
        self.failures = FailuresBucket(c["s3"], account.failures)
        self.images = ImageCheck(
            bucket=ImageBucket(c["s3"], account.inbox),
            source=None,
            tenants=TenantDirectory(c["dynamodb"], account.table),
            guard=AddressGuard(resolve=lambda *_: self.addresses),
        )
        self.time_left = FAR_MS
        """How long the functions of this world may still run, in ms."""
        account.clients["dynamodb"].put_item(
            TableName=account.table,
            Item={"pk": {"S": f"tenant#{TENANT}"}, "owner": {"S": "#tenants"}, "created_at": {"N": "1"}},
        )
        self.submission = SubmissionPorts(
            store=self.store,
            provider=self.provider,
            pauses=ProviderPauses(c["dynamodb"], account.table),
            tenants=TenantDirectory(c["dynamodb"], account.table),
            sleep=lambda _: None,
            images=self.images.bucket,
            signing_keys=lambda: CallbackKeys(signing.get()),
            public_base_url=PUBLIC_URL,
            policy=POLICY,
            clock=clock,
        )
        self.acceptance = Acceptance(
            quota=self.quota,
            archive=self.requests,
            images=self.images,
            poller=self.poller,
            submission=self.submission,
        )
        self.intake = IntakePorts(
            acceptance=self.acceptance,
            directory=TenantDirectory(c["dynamodb"], account.table),
            inbox=RequestInbox(c["s3"], account.inbox),
            bus=self.bus,
            describe=problem_document,
            default_daily_cap=1000,
            off_peak_available=True,
            max_file_bytes=MAX_BODY_BYTES,
        )
        self.tenants = TenantDirectory(account.clients["dynamodb"], account.table)
        """The operator's hands; what they do is not an effect."""
        self.callbacks = CallbackPorts(
            store=self.store,
            provider=self.provider,
            poller=self.poller,
            callback_keys=lambda token: keys_for(token, verifying),
            signature_keys=lambda: (key(),),
            signature_mode="off",
            public_base_url=PUBLIC_URL,
            policy=POLICY,
            clock=clock,
        )
        self.cancellation = CancelPorts(
            store=self.store, provider=self.provider, poller=self.poller, policy=POLICY, clock=clock
        )
        self.webhook = ScriptedWebhook(effects)
        self.webhook.sleep = clock.advance
        self.notifications = NotificationQueue(c["sqs"], account.notifications_url, account.notifications_dead_url)
        self.notification = NotificationPorts(
            store=self.store,
            tenants=TenantDirectory(c["dynamodb"], account.table),
            videos=self.videos,
            webhook=self.webhook,
            origins=WebhookOrigins(c["dynamodb"], account.table),
            queue=self.notifications,
            bus=self.bus,
            master=Secret(c["secretsmanager"], account.webhook_secret, seconds).get,
            clock=clock,
            jitter=lambda: 0.5,
        )
        self.delivery = DeliveryPorts(
            store=self.store,
            provider=self.provider,
            source=self.source,
            archive=VideoArchive(c["s3"], account.videos),
            policy=POLICY,
            clock=clock,
        )

    # ------------------------------------------------------------------------------------------ use cases

    @staticmethod
    def request(**fields: Any) -> VideoRequest:
        """A good request; a field given as None is left out."""
        return parse_request(json.dumps(World.body(**fields)), off_peak_available=True)

    @staticmethod
    def body(**fields: Any) -> dict[str, Any]:
        """The same as a client sends it."""
        plain = {"model": MODEL, "images": ["https://images.example.com/cat.jpg"], "prompt": "a cat at sea", **fields}
        return {name: value for name, value in plain.items() if value is not None}

    def submit(
        self,
        *,
        key: str | None = KEY,
        tenant: str = TENANT,
        daily_cap: int = 1000,
        time_left: Callable[[], int] | None = None,
        **fields: Any,
    ) -> Task:
        if tenant != TENANT:
            self.tenants.create_tenant(tenant, 1)
        return submit_task(
            self.request(**fields),
            self.acceptance,
            tenant_id=tenant,
            idempotency_key=key,
            daily_cap=daily_cap,
            time_left=time_left or (lambda: self.time_left),
        )

    def open_doors(self, tenant: str = TENANT, source: str = EVENT_SOURCE) -> None:
        """The operator makes a tenant and maps an event source to it; no use case reads the lists of its tool."""
        self.tenants.create_tenant(tenant, 1)
        door: dict[str, Any] = {"pk": {"S": f"{Door.SOURCE}#{source}"}, "tenant_id": {"S": tenant}}
        self.account.clients["dynamodb"].put_item(TableName=self.account.table, Item=door)

    def drop(
        self, content: bytes | None = None, *, name: str = "order.json", tenant: str = TENANT, **fields: Any
    ) -> DroppedFile:
        """A file below the tenant's prefix, and the notification of it; the story is about its task from then on."""
        raw = json.dumps(self.body(**fields)).encode() if content is None else content
        file = DroppedFile(self.account.inbox, f"requests/{tenant}/{name}", None)
        reply = self.account.clients["s3"].put_object(Bucket=file.bucket, Key=file.key, Body=raw)
        self.key = own_key("s3", file.bucket, file.key, hashlib.sha256(raw).hexdigest())
        return replace(file, version_id=reply.get("VersionId"))

    def event(
        self,
        event_id: str = "event-1",
        source: str = EVENT_SOURCE,
        *,
        detail: dict[str, Any] | None = None,
        **more: Any,
    ) -> RequestEvent:
        """An event that asks for a video; the story is about its task from then on."""
        detail = {"request": self.body(), **more} if detail is None else detail
        self.key = detail.get("idempotency_key") or own_key("event", event_id)
        return RequestEvent(event_id, source, detail)

    def accept(self, asked: DroppedFile | RequestEvent) -> Task | None:
        """The message is received."""
        return accept_request(asked, self.intake, time_left=lambda: self.time_left)

    def send(self, asked: DroppedFile | RequestEvent, *, refused: bool = False) -> _Request:
        """A rule puts a request into the queue, as often as it was asked; `refused` if it deserves a rejection."""
        message = _Request(asked, None if refused else self.task_id())
        self.sent.append(message)
        self._requests.append(message)
        return message

    def receive(self, message: _Request) -> bool:
        """The queue hands a request over; whether it is done with."""
        done = self.survive(lambda: self.accept(message.asked))
        message.failures += not done
        if message in self._requests and (done or message.failures >= MAX_RECEIVES):
            self._requests.remove(message)
            message.dead = not done
            self.deaths.extend([] if done else [message.asked.rejection_id])
        return done

    def rejections(self) -> list[dict[str, Any]]:
        """Details of the rejections on the bus."""
        return [detail for kind, detail in self.published if kind == "VideoTaskRejected"]

    def answer(self, file: DroppedFile) -> Any:
        """The problem document beside a refused file; None without one."""
        listed = self.account.clients["s3"].list_objects_v2(Bucket=self.account.inbox, Prefix=file.rejected_key)
        if not listed["KeyCount"]:
            return None
        found = self.account.clients["s3"].get_object(Bucket=self.account.inbox, Key=file.rejected_key)
        return json.loads(found["Body"].read())

    def ring(
        self,
        task_id: str,
        body: Mapping[str, Any] | bytes = b"{}",
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Task:
        """The provider calls back."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        callback = Callback(task_id, self.token(task_id) if token is None else token, headers or {}, raw)
        return receive_callback(callback, self.callbacks)

    def cancel(self, task_id: str, *, tenant: str = TENANT) -> Task | None:
        """The client calls the task off."""
        return cancel_task(task_id, tenant, self.cancellation)

    def check(self, task_id: str, lease: int | None = None) -> Verdict:
        """One step of an execution, by default of the one that holds the lease."""
        lease = self.task(task_id).lease if lease is None else lease
        return check_task(
            task_id,
            lease,
            ports=self.submission,
            archive=self.requests,
            queue=self.queue,
            time_left=lambda: self.time_left,
        )

    def sweep(self, time_is_up: Callable[[], bool] = lambda: False) -> SweepResult:
        return find_overdue_tasks(self.store, self.poller, time_is_up=time_is_up, clock=self.clock)

    def deliver(self, task_id: str, *, again: bool = False) -> Task | None:
        return deliver_videos(task_id, self.delivery, again=again, deadline=FAR)

    def publish(self, at_most: int | None = None) -> str | None:
        """Hand the stream's new records to the publisher in one batch: all of them, or so many."""
        records = self.stream[self._position :][:at_most]
        self.handed.update(record["dynamodb"]["SequenceNumber"] for record in records)
        failed = publish_events(records, self.bus, self.failures)
        published = len(records)
        if failed is not None:
            published = next(i for i, r in enumerate(records) if r["dynamodb"]["SequenceNumber"] == failed)
        self._position += published
        return failed

    # ---------------------------------------------------------------------------------------------- looks

    def task_id(self, key: str | None = None, tenant: str = TENANT) -> str:
        return task_id_for_key(tenant, self.key if key is None else key)

    def task(self, task_id: str) -> Task:
        """The record as it is; looking is not an effect."""
        found = TaskStore(self.account.clients["dynamodb"], self.account.table).get(task_id)
        assert found is not None, "there is no such record"
        return found

    def item(self, pk: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = (
            self.account.clients["dynamodb"]
            .get_item(TableName=self.account.table, Key={"pk": {"S": pk}}, ConsistentRead=True)
            .get("Item")
        )
        return found

    def items(self) -> list[dict[str, Any]]:
        """Everything in the table."""
        found: list[dict[str, Any]] = self.account.clients["dynamodb"].scan(TableName=self.account.table)["Items"]
        return found

    def forget(self, task_id: str) -> None:
        """The record is gone, as TTL takes it; the name of an execution is not."""
        del self._images[f"task#{task_id}"]
        key = {"pk": {"S": f"task#{task_id}"}}
        self.account.clients["dynamodb"].delete_item(TableName=self.account.table, Key=key)

    def token(self, task_id: str) -> str:
        """A token under the active key; making one up is not an effect."""
        secret = self.account.clients["secretsmanager"].get_secret_value(SecretId=self.account.callback_secret)
        return CallbackKeys(json.loads(secret["SecretString"])).sign(task_id)

    def executions(self) -> list[tuple[str, int]]:
        """Task and lease of every execution of `poll_task` that was ever started, oldest first."""
        client = self.account.clients["stepfunctions"]
        listed = client.list_executions(stateMachineArn=self.account.state_machine_arn)["executions"]
        inputs = [json.loads(client.describe_execution(executionArn=e["executionArn"])["input"]) for e in listed]
        return sorted((given["task_id"], given["lease"]) for given in inputs)

    def messages(self) -> list[str]:
        """Task ids of the deliveries asked for, taken off the queue."""
        found = [read_message(message.body) for message in self._queue]
        self._queue.clear()
        return found

    def stored(self, key: str) -> bytes:
        """The bytes of an object in the videos bucket."""
        data: bytes = self.account.clients["s3"].get_object(Bucket=self.account.videos, Key=key)["Body"].read()
        return data

    def linked(self, link: str) -> bytes:
        """What whoever opens a presigned link to an image gets."""
        parts = urlsplit(link)
        query = parse_qs(parts.query)
        assert query["X-Amz-Signature"], "the link is not signed"
        version = {"VersionId": query["versionId"][0]} if "versionId" in query else {}
        bucket, key = parts.netloc.partition(".")[0], unquote(parts.path[1:])
        data: bytes = self.account.clients["s3"].get_object(Bucket=bucket, Key=key, **version)["Body"].read()
        return data

    # ------------------------------------------------------------------------- what AWS does between them

    def run(self, *, until: int | None = None) -> None:
        """Let time pass, with a sweep whenever a task is due, until nothing is left to do, or until a moment."""
        for _ in range(5000):
            self._pump()
            moments = [execution.wake_at for execution in self._running] + self._waiting()
            moments += [int(item["due_at"]["N"]) for item in self._images.values() if "due_at" in item]
            if not moments or (until is not None and min(moments) > until):
                break
            self.clock.now = max(self.clock.now, min(moments))
            self.survive(self.sweep)
        else:
            raise RestlessError("the relay never comes to rest")
        self.clock.now = max(self.clock.now, until or 0)

    def _pump(self) -> None:
        for _ in range(50):
            busy = self._pump_requests() | self._pump_stream() | self._pump_queue() | self._pump_executions()
            if not (busy | self._pump_more()):
                return
        raise RestlessError("the relay spins without time passing")

    def _pump_requests(self) -> bool:
        for message in self._requests[:1]:
            self.receive(message)
            return True
        return False

    def _pump_stream(self) -> bool:
        if self._position == len(self.stream):
            return False
        self.survive(self.publish)
        return True

    def _pump_queue(self) -> bool:
        for message in self._queue[:1]:
            self._receive(message)
            return True
        return False

    def _receive(self, message: _Message) -> None:
        task_id, again = read_message(message.body), message.received > 0
        message.received += 1
        done = self.survive(lambda: self.deliver(task_id, again=again))
        if (done or message.received >= 5) and message in self._queue:
            self._queue.remove(message)
            self.deaths.extend([] if done else [task_id])

    def _pump_more(self) -> bool:
        """What else a story has that works by itself."""
        return False

    def _waiting(self) -> list[int]:
        """When it will have more to do."""
        return []

    def _pump_executions(self) -> bool:
        ready = [execution for execution in self._running if execution.wake_at <= self.clock.now]
        for execution in ready:
            self._running.remove(execution)
            self._step(execution)
        return bool(ready)

    def _step(self, execution: _Execution) -> None:
        """One round of the state machine: check, then end, wait, or retry an error twice."""
        verdicts: list[Verdict] = []
        if not self.survive(lambda: verdicts.append(self.check(execution.task_id, execution.lease))):
            if execution.errors < 2:
                self._running.append(
                    _Execution(execution.task_id, execution.lease, self.clock.now + 5000, execution.errors + 1)
                )
            return
        (verdict,) = verdicts
        if not verdict.settled:
            wake_at = self.clock.now + verdict.wait_seconds * 1000
            self._running.append(_Execution(execution.task_id, execution.lease, wake_at))

    def survive(self, run: Callable[[], Any]) -> bool:
        """Run a function as Lambda does: whatever it raises, the world goes on."""
        try:
            run()
        except (Exception, ProcessDeathError):  # noqa: BLE001 - Lambda catches whatever a function raises
            self.effects.revive()
            self.clock.advance(1)
            return False
        return True

    def _on_the_bus(self, arguments: Mapping[str, Any], reply: Any) -> None:
        """The template's rule: what is generated is to be copied."""
        for entry, result in zip(arguments["Entries"], reply["Entries"], strict=True):
            if "ErrorCode" in result:
                continue
            detail = json.loads(entry["Detail"])
            self.published.append((entry["DetailType"], detail))
            self.published_after.append(len(self.stream))
            if entry["DetailType"] == "VideoTaskGenerated" and detail["task"]["status"] == "generated":
                self._queue.append(_Message(json.dumps({"task_id": detail["task"]["task_id"]})))

    def _queued(self, arguments: Mapping[str, Any], _: Any) -> None:
        """A delivery was asked for."""
        if arguments["QueueUrl"] == self.account.queue_url and "MessageBody" in arguments:
            self._queue.append(_Message(arguments["MessageBody"]))

    def _started(self, arguments: Mapping[str, Any], reply: Any) -> None:
        """An execution begins. A repeated call with the same input succeeds and begins nothing."""
        if reply["executionArn"] not in self._seen:
            self._seen.add(reply["executionArn"])
            given = json.loads(arguments["input"])
            self._running.append(_Execution(given["task_id"], given["lease"], self.clock.now))

    def _changed(self, after: Mapping[str, Any]) -> None:
        """The table's stream, filtered as the template filters it."""
        pk = after["pk"]["S"]
        before = self._images.get(pk)
        if not pk.startswith("task#") or before == after:
            return
        self._images[pk] = after
        self.knew.append({remote_id: len(shown) for remote_id, shown in self.provider.shown.items()})
        change: dict[str, Any] = {"SequenceNumber": f"{len(self.stream) + 1:021d}", "NewImage": after}
        if before is not None:
            change["OldImage"] = before
        self.stream.append({"eventName": "MODIFY" if before else "INSERT", "dynamodb": change})
