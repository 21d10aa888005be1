"""What a client does with `cli/relay` on the deployed stack: submit, watch, get, list, cancel, delete, tail."""

import hashlib
import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cli.command import INTERRUPTED
from cli.tailing import PREFIX
from cli.watching import EXIT_STATUS
from local.client import RelayClient
from local.programs import ROOT
from local.simulator.images import image
from tests.e2e.waiting import wait_until
from vidu_relay.domain.states import EVENT_TYPE_ACCEPTED, EVENT_TYPES, Status

Body = dict[str, Any]
Run = Callable[..., tuple[int, str, str]]
SECONDS = 120


@pytest.fixture(scope="module")
def stack_file(relay: RelayClient, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("consumer") / "stack.json"
    relay.stack.write(file)
    return file


@pytest.fixture
def run(stack_file: Path) -> Run:
    """Runs `cli/relay` to its end: exit status, standard output, standard error."""

    def run(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        command = command_of(stack_file, *arguments)
        done = subprocess.run(command, input=stdin, capture_output=True, check=False, text=True, timeout=SECONDS)  # noqa: S603 - ours
        return done.returncode, done.stdout, done.stderr

    return run


def command_of(stack_file: Path, *arguments: str) -> list[str]:
    return [str(ROOT / "cli" / "relay"), f"--local-file={stack_file}", *arguments]


@contextmanager
def running(stack_file: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The tool, while it runs. After `SECONDS` it is killed."""
    pipe = subprocess.PIPE
    with subprocess.Popen(  # noqa: S603 - ours
        command_of(stack_file, *arguments),
        stdout=pipe,
        stderr=pipe,
        text=True,
        preexec_fn=heeds_ctrl_c,  # noqa: PLW1509 - no threads here yet
    ) as process:
        watchdog = threading.Timer(SECONDS, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            watchdog.join()
            process.kill()


def heeds_ctrl_c() -> None:
    """A shell starts background programs with SIGINT ignored, and their children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupt(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """What Ctrl-C does; exit status, and what it printed since."""
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=SECONDS)
    return process.returncode, out, error


def lines_of(out: str) -> list[Body]:
    return [json.loads(line) for line in out.splitlines()]


def listeners(relay: RelayClient) -> list[str]:
    """What `tail` has put into the account."""
    rules = relay.aws("events").list_rules(EventBusName=relay.stack.bus, NamePrefix=PREFIX)["Rules"]
    queues = relay.aws("sqs").list_queues(QueueNamePrefix=PREFIX).get("QueueUrls", [])
    return [*(rule["Name"] for rule in rules), *queues]


def test_file_is_submitted_watched_and_fetched_byte_for_byte(
    relay: RelayClient, run: Run, request_body: Body, tmp_path: Path
) -> None:
    file = tmp_path / "request.json"
    file.write_text(json.dumps(request_body))
    status, out, error = run("--json", "submit", str(file))
    assert status == 0, error
    submitted = json.loads(out)
    assert submitted["idempotency_key"] in error

    status, out, error = run("--json", "watch", submitted["task_id"])
    assert status == 0, error
    *changes, end = lines_of(out)
    assert [change["status"] for change in changes] == [
        entry["status"] for entry in relay.task(submitted["task_id"])["history"]
    ]
    assert [line["settled"] for line in (*changes, end)] == [False] * len(changes) + [True]

    status, out, error = run("--json", "get", submitted["task_id"], "--output", str(tmp_path))
    assert status == 0, error
    (saved,) = json.loads(out)["videos"]
    content = Path(saved["path"]).read_bytes()
    assert content == relay.download(relay.task(submitted["task_id"]))
    assert hashlib.sha256(content).hexdigest() == end["videos"][0]["sha256"] == saved["sha256"]
    assert [path.name for path in tmp_path.glob("*.part")] == []

    (listed,) = json.loads(run("--json", "list", "--limit", "1")[1])["tasks"]
    assert listed["task_id"] == submitted["task_id"]
    status, _, error = run("cancel", submitted["task_id"])
    assert (status, "task_already_settled" in error) == (1, True)
    repeated = run("--json", "submit", "-", "--idempotency-key", submitted["idempotency_key"], stdin=file.read_text())
    assert json.loads(repeated[1])["task_id"] == submitted["task_id"]
    status, _, error = run("delete", submitted["task_id"], "--yes")
    assert (status, "delivery_underway" in error) == (1, True)


def test_dry_run_says_what_the_provider_then_bills_and_leaves_no_task(
    relay: RelayClient, run: Run, request_body: Body
) -> None:
    text = json.dumps(request_body)
    status, _, error = run("prices", "set", request_body["model"], "--usd", "0.045", "--when", "duration=1")
    assert status == 0, error

    def listed_price() -> Body | None:
        """The estimate, once the function has forgotten the prices that it read before."""
        status, out, error = run("--json", "submit", "-", "--dry-run", stdin=text)
        assert status == 0, error
        found: Body = json.loads(out)
        return found if found["basis"] == "list" else None

    estimate = wait_until(listed_price, "the price of the list")
    assert (estimate["usd"], estimate["provider"]) == ("0.045", "gateway")
    assert relay.seen_by_provider(request_body["prompt"]) == []
    listed = relay.call("GET", "/v1/tasks").json()["tasks"]
    assert request_body["prompt"] not in [task["request"]["prompt"] for task in listed]

    task = relay.wait(relay.submit(request_body)["task_id"], "completed")
    assert Decimal(task["usage"]["cost"]) == Decimal(estimate["usd"])


def test_image_files_are_uploaded_and_reach_the_provider(
    relay: RelayClient, run: Run, request_body: Body, tmp_path: Path
) -> None:
    fox, robot = tmp_path / "fox.png", tmp_path / "robot.jpg"
    fox.write_bytes(image("fox", "png"))
    robot.write_bytes(image("robot", "jpeg"))
    prompt = request_body["prompt"]
    relay.script(prompt, {"create": {"fetch_images": True}})

    status, out, error = run(
        "submit", "--prompt", prompt, "--subject", f"fox={fox},{relay.image('garden.jpg')}", "--subject",
        f"robot={robot}", "--duration", "1", "--watch",
    )  # fmt: skip
    assert status == 0, error
    assert "● completed" in out
    (seen,) = relay.seen_by_provider(prompt)
    read = [one["sha256"] for one in relay.images_at_provider(seen["id"])]
    assert read[0] == hashlib.sha256(fox.read_bytes()).hexdigest()
    assert read[2] == hashlib.sha256(robot.read_bytes()).hexdigest()


def test_watching_that_is_interrupted_says_how_it_is_resumed_and_is(
    relay: RelayClient, stack_file: Path, request_body: Body
) -> None:
    relay.script(request_body["prompt"], {"outcome": {"never_finish": True}, "callbacks": {"drop": True}})
    task_id = str(relay.submit(request_body)["task_id"])
    with running(stack_file, "watch", task_id) as process:
        assert process.stdout
        assert task_id in process.stdout.readline()
        status, _, error = interrupt(process)
    assert status == INTERRUPTED
    assert error.split()[-5:] == [str(ROOT / "cli" / "relay"), "--local-file", str(stack_file), "watch", task_id]
    assert "Traceback" not in error

    with running(stack_file, "watch", task_id) as process:
        assert process.stdout
        assert task_id in process.stdout.readline()
        relay.change_script(request_body["prompt"], {"outcome": {"never_finish": False}})
        relay.wait(task_id, "completed", meanwhile=relay.sweep)
        out, error = process.communicate(timeout=SECONDS)
    assert process.returncode == EXIT_STATUS[Status.COMPLETED], error
    assert "● completed" in out


def test_tail_shows_every_event_of_a_task_and_leaves_nothing_behind(
    relay: RelayClient, stack_file: Path, request_body: Body
) -> None:
    with running(stack_file, "--json", "tail", "--tenant", relay.stack.tenant_id) as process:
        assert process.stdout
        assert process.stderr
        assert "Listening on" in process.stderr.readline()
        assert len(listeners(relay)) == 2
        task_id = str(relay.submit(request_body)["task_id"])
        seen: list[Body] = []
        while not seen or seen[-1]["detail-type"] != EVENT_TYPES[Status.COMPLETED]:
            event = json.loads(process.stdout.readline())
            seen += [event] if event["detail"].get("task", {}).get("task_id") == task_id else []
        status, _, error = interrupt(process)
    on_the_bus = {event["id"]: event for event in relay.new_events(task_id)}
    assert {event["id"]: event for event in seen} == on_the_bus
    first = int(datetime.fromisoformat(seen[0]["detail"]["task"]["created_at"]).timestamp())
    assert [event["detail"]["task"]["version"] for event in seen] == list(range(first, first + len(seen)))
    assert seen[0]["detail-type"] == EVENT_TYPE_ACCEPTED
    assert status == INTERRUPTED, error
    assert listeners(relay) == []
    assert "Traceback" not in error
