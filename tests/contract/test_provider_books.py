"""The provider's books: read in every form that documents show, and compared with a relay's own, over HTTP."""

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from local.simulator import Simulator
from tests.contract.socket_server import SocketServer, says
from vidu_relay.adapters.provider_vidu import ViduProvider
from vidu_relay.adapters.provider_vidu_books import ViduBooks
from vidu_relay.domain.errors import ProviderUnavailableError
from vidu_relay.domain.provider_books import ListedTask

MODEL = "viduq2_text2video"
EVER = (0, 4_102_444_800_000)


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator(generation_seconds=0, callback_retry_seconds=0.01, callback_timeout_seconds=0.1) as simulator:
        yield simulator


@pytest.fixture
def simulator(running: Simulator) -> Simulator:
    running.reset()
    running.buy_credits(1_000)
    return running


def books(simulator: Simulator, key: str = "") -> ViduBooks:
    return ViduBooks(lambda: (simulator.vidu_url, key or simulator.api_key))


def create(simulator: Simulator, prompt: str = "a fox") -> str:
    provider = ViduProvider(lambda: (simulator.vidu_url, simulator.api_key))
    params = {"prompt": prompt, "duration": 1}
    return provider.create(MODEL, params, "http://127.0.0.1:9/v1/callbacks/t?token=k.x", tag="vidu-relay:t:d").remote_id


def test_every_task_of_a_period_is_listed_once_over_many_pages(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidu_relay.adapters.provider_vidu_books.PAGE_SIZE", 3)
    before = int(time.time()) * 1000
    ids = [create(simulator, f"fox {number}") for number in range(7)]
    found = list(books(simulator).list_tasks(*EVER))
    assert [task.remote_id for task in found] == ids
    assert (found[0].prompt, found[0].model, found[0].credits) == ("fox 0", "viduq2", None)
    assert before <= (found[0].created_at or 0)
    assert list(books(simulator).list_tasks(before + 60_000, EVER[1])) == []
    with pytest.raises(ProviderUnavailableError):
        list(books(simulator, "wrong").list_tasks(*EVER))


def test_bills_are_found_by_id_and_a_task_may_be_missing_in_the_list(simulator: Simulator) -> None:
    simulator.script({"books": {"hidden": True}}, prompt_contains="hidden")
    simulator.script({"books": {"credits": 9, "show_credits": True}}, prompt_contains="dear")
    ids = {prompt: create(simulator, prompt) for prompt in ("a fox", "a hidden fox", "a dear fox")}
    found = books(simulator).find_tasks([*ids.values(), "404"])
    assert {name: task.credits for name, task in found.items()} == {ids["a fox"]: None, ids["a dear fox"]: "9"}
    assert books(simulator).balance() == 1_000 - 4 - 4 - 9
    simulator.buy_credits(0)
    assert books(simulator).balance() == 0, "what is overdrawn is nothing"


CREATED_AT = "2027-01-15T08:00:00.123456789Z"
LISTED = {"id": 8_812_760_039, "state": "SUCCESS", "model": "viduq2", "prompt": "a fox", "created_at": CREATED_AT}
FOX = ListedTask("8812760039", 1_800_000_000_123, "viduq2", "a fox")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"tasks": [LISTED]}, [FOX]),
        ({"data": {"tasks": [LISTED]}, "trace": 1}, [FOX]),
        ({"tasks": [{"task_id": "7", "state": "failed", "credits": 4}]}, [ListedTask("7", credits="4", failed=True)]),
        ({"tasks": [None, {"id": {}}, {"id": "6", "prompt": [1], "created_at": "soon", "x": {}}]}, [ListedTask("6")]),
        ({}, []),
        ({"tasks": "none"}, ProviderUnavailableError),
        ([], ProviderUnavailableError),
    ],
)
def test_list_is_read_in_each_form_and_unknown_fields_pass(body: Any, expected: Any) -> None:
    with SocketServer(says("200 OK", body=json.dumps(body).encode())) as server:
        read = ViduBooks(lambda: (server.origin, "key"))
        if expected is ProviderUnavailableError:
            with pytest.raises(ProviderUnavailableError):
                list(read.list_tasks(*EVER))
        else:
            assert list(read.list_tasks(*EVER)) == expected


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ({"remains": [{"type": "metered", "credit_remain": 12}, {"type": "test", "credit_remain": "0.5"}]}, "12.5"),
        ({"remaining_credits": [{"credit_remain": 3, "queue_count": 1}], "remains": []}, "3"),
        ({"remains": [{"type": "concurrent"}, 7], "packages": [{"credit_remain": 9}]}, None),
        ({"remains": [{"credit_remain": -4}]}, "0"),
        ({"remains": [{"credit_remain": "NaN"}, {"credit_remain": True}]}, None),
    ],
)
def test_balance_is_read_by_either_name_and_unknown_where_none_is_given(body: Any, left: str | None) -> None:
    with SocketServer(says("200 OK", body=json.dumps(body).encode())) as server:
        found = ViduBooks(lambda: (server.origin, "key")).balance()
    assert found == (None if left is None else Decimal(left))
