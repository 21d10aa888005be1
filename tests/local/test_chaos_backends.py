"""The clients' backends of the chaos test: each does what its name says, and keeps what it received."""

import http.client
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from local.chaos import backends as module
from local.chaos.backends import BEHAVIOURS, Backends


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backends]:
    monkeypatch.setattr(module, "SLOW_SECONDS", 0.01)
    monkeypatch.setattr(module, "LATE_SECONDS", 0.01)
    with Backends() as backends:
        yield backends


def post(backends: Backends, behaviour: str, webhook_id: str = "t:1") -> int | str:
    """How a call is answered: its status, or what is wrong with the answer."""
    connection = http.client.HTTPConnection(urlsplit(backends.origins[behaviour]).netloc, timeout=60)
    try:
        connection.request("POST", "/hooks/a", body=b"{}", headers={"webhook-id": webhook_id})
        with connection.getresponse() as reply:
            return reply.status if len(reply.read()) < 100_000 else "flood"
    except (http.client.HTTPException, OSError) as error:
        return type(error).__name__
    finally:
        connection.close()


ANSWERS: dict[str, list[int | str]] = {
    "well": [204, 204],
    "slow": [204, 204],
    "late once": ["IncompleteRead", 204],
    "500 twice": [500, 500, 204, 204],
    "410": [410, 410],
    "redirects once": [302, 204, 204],
    "closes once": ["RemoteDisconnected", 204],
    "floods once": ["flood", 204],
    "garbage once": ["BadStatusLine", 204],
}


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_a_behaviour_is_what_its_name_says_and_calls_are_kept(backends: Backends, behaviour: str) -> None:
    answers = ANSWERS[behaviour]
    assert [post(backends, behaviour) for _ in answers] == answers
    assert [call.answer for call in backends.calls()] == [a if isinstance(a, int) else None for a in answers]
    assert post(backends, behaviour, "t:2") == answers[0]  # each notification has its own tries
    last = backends.calls()[-1]
    assert (last.method, last.url, last.body) == ("POST", f"{backends.origins[behaviour]}/hooks/a", b"{}")


def test_each_behaviour_has_an_origin_of_its_own_until_the_end() -> None:
    with Backends() as backends:
        assert len(set(backends.origins.values())) == len(BEHAVIOURS)
        sockets = [server.socket for server in backends._servers.values()]
    # not asked over the network: another program may have got the port since
    assert all(one.fileno() == -1 for one in sockets)
    assert not any(thread.is_alive() for thread in backends._threads)
