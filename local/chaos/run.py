"""The run: submit the tasks, make provider and AWS misbehave, wait until every task has ended, gather what can be seen.

Clients submit again under their idempotency key until they are answered, the sweep runs (more often than each minute),
and after a while the operator checks what is not settled (`relay task check`).
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import requests
from botocore.exceptions import ClientError

from cli.fault_switch import FaultSwitch
from local.chaos.backends import Backends
from local.chaos.expectation import Evidence, Submitted, kept_back, owed, possible_ends
from local.chaos.faults import AwsFault, Phase, Plan, Times
from local.chaos.observer import Observer
from local.chaos.oracle import ENDS, End
from local.client import RelayClient
from local.programs import ROOT, Program, program_environment, run
from local.stack import Stack

__all__ = ["ChaosError", "Run"]

CLIENTS = 8
TRIES = 30
SWEEP_SECONDS = 1.5
POLL_SECONDS = 3.0
REPEAT_SECONDS = 60
"""When a request whose reader died comes again: after the time-out of `accept_request`; as deployed, six times that."""
QUEUE_SECONDS = 200.0
"""How long a file or an event may take to become a task: up to three readers may have died."""
TOOL_SECONDS = 60.0
CREDIT_USD = "0.005"


class ChaosError(Exception):
    """The run itself could not go on: nothing is said about the relay."""


class Run:
    """One run on a running stack. `work_dir` takes the logs of the operator's tool."""

    def __init__(
        self, stack: Stack, backends: Backends, times: Times, seed: int, work_dir: Path, progress: Callable[[str], None]
    ) -> None:
        self.submitted: list[Submitted] = []
        """Every task that was taken."""
        self.by_hand: set[str] = set()
        """The tasks that the operator checked."""
        self._stack, self._backends, self._times, self._seed = stack, backends, times, seed
        self._work_dir, self._progress = work_dir, progress
        self._relay = RelayClient(stack)
        self._switch = FaultSwitch(stack.aws_endpoint_url, stack.aws_ca_bundle or "", stack.region)
        self._resources = self._relay.resources()
        self._relay.aws("sqs").set_queue_attributes(
            QueueUrl=self._resources["RequestsQueue"], Attributes={"VisibilityTimeout": str(REPEAT_SECONDS)}
        )
        self._observer = Observer(stack, self._relay)
        self._events: dict[str, list[dict[str, Any]]] = {}
        self._asked: set[str] = set()
        self._given_up: list[dict[str, Any]] = []
        self._broken: list[BaseException] = []
        self._over = threading.Event()

    def close(self) -> None:
        """Close the connections."""
        self._relay.close()

    def run(self, phases: tuple[Phase, ...]) -> Evidence:
        """Everything, to the end. Raises `ChaosError` if the run itself fails."""
        self._ask("prices", "credit", "vidu", CREDIT_USD)
        with self._meanwhile(self._sweep), self._meanwhile(self._take_events), self._meanwhile(self._operate):
            for number, phase in enumerate(phases):
                what = phase.aws.name if phase.aws else "The provider misbehaves"
                self._progress(f"{what}: {len(phase.plans)} tasks")
                self._misbehave(number, phase)
            self._progress("No more faults: waiting until every task has ended")
            self._settle("tasks have not ended", self._unsettled)
            self._over.set()
            self._settle("tasks have events that have not arrived", self._unpublished)
            self._settle("clients have not been notified", self._unnotified)
            self._settle("bills are not in the ledger", self._unbooked)
        return self._evidence()

    # Faults and clients

    def _misbehave(self, number: int, phase: Phase) -> None:
        """Script the provider, switch AWS's fault on, submit, hold it for a while, switch it off."""
        for plan in phase.plans:
            self._relay.script(plan.tag, plan.script)
        # the short run cannot wait for the end of a create attempt that AWS kept from being recorded
        early = phase.aws is not None and (self._times.whole or not phase.aws.harms_create)
        if phase.aws and early:
            self._inject(number, phase.aws)
        with ThreadPoolExecutor(CLIENTS) as clients:
            self.submitted += clients.map(self._submit, phase.plans)
        if phase.aws:
            if not early:
                self._wait(self._times.settling, self._all_created)
                self._inject(number, phase.aws)
            time.sleep(self._times.hold)
            self._switch.end()

    def _all_created(self) -> bool:
        """Whether no create call is to be made or under way."""
        return not any(record["open"] for record in self._observer.records().values())

    def _inject(self, number: int, fault: AwsFault) -> None:
        names = self._stack.functions
        self._switch.order([{**one, "at": one["at"].format(**names)} for one in fault.orders], self._seed + number)

    @staticmethod
    def _wait(seconds: float, done: Callable[[], bool], pause: float = 0.5) -> bool:
        """Until something is so, or time is up; whether it is so."""
        deadline = time.monotonic() + seconds
        while not (is_done := done()) and time.monotonic() < deadline:
            time.sleep(pause)
        return is_done

    def _submit(self, plan: Plan) -> Submitted:
        """What a client does: the same request under the same key, until it is answered."""
        request = {
            "model": "viduq2_pro_fast_reference2video",
            "subjects": [{"id": "fox", "images": [self._relay.image("fox.png")]}],
            "prompt": f"{plan.tag} @fox waits at a small station",
            "duration": 1,
            "resolution": "720p",
        }
        if plan.client:
            request["callback_url"] = self._backends.origins[plan.client] + plan.hook
        key, at = f"{self._seed}/{plan.tag}", time.time()
        if plan.entry == "file":
            self._relay.drop(f"{plan.tag}json", request)
        elif plan.entry == "event":
            self._relay.put_event({"request": request, "idempotency_key": key})
        if plan.entry != "http":
            return Submitted(plan, self._task_of_prompt(request["prompt"]), at)
        for refused in range(TRIES):
            with contextlib.suppress(requests.RequestException):
                reply = self._relay.call("POST", "/v1/tasks", json=request, headers={"Idempotency-Key": key})
                if reply.status_code == 202:
                    task_id = str(reply.json()["task_id"])
                    return Submitted(plan, task_id, at, refused, self._cancel(plan, task_id))
                _expect(reply, 403, 429, 500, 503)
                time.sleep(0.2 * (refused + 1))
        raise ChaosError(f"A submit is not taken in {TRIES} tries: {plan.row}")

    def _cancel(self, plan: Plan, task_id: str) -> int | None:
        """Cancel a task whose row says so, once; how that is answered."""
        if not plan.canceled:
            return None
        reply = self._relay.call("POST", f"/v1/tasks/{task_id}/cancel")
        _expect(reply, 202, 409, 503)
        return reply.status_code

    def _task_of_prompt(self, prompt: object) -> str:
        """The task that was made of a file or event, once it is recorded."""
        found: list[str] = []

        def done() -> bool:
            tasks = self._observer.items("task#")
            found.extend(one["pk"]["S"] for one in tasks if one["request"]["M"]["prompt"]["S"] == prompt)
            return bool(found)

        if not self._wait(QUEUE_SECONDS, done):
            raise ChaosError(f"No task was made of the file or event {prompt}")
        return found[0].removeprefix("task#")

    # What goes on beside

    @contextmanager
    def _meanwhile(self, work: Callable[[], float]) -> Iterator[None]:
        """Repeat this work beside the block; it returns the seconds until the next time."""
        stop = threading.Event()

        def loop() -> None:
            try:
                while not stop.wait(work()):
                    pass
            except BaseException as error:  # noqa: BLE001 - handed on to the run, which fails for it
                self._broken.append(error)

        thread = threading.Thread(target=loop, name=work.__name__)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _sweep(self) -> float:
        # a sweep may be throttled, killed, or refused by the table: the next one is soon
        with contextlib.suppress(RuntimeError, ClientError):
            self._relay.sweep()
        return SWEEP_SECONDS

    def _take_events(self) -> float:
        sqs, url = self._relay.aws("sqs"), self._stack.events_queue_url
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        for message in messages:
            event = json.loads(message["Body"])
            if event["detail-type"] == "VideoTaskNotificationFailed":
                self._given_up.append(event["detail"])
            elif event["source"] == "vidu-relay":  # the bus carries what clients ask for, too
                self._events.setdefault(event["detail"].get("task", {}).get("task_id", ""), []).append(event)
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return 0.0 if messages else 0.3

    def _operate(self) -> float:
        """`relay task check` for every task that is old and has not ended: again, where once was not enough."""
        old = {one.task_id for one in self.submitted if one.at < time.time() - self._times.hand}
        for task_id in [task_id for task_id in self._unsettled() if task_id in old]:
            if self._over.is_set():
                break
            run(*self._command("task", "check", task_id))
            self.by_hand.add(task_id)
        return self._times.hand / 5

    # The end

    def _settle(self, what: str, left: Callable[[], list[str]]) -> None:
        """Wait until nothing is left, at most `Times.settling`."""
        shown: list[int] = []

        def done() -> bool:
            if self._broken:
                raise ChaosError(f"The run broke: {self._broken[0]!r}") from self._broken[0]
            number = len(left())
            if [number] != shown[-1:]:
                shown.append(number)
                self._progress(f"  {number} {what}")
            return not number

        self._wait(self._times.settling, done, POLL_SECONDS)

    def _unsettled(self) -> list[str]:
        """The tasks that have not ended, and those that expired although the provider made their videos."""
        submitted = list(self.submitted)  # first: a task that comes in meanwhile is not in the records
        records = self._observer.records()
        waiting = [one.task_id for one in submitted if records[one.task_id]["status"] not in ENDS]
        expired = [one for one in submitted if records[one.task_id]["status"] == "expired"]
        if expired:
            creates, remote = self._observer.creates(), self._observer.remote({one.task_id for one in expired})
            injected = self._switch.given()
            for one in expired:
                made = creates.get(one.task_id, ()), remote.get(one.task_id, ())
                end = End("expired", records[one.task_id]["code"])
                if end not in possible_ends(one, *made, injected, self._times):
                    waiting.append(one.task_id)
        return waiting

    def _unpublished(self) -> list[str]:
        """The tasks of which an event has not arrived."""
        versions = {
            task_id: {event["detail"]["task"]["version"] for event in list(events)}
            for task_id, events in list(self._events.items())
        }
        return [
            task_id
            for task_id, record in self._observer.records().items()
            if len(versions.get(task_id, ())) <= record["version"] - record["first_version"]
        ]

    def _unnotified(self) -> list[str]:
        """What clients must still be notified of.

        Where a fault of AWS kept a message back, the operator asks once more (`relay task notify`): it comes by itself
        after as long as it has been tried already, which the run does not wait for.
        """
        shown, injected = self._observer.shown(), self._switch.given()
        known = {call.webhook_id for call in self._backends.calls() if call.taken}
        known |= {str(detail["event_id"]).removesuffix(":notification") for detail in self._given_up}
        names: list[str] = []
        for one in self.submitted:
            missing = [f"{one.task_id}:{version}" for version in owed(one, shown[one.task_id], injected)]
            missing = [name for name in missing if name not in known]
            old = one.at < time.time() - self._times.hand and kept_back(injected, one.at)
            if missing and old and one.task_id not in self._asked:
                run(*self._command("task", "notify", one.task_id))
                self._asked.add(one.task_id)
            names += missing
        return names

    def _unbooked(self) -> list[str]:
        """The tasks whose row of the ledger is not the latest."""
        rows, billings = (
            self._observer.ledger(),
            {name: task["billing"] for name, task in self._observer.shown().items()},
        )
        return [name for name, one in billings.items() if name not in rows or rows[name].state != one["state"]]

    # The operator's tool

    def _ask(self, *words: str) -> Any:
        """What the tool prints."""
        with Program(*self._command(*words)) as program:
            return json.loads(program.first_line(TOOL_SECONDS))

    def _command(self, *words: str) -> tuple[str, list[str], dict[str, str], Path]:
        stack_file = self._work_dir / "stack.json"
        self._stack.write(stack_file)
        command = [str(ROOT / "cli" / "relay"), "--local-file", str(stack_file), "--json", *words]
        return f"`relay {' '.join(words)}`", command, program_environment(self._work_dir), self._work_dir / "relay.log"

    # Evidence

    def _evidence(self) -> Evidence:
        self._progress("Comparing every task with what the provider saw and what S3 holds")
        queues = [self._resources[f"{queue}DeadLetters"] for queue in ("Deliveries", "Requests")]
        uploads = self._relay.aws("s3").list_multipart_uploads(Bucket=self._stack.videos_bucket).get("Uploads", [])
        counters = list(self._observer.items(f"cap#{self._stack.tenant_id}#"))
        failures = self._relay.aws("s3").list_objects_v2(Bucket=self._resources["FailuresBucket"])
        return Evidence(
            records=self._observer.records(),
            shown=self._observer.shown(),
            events=self._events,
            creates=self._observer.creates(),
            remote=self._observer.remote(None),
            objects=self._observer.objects(),
            injected=self._switch.given(),
            slots_taken=sum(int(item["accepted"]["N"]) for item in counters),
            ledger=self._observer.ledger(),
            committed=sum((Decimal(item["committed"]["N"]) for item in counters), Decimal(0)),
            credit_usd=Decimal(CREDIT_USD),
            open_uploads=[upload["Key"] for upload in uploads],
            dead_letters=[message for url in queues for message in self._observer.messages(url)],
            unrouted_events=len(self._observer.messages(self._resources["UnroutedEvents"])),
            unpublished=failures["KeyCount"],
            calls=self._backends.calls(),
            origins=self._backends.origins,
            secret=self._ask("webhooks", "secret", self._stack.tenant_id)["secret"],
            given_up=self._given_up,
            undelivered=self._observer.messages(self._resources["NotificationsDeadLetters"]),
        )


def _expect(reply: requests.Response, *statuses: int) -> None:
    if reply.status_code not in statuses:
        raise ChaosError(f"{reply.request.method} is answered {reply.status_code}: {reply.text[:300]}")
