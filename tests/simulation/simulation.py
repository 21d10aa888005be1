"""The relay in simulated time: its use cases, and what AWS does between them (stream, queues, sweep, executions)."""

import hashlib
import json
import random
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any

from local.chaos.oracle import Invariant, ViolationError
from tests.simulation.effects import ProcessDeathError
from tests.simulation.memory_account import memory_account
from tests.simulation.notifications import HOOK, Message, Receipt
from tests.simulation.provider import SimulatedProvider
from tests.simulation.wiring import KEY, PUBLIC_URL, TENANT, AboutBatch, Execution, Queued, Request, WiredRelay
from tests.unit.account import SWEEP_FUNCTION, Account
from tests.unit.builders import OFFERING
from tests.unit.template import properties
from vidu_relay.adapters.delivery_queue import read_message
from vidu_relay.adapters.request_queue import read_request
from vidu_relay.adapters.tenant_directory import TenantMapping
from vidu_relay.domain.budget import NO_BUDGET, Budget
from vidu_relay.domain.catalogue import PROVIDERS
from vidu_relay.domain.queued_requests import BatchMessage, DroppedFile, RequestEvent, own_key
from vidu_relay.domain.request import Request as CheckedRequest
from vidu_relay.domain.request_model import parse_request
from vidu_relay.domain.task import Origin, Task
from vidu_relay.observability import metrics
from vidu_relay.usecases.accept_batch import accept_batch
from vidu_relay.usecases.accept_batch_lines import go_on_with_batch
from vidu_relay.usecases.accept_request import accept_request
from vidu_relay.usecases.cancel_task import cancel_task
from vidu_relay.usecases.check_task import NextStep, check_task
from vidu_relay.usecases.deliver_videos import deliver_videos
from vidu_relay.usecases.dispatch_tasks import dispatch_queues
from vidu_relay.usecases.find_due_batches import find_due_batches
from vidu_relay.usecases.find_overdue_tasks import SweepResult, find_overdue_tasks
from vidu_relay.usecases.notify_client import notify_client
from vidu_relay.usecases.publish_events import publish_events
from vidu_relay.usecases.receive_callback import Callback, receive_callback
from vidu_relay.usecases.record_spending import record_spending
from vidu_relay.usecases.request_dispatch import request_dispatch
from vidu_relay.usecases.submit_task import submit_task
from vidu_relay.usecases.verify_reservations import verify_reservations

__all__ = ["EVENT_SOURCE", "KEY", "MODEL", "PUBLIC_URL", "TENANT", "Simulation"]

EVENT_SOURCE = "acme.orders"
MODEL = "viduq2_pro_fast_reference2video"
VISIBILITY_MS = 1000 * int(properties("RequestsQueue")["VisibilityTimeout"])
MAX_RECEIVES = properties("RequestsQueue")["RedrivePolicy"]["maxReceiveCount"]
NOTIFIED_EVENTS = frozenset(properties("NotificationRule")["EventPattern"]["detail-type"])
FAR = 1e12
"""A monotonic deadline that no test reaches."""


class Simulation(WiredRelay):
    """One relay. The plain methods call a use case once; `run` lets time pass until nothing is left to do."""

    def __init__(
        self, account: Account | None = None, provider: type[SimulatedProvider] = SimulatedProvider, seed: int = 0
    ) -> None:
        self.dead_letters: list[str] = []
        """Messages of the queues of requests and deliveries that were received too often."""
        self.sent: list[Request] = []
        """Every message that was ever put into the queue of requests."""
        self.expected_images: dict[str, list[bytes]] = {}
        """Which images, in order, the provider must get for a task; others are not compared."""
        self.hooked = False
        """Whether clients give a `callback_url`, through any entry point."""
        self.violation: ViolationError | None = None
        """What was found inside a function, whose own error handling would hide it."""
        self.running: list[Execution] = []
        self.deliveries: list[Queued] = []
        self.batch_messages: list[AboutBatch] = []
        """In the queue of requests, besides `_requests`."""
        self.about_batches: list[AboutBatch] = []
        """All that ever were."""
        self.position = 0
        """Up to where the stream has been published."""
        self.sweeps_requested = 0
        """By the publisher, and not run yet."""
        self.booked = 0
        """Up to where it has been recorded in the ledger."""
        self.budget = NO_BUDGET
        """The tenant's, as its latest request had it."""
        self._requests: list[Request] = []
        self._names: set[str] = set()
        super().__init__(account or memory_account(), provider)
        metrics.provider.clear_metrics()
        random.seed(seed)  # jitter

    # Use cases

    @staticmethod
    def request(**fields: Any) -> CheckedRequest:
        """A good request; a field given as None is left out."""
        return parse_request(json.dumps(Simulation.body(**fields)), OFFERING)

    @staticmethod
    def body(**fields: Any) -> dict[str, Any]:
        """The same as a client sends it."""
        plain = {"model": MODEL, "images": ["https://images.example.com/cat.jpg"], "prompt": "a cat at sea", **fields}
        return {name: value for name, value in plain.items() if value is not None}

    def hook(self) -> dict[str, str]:
        return {"callback_url": HOOK} if self.hooked else {}

    def submit(
        self,
        *,
        key: str | None = KEY,
        tenant: str = TENANT,
        daily_cap: int = 1000,
        time_left: Callable[[], int] | None = None,
        budget: Budget = NO_BUDGET,
        max_cost: Decimal | None = None,
        **fields: Any,
    ) -> Task:
        if tenant != TENANT:
            self.tenants.create_tenant(tenant, 1)
        self.budget = budget
        return submit_task(
            self.request(**{**self.hook(), **fields}),
            Origin(tenant, daily_cap, key, budget=budget, max_cost=max_cost),
            self.acceptance,
            time_left=time_left or (lambda: self.time_left),
        )

    def map_source(self, tenant: str = TENANT, source: str = EVENT_SOURCE) -> None:
        """The operator creates a tenant and maps an event source to it."""
        self.tenants.create_tenant(tenant, 1)
        item: dict[str, Any] = {"pk": {"S": f"{TenantMapping.SOURCE}#{source}"}, "tenant_id": {"S": tenant}}
        self.account.clients["dynamodb"].put_item(TableName=self.account.table, Item=item)

    def drop(
        self, content: bytes | None = None, *, name: str = "order.json", tenant: str = TENANT, **fields: Any
    ) -> DroppedFile:
        """A file below the tenant's prefix, and its notification; the scenario is about its task from then on."""
        raw = json.dumps(self.body(**self.hook(), **fields)).encode() if content is None else content
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
        """An event that asks for a video; the scenario is about its task from then on."""
        detail = {"request": self.body(**self.hook()), **more} if detail is None else detail
        self.key = detail.get("idempotency_key") or own_key("event", event_id)
        return RequestEvent(event_id, source, detail)

    def accept(self, asked: DroppedFile | RequestEvent) -> Task | None:
        return accept_request(asked, self.intake, time_left=lambda: self.time_left)

    def send(self, asked: DroppedFile | RequestEvent, *, refused: bool = False) -> Request:
        """A rule puts a request into the queue; `refused` if it must be rejected."""
        message = Request(asked, None if refused else self.task_id())
        self.sent.append(message)
        self._requests.append(message)
        return message

    def receive(self, message: Request) -> bool:
        """The queue hands a request over; whether it is done."""
        done = self.survive(lambda: self.accept(message.asked))
        message.failures += not done
        if message in self._requests and (done or message.failures >= MAX_RECEIVES):
            self._requests.remove(message)
            message.dead = not done
            self.dead_letters.extend([] if done else [message.asked.rejection_id])
        return done

    def drop_batch(self, *lines: str | bytes, name: str = "night.jsonl") -> DroppedFile:
        """A file with these lines, and its notification in the queue of requests."""
        raw = b"".join((line.encode() if isinstance(line, str) else line) + b"\n" for line in lines)
        file = self.drop(raw, name=name)
        self.ask_about_batch(file)
        return file

    def ask_about_batch(self, asked: DroppedFile | BatchMessage) -> None:
        """Put a message about a batch into the queue of requests."""
        self.batch_messages.append(AboutBatch(asked, self.clock.now))
        self.about_batches.append(self.batch_messages[-1])

    def receive_batch(self, message: AboutBatch) -> bool:
        """The queue hands over a message about a batch; whether it is done."""
        asked = message.asked
        done = self.survive(
            lambda: (
                go_on_with_batch(asked, self.batching, time_left=lambda: self.time_left)
                if isinstance(asked, BatchMessage)
                else accept_batch(asked, self.batching, time_left=lambda: self.time_left)
            )
        )
        if done and message in self.batch_messages:
            self.batch_messages.remove(message)
        message.visible_at = self.clock.now + VISIBILITY_MS
        return done

    def call_back(
        self,
        task_id: str,
        body: Mapping[str, Any] | bytes = b"{}",
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Task:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        callback = Callback(task_id, self.token(task_id) if token is None else token, headers or {}, raw)
        return receive_callback(callback, self.callbacks)

    def cancel(self, task_id: str, *, tenant: str = TENANT) -> Task | None:
        return cancel_task(task_id, tenant, self.cancellation)

    def check(self, task_id: str, lease: int | None = None) -> NextStep:
        """One step of an execution, by default of the one that holds the lease. One that lost it must do nothing."""
        lease = self.task(task_id).lease if lease is None else lease
        held = self._lease(task_id) == lease
        mine = self.effects.by_thread[threading.get_ident()]
        before = len(mine)
        step = check_task(
            task_id,
            lease,
            deps=self.submission,
            archive=self.requests,
            queue=self.queue,
            time_left=lambda: self.time_left,
        )
        if not held and set(mine[before:]) - {"dynamodb.get_item"}:
            self.violation = ViolationError(Invariant.ONE_POLLER, f"lease {lease} was lost before {mine[before:]}")
        if not step.settled and self._lease(task_id) != lease:
            self.violation = ViolationError(Invariant.ONE_POLLER, f"lease {lease} is lost, its execution goes on")
        return step

    def _lease(self, task_id: str) -> int | None:
        item = self.item(f"task#{task_id}")
        return int(item.get("lease", {"N": "0"})["N"]) if item else None

    def sweep(self, time_is_up: Callable[[], bool] = lambda: False) -> SweepResult:
        dispatch_queues(PROVIDERS, self.dispatch)
        find_due_batches(self.batching.batches, self.batching.queue, clock=self.clock)
        return find_overdue_tasks(self.store, self.poller, self.checker, time_is_up=time_is_up, clock=self.clock)

    def deliver(self, task_id: str, *, again: bool = False) -> Task | None:
        return deliver_videos(task_id, self.delivery, again=again, deadline=FAR)

    def publish(self, at_most: int | None = None) -> str | None:
        """Hand the stream's new records to the publisher in one batch: all of them, or so many."""
        records = self.stream[self.position :][:at_most]
        self.handed.update(record["dynamodb"]["SequenceNumber"] for record in records)
        failed = publish_events(records, self.bus, self.failures)
        request_dispatch(records, self.submission.pauses, self.sweeper, self.clock)
        published = len(records)
        if failed is not None:
            published = next(i for i, r in enumerate(records) if r["dynamodb"]["SequenceNumber"] == failed)
        self.position += published
        return failed

    def book(self) -> None:
        """Hand the stream's new records to the ledger in one batch."""
        failed = self.book_again(slice(self.booked, None))
        self.booked = len(self.stream) if failed is None else int(failed) - 1

    def book_again(self, which: slice) -> str | None:
        """Hand records of the stream to the ledger in one batch, however often it has had them."""
        return record_spending(self.stream[which], self.ledger, self.failures, self.clock)

    def compare(self) -> None:
        """Compare the reservations of half hours that are over with their tasks."""
        verify_reservations(self.comparison, time_is_up=lambda: False)

    def notify(self, message: Message | None = None) -> bool:
        """The queue hands a notification over, by default the first that is visible; whether it is done."""
        message = message or self.notifications.first()
        if message is None:
            return False
        received = self.notifications.receive(message)
        receipt = Receipt(message, received.receives, self.clock.now)
        self.backend.receipts.append(receipt)
        self.backend.under_way[threading.get_ident()] = receipt
        receipt.done = notify_client(received, self.notification)
        if receipt.done:
            self.notifications.done(message)
        return receipt.done

    # What AWS does between them

    def run(self, *, until: int | None = None) -> None:
        """Let time pass, with a sweep whenever a task is due, until nothing is left to do, or until a moment."""
        for _ in range(5000):
            self.work()
            moments = [execution.wake_at for execution in self.running]
            moments += [message.visible_at for message in self.notifications.messages]
            moments += [int(item["due_at"]["N"]) for item in self._images.values() if "due_at" in item]
            moments += [self.clock.now + 60_000 for item in self._images.values() if "waits_at" in item][:1]
            moments += [] if self.compare_at is None else [self.compare_at]
            moments += [message.visible_at for message in self.batch_messages]
            moments += [int(batch["due_at"]["N"]) for batch in self.batches() if "due_at" in batch]
            if not moments or (until is not None and min(moments) > until):
                break
            self.clock.now = max(self.clock.now, min(moments))
            self.survive(self.sweep)
            if self.compare_at is not None and self.compare_at <= self.clock.now and self.survive(self.compare):
                self.compare_at = None
        else:
            raise ViolationError(Invariant.SETTLED, "the relay never comes to rest")
        self.clock.now = max(self.clock.now, until or 0)

    def work(self) -> None:
        """Everything that can be done now."""
        for _ in range(2000):
            now = self.clock.now
            ready = [execution for execution in self.running if execution.wake_at <= now]
            message = self.notifications.first()
            if self._requests:
                self.receive(self._requests[0])
            elif about := [message for message in self.batch_messages if message.visible_at <= now]:
                self.receive_batch(about[0])
            elif self.position < len(self.stream):
                self.survive(self.publish)
            elif self.sweeps_requested:
                self.sweeps_requested = 0
                self.survive(self.sweep)
            elif self.booked < len(self.stream):
                self.survive(self.book)
            elif self.deliveries:
                self.receive_delivery(self.deliveries[0])
            elif ready:
                for execution in ready:
                    self.running.remove(execution)
                    self.step(execution)
            elif message and message.visible_at <= now:
                self.survive(self.notify)
            else:
                return
        raise ViolationError(Invariant.SETTLED, "the relay works without end while no time passes")

    def receive_delivery(self, message: Queued) -> None:
        again = message.receives > 0
        message.receives += 1
        done = self.survive(lambda: self.deliver(message.task_id, again=again))
        if (done or message.receives >= MAX_RECEIVES) and message in self.deliveries:
            self.deliveries.remove(message)
            self.dead_letters.extend([] if done else [message.task_id])

    def step(self, execution: Execution) -> None:
        """One round of the state machine: check, then end, wait, or retry an error twice; or a single check."""
        steps: list[NextStep] = []
        wake_at = None
        if not self.survive(lambda: steps.append(self.check(execution.task_id, execution.lease))):
            execution.errors += 1
            wake_at = self.clock.now + 5000 if execution.errors <= 2 and not execution.single else None
        elif not steps[0].settled and not execution.single:
            execution.errors = 0
            wake_at = self.clock.now + steps[0].wait_seconds * 1000
        if wake_at is not None:
            execution.wake_at = wake_at
            self.running.append(execution)

    def survive(self, run: Callable[[], Any]) -> bool:
        """Run a function as Lambda does, whatever it raises; whether it came to its end."""
        try:
            run()
        except (NotImplementedError, ViolationError):
            raise
        except (Exception, ProcessDeathError):  # noqa: BLE001 - Lambda catches whatever a function raises
            self.effects.revive()
            self.clock.advance(1)
            done = False
        else:
            done = True
        if self.violation:
            raise self.violation
        return done

    def attempt(self, act: Callable[[], object]) -> None:
        """Run a use case into the fault that is armed; how it ends is not what is tested."""
        with suppress(Exception, ProcessDeathError):
            act()

    def _on_bus(self, operation: str, arguments: Mapping[str, Any], reply: Any) -> None:
        """The template's rules: what is generated is copied, clients are notified."""
        for entry, result in zip(arguments["Entries"], reply["Entries"], strict=True):
            if "ErrorCode" in result:
                continue
            kind, detail = entry["DetailType"], json.loads(entry["Detail"])
            self.published.append((kind, detail))
            self.published_after.append(len(self.stream))
            if kind == "VideoTaskGenerated" and detail["task"]["status"] == "generated":
                self.deliveries.append(Queued(detail["task"]["task_id"]))
            if kind in NOTIFIED_EVENTS and detail["client_callback"]:
                task = detail["task"]
                self.notifications.put(json.dumps({"task_id": task["task_id"], "version": task["version"]}))

    def _queued(self, operation: str, arguments: Mapping[str, Any], reply: Any) -> None:
        if arguments["QueueUrl"] == self.account.queue_url:
            self.deliveries.append(Queued(read_message(arguments["MessageBody"])))
        elif arguments["QueueUrl"] == self.account.requests_url:
            asked = read_request(arguments["MessageBody"])
            assert isinstance(asked, BatchMessage)
            self.ask_about_batch(asked)

    def _started(self, operation: str, arguments: Mapping[str, Any], reply: Any) -> None:
        """A repeated call with the same input succeeds and starts nothing."""
        if operation == "start_execution" and reply["executionArn"] not in self._names:
            self._names.add(reply["executionArn"])
            given = json.loads(arguments["input"])
            self.running.append(Execution(given["task_id"], given["lease"], self.clock.now))

    def _invoked(self, operation: str, arguments: Mapping[str, Any], reply: Any) -> None:
        """Each call is a check: one whose reply is lost is made twice."""
        if arguments["FunctionName"] == SWEEP_FUNCTION:
            self.sweeps_requested += 1
            return
        given = json.loads(arguments["Payload"])
        self.running.append(Execution(given["task_id"], given["lease"], self.clock.now, single=True))
