"""Bodies of callbacks: the gateway's form, the upstream's, and false ones."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from local.simulator.gateway_bodies import gateway_body
from local.simulator.scripts import CallbackState, Forgery
from local.simulator.tasks import State, Task
from local.simulator.vidu_bodies import vidu_body

STATES: dict[CallbackState, State] = {"processing": "processing", "success": "succeeded", "failed": "failed"}
FORGED_LINK = "https://cdn.example.invalid/videos/forged.mp4?Expires=4102444800&Signature=forged%2F%3D"

NONSENSE: tuple[bytes, ...] = (
    b"",
    b"\x00\xff\xfe not json \x80",
    b"null",
    b"[]",
    b'"completed"',
    b"1e999",
    b'{"id": {"id": []}, "status": ["completed"], "state": 7, "output": "none", "error": []}',
    b'{"id": "' + b"A" * 5000 + b'", "status": "completed"}',
    b'{"id": "\\ud800", "state": "success", "creations": {"url": null}}',
    b"[" * 20_000,
    b'{"status": "completed", "status": "failed"',
)


@dataclass(frozen=True)
class Named:
    """The ids a body names: those of its own task, unless it is forged."""

    gateway_id: str
    remote_id: str


def callback_body(task: Task, state: CallbackState, links: Sequence[str], named: Named | None = None) -> bytes:
    """The body that reports `state`, in the form and with the id that the task's script says."""
    script = task.script.callbacks
    named = named or Named(task.id, task.remote_id)
    shown_id = named.gateway_id if script.id == "gateway" else named.remote_id
    if script.form == "upstream" or task.flavour == "vidu":
        body = vidu_body(task, STATES[state], links)
    else:
        body = gateway_body(task, STATES[state], list(links))
        if "metadata" in body:
            body["metadata"]["remote_task_id"] = named.remote_id
    return json.dumps(body | {"id": shown_id}).encode()


def forged_body(task: Task, forgery: Forgery, number: int, other: Named | None) -> bytes:
    """The body of false callback `number` (from 0). `other` is the task an `other_task` forgery names."""
    if forgery.kind == "nonsense":
        return NONSENSE[number % len(NONSENSE)]
    named = None
    if forgery.kind == "other_task":
        named = other or Named(uuid.uuid4().hex, str(uuid.uuid4().int % 10**18))
    body = callback_body(task, forgery.claim, [FORGED_LINK], named)
    if forgery.kind == "huge":
        return body[:-1] + b', "padding": "' + b"x" * max(0, forgery.bytes - len(body) - 16) + b'"}'
    return body
