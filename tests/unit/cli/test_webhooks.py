"""The webhook secret of a tenant: shown, and rotated with an overlap by AWS's clock."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest

from cli.connection import Connection, now
from tests.unit.account import WEBHOOK_MASTER
from tests.unit.cli.conftest import Ask, Deployment, Refused
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
