"""The backends of the campaign's clients: each answers as its mood says, and keeps what it heard."""

import http.client
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from local.chaos import clients as moods
from local.chaos.clients import MOODS, Clients


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moods, "SLOW_SECONDS", 0.01)
    monkeypatch.setattr(moods, "LATE_SECONDS", 0.01)


@pytest.fixture
def clients() -> Iterator[Clients]:
    with Clients() as clients:
        yield clients


def post(clients: Clients, mood: str, webhook_id: str = "t:1") -> int | str:
    """How a call is answered: its status, or what is wrong with the answer."""
    connection = http.client.HTTPConnection(urlsplit(clients.origin(mood)).netloc, timeout=10)
    try:
        connection.request("POST", "/hooks/a", body=b"{}", headers={"webhook-id": webhook_id})
        with connection.getresponse() as reply:
            return reply.status if len(reply.read()) < 100_000 else "flood"
    except (http.client.HTTPException, OSError) as error:
        return type(error).__name__
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("mood", "answers"),
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
def test_a_mood_is_what_its_name_says(clients: Clients, mood: str, answers: list[int | str]) -> None:
    assert [post(clients, mood) for _ in answers] == answers
    assert [heard.answer for heard in clients.heard()] == [a if isinstance(a, int) else None for a in answers]
    assert post(clients, mood, "t:2") == answers[0]  # each notification has its own tries


def test_who_is_late_once_answers_nothing_whole_before_the_second_try(clients: Clients) -> None:
    assert isinstance(post(clients, "late once"), str)
    assert post(clients, "late once") == 204


def test_what_came_is_kept_as_it_came(clients: Clients) -> None:
    post(clients, "well", "t:7")

    (heard,) = clients.heard()
    assert (heard.mood, heard.method, heard.path, heard.body) == ("well", "POST", "/hooks/a", b"{}")
    assert heard.webhook_id == "t:7"


def test_each_mood_is_at_an_origin_of_its_own_and_gone_at_the_end() -> None:
    with Clients() as clients:
        assert len(set(clients.origins)) == len(MOODS)
        listening = [server.socket for server in clients._servers.values()]
        assert all(listener.fileno() >= 0 for listener in listening)
    # not asked over the network: somebody else may have been given the port since
    assert all(listener.fileno() == -1 for listener in listening)
    assert not any(thread.is_alive() for thread in clients._threads)
