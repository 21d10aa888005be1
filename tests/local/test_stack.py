"""The stack's life: it starts, it says everything, it ends with all it started, however it ends."""

import dataclasses
import http.server
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from local.build import BUCKET
from local.client import RelayClient
from local.errors import CommandFailedError, LocalStackError, PortTakenError
from local.programs import ROOT, Program, program_environment, running, venv_program
from local.signals import StopRequestedError, stop_on_signals
from local.stack import LocalStack, Stack
from tests.local.probe import PATIENCE_SECONDS, eventually

PROC = Path("/proc")


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


def processes_of(work_dir: Path) -> set[int]:
    """Processes that were started for the stack in this folder: it is their temporary folder."""
    marker = f"TMPDIR={work_dir}".encode()
    found = set()
    for entry in PROC.iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if marker in (entry / "environ").read_bytes():
                    found.add(int(entry.name))
            except OSError:  # it has ended, or is another user's
                continue
    return found


def listening_addresses(pids: set[int]) -> set[str]:
    """Local addresses, in the kernel's notation, that these processes listen on."""
    inodes = set()
    for pid in pids:
        for descriptor in (PROC / str(pid) / "fd").iterdir():
            try:
                target = str(descriptor.readlink())
            except OSError:  # it has been closed since; what listens stays
                continue
            if target.startswith("socket:["):
                inodes.add(target.removeprefix("socket:[").removesuffix("]"))
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in (PROC / "net" / table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                addresses.add(fields[1].partition(":")[0])
    return addresses


def layers_in(stack: LocalStack) -> list[list[str]]:
    """The names of the files in each deployed layer."""
    s3 = stack.client("s3")
    listed = s3.list_objects_v2(Bucket=BUCKET)["Contents"]
    contents = [s3.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read() for entry in listed]
    archives = [io.BytesIO(content) for content in contents if content.startswith(b"PK")]
    names = [zipfile.ZipFile(archive).namelist() for archive in archives]
    return [inside for inside in names if inside[0].startswith("python/")]


def nothing_is_left(work_dir: Path) -> bool:
    """Whether every process is gone, as soon as the system has carried out the last kill."""
    return bool(eventually(lambda: not processes_of(work_dir)))


needs_proc = pytest.mark.skipif(not PROC.is_dir(), reason="looks at processes through /proc, which is Linux's")


def test_a_random_key_of_the_provider_may_begin_with_a_hyphen(work_dir: Path) -> None:
    stack = LocalStack(work_dir, provider_key="-key", generation_seconds=0.5, parameters={"OffPeakAvailable": "true"})
    with stack as description:
        for key, status in (("-key", 404), ("key", 401)):
            url = f"{description.provider_url}/generation/task/{'0' * 32}"
            assert requests.get(url, headers={"Authorization": f"Bearer {key}"}, timeout=10).status_code == status


@needs_proc
def test_a_stack_with_another_provider_says_everything_and_leaves_nothing(
    work_dir: Path, free_port: int, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    parameters = {"FirstCheckSeconds": "7"}
    stack = LocalStack(
        work_dir,
        port=free_port,
        provider_url=provider,
        provider_key="their-key",
        parameters=parameters,
        progress=steps.append,
    )
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
        assert json.loads(secret["SecretString"]) == {"api_key": "their-key"}
        stack.client("lambda").invoke(FunctionName=description.functions["find_overdue_tasks"], Payload=b"{}")

        pids = processes_of(work_dir)
        assert len(pids) >= 3
        assert listening_addresses(pids) == {"0100007F"}
        with pytest.raises(PortTakenError, match=str(free_port)), LocalStack(work_dir, port=free_port):
            pass
        stack.check()
        layers = layers_in(stack)
        assert len(layers) == 2
        for names in layers:
            assert not [name for name in names if re.match(r"python/(bin/|[^/]+/tests/)", name)]
            assert any(name.endswith(".pyc") for name in names)
    assert steps
    assert nothing_is_left(work_dir)
    assert sorted(path.name for path in work_dir.iterdir()) == ["lock", "logs"]


def test_a_port_in_use_is_named(work_dir: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTakenError, match=str(port)), LocalStack(work_dir, port=port):
            pass


def test_a_parameter_that_the_template_does_not_have_is_refused(work_dir: Path, provider: str) -> None:
    stack = LocalStack(work_dir, provider_url=provider, parameters={"FirstCheckSecond": "3"})
    with pytest.raises(LocalStackError, match=r"\[FirstCheckSecond\] do not exist"), stack:
        pass
    assert nothing_is_left(work_dir)


def test_a_template_that_cannot_be_deployed_says_why(work_dir: Path, provider: str) -> None:
    stack = LocalStack(work_dir, provider_url=provider, parameters={"CallbackSignature": "maybe"})
    with pytest.raises(LocalStackError, match="CallbackSignature"), stack:
        pass
    assert nothing_is_left(work_dir)


@needs_proc
@pytest.mark.parametrize(
    ("number", "moment"), [(signal.SIGTERM, "Starting the emulated AWS"), (signal.SIGINT, "Ready")]
)
def test_make_local_stops_cleanly_at_any_moment(free_port: int, number: signal.Signals, moment: str) -> None:
    work_dir = ROOT / ".local" / str(free_port)
    process = start_local(free_port)
    try:
        wait_for_line(process, moment)
        if moment == "Ready":
            Stack(**json.loads((ROOT / ".local" / "stack.json").read_text()))
        process.send_signal(number)
        assert process.wait(PATIENCE_SECONDS) == 0
        assert nothing_is_left(work_dir)
        assert not (work_dir / "tmp").exists()
    finally:
        end(process, work_dir)


def test_webhooks_reach_this_machine_and_a_restarted_stack_says_that_it_is_empty(free_port: int) -> None:
    work_dir, empty = ROOT / ".local" / str(free_port), "It starts empty: address, API key and webhook secret are new"
    process = start_local(free_port, provider_url="")
    try:
        assert empty not in wait_for_line(process, "Ready")
        relay = RelayClient(Stack(**json.loads((work_dir / "stack.json").read_text())))
        tool = [str(ROOT / "cli" / "relay"), f"--local={work_dir}/stack.json", "--json", "webhooks", "secret", "demo"]
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
                wait_for_line(receiver, f"{task['task_id']} completed")
            finally:
                receiver.terminate()
        refused = relay.call("POST", "/v1/tasks", json={**request, "callback_url": f"http://[::1]:{hook}/hook"})
        assert refused.status_code == 422
        process.send_signal(signal.SIGINT)
        process.communicate()
        process = start_local(free_port, provider_url="")
        assert empty in wait_for_line(process, "Ready")
        relay.stack = Stack(**json.loads((work_dir / "stack.json").read_text()))
        assert relay.call("GET", "/v1/tasks").status_code == 403  # with the key of before
    finally:
        end(process, work_dir)


@needs_proc
def test_nothing_outlives_a_killed_stack(free_port: int) -> None:
    work_dir = ROOT / ".local" / str(free_port)
    process = start_local(free_port)
    try:
        wait_for_line(process, "Deploying")
        assert processes_of(work_dir)
        process.kill()
        process.wait()
        assert nothing_is_left(work_dir)
    finally:
        end(process, work_dir)


@needs_proc
def test_a_program_that_ignores_the_request_to_end_is_killed_with_its_children(tmp_path: Path) -> None:
    # the child holds no pipe of ours: none waits for it to close one
    stubborn = "trap '' TERM; (trap '' TERM; sleep 600) >/dev/null 2>&1 & echo started; wait; sleep 600"
    environment = program_environment(tmp_path)
    program = Program("A stubborn program", ["sh", "-c", stubborn], environment, tmp_path / "log")
    assert program.first_line(PATIENCE_SECONDS) == "started\n"
    assert eventually(lambda: len(processes_of(tmp_path)) >= 3)
    program.stop()
    assert nothing_is_left(tmp_path)


@needs_proc
def test_a_program_that_is_just_being_started_ends_with_us_when_we_are_told_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(subprocess.Popen[bytes]):
        """The signal arrives when the process exists and no variable holds it yet."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    command, reached = ["sleep", "600"], []
    with (
        pytest.raises(StopRequestedError),
        stop_on_signals(),
        running("A program", command, program_environment(tmp_path), tmp_path / "log"),
    ):
        reached.append("the block")
    assert (reached, processes_of(tmp_path)) == ([], set())  # at once: it was waited for


def test_a_program_that_fails_names_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        Program("A program", ["sh", "-c", "echo why >&2; exit 3"], program_environment(tmp_path), log) as program,
        pytest.raises(CommandFailedError, match=f"A program failed with status 3.*{log}"),
    ):
        program.first_line(PATIENCE_SECONDS)
    assert log.read_text() == "why\n"


def start_local(port: int, provider_url: str = "http://127.0.0.1:9/base") -> "subprocess.Popen[str]":
    command = [venv_program("dev"), "-m", "local", "--port", str(port), "--provider-url", provider_url]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own program


def wait_for_line(process: "subprocess.Popen[str]", start: str) -> str:
    """What is printed up to a line that begins like this."""
    assert process.stdout is not None
    printed = ""
    for line in process.stdout:
        printed += line
        if line.startswith(start):
            return printed
    pytest.fail(f"no line that starts with {start!r}: {printed}")


def end(process: "subprocess.Popen[str]", work_dir: Path) -> None:
    process.kill()
    process.communicate()
    shutil.rmtree(work_dir)
