"""The console as its function serves it: its files, their size and protection; and what the API has for it."""

import base64
import gzip
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.functions.conftest import TASK_ID, Relay
from tests.unit.template import ROOT, properties, sample
from vidu_relay.domain.states import Status

STATIC = ROOT / "functions" / "serve_console" / "static"
FILES = sorted(path for path in STATIC.rglob("*") if path.suffix in (".css", ".html", ".js", ".svg"))
OWN = [path for path in FILES if path.parent.name != "vendor"]
MOST_BYTES = 60 * 1024


def ask(relay: Relay, file: str | None = None, **headers: str) -> dict[str, Any]:
    event = sample("serve_console__page")
    event["headers"] |= {name.replace("_", "-"): value for name, value in headers.items()}
    return relay.invoke("serve_console", event | ({"pathParameters": {"file": file}} if file else {}))


def test_every_file_is_reached_from_the_page_and_all_are_small(relay: Relay) -> None:
    page = ask(relay)["body"]
    addresses = re.findall(r'(?:href|src)="console/([^"]+)"', page)
    folder, size = addresses[0].split("/")[0], len(gzip.compress(page.encode()))
    reached = {STATIC / "console.html"}
    while addresses:
        name = addresses.pop().removeprefix(f"{folder}/")
        if STATIC / name in reached:
            continue
        answer = ask(relay, f"{folder}/{name}", accept_encoding="gzip, br")
        packed = base64.b64decode(answer["body"])
        text = gzip.decompress(packed).decode()
        assert text == (STATIC / name).read_text() == ask(relay, f"{folder}/{name}")["body"]
        assert "immutable" in answer["headers"]["cache-control"]
        addresses += [str(Path(name).parent / found) for found in re.findall(r"from '\./([^']+)'", text)]
        reached.add(STATIC / name)
        size += len(packed)
    assert reached == set(FILES)
    assert size <= MOST_BYTES, size


def test_page_may_load_and_call_what_it_needs_and_nothing_else(relay: Relay) -> None:
    headers = ask(relay)["headers"]
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    buckets = "https://inbox.example.com https://videos.example.com"
    assert policy == {
        "default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "connect-src": f"'self' {buckets}",
        "img-src": f"'self' blob: {buckets}", "media-src": buckets, "base-uri": "'none'", "form-action": "'none'",
        "frame-ancestors": "'none'", "require-trusted-types-for": "'script'", "trusted-types": "'none'",
    }  # fmt: skip
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert headers["cache-control"] == "no-cache"


def test_client_that_has_the_page_gets_no_other(relay: Relay) -> None:
    tag = ask(relay)["headers"]["etag"]
    assert (ask(relay, if_none_match=f'W/{tag}, "x"')["statusCode"], ask(relay, if_none_match='"x"')["statusCode"]) == (
        304,
        200,
    )


@pytest.mark.parametrize(
    "name", ["../handler.py", "%2e%2e/handler.py", "vendor/LICENSES.txt", "/etc/passwd", "", "app.js/"]
)
def test_nothing_but_its_files_is_served(relay: Relay, name: str) -> None:
    folder = ask(relay)["headers"]["etag"].strip('"')
    assert ask(relay, f"{folder}/app.js")["statusCode"] == 200
    assert ask(relay, f"{folder}/{name}")["statusCode"] == 404
    assert ask(relay, f"0123456789abcdef/{name}")["statusCode"] == 404


def test_vendored_file_is_the_one_that_was_read_with_its_licences() -> None:
    vendor = STATIC / "vendor"
    digests = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in vendor.glob("*.js")]
    assert (vendor / "SHA256SUMS").read_text().splitlines() == digests
    licences = (vendor / "LICENSES.txt").read_text()
    assert "Apache License" in licences
    assert "The MIT License" in licences


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_text_never_becomes_markup_or_code(path: Path) -> None:
    text = path.read_text()
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|Function\(|javascript:|<style", text
    )
    assert not re.search(r"\son[a-z]+=[\"']|\sstyle=|https?://(?!www\.w3\.org/2000/svg)[a-z]", text)
    assert len(text.splitlines()) <= 350


def test_every_state_is_explained() -> None:
    block = re.search(r"STATES = \{(.*?)\};", (STATIC / "words.js").read_text(), re.DOTALL)
    assert block
    assert re.findall(r"^  (\w+):", block[1], re.MULTILINE) == [status.value for status in Status]


def test_form_is_taken_from_the_origins_of_the_console_alone() -> None:
    (rule,) = properties("InboxBucket")["CorsConfiguration"]["CorsRules"]
    assert rule["AllowedMethods"] == ["POST"]
    assert "AllowedHeaders" not in rule
    assert "*" not in json.dumps(rule)
    assert [name for name in ("VideosBucket", "FailuresBucket") if "CorsConfiguration" in properties(name)] == []


@pytest.mark.parametrize("name", ["read_tasks__one", "read_tasks__list"])
def test_tasks_that_did_not_change_are_answered_304(relay: Relay, name: str) -> None:
    relay.submitted()
    event = sample(name)
    first = relay.invoke("read_tasks", event)
    event["headers"]["if-none-match"] = first["headers"]["etag"]
    same = relay.invoke("read_tasks", event)
    assert (first["statusCode"], same["statusCode"], same["body"]) == (200, 304, "")
    assert same["headers"]["etag"] == first["headers"]["etag"]
    task = relay.task()
    relay.store().save(task)
    assert relay.invoke("read_tasks", event)["statusCode"] == (200 if name.endswith("one") else 304)


def test_usage_says_what_is_left_of_today(relay: Relay) -> None:
    relay.play("submit_task__two_subjects")
    event = sample("read_tasks__usage")
    event["requestContext"]["authorizer"]["lambda"] |= {"daily_cap": "7", "daily_budget_usd": "2.5"}
    assert json.loads(relay.invoke("read_tasks", event)["body"])["today"] == {
        "tasks": 1, "daily_task_cap": 7, "committed_usd": "1", "daily_budget_usd": "2.5", "month_committed_usd": "1",
        "monthly_budget_usd": None,
    }  # fmt: skip
    assert TASK_ID
