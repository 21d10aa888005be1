"""The API's description against the deployed API: whatever is generated from it is answered as it says."""

import json
import re
import subprocess
from pathlib import Path

from local.client import RelayClient
from local.programs import venv_program
from tests.e2e.attempts import operate
from tests.e2e.tenants import client_of_new_tenant
from tests.functions.conftest import TASK_ID
from vidu_relay.openapi_page import OPENAPI

EXAMPLES = 25
"""Fuzzed requests an operation, besides those for each limit of the document."""
NOT_HELD = [
    "positive_data_acceptance",  # an image must exist, and rules between parameters are beyond a schema
    "unsupported_method",  # API Gateway answers 404 to a method without a route, and never 405
    "use_after_free",  # nothing is deleted
]


def test_document_and_page_are_served_without_a_key_and_the_page_runs_nothing(relay: RelayClient) -> None:
    document = relay.call("GET", "/v1/openapi.json", headers={"Authorization": None})
    kept = json.loads(OPENAPI.read_text())
    assert (document.status_code, document.json()) == (200, {**kept, "servers": [{"url": relay.stack.api_url}]})

    page = relay.call("GET", "/v1/docs?x=<script>alert(1)</script>", headers={"Authorization": None})
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = dict(part.strip().partition(" ")[::2] for part in page.headers["content-security-policy"].split(";"))
    assert {policy.get(name) for name in ("default-src", "base-uri", "form-action", "frame-ancestors")} == {"'none'"}
    assert not {"script-src"} & set(policy)
    assert "unsafe" not in page.headers["content-security-policy"]
    assert "POST" in page.text
    assert relay.stack.api_url in page.text
    assert not re.search(r"(?i)alert\(|<script|<iframe|<object|<embed|\son\w+=|javascript:|<link|@import", page.text)
    for name in ("api_key", "table", "inbox_bucket", "videos_bucket", "bus", "state_machine_arn"):
        assert getattr(relay.stack, name) not in document.text + page.text
    assert {document.headers["x-content-type-options"], page.headers["x-content-type-options"]} == {"nosniff"}


def test_whatever_is_generated_from_the_document_is_answered_as_it_says(relay: RelayClient, tmp_path: Path) -> None:
    owner = client_of_new_tenant(relay, "described")
    operate(relay, "tenants", "set-cap", "described", "100000")
    images = {"https://example.com/fox.png": "fox.png", "https://example.com/robot.png": "robot.png"}
    text = OPENAPI.read_text()
    for example, name in images.items():
        text = text.replace(example, relay.image(name))
    (request,) = json.loads(text)["components"]["schemas"]["VideoRequest"]["examples"]
    document = tmp_path / "openapi.json"
    document.write_text(text.replace(TASK_ID, owner.submit(request)["task_id"]))  # examples that exist
    owner.close()
    (tmp_path / "schemathesis.toml").touch()  # no configuration but this one

    command = [
        venv_program("dev", "schemathesis"),
        *("--config-file", "schemathesis.toml", "run", str(document), "--url", relay.stack.api_url),
        *("--header", f"Authorization: Bearer {owner.stack.api_key}"),
        *("--tls-verify", relay.stack.aws_ca_bundle or "true"),
        *("--phases", "examples,coverage,fuzzing", "--exclude-checks", ",".join(NOT_HELD)),
        *("--seed", "1", "--max-examples", str(EXAMPLES), "--no-shrink", "--generation-database", "none"),
        *("--continue-on-failure", "--no-color", "--request-timeout", "120"),
        *("--suppress-health-check", "too_slow"),  # which would be said of the machine
    ]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    done = subprocess.run(  # noqa: S603 - what is installed here, on this machine's own stack
        command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False, timeout=1200
    )

    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    cases = re.search(r"(\d+) generated", done.stdout)
    assert cases is not None
    assert int(cases[1]) > 300
