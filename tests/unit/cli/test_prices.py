"""The operator's price list: set, removed, imported, shown beside what was billed."""

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.cli.conftest import Ask, Deployment, Refused, Run
from tests.unit.template import ROOT
from vidu_relay.adapters.price_book import PriceLists

TURBO = "viduq3_turbo_text2video"
EXAMPLE = ROOT / "docs" / "examples" / "prices-vidu.json"
SET = ("prices", "set", TURBO, "--provider", "vidu", "--since", "2026-01-01")


@pytest.fixture
def lists(deployment: Deployment) -> PriceLists:
    return PriceLists(deployment.client("dynamodb"), deployment.account.table)


def test_line_is_added_replaced_and_removed_and_its_effect_is_shown(relay: Run, ask: Ask, lists: PriceLists) -> None:
    assert relay("prices", "list")[1].startswith("No prices.")
    assert relay(*SET, "--usd", "0.055", "--per", "second", "--when", "off_peak=false")[1].splitlines() == [
        f"+ {TURBO} at vidu, off_peak=false: 0.055 USD a second, since 2026-01-01",
        f"{TURBO} at vidu, by default: 0.275 USD (before: unknown)",
        "The price list has version 1. Functions that are warm use it within a minute.",
    ]
    assert ask(*SET, "--usd", "0.055", "--per", "second", "--when", "off_peak=false")["changes"] == []
    changes = ask(*SET, "--usd", "0.06,0.05", "--per", "duration", "--when", "off_peak=false")["changes"]
    assert [change[0] for change in changes] == ["-", "+", "v"]
    ask(*SET, "--usd", "0.01", "--surcharge", "--when", "audio=true", "--note", "guessed")
    announced = ask(*SET[:-1], "2099-01-01", "--usd", "9", "--when", "off_peak=false")["changes"]
    assert [change[0] for change in announced] == ["+"], "what holds until then stays"
    assert lists.read().version == 4
    assert [line.split()[0] for line in relay("prices", "list")[1].splitlines()] == ["MODEL", TURBO, TURBO]
    assert "no such line" in relay("prices", "remove", TURBO, "--when", "audio=false")[2]
    assert len(ask("prices", "remove", TURBO, "--when", "audio=true")["changes"]) == 1
    ask("prices", "remove", TURBO)
    assert lists.read().document["prices"] == []


def test_credits_become_dollars_by_the_provider_s_price(relay: Run, ask: Ask) -> None:
    ask(*SET, "--credits", "11", "--per", "second")
    assert ask("prices", "credit", "vidu", "0.005")["changes"] == [
        "a credit at vidu: 0.005 USD (before: not set)",
        f"{TURBO} at vidu, by default: 0.275 USD (before: unknown)",
    ]
    assert "11 credits (0.055 USD) a second" in relay("prices", "list")[1]
    assert "no provider 'runway'" in relay("prices", "credit", "runway", "1")[2]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        *[((f"--usd={amount}",), "plain decimal") for amount in ("-1", "NaN", "1e3", "1234567890123456789", "5 EUR")],
        (("--usd", "1", "--credits", "1"), "either"),
        ((), "either"),
        (("--usd", "1", "--when", "resolution=4K"), "540p, 720p, 1080p"),
        (("--usd", "1", "--when", "resolution"), "NAME=VALUE"),
        (("--usd", "1", "--per", "month"), "per"),
        (("--usd", "1", "--since", "soon"), "date"),
    ],
)
def test_line_that_is_no_price_is_refused(
    refused: Refused, lists: PriceLists, options: tuple[str, ...], words: str
) -> None:
    assert words in refused(*SET, *options)
    assert lists.read().version == 0


def test_unknown_model_is_refused_with_the_nearest_one(refused: Refused) -> None:
    assert f"did you mean {TURBO}?" in refused("prices", "set", "viduq3_turbo_text", "--usd", "1")


def test_list_is_imported_and_exported_whole(
    ask: Ask, refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = ask("prices", "import", str(EXAMPLE))["changes"]
    assert f"{TURBO} at vidu, by default: 0.275 USD (before: unknown)" in changes
    assert ask("prices", "export") == json.loads(EXAMPLE.read_text())
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(EXAMPLE.read_bytes())))
    assert ask("prices", "import", "-")["changes"] == []
    bad = tmp_path / "bad.json"
    for text, words in (("{", "is not JSON"), ('{"currency": "EUR"}', "a price list is")):
        bad.write_text(text)
        assert words in refused("prices", "import", str(bad))
    assert "cannot read" in refused("prices", "import", str(tmp_path / "none"))


def test_unreadable_list_is_replaced_by_an_import_only(ask: Ask, refused: Refused, deployment: Deployment) -> None:
    old: Any = {"prices": [{"model": "a_model_of_before", "usd": "1", "per": "video", "since": "2026-01-01"}]}
    item: Any = {"pk": {"S": "prices"}, "document": {"S": json.dumps(old)}, "version": {"N": "4"}}
    deployment.client("dynamodb").put_item(TableName=deployment.account.table, Item=item)
    assert "import it" in refused("prices", "credit", "vidu", "1")
    assert ask("prices", "export") == old
    assert ask("prices", "import", str(EXAMPLE))["version"] == 5


def test_list_written_meanwhile_is_not_overwritten(
    refused: Refused, lists: PriceLists, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = PriceLists.write

    def second(self: PriceLists, document: Any, *, seen: int, now: int) -> int:
        write(lists, {"credit_usd": {"vidu": "9"}}, seen=seen, now=now)
        return write(self, document, seen=seen, now=now)

    monkeypatch.setattr(PriceLists, "write", second)
    assert "changed in the meantime" in refused("prices", "credit", "vidu", "1")
    assert lists.read().document == {"credit_usd": {"vidu": "9"}}


def test_bills_stand_beside_the_list(relay: Run, ask: Ask, deployment: Deployment) -> None:
    ask(*SET, "--usd", "0.05", "--per", "second")
    name = f"vidu|{TURBO}|audio=false|duration=8|off_peak=false|resolution=720p"
    billed: Any = {"M": {"median": {"S": "0.41"}, "highest": {"S": "0.5"}, "tasks": {"N": "12"}}}
    item: Any = {"pk": {"S": f"learned#vidu#{TURBO}"}, "combinations": {"M": {name: billed}}}
    deployment.client("dynamodb").put_item(TableName=deployment.account.table, Item=item)
    assert "0.4 USD" in relay("prices", "list")[1].splitlines()[-1]
    assert relay("prices", "list")[1].splitlines()[-1].endswith("median 0.41, highest 0.5 USD of 12 tasks")
    assert ask("prices", "list")["learned"] == [
        {
            "model": TURBO,
            "provider": "vidu",
            "parameters": {"audio": False, "duration": 8, "off_peak": False, "resolution": "720p"},
            "median_usd": "0.41",
            "highest_usd": "0.5",
            "tasks": 12,
            "list_usd": "0.4",
        }
    ]
