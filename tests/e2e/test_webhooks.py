"""The deployed stack notifies a client's own backend of its task, with a signature that the backend can verify."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests
from standardwebhooks import Webhook

from local.client import RelayClient
from tests.documents import blocks
from tests.e2e.attempts import operate
from tests.e2e.conftest import BlackHole, Received, Receiver
from tests.e2e.queues import left
from tests.e2e.waiting import events_until, wait_until
from tests.e2e.watched import VALIDATED

Body = dict[str, Any]


def secret_of(relay: RelayClient) -> str:
    return str(operate(relay, "webhooks", "secret", relay.stack.tenant_id)["secret"])


def ends(found: Received) -> Received:
    """What was notified of the end; a notification of `processing` may come later."""
    return [(headers, body) for headers, body in found if json.loads(body)["status"] == "completed"]


def test_notification_of_the_end_has_a_link_that_opens_and_is_sent_again_after_a_rotation(
    relay: RelayClient, request_body: Body, receiver: Receiver
) -> None:
    secret, path = secret_of(relay), "/hook?key=1"
    task = relay.submit({**request_body, "callback_url": receiver.origin + path})
    received = receiver.received(path, lambda found: bool(ends(found)))
    for headers, body in received:
        shown = Webhook(secret).verify(body, headers)
        assert shown["task_id"] == task["task_id"]
        assert headers["webhook-id"] == f"{task['task_id']}:{shown['version']}"
        assert shown["status"] in ("processing", "completed")
    end = json.loads(ends(received)[0][1])
    link = end["output"][0]["results"][0]["url"]
    video = requests.get(link, verify=relay.stack.aws_ca_bundle or True, timeout=30)
    assert len(video.content) == end["videos"][0]["size"]

    rotated = operate(relay, "webhooks", "rotate", relay.stack.tenant_id)
    assert rotated["previous_secret"] == secret != rotated["secret"]
    before = len(ends(received))
    assert operate(relay, "task", "notify", task["task_id"])["version"] == end["version"]
    headers, body = ends(receiver.received(path, lambda found: len(ends(found)) > before))[-1]
    assert headers["webhook-id"] == f"{task['task_id']}:{end['version']}"
    for either in (rotated["secret"], secret):
        Webhook(either).verify(body, headers)


def test_notification_that_was_answered_503_is_repeated_and_the_pages_receiver_takes_it_once(
    relay: RelayClient, request_body: Body, receiver: Receiver
) -> None:
    (code,) = (block for block in blocks("docs/webhooks.md", "python") if "standardwebhooks" in block)
    names: dict[str, Any] = {"SECRET": secret_of(relay)}
    exec(code, names)  # noqa: S102 - our own page
    relay.submit({**request_body, "callback_url": f"{receiver.origin}/503"})
    received = receiver.received("/503", lambda found: len(ends(found)) > 1)
    (first, body), (second, _) = ends(received)[:2]

    assert first["webhook-id"] == second["webhook-id"]
    assert first["webhook-timestamp"] < second["webhook-timestamp"]
    assert [names["receive"](headers, body) for headers in (first, second)] == [204, 204]
    assert names["receive"](second, body + b" ") == 400
    assert len(names["tasks"]) == 1


def test_backend_that_answers_410_is_not_called_again_and_an_event_says_so(
    relay: RelayClient, request_body: Body, receiver: Receiver
) -> None:
    task = relay.submit({**request_body, "callback_url": f"{receiver.origin}/410"})
    failed = events_until(relay, task["task_id"], "VideoTaskNotificationFailed")[-1]  # of `processing`, or of the end

    assert VALIDATED["VideoTaskNotificationFailed"]
    assert failed["source"] == "vidu-relay"
    assert failed["detail"]["task_id"] == task["task_id"]
    assert failed["detail"]["error"]["code"] == "http_410"
    assert failed["detail"]["url_origin"] == receiver.origin
    receiver.received("/410", lambda found: bool(ends(found)))


def test_callback_url_that_points_inward_is_refused_at_once(relay: RelayClient, request_body: Body) -> None:
    for url in ("https://169.254.169.254/latest", "http://example.com/hook", "https://user:word@example.com/hook"):
        response = relay.call("POST", "/v1/tasks", json={**request_body, "callback_url": url})
        assert response.status_code == 422
        assert [fault["loc"] for fault in response.json()["errors"]] == ["callback_url"]


def test_client_that_never_answers_holds_up_neither_other_clients_nor_videos(
    relay: RelayClient, request_body: Body, receiver: Receiver, black_hole: BlackHole
) -> None:
    secret, queue = secret_of(relay), relay.resources()["NotificationsQueue"]

    def submit(url: str) -> str:
        return str(relay.submit({**request_body, "callback_url": url})["task_id"])

    unanswered = [submit(f"{black_hole.origin}/{number}") for number in range(8)]
    wait_until(lambda: black_hole.accepted, "the first try at the black hole")
    paths = [f"/healthy/{number}" for number in range(20)]
    with ThreadPoolExecutor(8) as clients:
        healthy = list(clients.map(submit, (receiver.origin + path for path in paths)))

    for path, task_id in zip(paths, healthy, strict=True):
        owed = promised(relay.wait(task_id, "completed"))
        received = receiver.received(path, all_of(owed))
        tasks = [Webhook(secret).verify(body, headers) for headers, body in received]
        assert {headers["webhook-id"] for headers, _ in received} == owed
        assert {task["task_id"] for task in tasks} == {task_id}
        assert max(tasks, key=lambda task: int(task["version"]))["status"] == "completed"
    tries = len(black_hole.accepted)

    for task_id in unanswered:
        relay.wait(task_id, "completed")
    assert 0 < tries < len(unanswered), "healthy clients waited for the black hole's tries"
    wait_until(lambda: left(relay, queue) >= len(unanswered), "the black hole's notifications")
    black_hole.close()
    relay.aws("sqs").purge_queue(QueueUrl=queue)


def promised(task: Body) -> set[str]:
    """The `webhook-id` of each change that the task's client is notified of."""
    notified = {"processing", "completed", "failed", "expired", "canceled"}
    first = task["version"] - len(task["history"]) + 1
    return {
        f"{task['task_id']}:{version}"
        for version, entry in enumerate(task["history"], first)
        if entry["status"] in notified or entry["source"] == "delivery_delayed"
    }


def all_of(owed: set[str]) -> Callable[[Received], bool]:
    return lambda found: {headers["webhook-id"] for headers, _ in found} >= owed
