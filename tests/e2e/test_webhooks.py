"""The deployed stack notifies a client's own backend of its task, with a signature that the backend can verify."""

import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import requests
from standardwebhooks import Webhook

from local.chaos.backends import Backends
from local.chaos.oracle import Call
from local.client import RelayClient
from tests.documents import blocks
from tests.e2e.attempts import operate
from tests.e2e.conftest import origin_of
from tests.e2e.queues import left
from tests.e2e.waiting import events_until, wait_until
from tests.e2e.watched import VALIDATED

Body = dict[str, Any]


def secret_of(relay: RelayClient) -> str:
    return str(operate(relay, "webhooks", "secret", relay.stack.tenant_id)["secret"])


def calls_until(backends: Backends, url: str, enough: Callable[[list[Call]], bool]) -> list[Call]:
    """What came to an address, once it is enough."""

    def came() -> list[Call] | None:
        found = [call for call in backends.calls() if call.url == url]
        return found if enough(found) else None

    return wait_until(came, "the notifications", 180)


def ends(calls: list[Call]) -> list[Call]:
    """Those of the end; a notification of `processing` may come later."""
    return [call for call in calls if json.loads(call.body)["status"] == "completed"]


def test_notification_of_the_end_has_a_link_that_opens_and_is_sent_again_after_a_rotation(
    relay: RelayClient, request_body: Body, backends: Backends
) -> None:
    secret, url = secret_of(relay), backends.origins["well"] + "/hook?key=1"
    task = relay.submit({**request_body, "callback_url": url})
    calls = calls_until(backends, url, lambda found: bool(ends(found)))
    for call in calls:
        shown = Webhook(secret).verify(call.body, dict(call.headers))
        assert (shown["task_id"], call.webhook_id) == (task["task_id"], f"{task['task_id']}:{shown['version']}")
        assert shown["status"] in ("processing", "completed")
    end = json.loads(ends(calls)[0].body)
    link = end["output"][0]["results"][0]["url"]
    video = requests.get(link, verify=relay.stack.aws_ca_bundle or True, timeout=30)
    assert len(video.content) == end["videos"][0]["size"]

    rotated = operate(relay, "webhooks", "rotate", relay.stack.tenant_id)
    assert rotated["previous_secret"] == secret != rotated["secret"]
    before = len(ends(calls))
    assert operate(relay, "task", "notify", task["task_id"])["version"] == end["version"]
    again = ends(calls_until(backends, url, lambda found: len(ends(found)) > before))[-1]
    assert again.webhook_id == f"{task['task_id']}:{end['version']}"
    for either in (rotated["secret"], secret):
        Webhook(either).verify(again.body, dict(again.headers))


def test_notification_that_was_answered_500_is_repeated_and_the_pages_receiver_takes_it_once(
    relay: RelayClient, request_body: Body, backends: Backends
) -> None:
    (code,) = (block for block in blocks("docs/webhooks.md", "python") if "standardwebhooks" in block)
    names: dict[str, Any] = {"SECRET": secret_of(relay)}
    exec(code, names)  # noqa: S102 - our own page
    url = backends.origins["500 twice"] + "/"
    relay.submit({**request_body, "callback_url": url})
    calls = ends(calls_until(backends, url, lambda found: len(ends(found)) > 1))
    first, second = [dict(call.headers) for call in calls][:2]

    assert first["webhook-id"] == second["webhook-id"]
    assert first["webhook-timestamp"] < second["webhook-timestamp"]
    assert [names["receive"](dict(call.headers), call.body) for call in calls[:2]] == [204, 204]
    assert names["receive"](first, calls[0].body + b" ") == 400
    assert len(names["tasks"]) == 1


def test_backend_that_answers_410_is_not_called_again_and_an_event_says_so(
    relay: RelayClient, request_body: Body, backends: Backends
) -> None:
    task = relay.submit({**request_body, "callback_url": backends.origins["410"] + "/"})
    came = events_until(relay, task["task_id"], "VideoTaskNotificationFailed")
    failed = next(event for event in came if "url_origin" in event["detail"])  # of `processing`, or of the end

    assert VALIDATED["VideoTaskNotificationFailed"]
    assert (failed["source"], failed["detail"]["task_id"]) == ("vidu-relay", task["task_id"])
    assert failed["detail"]["error"]["code"] == "http_410"
    assert failed["detail"]["url_origin"] == backends.origins["410"]


def test_attempts_are_shown_a_notification_is_replayed_and_an_address_tested(
    relay: RelayClient, request_body: Body, backends: Backends
) -> None:
    url = backends.origins["500 twice"] + "/attempts"
    task = relay.submit({**request_body, "callback_url": url})
    path, version = f"/v1/tasks/{task['task_id']}/notifications", relay.wait(task["task_id"], "completed")["version"]

    def end(attempts: int) -> Body | None:
        shown = [one for one in relay.call("GET", path).json()["notifications"] if one["version"] == version]
        return shown[0] if shown and len(shown[0]["attempts"]) >= attempts else None

    delivered = wait_until(lambda: (one := end(3)) and one["state"] == "delivered" and one, "the third attempt", 180)
    assert [attempt["status"] for attempt in delivered["attempts"]][:2] == [500, 500]
    replayed = relay.call("POST", f"{path}/{version}/replay")
    assert (replayed.status_code, replayed.json()) == (202, {"webhook_id": f"{task['task_id']}:{version}"})
    wait_until(lambda: end(len(delivered["attempts"]) + 1), "the replay's attempt", 180)
    assert len(calls_until(backends, url, lambda found: len(ends(found)) > 3)) > 3
    assert relay.call("POST", f"{path}/{version + 1}/replay").json()["code"] == "notification_not_found"

    well = backends.origins["well"] + "/tested"
    tested = relay.call("POST", "/v1/webhooks/test", json={"callback_url": well}).json()
    (call,) = calls_until(backends, well, bool)
    assert (200 <= tested["status"] < 300, tested["webhook_id"]) == (True, call.webhook_id)
    assert Webhook(secret_of(relay)).verify(call.body, dict(call.headers))["type"] == "webhook.test"
    inward = relay.call("POST", "/v1/webhooks/test", json={"callback_url": "https://169.254.169.254/latest"})
    assert (inward.status_code, inward.json()["code"]) == (422, "invalid_callback_url")


def test_callback_url_that_points_inward_is_refused_at_once(relay: RelayClient, request_body: Body) -> None:
    for url in ("https://169.254.169.254/latest", "http://example.com/hook", "https://user:word@example.com/hook"):
        response = relay.call("POST", "/v1/tasks", json={**request_body, "callback_url": url})
        assert response.status_code == 422
        assert [fault["loc"] for fault in response.json()["errors"]] == ["callback_url"]


def test_client_that_never_answers_holds_up_neither_other_clients_nor_videos(
    relay: RelayClient, request_body: Body, backends: Backends, silent_backend: socket.socket
) -> None:
    secret, queue = secret_of(relay), relay.resources()["NotificationsQueue"]
    silent_backend.setblocking(False)
    accepted: list[socket.socket] = []

    def tries() -> int:
        with suppress(BlockingIOError):
            while True:
                accepted.append(silent_backend.accept()[0])
        return len(accepted)

    def submit(url: str) -> str:
        return str(relay.submit({**request_body, "callback_url": url})["task_id"])

    unanswered = [submit(f"{origin_of(silent_backend)}/{number}") for number in range(8)]
    wait_until(tries, "the first try at the silent backend")
    urls = [f"{backends.origins['well']}/healthy/{number}" for number in range(20)]
    with ThreadPoolExecutor(8) as clients:
        healthy = list(clients.map(submit, urls))

    for url, task_id in zip(urls, healthy, strict=True):
        relay.wait(task_id, "completed")
        calls = calls_until(backends, url, lambda found: bool(ends(found)))
        tasks = [Webhook(secret).verify(call.body, dict(call.headers)) for call in calls]
        assert {(task["task_id"], task["status"]) for task in tasks} <= {
            (task_id, "processing"),
            (task_id, "completed"),
        }

    for task_id in unanswered:
        relay.wait(task_id, "completed")
    assert 0 < tries() < len(unanswered), "healthy clients waited for the silent backend"
    wait_until(lambda: left(relay, queue) >= len(unanswered), "the silent backend's notifications")
    silent_backend.close()
    for connection in accepted:
        connection.close()
    relay.aws("sqs").purge_queue(QueueUrl=queue)
