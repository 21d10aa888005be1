"""`relay reconcile`: what the latest comparison found, and a comparison on demand."""

import io
import json
from types import SimpleNamespace
from typing import Any

import pytest

from cli.connection import Connection
from tests.unit.builders import NOW, TASK_ID
from tests.unit.cli.conftest import Ask, Deployment, Refused, Run
from vidu_relay.adapters.books import BooksStore
from vidu_relay.domain.provider_books import Books, BooksResult

BOOKS: Books = {
    "creates_to": NOW,
    "unclaimed": [
        {"remote_id": "77", "created_at": NOW, "seen_at": NOW, "model": "viduq2", "prompt": "a fox", "credits": None,
         "why": "no_tag", "task_id": None, "matches": [TASK_ID]},
        {"remote_id": "78", "created_at": None, "seen_at": NOW, "model": None, "prompt": None, "credits": "4",
         "why": "candidate", "task_id": TASK_ID, "matches": []},
    ],
    "unclaimed_left": 0, "bills_to": NOW, "bills_compared": 1, "bills_left": 2,
    "differences": [
        {"event_id": "e", "tenant_id": "acme", "task_id": TASK_ID, "provider": "vidu", "remote_task_id": "76",
         "recorded_credits": "4", "billed_credits": "7"}
    ],
    "credits": "50", "spent_24h": "100", "hours_left": 12, "low_since": NOW,
}  # fmt: skip


@pytest.fixture
def results(deployment: Deployment) -> list[BooksResult]:
    found: list[BooksResult] = [
        {"provider": "gateway", "at": NOW, "fault": None, "books": None},
        {"provider": "vidu", "at": NOW, "fault": "HTTP 500\x1b[2J", "books": BOOKS},
    ]
    store = BooksStore(deployment.client("dynamodb"), deployment.account.table)
    for result in found:
        store.write(result)
    return found


def test_result_is_shown_whole_and_in_words(relay: Run, ask: Ask, results: list[BooksResult]) -> None:
    assert ask("reconcile")["results"] == results
    assert ask("reconcile", "--provider", "gateway")["results"] == results[:1]
    shown = relay("reconcile")[1]
    for said in (
        "This provider shows no books.", "not read: HTTP 500?[2J", "50 left, 100 spent in 24 hours, which last for 12",
        f"task {TASK_ID} of acme: 7 in place of 4 credits", f"without a tag of ours  {TASK_ID}?",
        f"is being checked for its task  {TASK_ID}\n", "2 unclaimed",
    ):  # fmt: skip
        assert " ".join(said.split()) in " ".join(shown.split()), shown


@pytest.mark.parametrize("fault", [None, "books_vidu"])
def test_comparison_is_made_now_by_the_function(
    relay: Run, refused: Refused, monkeypatch: pytest.MonkeyPatch, fault: str | None
) -> None:
    made: list[dict[str, Any]] = []
    client = Connection.client

    def invoke(**call: Any) -> dict[str, Any]:
        made.append(call)
        error = {"FunctionError": "Unhandled"} if fault else {}
        return {"Payload": io.BytesIO(json.dumps({"errorMessage": fault}).encode()), **error}

    def client_of(self: Connection, service: str, *config: Any) -> Any:
        return SimpleNamespace(invoke=invoke) if service == "lambda" else client(self, service, *config)

    monkeypatch.setattr(Connection, "client", client_of)
    if fault:
        assert fault in refused("reconcile", "--now")
    else:
        assert "No comparison yet" in relay("reconcile", "--now")[1]
    assert [(call["FunctionName"], json.loads(call["Payload"])) for call in made] == [
        ("reconcile-spending", {"now": True})
    ]
