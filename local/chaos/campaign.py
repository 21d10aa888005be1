"""Let it happen: submit the tasks, make provider and AWS misbehave, wait until all is quiet, gather what can be seen.

What the campaign does itself is what others do in life: clients submit again under their idempotency key until they
are answered, the sweep runs (more often than each minute), and after a while the operator looks at what is not settled
(`relay task check`) and publishes what could not be published (`relay failures republish`). When all else has
ended, sources of videos that stayed bad are well again, and the operator asks for the copies (`relay task deliver`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import requests
from botocore.exceptions import ClientError

from local.chaos.client_verdict import Told, untold, was_met
from local.chaos.clients import Clients
from local.chaos.faults import GUEST, MAX_VIDEO_BYTES, AwsFault, Phase, Plan, Times
from local.chaos.switch import FaultSwitch
from local.chaos.verdict import End, Evidence, Judgement, Submitted, judge, lasting_fault, possible_ends
from local.client import RelayClient
from local.programs import ROOT, Program, program_environment, run
from local.stack import Stack

__all__ = ["Campaign", "CampaignError", "judge_all", "parameters"]

CLIENTS = 8
TRIES = 30
SWEEP_SECONDS = 1.5
LOOK_SECONDS = 3.0
QUIET_SECONDS = 60.0
REPEAT_SECONDS = 60
"""When a request comes again whose reader died: after the time-out of `accept_request`; as deployed, six times that."""

DOOR_SECONDS = 200.0
"""How long a file or an event may take to become a task: up to three readers may have died."""

TOOL_SECONDS = 60.0
GIVEN_UP = "VideoTaskNotificationFailed"

SETTLED = frozenset({"completed", "failed", "expired", "canceled"})

Progress = Callable[[str], None]


class CampaignError(Exception):
    """The campaign itself could not go on: nothing is said about the relay."""


def parameters(times: Times, tasks: int, provider: str, clients: Clients) -> dict[str, str]:
    """The template's parameters for a campaign."""
    return {
        "ProviderName": provider,
        "FirstCheckSeconds": str(times.first_check),
        "CheckIntervalSeconds": str(times.check_interval),
        "TaskDeadlineSeconds": str(times.deadline),
        "MaxVideoBytes": str(MAX_VIDEO_BYTES),
        "DailyTaskCap": str(10 * tasks + 1000),
        "TrustedOrigins": ",".join(clients.origins),
    }


class Campaign:
    """One campaign on a running stack. `work_dir` takes the logs of the operator's tool."""

    def __init__(
        self, stack: Stack, clients: Clients, times: Times, seed: int, work_dir: Path, progress: Progress
    ) -> None:
        self.stack = stack
        self.by_hand: set[str] = set()
        """The tasks that the operator looked at."""
        self.republished = 0
        """How often the operator published what could not be published."""
        self.asked_again = 0
        """How often the operator asked for a notification again."""
        self._clients = clients
        self._times, self._seed, self._work_dir, self._progress = times, seed, work_dir, progress
        self._relay = RelayClient(stack)
        self._switch = FaultSwitch(stack.aws_endpoint_url, stack.aws_ca_bundle or "", stack.region)
        self._outputs = self._read_outputs()
        self._relay.aws("sqs").set_queue_attributes(
            QueueUrl=self._outputs["RequestsQueueUrl"], Attributes={"VisibilityTimeout": str(REPEAT_SECONDS)}
        )
        self._relays = {stack.tenant_id: self._relay, GUEST: RelayClient(stack, self._admit_guest())}
        self._submitted: list[Submitted] = []
        self._events: dict[str, list[dict[str, Any]]] = {}
        self._waited: dict[str, str | None] = {}
        self._given_up: list[dict[str, Any]] = []
        self._broken: list[BaseException] = []
        self._over = threading.Event()

    def close(self) -> None:
        """Close the connections."""
        for relay in self._relays.values():
            relay.close()

    def run(self, phases: tuple[Phase, ...]) -> Evidence:
        """Everything, to the end. Raises `CampaignError` if the campaign itself fails."""
        with self._meanwhile(self._sweep), self._meanwhile(self._take_events), self._meanwhile(self._operator):
            for number, phase in enumerate(phases):
                self._progress(_title(phase))
                self._let_happen(number, phase)
            self._progress("Nothing is wrong any more: waiting until every task has ended")
            self._settle(time.monotonic())
            if self._heal_sources():
                self._progress("The sources of all videos are well: waiting for the last copies")
                self._settle(time.monotonic())
            self._over.set()
        self._settle_events()
        self._settle_clients()
        return self._evidence()

    @property
    def submitted(self) -> tuple[Submitted, ...]:
        """Every task that was taken."""
        return tuple(self._submitted)

    # Faults

    def _let_happen(self, number: int, phase: Phase) -> None:
        """Script the provider, switch AWS's fault on, submit, hold it on for a while, switch it off."""
        for plan in phase.plans:
            self._relay.script(plan.tag, plan.script)
        # the short campaign cannot wait for the end of a create attempt that AWS kept from being recorded
        early = phase.aws is not None and (self._times.whole or not phase.aws.harms_create)
        if phase.aws and early:
            self._order(number, phase.aws)
        with ThreadPoolExecutor(CLIENTS) as clients:
            self._submitted += clients.map(self._submit, phase.plans)
        if phase.aws:
            if not early:
                self._await_created()
                self._order(number, phase.aws)
            time.sleep(self._times.hold)
            self._switch.end()

    def _await_created(self) -> None:
        """Until no create call is to be made or under way."""
        deadline = time.monotonic() + self._times.patience
        while any(record["open"] for record in self._records().values()) and time.monotonic() < deadline:
            time.sleep(0.5)

    def _order(self, number: int, fault: AwsFault) -> None:
        names = self.stack.functions
        faults = [{**order, "at": order["at"].format(**names)} for order in fault.orders]
        self._switch.order(faults, self._seed + number)

    # Clients

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
            request["callback_url"] = self._clients.origin(plan.client) + plan.hook
        relay = self._relays[plan.tenant]
        headers = {"Idempotency-Key": f"{self._seed}/{plan.tag}"}
        at = time.time()
        if plan.door != "http":
            if plan.door == "file":
                self._relay.drop(f"{plan.tag}json", request)
            else:
                self._relay.put_event({"request": request, "idempotency_key": headers["Idempotency-Key"]})
            return Submitted(plan, self._task_of_prompt(request["prompt"]), at, 0)
        for refused in range(TRIES):
            try:
                reply = relay.call("POST", "/v1/tasks", json=request, headers=headers)
            except requests.RequestException:
                continue
            if reply.status_code == 202:
                task_id = str(reply.json()["task_id"])
                return Submitted(plan, task_id, at, refused, self._cancel(plan, task_id) if plan.called_off else None)
            if reply.status_code not in (403, 429, 500, 503):
                raise CampaignError(f"A submit is answered {reply.status_code}: {reply.text[:300]}")
            time.sleep(0.2 * (refused + 1))
        raise CampaignError(f"A submit is not taken in {TRIES} tries: {plan.row}")

    def _cancel(self, plan: Plan, task_id: str) -> int:
        """Call a task off, once; how that is answered."""
        reply = self._relays[plan.tenant].call("POST", f"/v1/tasks/{task_id}/cancel")
        if reply.status_code not in (202, 409, 503):
            raise CampaignError(f"A cancel is answered {reply.status_code}: {reply.text[:300]}")
        return reply.status_code

    def _task_of_prompt(self, prompt: object) -> str:
        """The task that a queue door made of a request, once it is there."""
        deadline = time.monotonic() + DOOR_SECONDS
        while time.monotonic() < deadline:
            for item in self._items("task#"):
                if item["request"]["M"]["prompt"]["S"] == prompt:
                    return str(item["pk"]["S"]).removeprefix("task#")
            time.sleep(0.5)
        raise CampaignError(f"No task was made of the file or event {prompt}")

    # What goes on beside

    @contextmanager
    def _meanwhile(self, work: Callable[[], float]) -> Iterator[None]:
        """Do this again and again; it says after how many seconds."""
        stop = threading.Event()

        def loop() -> None:
            try:
                while not stop.wait(work()):
                    pass
            except BaseException as error:  # noqa: BLE001 - handed on to the campaign, which fails for it
                self._broken.append(error)

        thread = threading.Thread(target=loop, name=work.__name__)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _sweep(self) -> float:
        # a sweep may be throttled, killed, or find the table unwell: the next one is soon
        with contextlib.suppress(RuntimeError, ClientError):
            self._relay.sweep()
        return SWEEP_SECONDS

    def _take_events(self) -> float:
        sqs = self._relay.aws("sqs")
        messages = sqs.receive_message(QueueUrl=self.stack.events_queue_url, MaxNumberOfMessages=10).get("Messages", [])
        for message in messages:
            event = json.loads(message["Body"])
            if event["detail-type"] == GIVEN_UP:
                self._given_up.append(event["detail"])
            elif event["source"] == "vidu-relay":  # the bus carries what clients ask for, too
                task_id = event["detail"].get("task", {}).get("task_id", "")
                self._events.setdefault(task_id, []).append(event)
            sqs.delete_message(QueueUrl=self.stack.events_queue_url, ReceiptHandle=message["ReceiptHandle"])
        return 0.0 if messages else 0.3

    # The end

    def _settle(self, began: float) -> None:
        """Wait for every task's end. Returns when patience is over."""
        shown = -1
        while time.monotonic() < began + self._times.patience:
            self._check_health()
            left = self._unsettled()
            if len(left) != shown:
                shown = len(left)
                self._progress(f"  {shown} of {len(self._submitted)} have not ended")
            if not left:
                return
            time.sleep(LOOK_SECONDS)

    def _unsettled(self) -> list[str]:
        """The tasks that are not settled, or expired although the provider made their videos.

        One whose source stays bad rests once its delay was published.
        """
        records = self._records()
        resting = {one.task_id for one in self._submitted if self._rests(one)}
        ended = {
            task_id
            for task_id, record in records.items()
            if record["status"] in SETTLED or (task_id in resting and record["delayed"])
        }
        waiting = [one.task_id for one in self._submitted if one.task_id not in ended]
        expired = [
            one for one in self._submitted if one.task_id in ended and records[one.task_id]["status"] == "expired"
        ]
        if expired:
            creates, remote = self._creates(), self._remote({one.task_id for one in expired})
            given = self._switch.given()
            for one in expired:
                ends = possible_ends(one, creates.get(one.task_id, ()), remote.get(one.task_id, ()), given, self._times)
                if End("expired", records[one.task_id]["code"]) not in ends:
                    waiting.append(one.task_id)
        return waiting

    def _rests(self, one: Submitted) -> bool:
        """Whether the source of a task's videos is bad, and stays so for now."""
        return bool(lasting_fault(one.plan.script)) and not (one.task_id in self._waited and _heals(one.plan))

    def _heal_sources(self) -> list[str]:
        """The sources that stayed bad serve good videos, and the operator asks for the copies; the tasks."""
        records = self._records()
        for one in self._submitted:
            record = records[one.task_id]
            if lasting_fault(one.plan.script) and record["status"] == "generated" and record["delayed"]:
                self._waited[one.task_id] = record["failure"]
        healed = [one for one in self._submitted if one.task_id in self._waited and _heals(one.plan)]
        for one in healed:
            self._relay.change_script(one.plan.tag, {"videos": {"fault": None}})
            self._operate("task", "deliver", one.task_id)
        return [one.task_id for one in healed]

    def _operator(self) -> float:
        """`relay task check` for every task that is old and has not ended: again, where once was not enough."""
        old = {one.task_id for one in self._submitted if one.at < time.time() - self._times.hand}
        for task_id in [task_id for task_id in self._unsettled() if task_id in old]:
            if self._over.is_set():
                break
            self._operate("task", "check", task_id)
            self.by_hand.add(task_id)
        return self._times.hand / 5

    def _settle_events(self) -> None:
        """Wait until every version's event has arrived; the operator publishes what could not be published."""
        deadline = time.monotonic() + QUIET_SECONDS
        while time.monotonic() < deadline:
            while self._take_events() == 0.0:
                pass
            records = self._records()
            missing = [
                task_id
                for task_id, record in records.items()
                if len({event["detail"]["task"]["version"] for event in self._events.get(task_id, ())})
                <= record["version"] - record["first_version"]
            ]
            if not missing and not self._unpublished():
                return
            if self._unpublished():
                self._operate("failures", "republish")
                self.republished += 1
            time.sleep(1)

    def _settle_clients(self) -> None:
        """Wait until every client was told, or its 410 was.

        The operator asks again for what a fault of AWS's kept back: the message comes by itself when the queue's
        visibility time-out is over, which the campaign waits for only as long as for anything else.
        """
        deadline = time.monotonic() + self._times.patience
        shown, given, asked, left = self._shown(), self._switch.given(), set[str](), 0
        while time.monotonic() < deadline:
            self._take_events()
            told = self._told()
            missing = {
                one.task_id: one.at
                for one in self._submitted
                if one.task_id in shown and any(untold(one.plan, one.task_id, one.at, shown[one.task_id], told, given))
            }
            if len(missing) != left:
                left = len(missing)
                self._progress(f"  {left} clients have not been told")
            if not missing:
                return
            for task_id, at in missing.items():
                old = at < time.time() - self._times.hand
                if old and task_id not in asked and was_met(given, at):
                    self._operate("task", "notify", task_id)
                    asked.add(task_id)
                    self.asked_again += 1
            time.sleep(0.5)

    def _told(self) -> Told:
        """What can be seen of the telling of clients, without what only the end shows."""
        origins = {plan.client: self._clients.origin(plan.client) for plan in self._plans() if plan.client}
        return Told(heard=self._clients.heard(), origins=origins, given_up=list(self._given_up))

    def _plans(self) -> Iterator[Plan]:
        return (one.plan for one in self._submitted)

    def _admit_guest(self) -> str:
        """Create the second tenant; a key of its own."""
        self._operate("tenants", "create", GUEST)
        return str(self._ask("keys", "create", "--tenant", GUEST)["api_key"])

    def _operate(self, *words: str) -> None:
        """The operator's own tool."""
        run(_what(words), self._tool(words), program_environment(self._work_dir), self._work_dir / "relay.log")

    def _ask(self, *words: str) -> Any:
        """What the operator's tool says."""
        environment, log = program_environment(self._work_dir), self._work_dir / "relay.log"
        with Program(_what(words), self._tool(words), environment, log) as program:
            return json.loads(program.first_line(TOOL_SECONDS))

    def _tool(self, words: Sequence[str]) -> list[str]:
        stack_file = self._work_dir / "stack.json"
        self.stack.write(stack_file)
        return [str(ROOT / "cli" / "relay"), "--local", str(stack_file), "--json", *words]

    def _check_health(self) -> None:
        if self._broken:
            raise CampaignError(f"The campaign broke: {self._broken[0]!r}") from self._broken[0]

    # Evidence

    def _evidence(self) -> Evidence:
        self._check_health()
        self._progress("Comparing every task with what the provider saw and what S3 holds")
        graves = [self._outputs[f"{queue}DeadLettersUrl"] for queue in ("Deliveries", "Requests")]
        uploads = self._relay.aws("s3").list_multipart_uploads(Bucket=self.stack.videos_bucket).get("Uploads", [])
        return Evidence(
            records=self._records(),
            shown=self._shown(),
            events=self._events,
            creates=self._creates(),
            remote=self._remote(None),
            objects=self._objects(),
            given=self._switch.given(),
            places_taken=self._places_taken(),
            open_uploads=[upload["Key"] for upload in uploads],
            dead_letters=[message for url in graves for message in self._messages(url)],
            unrouted_events=len(self._messages(self._outputs["UnroutedEventsUrl"])),
            unpublished=self._unpublished(),
            waited=self._waited,
            told=replace(
                self._told(),
                secrets={tenant: self._ask("webhooks", "secret", tenant)["secret"] for tenant in self._relays},
                dead_letters=self._messages(self._outputs["NotificationsDeadLettersUrl"]),
            ),
        )

    def _items(self, prefix: str) -> Iterator[dict[str, Any]]:
        pages = (
            self._relay.aws("dynamodb").get_paginator("scan").paginate(TableName=self.stack.table, ConsistentRead=True)
        )
        for page in pages:
            yield from (item for item in page["Items"] if item["pk"]["S"].startswith(prefix))

    def _records(self) -> dict[str, dict[str, Any]]:
        return {
            item["pk"]["S"].removeprefix("task#"): {
                "status": item["status"]["S"],
                "version": int(item["version"]["N"]),
                "due_at": int(item["due_at"]["N"]) if "due_at" in item else None,
                "remote_id": item["remote_id"]["S"] if "remote_id" in item else None,
                "first_version": int(item["created_at"]["N"]) // 1000,
                "candidates": bool(item.get("candidates", {}).get("L")),
                "open": item["status"]["S"] == "accepted"
                or (item["status"]["S"] == "submitting" and "ended_at" not in item["attempt"]["M"]),
                "code": item["error"]["M"]["code"]["S"] if "error" in item else None,
                "delayed": "delayed_version" in _map(item, "delivery"),
                "failure": _map(_map(item, "delivery"), "last_error").get("code", {}).get("S"),
            }
            for item in self._items("task#")
        }

    def _places_taken(self) -> int:
        counters = (item for tenant in self._relays for item in self._items(f"cap#{tenant}#"))
        return sum(int(item["accepted"]["N"]) for item in counters)

    def _shown(self) -> dict[str, dict[str, Any]]:
        return {task_id: task for relay in self._relays.values() for task_id, task in self._shown_to(relay).items()}

    def _shown_to(self, relay: RelayClient) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        cursor: str | None = None
        while True:
            query = {"limit": "100", **({"cursor": cursor} if cursor else {})}
            reply = relay.call("GET", "/v1/tasks", params=query)
            reply.raise_for_status()
            found |= {task["task_id"]: task for task in reply.json()["tasks"]}
            cursor = reply.json()["next_cursor"]
            if not cursor:
                return found

    def _creates(self) -> dict[str, list[dict[str, Any]]]:
        """The simulator's create calls by our task: each names the address that it is to be called back at."""
        found: dict[str, list[dict[str, Any]]] = {}
        for call in self._relay.ask_provider("requests"):
            if call.get("call") == "create":
                found.setdefault(_task_of(call.get("identity", "")), []).append(call)
        return found

    def _remote(self, task_ids: set[str] | None) -> dict[str, list[dict[str, Any]]]:
        """The simulator's tasks by ours, all or those of `task_ids`."""
        found: dict[str, list[dict[str, Any]]] = {}
        for short in self._relay.ask_provider("tasks"):
            task_id = _task_of(short["callback_url"] or "")
            if task_ids is None or task_id in task_ids:
                found.setdefault(task_id, []).append(self._relay.ask_provider(f"tasks/{short['id']}"))
        return found

    def _objects(self) -> dict[str, tuple[int, str]]:
        s3, found = self._relay.aws("s3"), {}
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=self.stack.videos_bucket):
            for entry in page.get("Contents", []):
                body = s3.get_object(Bucket=self.stack.videos_bucket, Key=entry["Key"])["Body"].read()
                found[entry["Key"]] = (len(body), hashlib.sha256(body).hexdigest())
        return found

    def _messages(self, queue_url: str) -> list[str]:
        sqs, found = self._relay.aws("sqs"), []
        while messages := sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10, VisibilityTimeout=600).get(
            "Messages", []
        ):
            found += [str(message["Body"]) for message in messages]
        return found

    def _unpublished(self) -> int:
        bucket = self._outputs["FailuresBucket"]
        return int(self._relay.aws("s3").list_objects_v2(Bucket=bucket)["KeyCount"])

    def _read_outputs(self) -> dict[str, str]:
        stacks = self._relay.aws("cloudformation").describe_stacks(StackName=self.stack.stack_name)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stacks[0]["Outputs"]}


def judge_all(campaign: Campaign, evidence: Evidence, times: Times) -> list[Judgement]:
    """Every task against the model."""
    return [judge(one, evidence, times) for one in campaign.submitted]


def _heals(plan: Plan) -> bool:
    """Whether the bad source of a task's videos gets well in the end; a video that is too large stays as it is."""
    return "fault" in plan.script["videos"]


def _map(item: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A map in an item or in a map; empty where there is none."""
    found: Mapping[str, Any] = item.get(name, {}).get("M", {})
    return found


def _title(phase: Phase) -> str:
    return f"{phase.aws.name if phase.aws else 'The provider misbehaves'}: {len(phase.plans)} tasks"


def _what(words: Sequence[str]) -> str:
    return f"`relay {' '.join(words)}`"


def _task_of(callback_url: str) -> str:
    """The id of our task in an address for callbacks."""
    return callback_url.partition("?")[0].rpartition("/")[2]
