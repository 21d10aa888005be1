"""The backends of the chaos test's backends: each does what its name says, and keeps what it received."""

import http.client
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from local.chaos import backends as module
from local.chaos.backends import BEHAVIOURS, Backends


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLOW_SECONDS", 0.01)
    monkeypatch.setattr(module, "LATE_SECONDS", 0.01)


@pytest.fixture
def backends() -> Iterator[Backends]:
    with Backends() as backends:
        yield backends


def post(backends: Backends, behaviour: str, webhook_id: str = "t:1") -> int | str:
    """How a call is answered: its status, or what is wrong with the answer."""
    connection = http.client.HTTPConnection(urlsplit(backends.origins[behaviour]).netloc, timeout=10)
    try:
        connection.request("POST", "/hooks/a", body=b"{}", headers={"webhook-id": webhook_id})
        with connection.getresponse() as reply:
            return reply.status if len(reply.read()) < 100_000 else "flood"
    except (http.client.HTTPException, OSError) as error:
        return type(error).__name__
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("behaviour", "answers"),
    (
        ("well", [204, 204]),
        ("slow", [204, 204]),
        ("500 twice", [500, 500, 204, 204]),
        ("410", [410, 410]),
        ("redirects once", [302, 204, 204]),
        ("closes once", ["RemoteDisconnected", 204]),
        ("floods once", ["flood", 204]),
        ("garbage once", ["BadStatusLine", 204]),
    ),
)
def test_a_behaviour_is_what_its_name_says(backends: Backends, behaviour: str, answers: list[int | str]) -> None:
    assert [post(backends, behaviour) for _ in answers] == answers
    assert [call.answer for call in backends.calls()] == [a if isinstance(a, int) else None for a in answers]
    assert post(backends, behaviour, "t:2") == answers[0]  # each notification has its own tries


def test_who_is_late_once_answers_nothing_whole_before_the_second_try(backends: Backends) -> None:
    assert isinstance(post(backends, "late once"), str)
    assert post(backends, "late once") == 204


def test_what_came_is_kept_as_it_came(backends: Backends) -> None:
    post(backends, "well", "t:7")

    (call,) = backends.calls()
    assert (call.method, call.url, call.body) == ("POST", f"{backends.origins['well']}/hooks/a", b"{}")
    assert call.webhook_id == "t:7"


def test_each_behaviour_is_at_an_origin_of_its_own_and_gone_at_the_end() -> None:
    with Backends() as backends:
        assert len(set(backends.origins.values())) == len(BEHAVIOURS)
        listening = [server.socket for server in backends._servers.values()]
        assert all(listener.fileno() >= 0 for listener in listening)
    # not asked over the network: another program may have the port by now
    assert all(listener.fileno() == -1 for listener in listening)
    assert not any(thread.is_alive() for thread in backends._threads)
