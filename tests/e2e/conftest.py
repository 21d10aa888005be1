"""One deployed stack for all end-to-end tests: the template as it goes to AWS, IAM enforced, a quick provider."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from local.client import RelayClient
from local.stack import LocalStack, Stack
from tests.e2e.watched import GENERATION_SECONDS, PARAMETERS, VALIDATED, WatchedClient

RECEIVER_TIMEOUT = 180


Received = list[tuple[dict[str, str], bytes]]


class Receiver:
    """A client's backend: keeps what it gets. Answers 410 to `/410…`, 503 to `/503…` the first time, else 204."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self._arrived = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with receiver._arrived:
                    known = {before["webhook-id"] for path, before, _ in receiver.requests if path == self.path}
                    receiver.requests.append((self.path, headers, body))
                    receiver._arrived.notify_all()
                status = 410 if self.path.startswith("/410") else 204
                if self.path.startswith("/503") and headers["webhook-id"] not in known:
                    status = 503
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def received(self, path: str, enough: Callable[[Received], bool]) -> Any:
        """Headers and bodies of what came to a path, once it is enough."""

        def found() -> Received:
            return [(headers, body) for target, headers, body in self.requests if target == path]

        with self._arrived:
            assert self._arrived.wait_for(lambda: enough(found()), RECEIVER_TIMEOUT), found()
            return found()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class BlackHole:
    """A client's backend that accepts every connection and never answers."""

    def __init__(self) -> None:
        self.accepted: list[socket.socket] = []
        """One for each try."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.origin = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def close(self) -> None:
        """From now on connections are refused."""
        with suppress(OSError):  # closed by its test already
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for connection in self.accepted:
            connection.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the end of listening
            while True:
                self.accepted.append(self._listener.accept()[0])


@pytest.fixture(scope="session")
def black_hole() -> Iterator[BlackHole]:
    """A backend whose origin the stack trusts."""
    hole = BlackHole()
    yield hole
    hole.close()


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    """A backend whose origin the stack trusts."""
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver, black_hole: BlackHole) -> Iterator[Stack]:
    """The running stack: what ``stack.json`` would say."""
    local_stack = LocalStack(
        tmp_path_factory.mktemp("stack"),
        parameters={**PARAMETERS, "TrustedOrigins": f"{receiver.origin},{black_hole.origin}"},
        generation_seconds=GENERATION_SECONDS,
    )
    with local_stack as stack:
        yield stack


@pytest.fixture(scope="session")
def relay(stack: Stack) -> Iterator[RelayClient]:
    """A client with the demo tenant's key."""
    client = WatchedClient(stack)
    yield client
    client.close()


@pytest.fixture
def request_body(relay: RelayClient, request: pytest.FixtureRequest) -> dict[str, Any]:
    return request_of(relay, request)


def request_of(relay: RelayClient, request: pytest.FixtureRequest) -> dict[str, Any]:
    """A request for two subjects whose prompt names the test, so that the simulator's scripts find it."""
    return {
        "model": "viduq2_pro_fast_reference2video",
        "subjects": [
            {"id": "fox", "images": [relay.image("fox.png")]},
            {"id": "robot", "images": [relay.image("robot.jpg")], "voice_id": "warm"},
        ],
        "prompt": f"@fox meets @robot in {request.node.name}",
        "duration": 1,
    }


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if VALIDATED:
        kinds = ", ".join(f"{count} {name}" for name, count in sorted(VALIDATED.items()))
        terminalreporter.write_line(f"{VALIDATED.total()} events were held to docs/schemas: {kinds}")
