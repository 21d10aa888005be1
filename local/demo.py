"""`make demo`: a task on a bad day, through the whole stack on this machine, on one screen.

The provider's callbacks are lost, and a function is killed in the middle. The task still completes and is billed once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import secrets
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import av
import requests

from cli.fault_switch import FaultSwitch
from local.client import RelayClient, TooSlowError
from local.errors import LocalStackError
from local.programs import ROOT
from local.signals import StopRequestedError, stop_on_signals
from local.stack import LocalStack, Stack
from local.stack_file import described

__all__ = ["EVIDENCE", "PROMPT", "VIDEO", "DemoFailedError", "check"]

FIRST_CHECK_SECONDS = 3
GENERATION_SECONDS = 2
TIMEOUT_SECONDS = 120
KILL_SECONDS = 1.0
SEED = 2
"""Has the function killed 0.95 of `KILL_SECONDS` after it was invoked: `SCRIPT` keeps it reading for longer."""
PROMPT = "@fox and @robot eat hotpot by the window, steam rising, snow outside"
SCRIPT = {"callbacks": {"drop": True}, "poll": {"flap": {"kind": "hang", "seconds": 3}}}
WORK_DIR = ROOT / ".local" / "demo"
VIDEO = WORK_DIR / "video.mp4"
EVIDENCE = WORK_DIR / "demo.json"
NEXT = """Next         `make demo KEEP=1` and `make local` keep a stack up, with consoles to look at
             docs/usage.md: send requests; docs/simulator.md: faults of your own
The demo's stack is down; nothing is left running."""
WATCH_SECONDS = 0.5

Say = Callable[[str, str], None]
Evidence = Mapping[str, Any]


class DemoFailedError(Exception):
    """The demo did not show what it promises. The message says what."""


def main(*, keep: bool) -> int:
    """Run the demo. Exit status: 0 as shown, 1 something failed (it says what, and where the log is), 130 stopped.

    `keep` leaves the stack up until a signal stops it.
    """
    began = time.monotonic()

    def say(actor: str, text: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {actor:<10} {text}", flush=True)

    stack = LocalStack(
        WORK_DIR,
        parameters={"FirstCheckSeconds": str(FIRST_CHECK_SECONDS), "CheckIntervalSeconds": "1"},
        generation_seconds=GENERATION_SECONDS,
        progress=lambda step: say("stack", step),
    )
    try:
        with stop_on_signals(), stack as description:
            run(description, say)
            if keep:
                _keep(stack, description)
    except (DemoFailedError, LocalStackError, TooSlowError, requests.RequestException) as error:
        print(f"\nThe demo failed: {error}\nThe logs are in {_shown(stack.logs)}", file=sys.stderr)
        return 1
    except StopRequestedError:
        print("\nStopped.", file=sys.stderr)
        return 130
    print(f"\n{NEXT}")
    return 0


def _keep(stack: LocalStack, description: Stack) -> None:
    """Show where the stack's consoles are until a signal stops it."""
    rows = {
        "Console": shlex.quote(description.console_url),
        "API key": description.api_key,
        "Operator": "cli/relay --local console",
    }
    with contextlib.suppress(StopRequestedError), described(description, WORK_DIR):
        print("\nThe stack stays up. Ctrl-C stops it.")
        for name, text in rows.items():
            print(f"{name:<12} {text}", flush=True)
        while True:
            time.sleep(WATCH_SECONDS)
            stack.check()


def run(stack: Stack, say: Say) -> None:
    """Order the faults, submit, watch the task to its end, and compare with what the provider has recorded."""
    client = RelayClient(stack)
    switch = FaultSwitch(stack.aws_endpoint_url, stack.aws_ca_bundle or "", stack.region)
    client.script(PROMPT, SCRIPT)
    check_task = stack.functions["check_task"]
    switch.order([{"at": check_task, "how": "kill", "limit": 1, "within_seconds": KILL_SECONDS}], SEED)
    print("\nA bad day: every callback of the provider is lost, and a function is killed while it runs.\n")
    task_id = _submit(client, say)
    task = _watch(client, switch, task_id, say)
    last = client.event(lambda event: event["detail-type"] == "VideoTaskCompleted")
    evidence = {
        "task": task,
        "events": [*client.new_events(task_id), last],
        "create_calls": client.create_calls(),
        "provider": client.seen_by_provider(PROMPT),
        "killed": switch.given(),
    }
    EVIDENCE.write_text(json.dumps(evidence, indent=2, ensure_ascii=False))
    check(evidence)
    VIDEO.write_bytes(client.download(task))
    _summarize(evidence)


def _submit(client: RelayClient, say: Say) -> str:
    """Send one request three times, as a client that did not hear the answer; the id of its one task."""
    request = {
        "model": "viduq2_pro_fast_reference2video",
        "subjects": [
            {"id": "fox", "images": [client.image("fox.png"), client.image("garden.jpg")]},
            {"id": "robot", "images": [client.image("robot.webp")]},
        ],
        "prompt": PROMPT,
        "duration": 5,
        "resolution": "720p",
    }
    key = secrets.token_hex(8)
    task_id = str(client.submit(request, key)["task_id"])
    say("client", f"POST /v1/tasks: 2 subjects, 5 s  ->  202, task {task_id}")
    repeated = {client.submit(request, key)["task_id"] for _ in range(2)}
    if repeated != {task_id}:
        raise DemoFailedError("a repeated request made another task")
    say("client", "sends it twice more, with the same Idempotency-Key  ->  the same task")
    return task_id


def _watch(client: RelayClient, switch: FaultSwitch, task_id: str, say: Say) -> dict[str, Any]:
    """Show the task's changes, and what happens to it, until it has settled; the task. Raises `TooSlowError`."""
    began, shown = time.monotonic(), 0

    def provider_is_done() -> bool:
        done = client.seen_by_provider(PROMPT)[0]["state"] == "succeeded"
        return done and _said(say, "provider", "has made the video; its callbacks are lost")

    def check_is_due() -> bool:
        due = time.monotonic() > began + FIRST_CHECK_SECONDS + 1
        text = "runs each minute; it finds the task overdue and starts the poller"
        return due and client.sweep()["started"] == 1 and _said(say, "sweep", text)

    def function_is_killed() -> bool:
        return bool(switch.given()) and _said(say, "check_task", "is killed while it reads the provider; it is retried")

    pending = [provider_is_done, check_is_due, function_is_killed]
    while time.monotonic() < began + TIMEOUT_SECONDS:
        task = client.task(task_id)
        for entry in task["history"][shown:]:
            say("task", f"{entry['status']:<11} by {entry['source']}")
        shown = len(task["history"])
        if task["status"] in ("completed", "failed", "expired"):
            return task
        pending = [step for step in pending if not step()]
        time.sleep(0.1)
    raise TooSlowError(f"the task has not settled within {TIMEOUT_SECONDS} s")


def _said(say: Say, actor: str, text: str) -> bool:
    say(actor, text)
    return True


def check(evidence: Evidence) -> None:
    """Raise `DemoFailedError` unless the task completed, was billed once, and met every fault."""
    task, provider = evidence["task"], evidence["provider"]
    faults = {
        f"the task is {task['status']}: {task['error']}": task["status"] != "completed",
        f"{evidence['create_calls']} create calls were made": evidence["create_calls"] != 1,
        f"{len(provider)} tasks are at the provider": len(provider) != 1,
        "no function was killed": not evidence["killed"],
        "a callback arrived": any(callback["kind"] != "dropped" for one in provider for callback in one["callbacks"]),
        "the poller did not find the video": all(entry["source"] != "check" for entry in task["history"]),
    }
    if found := [what for what, is_so in faults.items() if is_so]:
        raise DemoFailedError("; ".join(found))


def _summarize(evidence: Evidence) -> None:
    task, (provider,) = evidence["task"], evidence["provider"]
    (video,) = task["videos"]
    with av.open(str(VIDEO)) as container:
        picture = container.streams.video[0].codec_context.name
    rows = {
        "Billed once": f"the provider counts 1 create call and 1 task, US$ {task['usage']['cost']}",
        "": f"{len(provider['callbacks'])} callbacks, all lost; {len(provider['polls'])} reads by the relay",
        "Video": f"{_shown(VIDEO)}: {picture}, {video['width']}x{video['height']}, {video['duration_seconds']:g} s, "
        f"{video['size']:,} bytes, SHA-256 as recorded",
        "In S3": video["key"],
        "Everything": f"{_shown(EVIDENCE)}: the task, its {len(evidence['events'])} events, the provider's records",
    }
    print()
    for name, text in rows.items():
        print(f"{name:<12} {text}")


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m local.demo")
    parser.add_argument("--keep", default="", help="keep the stack up if not empty")
    sys.exit(main(keep=bool(parser.parse_args().keep)))
