"""A client of the local stack: what any client can do over HTTP, and what a demo or a test does inside."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import requests

from local.stack import Stack, resources_of

__all__ = ["RelayClient", "TooSlowError"]

WAIT_SECONDS = 150
"""The sweep, which runs each minute, repeats a callback or delivery that failed."""

SIMULATOR_SECONDS = 60
"""How long an answer of the simulator's may take, on a machine with much else to do."""


class TooSlowError(Exception):
    """What was waited for did not happen in time."""


class RelayClient:
    """Calls the relay with the stack's own API key, or with another one."""

    def __init__(self, stack: Stack, api_key: str | None = None) -> None:
        self.stack = stack
        self._http = requests.Session()
        self._http.trust_env = False
        self._http.verify = stack.aws_ca_bundle or True
        self.key = stack.api_key if api_key is None else api_key
        self._aws: dict[str, Any] = {}
        self._events: dict[str, list[dict[str, Any]]] = {}

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        for client in self._aws.values():
            client.close()

    def resources(self) -> dict[str, str]:
        """The physical id of each resource of the stack, by its name in the template."""
        return resources_of(self.aws("cloudformation"), self.stack.stack_name)

    def call(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """An API call with the key. `arguments` are those of `requests`; the time-out is 120 s by default."""
        headers = {"Authorization": f"Bearer {self.key}", **arguments.pop("headers", {})}
        return self._http.request(method, self.stack.api_url + path, headers=headers, **{"timeout": 120, **arguments})

    def submit(self, request: Mapping[str, Any], idempotency_key: str | None = None) -> dict[str, Any]:
        """Submit a request; its task. Raises `requests.HTTPError` with the answer's text if it is refused."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        task: dict[str, Any] = _json(self.call("POST", "/v1/tasks", json=request, headers=headers))
        return task

    def task(self, task_id: str) -> dict[str, Any]:
        """The task as it stands."""
        task: dict[str, Any] = _json(self.call("GET", f"/v1/tasks/{task_id}"))
        return task

    def wait(
        self,
        task_id: str,
        *statuses: str,
        seconds: float = WAIT_SECONDS,
        meanwhile: Callable[[], object] | None = None,
    ) -> dict[str, Any]:
        """The task once it is in one of the states. Raises `TooSlowError`."""
        deadline = time.monotonic() + seconds
        while (task := self.task(task_id))["status"] not in statuses:
            if time.monotonic() > deadline:
                raise TooSlowError(f"task {task_id} is {task['status']} after {seconds:g} s: {task['error']}")
            if meanwhile:
                meanwhile()
            time.sleep(0.1)
        return task

    def download(self, task: Mapping[str, Any]) -> bytes:
        """Our copy of a completed task's first video, by the link in the task, its SHA-256 compared."""
        reply = self._http.get(task["output"][0]["results"][0]["url"], timeout=30)
        reply.raise_for_status()
        if hashlib.sha256(reply.content).hexdigest() != task["videos"][0]["sha256"]:
            raise ValueError(f"the video of {task['task_id']} is not the one that was recorded")
        return reply.content

    def new_events(self, task_id: str) -> list[dict[str, Any]]:
        """Events of a task that arrived on the bus since the last call for it, in the order of arrival.

        Those of no task are under `""`.
        """
        self._receive()
        return self._events.pop(task_id, [])

    def event(self, wanted: Callable[[dict[str, Any]], bool], seconds: float = WAIT_SECONDS) -> dict[str, Any]:
        """The next event on the bus that is as wanted, whatever it is about; the others stay. Raises `TooSlowError`."""
        deadline = time.monotonic() + seconds
        while True:
            self._receive()
            for events in self._events.values():
                for number, event in enumerate(events):
                    if wanted(event):
                        return events.pop(number)
            if time.monotonic() > deadline:
                raise TooSlowError(f"the event did not come within {seconds:g} s")
            time.sleep(0.1)

    def drop(self, name: str, request: Mapping[str, Any] | bytes, tenant_id: str | None = None) -> str:
        """Drop a file below the tenant's `requests/` prefix, as JSON unless it is bytes; its key."""
        key = f"requests/{tenant_id or self.stack.tenant_id}/{name}"
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        self.aws("s3").put_object(Bucket=self.stack.inbox_bucket, Key=key, Body=body)
        return key

    def put_event(self, detail: Mapping[str, Any], source: str | None = None) -> str:
        """Ask for a video by an event of the stack's mapped source, or of another; the event's id."""
        entry = {
            "EventBusName": self.stack.bus,
            "Source": source or self.stack.event_source,
            "DetailType": "VideoTaskRequested",
            "Detail": json.dumps(detail),
        }
        reply = self.aws("events").put_events(Entries=[entry])
        if reply["FailedEntryCount"]:
            raise ValueError(f"the event was refused: {reply['Entries']}")
        event_id: str = reply["Entries"][0]["EventId"]
        return event_id

    def rejection(self, source: str, event_id: str | None = None, seconds: float = WAIT_SECONDS) -> dict[str, Any]:
        """The next `VideoTaskRejected` event that names this file or event source. Raises `TooSlowError`.

        One source may have many rejections: `event_id` is the request's that is meant.
        """

        def wanted(event: dict[str, Any]) -> bool:
            detail = event["detail"]
            return detail.get("source") == source and event_id in (None, detail["event_id"].removesuffix(":rejected"))

        return self.event(wanted, seconds)

    def sweep(self) -> dict[str, Any]:
        """Run `find_overdue_tasks` once, as its schedule does each minute; what it says."""
        reply = self.aws("lambda").invoke(FunctionName=self.stack.functions["find_overdue_tasks"], Payload=b"{}")
        result: dict[str, Any] = json.loads(reply["Payload"].read())
        if "FunctionError" in reply:
            raise RuntimeError(f"find_overdue_tasks failed: {result}")
        return result

    def script(self, prompt_contains: str, script: Mapping[str, Any], times: int | None = None) -> None:
        """Script the simulator for the tasks with these words in the prompt (`local/simulator/scripts.py`)."""
        order = {"match": {"prompt_contains": prompt_contains}, "times": times, "script": script}
        reply = self._http.post(f"{self._simulator}/_simulator/scripts", json=order, timeout=SIMULATOR_SECONDS)
        reply.raise_for_status()

    def change_script(self, prompt_contains: str, change: Mapping[str, Any]) -> None:
        """Have the simulator treat its tasks with these words in the prompt otherwise: merged into their script."""
        for seen in self.seen_by_provider(prompt_contains):
            address = f"{self._simulator}/_simulator/tasks/{seen['id']}"
            self._http.patch(address, json=change, timeout=SIMULATOR_SECONDS).raise_for_status()

    def seen_by_provider(self, prompt_contains: str) -> list[dict[str, Any]]:
        """The simulator's tasks with these words in the prompt, each with all that was seen of it."""
        tasks = self.ask_provider("tasks")
        whole = [self.ask_provider(f"tasks/{task['id']}") for task in tasks]
        return [task for task in whole if prompt_contains in json.dumps(task["request"], ensure_ascii=False)]

    def images_at_provider(self, provider_task_id: str) -> list[dict[str, Any]]:
        """The images of one of the simulator's tasks as it reads them now: digest, size, form, fault of each."""
        images: list[dict[str, Any]] = self.ask_provider(f"tasks/{provider_task_id}/images")
        return images

    def ask_provider(self, what: str) -> Any:
        """What the simulator says of itself: `tasks`, `tasks/<id>` with all that was seen of it, `requests`."""
        return _json(self._http.get(f"{self._simulator}/_simulator/{what}", timeout=SIMULATOR_SECONDS))

    def create_calls(self, task_id: str = "") -> int:
        """How many create calls the simulator has had so far for a task (or for all), whatever it answered."""
        return sum(
            call.get("call") == "create"
            and task_id in call.get("identity", "")  # the address to call back, which names our task
            for call in self.ask_provider("requests")
        )

    def image(self, name: str) -> str:
        """The address of one of the simulator's reference images, for example `fox.png`."""
        return f"{self._simulator}/images/{name}"

    def aws(self, service: str) -> Any:
        """A boto3 client of the stack's AWS, with the operator's rights."""
        if service not in self._aws:
            self._aws[service] = self.stack.client(service)
        return self._aws[service]

    def _receive(self) -> None:
        """Take every event off the queue and keep it."""
        sqs = self.aws("sqs")
        while messages := sqs.receive_message(QueueUrl=self.stack.events_queue_url, MaxNumberOfMessages=10).get(
            "Messages", []
        ):
            for message in messages:
                sqs.delete_message(QueueUrl=self.stack.events_queue_url, ReceiptHandle=message["ReceiptHandle"])
                self._keep(json.loads(message["Body"]))

    def _keep(self, event: dict[str, Any]) -> None:
        detail = event["detail"]
        about = detail.get("task", detail).get("task_id", "")
        self._events.setdefault(about if isinstance(about, str) else "", []).append(event)

    @property
    def _simulator(self) -> str:
        return self.stack.provider_url.partition("/model/")[0]


def _json(reply: requests.Response) -> Any:
    if not reply.ok:
        raise requests.HTTPError(f"HTTP {reply.status_code}: {reply.text[:1000]}", response=reply)
    return reply.json()
