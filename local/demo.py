"""`make demo`: two real tasks through the real stack on this machine, shown as they go.

The first one is called back, as on a good day. The callbacks of the second are lost on purpose: the sweep finds it,
and the poller finishes it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import requests

from local.client import RelayClient
from local.errors import LocalStackError
from local.programs import ROOT
from local.signals import StopRequestedError, stop_on_signals
from local.stack import LocalStack, Stack

FIRST_CHECK_SECONDS = 8
GENERATION_SECONDS = 5
PATIENCE_SECONDS = 120
LOST = "with nobody to ring"
WORK_DIR = ROOT / ".local" / "demo"


class DemoFailedError(Exception):
    """The demo did not go as it should. The message says where."""


def main() -> int:
    """Run the demo. Exit status: 0 as shown, 1 something went wrong (and said what, and where the log is)."""
    say = Narrator()
    for earlier in WORK_DIR.glob("*.mp4"):
        earlier.unlink()
    try:
        with (
            stop_on_signals(),
            LocalStack(
                work_dir=WORK_DIR,
                parameters={"FirstCheckSeconds": str(FIRST_CHECK_SECONDS), "CheckIntervalSeconds": "2"},
                generation_seconds=GENERATION_SECONDS,
                progress=say.step,
            ) as stack,
        ):
            run(stack, say)
    except (DemoFailedError, LocalStackError, requests.RequestException) as error:
        print(f"\nThe demo failed: {error}\nThe logs are in {_shown(WORK_DIR / 'logs')}", file=sys.stderr)
        return 1
    except StopRequestedError:
        print("\nStopped.", file=sys.stderr)
        return 130
    say.title("Done")
    say.text("The stack is down; nothing is left running. `make local` keeps one up for you.")
    return 0


def run(stack: Stack, say: Narrator) -> None:
    """Both tasks, and what they left behind."""
    demo = Demo(stack)

    say.title("A task, called back")
    say.text("POST /v1/tasks: two subjects with reference images, @-mentions, 720p, 5 s")
    first = demo.submit("@fox and @robot eat hotpot by the window, steam rising, snow outside")
    watch(demo, first, say)
    show(demo, first, say, whole=True)

    say.title("A task whose callbacks are lost")
    demo.client.script(LOST, {"callbacks": {"drop": True}})
    second = demo.submit(f"@fox waits for @robot at a small station, {LOST}")
    say.text(f"The provider's callbacks are dropped. First check after {FIRST_CHECK_SECONDS} s (120 s by default).")
    say.text("The sweep runs every minute; the demo runs it as soon as the check is due.")
    watch(demo, second, say, meanwhile=demo.sweep_when_due)
    if not any(entry["source"] == "check" for entry in demo.client.task(second)["history"]):
        raise DemoFailedError("the second task was not finished by the poller")
    show(demo, second, say, whole=False)


def watch(demo: Demo, task_id: str, say: Narrator, *, meanwhile: Callable[[], str | None] | None = None) -> None:
    """Show states and events as they come, until the event of the completed task has arrived."""
    shown: set[tuple[str, str]] = set()
    deadline = time.monotonic() + PATIENCE_SECONDS
    last_event = ""
    while last_event != "VideoTaskCompleted":
        task = demo.client.task(task_id)
        for entry in task["history"]:
            if (entry["at"], entry["status"]) not in shown:
                shown.add((entry["at"], entry["status"]))
                say.state(entry["status"], f"by {entry['source']}")
        for event in demo.client.new_events(task_id):
            last_event = event["detail-type"]
            say.event(last_event, event["detail"]["event_id"])
        if task["status"] in ("failed", "expired", "canceled"):
            raise DemoFailedError(f"task {task_id} is {task['status']}: {task['error']}")
        if time.monotonic() > deadline:
            raise DemoFailedError(f"task {task_id} is still {task['status']} after {PATIENCE_SECONDS} s")
        if meanwhile and (news := meanwhile()):
            say.text(news)
        time.sleep(0.15)


def show(demo: Demo, task_id: str, say: Narrator, *, whole: bool) -> None:
    """The task (the whole of it, or its history), where its video is in S3, and a copy of it on disk, checked."""
    task = demo.client.task(task_id)
    (video,) = task["videos"]
    copy = demo.client.save(task, WORK_DIR)
    say.text("")
    say.text(f"GET /v1/tasks/{task_id}" + ("" if whole else ", its history"))
    if whole:
        say.block(json.dumps(_without_link_secrets(task), indent=2, ensure_ascii=False))
    else:
        say.block("\n".join(json.dumps(entry) for entry in task["history"]))
    say.text(f"in S3    s3://{video['bucket']}/{video['key']}")
    say.text(f"on disk  {_shown(copy)}  ({video['size']:,} bytes, SHA-256 as recorded; {_described(copy)})")


class Demo:
    """A client of the relay with the demo's two requests."""

    def __init__(self, stack: Stack) -> None:
        self.client = RelayClient(stack)
        self._submitted_at = 0.0
        self._swept = False

    def submit(self, prompt: str) -> str:
        """Submit a request; the id of its task."""
        request = {
            "model": "viduq2_pro_fast_reference2video",
            "subjects": [
                {"id": "fox", "images": [self.client.image("fox.png"), self.client.image("garden.jpg")]},
                {"id": "robot", "images": [self.client.image("robot.webp")]},
            ],
            "prompt": prompt,
            "duration": 5,
            "resolution": "720p",
            "aspect_ratio": "16:9",
            "seed": 7,
        }
        task = self.client.submit(request, idempotency_key=f"demo-{time.time_ns()}")
        self._submitted_at, self._swept = time.monotonic(), False
        return str(task["task_id"])

    def sweep_when_due(self) -> str | None:
        """Run the sweep once, as its schedule would, when the task's first check is due."""
        if self._swept or time.monotonic() < self._submitted_at + FIRST_CHECK_SECONDS + 1:
            return None
        result = self.client.sweep()
        self._swept = bool(result["started"])
        return f"find_overdue_tasks → {json.dumps(result)}" if self._swept else None


class Narrator:
    """Prints what happens, one line each, with the time since the start or since the last title."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def step(self, text: str) -> None:
        """Something about the stack."""
        self._line("·", text)

    def title(self, text: str) -> None:
        """A new part; the clock starts anew."""
        print(f"\n── {text} ".ljust(80, "─"), flush=True)
        self._began = time.monotonic()

    def state(self, status: str, by: str) -> None:
        """The task entered a state."""
        self._line("●", f"{status:<11} {by}")

    def event(self, detail_type: str, event_id: str) -> None:
        """An event arrived on the bus."""
        self._line("✉", f"{detail_type}  {event_id}")

    def text(self, text: str) -> None:
        """Anything else."""
        print(f"           {text}".rstrip(), flush=True)

    def block(self, text: str) -> None:
        """Several lines."""
        for line in text.splitlines():
            self.text(line)

    def _line(self, mark: str, text: str) -> None:
        print(f"{time.monotonic() - self._began:7.1f} s {mark} {text}", flush=True)


def _without_link_secrets(task: dict[str, Any]) -> dict[str, Any]:
    """The task with its signed links cut behind the question mark, for a log that others may read."""
    shown: dict[str, Any] = json.loads(json.dumps(task))
    for output in shown["output"]:
        for result in output["results"]:
            result["url"] = result["url"].partition("?")[0] + "?…"
    return shown


def _described(path: Path) -> str:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        seconds = float(container.duration or 0) / 1_000_000
        return f"{stream.codec_context.name}, {stream.width}×{stream.height}, {seconds:.1f} s"


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    sys.exit(main())
