"""The stack's life: it starts, describes itself, and ends with all it started, however it ends."""

import dataclasses
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from local.client import RelayClient
from local.errors import CommandFailedError, LocalStackError, PortTakenError
from local.programs import ROOT, Program, program_environment, running, venv_program
from local.signals import StopRequestedError, stop_on_signals
from local.stack import LocalStack, Stack
from tests.local.probe import TIMEOUT_SECONDS, eventually

PROC = Path("/proc")
needs_proc = pytest.mark.skipif(not PROC.is_dir(), reason="reads processes through /proc, which is Linux's")


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    return tmp_path / "work"


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def provider() -> Iterator[str]:
    """Another provider server, which is not called here."""
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/base"
        server.shutdown()


def read(read_one: Any) -> Any:
    """What a file in /proc says; empty where the process has ended or is another user's."""
    try:
        return read_one()
    except OSError:
        return b""


def processes_of(work_dir: Path) -> set[int]:
    """Processes that were started for the stack in this folder: it is their temporary folder."""
    others = [entry for entry in PROC.iterdir() if entry.name.isdigit() and int(entry.name) != os.getpid()]
    marker = f"TMPDIR={work_dir}".encode()
    return {int(entry.name) for entry in others if marker in read((entry / "environ").read_bytes)}


def listening_addresses(pids: set[int]) -> set[str]:
    """Local addresses, in the kernel's notation, that these processes listen on."""
    descriptors = [descriptor for pid in pids for descriptor in (PROC / str(pid) / "fd").iterdir()]
    sockets = {str(read(descriptor.readlink)) for descriptor in descriptors}
    lines = [line.split() for name in ("tcp", "tcp6") for line in (PROC / "net" / name).read_text().splitlines()[1:]]
    return {fields[1].partition(":")[0] for fields in lines if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets}


def all_have_ended(work_dir: Path) -> bool:
    """Whether every process is gone, as soon as the system has carried out the last kill."""
    return bool(eventually(lambda: not processes_of(work_dir)))


@needs_proc
def test_a_stack_with_another_provider_describes_itself_and_leaves_nothing(
    work_dir: Path, free_port: int, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = {"FirstCheckSeconds": "7"}
    stack = LocalStack(work_dir, port=free_port, provider_url=provider, provider_key="their-key", parameters=parameters)
    with stack as description:
        assert description.aws_endpoint_url == f"https://127.0.0.1:{free_port}"
        assert description.provider_url == provider
        assert all(dataclasses.asdict(description).values())
        assert set(description.functions) == {path.parent.name for path in (ROOT / "functions").glob("*/handler.py")}
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # it leads nowhere
        monkeypatch.delenv("NO_PROXY")
        monkeypatch.delenv("no_proxy")
        functions = description.client("lambda")
        submit = functions.get_function_configuration(FunctionName=description.functions["submit_task"])
        variables = submit["Environment"]["Variables"]
        assert (variables["FIRST_CHECK_SECONDS"], variables["PROVIDER_BASE_URL"]) == ("7", provider)
        secret = stack.client("secretsmanager").get_secret_value(SecretId=stack.outputs["ProviderSecretArn"])
        assert json.loads(secret["SecretString"]) == {"gateway": {"key": "their-key"}}
        stack.client("lambda").invoke(FunctionName=description.functions["find_overdue_tasks"], Payload=b"{}")

        pids = processes_of(work_dir)
        assert len(pids) >= 3
        assert listening_addresses(pids) == {"0100007F"}
        with pytest.raises(PortTakenError, match=str(free_port)), LocalStack(work_dir, port=free_port):
            pass
        stack.check()
    assert all_have_ended(work_dir)
    assert sorted(path.name for path in work_dir.iterdir()) == ["lock", "logs"]


@pytest.mark.parametrize(
    ("parameter", "words"),
    [({"FirstCheckSecond": "3"}, r"\[FirstCheckSecond\] do not exist"), ({"CallbackSignature": "no"}, "CallbackSign")],
)
def test_a_template_that_cannot_be_deployed_says_why(
    work_dir: Path, provider: str, parameter: dict[str, str], words: str
) -> None:
    with pytest.raises(LocalStackError, match=words), LocalStack(work_dir, provider_url=provider, parameters=parameter):
        pass
    assert all_have_ended(work_dir)


def read_until(process: "subprocess.Popen[str]", line: str) -> str:
    """What a process prints until a line that starts so, included."""
    assert process.stdout is not None
    printed: list[str] = []
    while not (printed and printed[-1].startswith(line)):
        printed.append(process.stdout.readline())
        assert printed[-1], f"no line that starts with {line!r} in {printed}"
    return "".join(printed)


@contextmanager
def make_local(
    port: int, line: str, *, provider_url: str = "http://127.0.0.1:9/base", keep: bool = False
) -> Iterator[tuple["subprocess.Popen[str]", Path, str]]:
    """`make local` on a port, after it has printed a line that starts so, its folder, and what it printed."""
    command = [venv_program("dev"), "-m", "local", "--port", str(port)]
    command += ["--provider-url", provider_url] if provider_url else []
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own program
    work_dir = ROOT / ".local" / str(port)
    try:
        yield process, work_dir, read_until(process, line)
    finally:
        process.kill()
        process.communicate()
        if not keep:
            shutil.rmtree(work_dir)


@needs_proc
@pytest.mark.parametrize(
    ("number", "moment"), [(signal.SIGTERM, "Starting the emulated AWS"), (signal.SIGINT, "Ready")]
)
def test_make_local_stops_cleanly_at_any_moment(free_port: int, number: signal.Signals, moment: str) -> None:
    with make_local(free_port, moment) as (process, work_dir, _):
        if moment == "Ready":
            Stack(**json.loads((ROOT / ".local" / "stack.json").read_text()))
        process.send_signal(number)
        assert process.wait(TIMEOUT_SECONDS) == 0
        assert all_have_ended(work_dir)
        assert not (work_dir / "tmp").exists()


def test_webhooks_reach_this_machine_and_a_restarted_stack_says_that_it_is_empty(free_port: int) -> None:
    empty = "It starts empty: address, API key and webhook secret are new"
    with make_local(free_port, "Ready", provider_url="", keep=True) as (process, work_dir, printed):
        assert empty not in printed
        relay = RelayClient(Stack(**json.loads((work_dir / "stack.json").read_text())))
        tool = [
            str(ROOT / "cli" / "relay"),
            f"--local-file={work_dir}/stack.json",
            "--json",
            "webhooks",
            "secret",
            "demo",
        ]
        secret = json.loads(subprocess.check_output(tool))["secret"]  # noqa: S603 - our own tool
        with socket.create_server(("127.0.0.1", 0)) as probe:
            hook = probe.getsockname()[1]
        request = {"model": "viduq2_pro_fast_reference2video", "images": [relay.image("fox.png")], "prompt": "a fox"}
        with subprocess.Popen(  # noqa: S603 - our own example
            [sys.executable, ROOT / "docs/examples/webhook_receiver.py", str(hook)],
            env={**os.environ, "WEBHOOK_SECRET": secret},
            stdout=subprocess.PIPE,
            text=True,
        ) as receiver:
            try:
                task = relay.submit({**request, "callback_url": f"http://localhost:{hook}/hook"})
                read_until(receiver, f"{task['task_id']} completed")
            finally:
                receiver.terminate()
        refused = relay.call("POST", "/v1/tasks", json={**request, "callback_url": f"http://[::1]:{hook}/hook"})
        assert refused.status_code == 422
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_SECONDS) == 0
    with make_local(free_port, "Ready", provider_url="") as (_, work_dir, printed):
        assert empty in printed
        relay.stack = Stack(**json.loads((work_dir / "stack.json").read_text()))
        assert relay.call("GET", "/v1/tasks").status_code == 403  # with the key of before


@needs_proc
def test_no_process_outlives_a_killed_stack(free_port: int) -> None:
    with make_local(free_port, "Deploying") as (process, work_dir, _):
        assert processes_of(work_dir)
        process.kill()
        assert all_have_ended(work_dir)


@needs_proc
def test_a_program_that_ignores_the_request_to_end_is_killed_with_its_children(tmp_path: Path) -> None:
    # the child holds no pipe of ours, so that no reader waits for it
    stubborn = "trap '' TERM; (trap '' TERM; sleep 600) >/dev/null 2>&1 & echo started; wait; sleep 600"
    program = Program("A program", ["sh", "-c", stubborn], program_environment(tmp_path), tmp_path / "log")
    assert program.first_line(TIMEOUT_SECONDS) == "started\n"
    assert len(processes_of(tmp_path)) >= 3
    program.stop()
    assert all_have_ended(tmp_path)


@needs_proc
def test_a_program_that_is_being_started_ends_with_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(subprocess.Popen[bytes]):
        """The signal arrives when the process exists and is not recorded yet."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    program = running("A program", ["sleep", "600"], program_environment(tmp_path), tmp_path / "log")
    with pytest.raises(StopRequestedError), stop_on_signals(), program:
        pytest.fail("the block is not entered")
    assert processes_of(tmp_path) == set()  # at once: the stop waits for its end


def test_a_program_that_fails_names_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = Program("A program", ["sh", "-c", "echo why >&2; exit 3"], program_environment(tmp_path), log)
    with program, pytest.raises(CommandFailedError, match=f"A program failed with status 3.*{log}"):
        program.first_line(TIMEOUT_SECONDS)
    assert log.read_text() == "why\n"
