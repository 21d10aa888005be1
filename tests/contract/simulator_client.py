"""The clients of the simulator's tests: one that sends bytes as given, and a receiver of callbacks."""

import http.client
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from local.simulator import Simulator
from tests.contract.socket_server import Connection, SocketServer, Treatment

MODEL = "viduq2_pro_fast_reference2video"
SUBJECTS = [{"id": "1", "images": ["https://example.com/cat.png"]}]
TIMEOUT = 30


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def call(method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
    """One request on its own connection, the URL byte for byte as given; nothing is followed or repaired."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT)
    try:
        connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""), body, headers or {})
        with connection.getresponse() as response:
            return Answer(response.status, dict(response.getheaders()), response.read())
    finally:
        connection.close()


def bearer(provider: Simulator) -> dict[str, str]:
    return {"Authorization": f"Bearer {provider.api_key}"}


def request_body(**params: Any) -> bytes:
    """A create call's body: good parameters, changed by `params`; None takes one away."""
    whole = {"prompt": "@1 dances", "subjects": SUBJECTS, "duration": 1} | params
    given = {name: value for name, value in whole.items() if value is not None}
    return json.dumps({"model": MODEL, "input": [{"params": given}]}).encode()


def create(provider: Simulator, **params: Any) -> Answer:
    return call("POST", f"{provider.url}/generation", request_body(**params), bearer(provider))


def created(provider: Simulator, **params: Any) -> str:
    answer = create(provider, **params)
    assert answer.status == 200, answer.body
    return str(answer.json()["id"])


def task_under(provider: Simulator, videos: dict[str, Any]) -> str:
    """A new task whose videos are scripted."""
    provider.script({"videos": videos})
    return created(provider)


def poll(provider: Simulator, task_id: str) -> Answer:
    return call("GET", f"{provider.url}/generation/task/{task_id}", headers=bearer(provider))


def video_link(provider: Simulator, task_id: str) -> str:
    return str(poll(provider, task_id).json()["output"][0]["results"][0]["url"])


def wait_for(condition: Callable[[], bool], seconds: float = TIMEOUT) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.01)


def observed(provider: Simulator, task_id: str) -> dict[str, Any]:
    """What the simulator saw of a task, once every answer it gave has been entered."""

    def all_ended() -> bool:
        view = provider.task(task_id)
        return all(entry["ended_at"] for entry in view["polls"] + view["downloads"])

    wait_for(all_ended)
    return provider.task(task_id)


@dataclass(frozen=True)
class Callback:
    target: str
    headers: dict[str, str]
    """By their names in lower case."""
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Receiver(SocketServer):
    """Takes callbacks; answers with `statuses` one after another, then 200. `tls`: what to serve with."""

    def __init__(self, *statuses: int, tls: ssl.SSLContext | None = None) -> None:
        self.received: list[Callback] = []
        super().__init__(*(self._answers(status) for status in (*statuses, 200)), tls=tls)
        self.url = f"{self.origin}/v1/callbacks/t1?token=k1.abc"

    def states(self) -> list[str]:
        return [str(callback.json().get("status")) for callback in self.received]

    def _answers(self, status: int) -> Treatment:
        def treat(connection: Connection) -> None:
            connection.read_request()
            head, _, body = connection.request.partition(b"\r\n\r\n")
            line, *fields = head.decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
            self.received.append(Callback(line.split(" ")[1], headers, body))
            connection.send(b"HTTP/1.1 %d -\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)

        return treat
