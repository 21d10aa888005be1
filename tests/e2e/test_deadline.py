"""Past the deadline, on a stack whose deadline is short."""

from collections.abc import Iterator
from typing import Any

import pytest

from local.client import RelayClient
from local.stack import LocalStack
from tests.e2e.watched import WatchedClient

Body = dict[str, Any]


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayClient]:
    """A client of a stack on which a task expires after three seconds."""
    parameters = {"FirstCheckSeconds": "1", "CheckIntervalSeconds": "1", "TaskDeadlineSeconds": "3"}
    with LocalStack(tmp_path_factory.mktemp("stack"), parameters=parameters, generation_seconds=1) as stack:
        client = WatchedClient(stack)
        yield client
        client.close()


def test_video_that_comes_after_the_deadline_is_still_delivered(relay: RelayClient, request_body: Body) -> None:
    relay.script(request_body["prompt"], {"outcome": {"never_finish": True}})
    task_id = relay.submit(request_body)["task_id"]

    expired = relay.wait(task_id, "expired", meanwhile=relay.sweep)
    assert expired["error"]["code"] == "deadline_exceeded"

    relay.change_script(request_body["prompt"], {"outcome": {"never_finish": False}})
    task = relay.wait(task_id, "completed")
    (seen,) = relay.seen_by_provider(request_body["prompt"])
    assert task["videos"][0]["sha256"] == seen["videos"][0]["sha256"]
    assert task["error"] is None
    assert [entry["status"] for entry in task["history"]][-3:] == ["expired", "generated", "completed"]


def test_create_call_without_any_answer_expires_as_unconfirmed(relay: RelayClient, request_body: Body) -> None:
    relay.script(request_body["prompt"], {"create": {"server_error": {"status": 500, "n": None}}})
    task_id = relay.submit(request_body)["task_id"]

    task = relay.wait(task_id, "expired", meanwhile=relay.sweep)

    assert task["error"]["code"] == "submission_unconfirmed"
    assert relay.create_calls(task_id) == 1
