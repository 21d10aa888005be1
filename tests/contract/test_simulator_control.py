"""What the simulator shows of itself, its page, and how it starts and stops as a process."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from local.simulator import BadRequestError, Simulator, SimulatorFaultError
from local.simulator.__main__ import _parser, main
from local.simulator.scripts import Script, ScriptPart, ScriptRequest
from tests.contract.simulator_client import (
    TIMEOUT,
    Receiver,
    call,
    create,
    created,
    observed,
    poll,
    request_body,
    video_link,
    wait_for,
)
from tests.documents import ROOT, blocks

PAGE = "docs/simulator.md"


def control(provider: Simulator, method: str, path: str, value: object = None) -> Any:
    answer = call(method, provider.control_url + path, None if value is None else json.dumps(value).encode())
    assert answer.status < 300, answer.body
    return answer.json() if answer.body else None


def parts(model: type[ScriptPart], path: str = "") -> Iterator[tuple[str, list[str]]]:
    """The parts of a script by their paths, with their fields."""
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *(inner for kind in get_args(field.annotation) for inner in (kind, *get_args(kind)))]
        for kind in {kind for kind in kinds if isinstance(kind, type) and issubclass(kind, ScriptPart)}:
            yield path + name, list(kind.model_fields)
            yield from parts(kind, f"{path}{name}.")


def test_page_lists_every_part_field_and_control_call_and_its_scripts_are_scripts() -> None:
    page, source = (ROOT / PAGE).read_text(), (ROOT / "local/simulator/control.py").read_text()
    rows = re.findall(r"^- `([a-z_.]+)` \(([^)]+)\):\s", page, re.MULTILINE)
    shared = {"cancel.server_error", "cancel.lose_reply"}  # described at `create`
    assert [(part, re.findall(r"`(\w+)`", fields)) for part, fields in rows] == [
        (part, fields) for part, fields in parts(Script) if part not in shared
    ]
    for script in [line for block in blocks(PAGE, "json") for line in block.splitlines()]:
        Script.model_validate_json(script)
    ScriptRequest.model_validate_json(re.findall(r"-d '(.+)'", page)[0])
    ways = re.findall(r'case "([A-Z]+)", (.+?)(?: if .+)?:\n', source)
    calls = {f"{method} {way}" for method, way in ways}
    paths = {re.sub(r"str\((\w+)\)", r"{\1}", one).replace('"', "").replace(", ", "/") for one in calls}
    assert set(re.findall(r"`(--[\w-]+)`", page)) == set(re.findall(r"--[\w-]+", _parser().format_usage()))
    assert paths == set(re.findall(r"`((?:GET|POST|PATCH|DELETE) [^`]+)`", page))


def test_a_task_shows_its_request_without_the_key_and_counts_what_happened_to_it(provider: Simulator) -> None:
    with Receiver() as receiver:
        task_id = created(provider, prompt="héllo", callback_url=receiver.url)
        poll(provider, task_id)
        call("GET", video_link(provider, task_id))
        wait_for(lambda: provider.task(task_id)["callback_count"] == 2)
        created(provider, prompt="other", callback_url=receiver.url)
    shown = observed(provider, task_id)
    assert control(provider, "GET", f"/tasks/{task_id}") == shown
    assert json.loads(shown["request"]["body"]) == json.loads(request_body(prompt="héllo", callback_url=receiver.url))
    assert provider.api_key not in json.dumps(shown)
    first, second = control(provider, "GET", "/tasks")
    assert (first["id"], first["poll_count"], first["download_count"], first["callback_count"]) == (task_id, 2, 1, 2)
    assert first["creates"] == second["creates"] == 2
    assert [entry["http_status"] for entry in shown["callbacks"]] == [200, 200]
    assert [entry["said"] for entry in shown["polls"]] == ["completed", "completed"]
    assert [entry["state"] for entry in shown["history"]] == ["pending", "processing", "succeeded"]
    assert shown["downloads"][0]["bytes_sent"] == shown["videos"][0]["size"]


def test_every_request_is_listed_without_signatures(provider: Simulator) -> None:
    provider.script({"create": {"throttle": {}}}, times=1)
    create(provider)
    task_id = created(provider)
    call("GET", video_link(provider, task_id))
    wait_for(lambda: all(entry["status"] for entry in provider.requests()))
    listed = control(provider, "GET", "/requests")
    calls = [(entry.get("call"), entry["status"]) for entry in listed[:3]]
    assert calls == [("create", 429), ("create", 200), ("poll", 200)]
    assert (listed[0]["fault"], listed[1]["task"]) == ("throttle", task_id)
    assert "Signature" not in json.dumps(listed)


def test_a_live_task_can_be_patched_and_everything_forgotten(provider: Simulator) -> None:
    provider.script({"outcome": {"never_finish": True}})
    task_id = created(provider)
    assert poll(provider, task_id).json()["status"] == "processing"
    patched = control(provider, "PATCH", f"/tasks/{task_id}", {"outcome": {"never_finish": False, "fail": {}}})
    assert patched["state"] == "failed"
    with pytest.raises(BadRequestError, match=r"poll\.nonsense"):
        provider.patch(task_id, {"poll": {"nonsense": 1}})
    with pytest.raises(KeyError):
        provider.patch("unknown", {})
    control(provider, "POST", "/reset")
    assert provider.tasks() == []
    assert poll(provider, task_id).status == 404
    assert poll(provider, created(provider)).json()["status"] == "completed"


def test_stopping_leaves_no_thread_and_no_port_and_a_port_that_is_taken_is_an_error() -> None:
    before = set(threading.enumerate())
    with Simulator(generation_seconds=600) as provider:
        created(provider, callback_url="http://127.0.0.1:1/")
        port = int(provider.origin.rpartition(":")[2])
        running = set(threading.enumerate())
        with pytest.raises(OSError, match="in use"):
            Simulator(port=port)
        assert set(threading.enumerate()) <= running
    assert set(threading.enumerate()) <= before
    with Simulator(port=port) as again:
        assert again.origin.endswith(f":{port}")


def test_a_fault_of_the_simulator_itself_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Simulator()
    monkeypatch.setattr(provider, "_gateway", None)
    with pytest.raises(ConnectionError):
        create(provider)
    with pytest.raises(SimulatorFaultError):
        provider.close()


def test_the_process_needs_a_key_says_where_it_is_logs_no_secret_and_ends_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIMULATOR_API_KEY", raising=False)
    with pytest.raises(SystemExit):
        main(["--port", "0"])
    monkeypatch.setenv("SIMULATOR_API_KEY", "key-one")
    command, pipe = [sys.executable, "-m", "local.simulator", "--generation-seconds", "0"], subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:  # noqa: S603 - ours
        assert process.stdout is not None
        addresses = json.loads(process.stdout.readline())
        assert addresses["url"] == f"{addresses['origin']}/model/v1"
        assert addresses["control_url"] == f"{addresses['origin']}/_simulator"
        headers = {"Authorization": "Bearer key-one"}
        task_id = call("POST", f"{addresses['url']}/generation", request_body(), headers).json()["id"]
        reply = call("GET", f"{addresses['url']}/generation/task/{task_id}", headers=headers).json()
        assert call("GET", reply["output"][0]["results"][0]["url"]).status == 200
        process.terminate()
        _, log = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, len(log.splitlines())) == (0, 3)
    assert not re.search("key-one|Signature", log)
