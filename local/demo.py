"""`make demo`: two real tasks through the real stack on this machine, shown as they go by the consumer's own tool.

The first one is called back, as on a good day. The callbacks of the second are lost on purpose: the sweep finds it,
and the poller finishes it.
"""

from __future__ import annotations

import json
import queue
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, Self

import av
import requests

from local.client import RelayClient
from local.errors import LocalStackError
from local.programs import ROOT, program_environment
from local.signals import StopRequestedError, stop_on_signals, undisturbed
from local.stack import LocalStack, Stack

FIRST_CHECK_SECONDS = 8
GENERATION_SECONDS = 5
PATIENCE_SECONDS = 120
LOST = "with nobody to ring"
WORK_DIR = ROOT / ".local" / "demo"
LOG = WORK_DIR / "logs" / "relay.log"


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
    first = watch(demo, "@fox and @robot eat hotpot by the window, steam rising, snow outside", say)
    show(demo, first, say, whole=True)

    say.title("A task whose callbacks are lost")
    demo.client.script(LOST, {"callbacks": {"drop": True}})
    say.text(f"The provider's callbacks are dropped. First check after {FIRST_CHECK_SECONDS} s (120 s by default).")
    say.text("The sweep runs every minute; the demo runs it as soon as the check is due.")
    second = watch(demo, f"@fox waits for @robot at a small station, {LOST}", say, meanwhile=demo.sweep_when_due)
    if not any(entry["source"] == "check" for entry in demo.client.task(second)["history"]):
        raise DemoFailedError("the second task was not finished by the poller")
    show(demo, second, say, whole=False)


def watch(demo: Demo, prompt: str, say: Narrator, *, meanwhile: Callable[[], str | None] | None = None) -> str:
    """Submit a task, and show states and events as they come, until both have told of its end; the task's id."""
    with ExitStack() as running:
        lines: queue.Queue[tuple[str, str]] = queue.Queue()
        with undisturbed():
            events = running.enter_context(demo.tool(lines, say, "tail", "--tenant", demo.stack.tenant_id))
        events.wait_until_it_listens(PATIENCE_SECONDS)
        request = demo.request(prompt)
        with undisturbed():
            running.enter_context(demo.tool(lines, say, "submit", str(request), "--watch"))
        demo.submitted()
        return follow(lines, say, meanwhile, PATIENCE_SECONDS)


def follow(
    lines: queue.Queue[tuple[str, str]],
    say: Narrator,
    meanwhile: Callable[[], str | None] | None,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """Show the lines of `relay submit --watch` and `relay tail` until both have told of the task's end; its id.

    The two are not in step: `submit` may have ended before the event of the end arrives, or after it.
    """
    deadline = clock() + seconds
    task_id, settled, told = "", False, False
    while not (settled and told):
        if clock() > deadline:
            raise DemoFailedError(f"task {task_id or 'without id'} was not told of to its end in {seconds:g} s")
        if meanwhile and (news := meanwhile()):
            say.text(news)
        try:
            command, line = lines.get(timeout=0.1)
        except queue.Empty:
            continue
        if not line:
            if command == "submit" and settled:
                continue
            raise DemoFailedError(f"`relay {command}` ended before the task's end; see {_shown(LOG)}")
        said = json.loads(line)
        if command == "tail":
            told = told or said["detail-type"] == "VideoTaskCompleted"
            say.event(said["detail-type"], said["detail"]["event_id"])
        elif "idempotency_key" in said:
            task_id = said["task_id"]
        elif not said["settled"]:
            say.state(said["status"], f"by {said['source']}")
        else:
            settled = True
            if said["status"] != "completed":
                raise DemoFailedError(f"task {task_id} is {said['status']}: {said['error']}")
    return task_id


def show(demo: Demo, task_id: str, say: Narrator, *, whole: bool) -> None:
    """The task (the whole of it, or its history), where its video is in S3, and a copy of it on disk, checked."""
    task = demo.client.task(task_id)
    (video,) = task["videos"]
    copy = demo.fetch(task_id, say)
    say.text("")
    say.text(f"GET /v1/tasks/{task_id}" + ("" if whole else ", its history"))
    if whole:
        say.block(json.dumps(_without_link_secrets(task), indent=2, ensure_ascii=False))
    else:
        say.block("\n".join(json.dumps(entry) for entry in task["history"]))
    say.text(f"in S3    s3://{video['bucket']}/{video['key']}")
    say.text(f"on disk  {_shown(copy)}  ({video['size']:,} bytes, SHA-256 as recorded; {_described(copy)})")


class Demo:
    """What the demo does: the consumer's tool, and the hands inside that no consumer has."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.client = RelayClient(stack)
        self._submitted_at = 0.0
        self._swept = False
        self._file = WORK_DIR / "tmp" / "stack.json"
        stack.write(self._file)

    def request(self, prompt: str) -> Path:
        """A file with a request."""
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
        file = WORK_DIR / "tmp" / "request.json"
        file.write_text(json.dumps(request))
        return file

    def tool(self, lines: queue.Queue[tuple[str, str]], say: Narrator, *words: str) -> Tool:
        """`cli/relay --json` with these words, whose lines go into the queue."""
        say.command(*(_shown(Path(word)) if word.startswith("/") else word for word in words))
        return Tool([str(ROOT / "cli" / "relay"), f"--local-file={self._file}", "--json", *words], words[0], lines, LOG)

    def fetch(self, task_id: str, say: Narrator) -> Path:
        """Fetch the task's video with `relay get`; its path."""
        lines: queue.Queue[tuple[str, str]] = queue.Queue()
        with self.tool(lines, say, "get", task_id, "--output", str(WORK_DIR)):
            try:
                _, line = lines.get(timeout=PATIENCE_SECONDS)
            except queue.Empty:
                raise DemoFailedError(f"`relay get` took longer than {PATIENCE_SECONDS} s") from None
        if not line:
            raise DemoFailedError(f"`relay get` failed; see {_shown(LOG)}")
        (saved,) = json.loads(line)["videos"]
        return Path(saved["path"])

    def submitted(self) -> None:
        """A task is being submitted: its first check is due some time from now."""
        self._submitted_at, self._swept = time.monotonic(), False

    def sweep_when_due(self) -> str | None:
        """Run the sweep once, as its schedule would, when the task's first check is due."""
        if self._swept or time.monotonic() < self._submitted_at + FIRST_CHECK_SECONDS + 1:
            return None
        result = self.client.sweep()
        self._swept = bool(result["started"])
        return f"find_overdue_tasks → {json.dumps(result)}" if self._swept else None


class Tool:
    """The consumer's tool while it runs. Leaving ends it as Ctrl-C does, and waits for what it tidies up."""

    def __init__(self, command: list[str], name: str, lines: queue.Queue[tuple[str, str]], log: Path) -> None:
        """Each line of standard output goes into `lines` with the command's name; an empty one says that it ended."""
        self._command, self._name, self._lines, self._log = command, name, lines, log
        self._listening = threading.Event()

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            self._command,
            stdout=pipe,
            stderr=pipe,
            text=True,
            env=program_environment(WORK_DIR / "tmp"),
            start_new_session=True,  # Ctrl-C reaches the demo, which passes it on
        )
        self._readers = [threading.Thread(target=read) for read in (self._read_lines, self._read_remarks)]
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        for reader in self._readers:
            reader.join()
        self._process.wait()

    def wait_until_it_listens(self, seconds: float) -> None:
        """Return once it has made its first remark. Raises `DemoFailedError` if it does not in time."""
        if not self._listening.wait(seconds):
            raise DemoFailedError(f"`relay {self._name}` was not ready within {seconds:g} s")

    def _read_lines(self) -> None:
        with self._process.stdout or nullcontext(()) as output:
            for line in output:
                self._lines.put((self._name, line))
        self._lines.put((self._name, ""))

    def _read_remarks(self) -> None:
        with self._process.stderr or nullcontext(()) as remarks, self._log.open("a") as log:
            for line in remarks:
                log.write(line)
                self._listening.set()
        self._listening.set()


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

    def command(self, *words: str) -> None:
        """A command of the tool is run."""
        self._line("$", f"relay {shlex.join(words)}")

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
