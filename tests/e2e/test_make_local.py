"""`make local`: webhooks to this machine, with the receiver of docs/examples, and what is left after a restart."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from local.client import RelayClient
from local.programs import ROOT, venv_program
from local.stack import Stack

RECEIVER = ROOT / "docs" / "examples" / "webhook_receiver.py"
EMPTY = "It starts empty: address, API key and webhook secret are new"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], **environment: str) -> Iterator["subprocess.Popen[str]"]:
    """A program that is stopped as by Ctrl-C."""
    with subprocess.Popen(  # noqa: S603 - our own programs
        command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)


def lines_until(process: "subprocess.Popen[str]", last: str) -> list[str]:
    """What it prints until a line that begins like this. Fails if it ends before."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(last):
            return lines
    pytest.fail(f"no {last!r} in {lines}")


@pytest.fixture
def work_dir() -> Iterator[Path]:
    folder = ROOT / ".local" / str(free_port())
    yield folder
    shutil.rmtree(folder)


def test_webhooks_reach_this_machine_and_a_restart_says_that_all_is_new(work_dir: Path) -> None:
    command, hook = [venv_program("dev"), "-m", "local", "--port", work_dir.name], free_port()
    with running(command) as local:
        assert EMPTY not in "".join(lines_until(local, "Ready"))
        stack_file = work_dir / "stack.json"
        relay = RelayClient(Stack(**json.loads(stack_file.read_text())))
        tool = [str(ROOT / "cli" / "relay"), "--local", str(stack_file), "--json", "webhooks", "secret", "demo"]
        secret = json.loads(subprocess.run(tool, check=True, capture_output=True, text=True).stdout)["secret"]  # noqa: S603 - ours
        request = {"model": "viduq2_pro_fast_reference2video", "images": [relay.image("fox.png")], "prompt": "a fox"}
        with running([sys.executable, str(RECEIVER), str(hook)], WEBHOOK_SECRET=secret) as receiver:
            task = relay.submit({**request, "callback_url": f"http://localhost:{hook}/hook"})
            assert lines_until(receiver, f"{task['task_id']} completed")
        refused = relay.call("POST", "/v1/tasks", json={**request, "callback_url": f"http://[::1]:{hook}/hook"})
        assert refused.status_code == 422
    with running(command) as local:
        assert EMPTY in "".join(lines_until(local, "Ready"))
        stack = Stack(**json.loads(stack_file.read_text()))
        relay.stack = stack  # with the key of before
        assert relay.call("GET", "/v1/tasks").status_code == requests.codes.forbidden
