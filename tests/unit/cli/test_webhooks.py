"""The webhook secret of a tenant: shown, and rotated with an overlap by AWS's clock."""

import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest

from cli.connection import Connection, now
from tests.unit.account import WEBHOOK_MASTER
from tests.unit.cli.conftest import STACK, Ask, Deployment, Refused, Stacks
from vidu_relay.domain.webhook_signature import ROTATION_MS, tenant_secret


@pytest.fixture(autouse=True)
def tenant(ask: Ask) -> None:
    ask("tenants", "create", "acme")


def test_rotation_keeps_the_previous_secret_for_a_day(
    refused: Refused, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ask("webhooks", "secret", "acme")
    assert first["secret"] == tenant_secret(WEBHOOK_MASTER, "acme", 1)
    assert (first["generation"], first["previous_secret"], first["previous_signs_until"]) == (1, None, None)
    rotated = ask("webhooks", "rotate", "acme")
    assert (rotated["generation"], rotated["previous_secret"]) == (2, first["secret"])
    assert "--again" in refused("webhooks", "rotate", "acme")
    again = ask("webhooks", "rotate", "acme", "--again")
    assert (again["generation"], again["previous_secret"]) == (3, rotated["secret"])
    later = now() + ROTATION_MS
    monkeypatch.setattr(Connection, "time_at_aws", lambda _: later)
    assert ask("webhooks", "secret", "acme")["previous_secret"] is None
    assert ask("webhooks", "rotate", "acme")["generation"] == 4


def test_rotation_is_dated_by_the_clock_of_aws(
    ask: Ask, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the clock of this machine, set to 1970, the overlap of both secrets would be over at once."""
    monkeypatch.setattr("cli.connection.time.time_ns", lambda: 0)
    assert ask("webhooks", "rotate", "acme")["previous_secret"] == tenant_secret(WEBHOOK_MASTER, "acme", 1)
    (tenant,) = (item for item in deployment.items() if item["pk"]["S"] == "tenant#acme")
    assert abs(int(tenant["webhook_rotated_at"]["N"]) / 1000 - datetime.now(UTC).timestamp()) < 60


@pytest.mark.parametrize("date", [None, "yesterday"])
def test_reply_without_a_date_rotates_nothing(
    refused: Refused, ask: Ask, monkeypatch: pytest.MonkeyPatch, date: str | None
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("cli.connection.parsedate_to_datetime", lambda _: parsedate_to_datetime(date))  # type: ignore[arg-type]
        assert "what time it is" in refused("webhooks", "rotate", "acme")
    assert ask("webhooks", "secret", "acme")["generation"] == 1


class _Log:
    """The log of `notify_client`: lines about two hosts, and what is no line of its own."""

    def __init__(self) -> None:
        def line(message: str, host: str, at: int, tenant: str = "acme") -> dict[str, str]:
            content = {
                "message": message,
                "origin": host,
                "code": f"code_{at}",
                "timestamp": f"T{at}",
                "tenant_id": tenant,
            }
            return {"message": json.dumps(content)}

        failed, given_up = "notification_failed", "notification_given_up"
        lines = [line(failed, "https://b", 3, "zeta"), line(given_up, "https://b", 2), line(failed, "https://b", 1)]
        self._events = [
            *lines,
            line(failed, "https://a", 4),
            line("client_notified", "https://c", 5),
            {"message": "START"},
        ]

    def get_function_configuration(self, **_: str) -> dict[str, dict[str, str]]:
        return {"LoggingConfig": {"LogGroup": "log"}}

    def get_paginator(self, _: str) -> "_Log":
        return self

    def paginate(self, **arguments: object) -> list[dict[str, list[dict[str, str]]]]:
        failed, given_up = (f'($.message = "notification_{word}")' for word in ("failed", "given_up"))
        assert arguments["filterPattern"] == f"{{ {failed} || {given_up} }}"
        return [{"events": self._events}, {"events": []}]


def test_hosts_where_webhooks_fail_are_listed_with_the_last_failure(
    ask: Ask, stacks: Stacks, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks[STACK]["NotifyClient"] = "notify"
    client = Connection.client
    monkeypatch.setattr(Connection, "client", lambda c, name: _Log() if name in ("lambda", "logs") else client(c, name))
    assert [list(host.values()) for host in ask("webhooks", "failing")["hosts"]] == [
        ["https://b", 2, 1, ["acme", "zeta"], "code_3", "T3"],
        ["https://a", 1, 0, ["acme"], "code_4", "T4"],
    ]
