"""One deployed stack for all end-to-end tests: the template as it goes to AWS, IAM enforced, a quick provider."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from local.chaos.backends import Backends
from local.client import RelayClient
from local.stack import LocalStack, Stack
from tests.e2e.queues import forget_queues
from tests.e2e.watched import GENERATION_SECONDS, PARAMETERS, VALIDATED, WatchedClient


@pytest.fixture(scope="session")
def backends() -> Iterator[Backends]:
    """Clients' backends, whose origins the stack trusts."""
    with Backends() as backends:
        yield backends


@pytest.fixture(scope="session")
def silent_backend() -> Iterator[socket.socket]:
    """A client's backend, whose origin the stack trusts: the system accepts connections, and no answer ever comes."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield listener


def origin_of(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(scope="session")
def stack(
    tmp_path_factory: pytest.TempPathFactory, backends: Backends, silent_backend: socket.socket
) -> Iterator[Stack]:
    """The running stack: what ``stack.json`` would say."""
    origins = ",".join([*backends.origins.values(), origin_of(silent_backend)])
    parameters = {**PARAMETERS, "TrustedOrigins": origins}
    folder = tmp_path_factory.mktemp("stack")
    with LocalStack(folder, parameters=parameters, generation_seconds=GENERATION_SECONDS) as stack:
        yield stack


@pytest.fixture(scope="session")
def relay(stack: Stack) -> Iterator[RelayClient]:
    """A client with the demo tenant's key."""
    client = WatchedClient(stack)
    yield client
    client.close()


@pytest.fixture(autouse=True)
def idle_queues(request: pytest.FixtureRequest) -> None:
    """No test's tasks wait because of an earlier test."""
    if "relay" in request.fixturenames:
        forget_queues(request.getfixturevalue("relay"))


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
