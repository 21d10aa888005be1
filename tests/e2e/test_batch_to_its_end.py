"""A file with a request a line, from its upload to the batch that repeats what failed, with the tool and its events."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.client import RelayClient
from local.programs import ROOT
from tests.e2e.sweeps import change_record
from tests.e2e.waiting import wait_until

Body = dict[str, Any]
Tool = Callable[..., tuple[int, Any]]
MODEL = "viduq2_text2video"
FAILING = {9: "nine fails", 20: "twenty fails"}
BAD = {5: "not JSON", 13: json.dumps({"model": MODEL, "prompt": "x", "duration": 600})}


@pytest.fixture
def tool(relay: RelayClient, tmp_path: Path) -> Tool:
    """Runs `relay batch` to its end: exit status, and the last line of its JSON."""
    file = tmp_path / "stack.json"
    relay.stack.write(file)

    def run(*words: str) -> tuple[int, Any]:
        command = [str(ROOT / "cli" / "relay"), f"--local-file={file}", "--json", "batch", *words]
        done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=120)  # noqa: S603 - ours
        lines = done.stdout.splitlines()
        return done.returncode, json.loads(lines[-1]) if lines else done.stderr

    return run


def event(relay: RelayClient, kind: str, batch_id: str) -> Body:
    """The batch of its event of this type."""
    event_id = f"{batch_id}:{kind.removeprefix('VideoBatch').lower()}"
    found: Body = relay.event(lambda one: (one["detail-type"], one["detail"].get("event_id")) == (kind, event_id))
    batch: Body = found["detail"]["batch"]
    return batch


def completed(relay: RelayClient, batch_id: str) -> Body:
    """The batch once it is completed; each sweep finds it due."""

    def shown() -> Body | None:
        reply = relay.call("GET", f"/v1/batches/{batch_id}")
        found: Body = reply.json() if reply.ok else {"state": "unread"}
        if found["state"] == "accepted":
            change_record(relay, f"batch#{batch_id}", "SET due_at = :long_ago", "attribute_exists(due_at)")
        relay.sweep()
        return found if found["state"] == "completed" else None

    return wait_until(shown, f"the end of batch {batch_id}", 240)


def test_batch_of_thirty_lines_ends_with_a_batch_of_what_failed(
    relay: RelayClient, tool: Tool, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    name = request.node.name
    requests = {n: {"model": MODEL, "prompt": f"{FAILING.get(n, n)} {name}", "duration": 1} for n in range(1, 31)}
    for line, prompt in FAILING.items():
        relay.script(f"{prompt} {name}", {"outcome": {"fail": {}}}, times=1)
        requests[line]["external_id"] = f"{name}-{line}"
    file = tmp_path / "night.jsonl"
    file.write_text("\n".join(BAD.get(n) or json.dumps(body) for n, body in requests.items()))

    status, uploaded = tool("submit", str(file))
    assert status == 0, uploaded
    batch_id = uploaded["batch_id"]
    accepted = event(relay, "VideoBatchAccepted", batch_id)
    assert [accepted[part] for part in ("lines", "tasks", "rejected")] == [30, 28, 2]
    shown = completed(relay, batch_id)
    ended = event(relay, "VideoBatchCompleted", batch_id)
    assert shown["ended"] == ended["ended"] == {"completed": 26, "failed": 2}
    assert len(relay.seen_by_provider(name)) == 28

    status, found = tool("show", batch_id)
    assert (status, [one["line"] for one in found["rejections"]]) == (0, list(BAD))
    assert [one["line"] for one in found["failures"]] == list(FAILING)
    for one in found["failures"]:
        task = relay.task(one["task_id"])
        assert (task["status"], task["batch_id"]) == ("failed", batch_id)
    assert tool("watch", batch_id)[0] == 3
    tasks = relay.call("GET", f"/v1/tasks?batch_id={batch_id}&status=failed").json()["tasks"]
    assert {one["task_id"] for one in tasks} == {one["task_id"] for one in found["failures"]}

    status, again = tool("retry", batch_id)
    assert status == 0, again
    second = completed(relay, again["batch_id"])
    assert (second["retry_of"], second["attempt"], second["ended"]) == (batch_id, 2, {"completed": 2})
    assert event(relay, "VideoBatchCompleted", again["batch_id"])["ended"] == {"completed": 2}
    assert tool("watch", again["batch_id"])[0] == 0
    assert len(relay.seen_by_provider(name)) == 30
