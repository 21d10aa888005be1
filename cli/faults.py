"""`relay faults`: what goes wrong on the local stack, on request, so that a person can watch the relay recover."""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import click
import requests

from cli.answer import Answer, RefusedError, table
from cli.command import Group, Relay
from cli.connection import read_stack_file
from cli.fault_switch import FaultSwitch

SIMULATOR_SECONDS = 60
MODEL = "viduq2_text2video"
"""What `--submit` asks for: no image is needed."""


@dataclass(frozen=True, slots=True)
class _Fault:
    """A fault: what happens, how the relay recovers, the simulator's script for one task, and the function to kill."""

    happens: str
    recovers: str
    script: Mapping[str, Any] = field(default_factory=dict)
    kill: str | None = None


NO_CALLBACKS = {"callbacks": {"drop": True}}
FAULTS: Mapping[str, _Fault] = {
    "lose-callback": _Fault(
        "the provider's callbacks of the task are lost",
        "the sweep starts the poller, which reads the provider",
        NO_CALLBACKS,
    ),
    "lose-reply": _Fault(
        "the provider creates the task, and the reply is lost",
        "a callback or the poller proves the task's id; the create call is not repeated",
        {"create": {"lose_reply": {"how": "reset"}}},
    ),
    "kill-function": _Fault(
        "callbacks are lost, and check_task is killed while it reads the provider",
        "the poller starts it again",
        {**NO_CALLBACKS, "poll": {"flap": {"kind": "hang", "seconds": 3}}},
        "check_task",
    ),
    "break-video": _Fault(
        "the first download of the video is cut short",
        "the relay sees that the video is not whole, and copies it again",
        {"videos": {"fault": {"kind": "truncate", "times": 1}}},
    ),
    "sick-cdn": _Fault(
        "the provider's file server answers 503 three times",
        "the relay waits longer each time, and copies it again",
        {"videos": {"fault": {"kind": "status", "status": 503, "times": 3}}},
    ),
}


@click.group(cls=Group)
def faults() -> None:
    """What goes wrong on the local stack, on request."""


@faults.command("list", examples=["faults list"])
def list_all(relay: Relay) -> Answer:
    """List the faults that can be injected, and those that wait for a task."""
    stack = _local(relay)
    scripts = [one for one in _simulator(stack, "GET", "scripts") if one["left"] != 0]
    kills = [one for one in _switch(stack).active() if one["limit"] is None or one["given"] < one["limit"]]
    shown = [{"fault": name, "happens": one.happens, "recovers": one.recovers} for name, one in FAULTS.items()]
    rows = [("FAULT", "WHAT HAPPENS", "HOW THE RELAY RECOVERS"), *(tuple(one.values()) for one in shown)]
    waiting = {"scripts": scripts, "functions": kills}
    text = f"{table(rows)}\nWaiting: {len(scripts)} scripts of the simulator, {len(kills)} faults of functions."
    return Answer(text, {"faults": shown, "waiting": waiting})


@faults.command(examples=["faults inject lose-callback", "faults inject sick-cdn --submit"])
@click.argument("fault", type=click.Choice(list(FAULTS)))
@click.option("--submit", is_flag=True, help="Also submit a task that meets it; otherwise the next task does.")
def inject(relay: Relay, fault: str, submit: bool) -> Answer:
    """Have a fault happen to one task of the local stack."""
    stack, chosen = _local(relay), FAULTS[fault]
    prompt = f"A fox in the snow, {fault} {secrets.token_hex(3)}"
    match = {"prompt_contains": prompt} if submit else {}
    _simulator(stack, "POST", "scripts", {"match": match, "times": 1, "script": chosen.script})
    if chosen.kill:
        order = {"at": stack["functions"][chosen.kill], "how": "kill", "limit": 1, "within_seconds": 1.0}
        _switch(stack).order([order], random.randrange(1 << 30))  # noqa: S311 - chooses a moment, protects nothing
    task_id = _submit(relay, prompt) if submit else None
    meets = f"Task {task_id} meets it" if task_id else "The next task meets it"
    text = f"{chosen.happens[0].upper()}{chosen.happens[1:]}. {meets}. To recover, {chosen.recovers}."
    if task_id:
        text += f"\nTo see it: {relay.again('task', 'show', task_id)}"
    return Answer(text, {"fault": fault, "task_id": task_id})


@faults.command(examples=["faults end"])
def end(relay: Relay) -> Answer:
    """Take back every fault that waits; tasks that run under one keep it."""
    stack = _local(relay)
    scripts = _simulator(stack, "GET", "scripts")
    for script in scripts:
        _simulator(stack, "DELETE", f"scripts/{script['id']}")
    _switch(stack).end()
    return Answer("No fault waits.", {"removed": len(scripts)})


def _local(relay: Relay) -> dict[str, Any]:
    """What the local stack says of itself. Raises `RefusedError` for another stack, or one without the simulator."""
    if not relay.stack_file:
        raise RefusedError("faults are for the stack of `make local` alone: say --local")
    return read_stack_file(relay.stack_file)


def _submit(relay: Relay, prompt: str) -> str:
    request = {"model": MODEL, "prompt": prompt, "duration": 1}
    return str(relay.api.submit(json.dumps(request).encode(), secrets.token_hex(8))["task_id"])


def _switch(stack: Mapping[str, Any]) -> FaultSwitch:
    return FaultSwitch(stack["aws_endpoint_url"], stack["aws_ca_bundle"], stack["region"])


def _simulator(stack: Mapping[str, Any], method: str, what: str, order: Mapping[str, Any] | None = None) -> Any:
    """A control call of the simulator; its answer. Raises `RefusedError` if another provider is in its place."""
    base = urlsplit(stack["provider_url"])
    with requests.Session() as session:
        session.trust_env = False
        try:
            reply = session.request(
                method, f"{base.scheme}://{base.netloc}/_simulator/{what}", json=order, timeout=SIMULATOR_SECONDS
            )
            reply.raise_for_status()
            return reply.json() if reply.content else None
        except requests.RequestException as error:
            raise RefusedError(f"{base.netloc} is not the simulator of the local stack, or is down") from error
