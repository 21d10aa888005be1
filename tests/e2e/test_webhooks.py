"""A client's own backend is told of its task by the deployed stack, and can prove who told it."""

import json
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from standardwebhooks import Webhook

from local.client import RelayClient
from local.programs import ROOT
from tests.documents import blocks
from tests.e2e.conftest import BlackHole, Receiver
from tests.e2e.waiting import wait_until
from tests.e2e.watched import VALIDATED

Tool = Callable[..., Any]


@pytest.fixture(scope="module")
def tool(relay: RelayClient, tmp_path_factory: pytest.TempPathFactory) -> Tool:
    file = tmp_path_factory.mktemp("operator") / "stack.json"
    relay.stack.write(file)

    def ask(*arguments: str) -> Any:
        command = [str(ROOT / "cli" / "relay"), "--local-file", str(file), "--json", *arguments]
        done = subprocess.run(command, capture_output=True, check=False, text=True, env={"PATH": "/usr/bin:/bin"})  # noqa: S603 - ours
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return ask


def of_end(found: list[tuple[dict[str, str], bytes]]) -> list[tuple[dict[str, str], bytes]]:
    return [(headers, body) for headers, body in found if json.loads(body)["status"] == "completed"]


def ended(found: list[tuple[dict[str, str], bytes]]) -> bool:
    return bool(of_end(found))


def test_backend_is_told_of_the_end_with_a_link_that_opens_and_again_after_a_rotation(
    relay: RelayClient, request_body: dict[str, Any], receiver: Receiver, tool: Tool
) -> None:
    secret = tool("webhooks", "secret", relay.stack.tenant_id)["secret"]
    path = "/hook?key=1"
    task = relay.submit({**request_body, "callback_url": receiver.origin + path})
    heard = receiver.heard(path, ended)
    for headers, body in heard:
        shown = Webhook(secret).verify(body, headers)
        assert shown["task_id"] == task["task_id"]
        assert headers["webhook-id"] == f"{task['task_id']}:{shown['version']}"
    assert {json.loads(body)["status"] for _, body in heard} <= {"processing", "completed"}
    end = json.loads(of_end(heard)[0][1])
    link = end["output"][0]["results"][0]["url"]
    video = requests.get(link, verify=relay.stack.aws_ca_bundle or True, timeout=30)
    assert len(video.content) == end["videos"][0]["size"]

    rotated = tool("webhooks", "rotate", relay.stack.tenant_id)
    assert rotated["previous_secret"] == secret != rotated["secret"]
    before = len(of_end(heard))
    assert tool("task", "notify", task["task_id"])["version"] == end["version"]
    # the notification of `processing` may come as late as this
    headers, body = of_end(receiver.heard(path, lambda found: len(of_end(found)) > before))[-1]
    assert headers["webhook-id"] == f"{task['task_id']}:{end['version']}"
    for either in (rotated["secret"], secret):
        Webhook(either).verify(body, headers)


def test_backend_that_was_away_is_told_again_under_the_same_id(
    relay: RelayClient, request_body: dict[str, Any], receiver: Receiver
) -> None:
    path = "/503"
    relay.submit({**request_body, "callback_url": receiver.origin + path})

    def twice(found: list[tuple[dict[str, str], bytes]]) -> bool:
        ids = [headers["webhook-id"] for headers, body in found if json.loads(body)["status"] == "completed"]
        return len(ids) > len(set(ids))

    heard = receiver.heard(path, twice)
    ends = [headers for headers, body in heard if json.loads(body)["status"] == "completed"]
    assert ends[0]["webhook-id"] == ends[1]["webhook-id"]
    assert ends[0]["webhook-timestamp"] < ends[1]["webhook-timestamp"]


def test_backend_that_wants_no_more_is_left_alone_and_the_bus_is_told(
    relay: RelayClient, request_body: dict[str, Any], receiver: Receiver
) -> None:
    path = "/410"
    task = relay.submit({**request_body, "callback_url": receiver.origin + path})
    receiver.heard(path, ended)
    found: list[dict[str, Any]] = []

    def is_told() -> bool:
        events = relay.new_events(task["task_id"])
        found.extend(event for event in events if event["detail-type"] == "VideoTaskNotificationFailed")
        return bool(found)

    wait_until(is_told, "the event of the failed notification")
    told = found[0]  # of `processing`, or of the end
    assert VALIDATED["VideoTaskNotificationFailed"]
    assert told["source"] == "vidu-relay"
    assert told["detail"]["task_id"] == task["task_id"]
    assert told["detail"]["error"]["code"] == "http_410"
    assert told["detail"]["url_origin"] == receiver.origin


def test_callback_url_that_points_inward_is_refused_at_the_door(
    relay: RelayClient, request_body: dict[str, Any]
) -> None:
    for url in ("https://169.254.169.254/latest", "http://example.com/hook", "https://user:word@example.com/hook"):
        response = relay.call("POST", "/v1/tasks", json={**request_body, "callback_url": url})
        assert response.status_code == 422
        assert [fault["loc"] for fault in response.json()["errors"]] == ["callback_url"]


def test_receiver_of_the_readme_takes_what_is_ours_and_nothing_else(
    relay: RelayClient, request_body: dict[str, Any], receiver: Receiver, tool: Tool
) -> None:
    (code,) = (block for block in blocks("docs/webhooks.md", "python") if "standardwebhooks" in block)
    names: dict[str, Any] = {"SECRET": tool("webhooks", "secret", relay.stack.tenant_id)["secret"]}
    exec(code, names)  # noqa: S102 - our own page
    path = "/readme"
    relay.submit({**request_body, "callback_url": receiver.origin + path})
    headers, body = of_end(receiver.heard(path, ended))[0]
    assert names["receive"](headers, body) == 204
    assert names["receive"](headers, body) == 204  # a repetition is taken, and changes nothing
    assert names["receive"](headers, body + b" ") == 400
    assert len(names["tasks"]) == 1


def test_client_that_never_answers_holds_up_neither_other_clients_nor_videos(
    relay: RelayClient, request_body: dict[str, Any], receiver: Receiver, black_hole: BlackHole, tool: Tool
) -> None:
    secret = tool("webhooks", "secret", relay.stack.tenant_id)["secret"]

    def submit(url: str) -> str:
        return str(relay.submit({**request_body, "callback_url": url})["task_id"])

    swallowed = [submit(f"{black_hole.origin}/{number}") for number in range(8)]
    wait_until(lambda: bool(black_hole.taken), "the first try at the black hole")
    paths = [f"/healthy/{number}" for number in range(30)]
    with ThreadPoolExecutor(8) as clients:
        healthy = list(clients.map(submit, (receiver.origin + path for path in paths)))

    for path, task_id in zip(paths, healthy, strict=True):
        owed = promised(relay.wait(task_id, "completed"))
        heard = receiver.heard(path, told_of(owed))
        tasks = [Webhook(secret).verify(body, headers) for headers, body in heard]
        assert {headers["webhook-id"] for headers, _ in heard} == owed
        assert {task["task_id"] for task in tasks} == {task_id}
        assert max(tasks, key=lambda task: int(task["version"]))["status"] == "completed"
    tries = len(black_hole.taken)

    for task_id in swallowed:
        relay.wait(task_id, "completed")
    assert 0 < tries < len(swallowed), "healthy clients stood in line behind the black hole's tries"
    wait_until(lambda: waiting_notifications(relay) >= len(swallowed), "what the black hole is to be told of")
    black_hole.close()
    relay.aws("sqs").purge_queue(QueueUrl=relay.resources()["NotificationsQueue"])


def promised(task: dict[str, Any]) -> set[str]:
    """The `webhook-id` of each change that the task's client is told of."""
    told = {"processing", "completed", "failed", "expired", "canceled"}
    first = task["version"] - len(task["history"]) + 1
    return {
        f"{task['task_id']}:{version}"
        for version, entry in enumerate(task["history"], first)
        if entry["status"] in told or entry["source"] == "delivery_delayed"
    }


def told_of(owed: set[str]) -> Callable[[list[tuple[dict[str, str], bytes]]], bool]:
    return lambda found: {headers["webhook-id"] for headers, _ in found} >= owed


def waiting_notifications(relay: RelayClient) -> int:
    counts = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    url = relay.resources()["NotificationsQueue"]
    found = relay.aws("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=list(counts))["Attributes"]
    return sum(int(found[name]) for name in counts)
