"""The API's description against the deployed API: whatever is generated from it is answered as it says."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from local.client import RelayClient
from local.programs import ROOT, venv_program
from tests.functions.conftest import TASK_ID

EXAMPLES = 40
"""Fuzzed requests an operation, besides those for each limit of the document."""
NOT_HELD = [
    "positive_data_acceptance",  # an image must exist, and rules between parameters are beyond a schema
    "unsupported_method",  # API Gateway answers 404 to a method without a route, and never 405
    "use_after_free",  # nothing is deleted
]


@pytest.fixture(scope="module")
def api_key(relay: RelayClient, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a tenant of its own: what is generated here uses up nobody's day."""
    file = tmp_path_factory.mktemp("openapi") / "stack.json"
    relay.stack.write(file)

    def run(*arguments: str) -> dict[str, Any]:
        command = [venv_program("dev"), "-m", "cli", "--local-file", str(file), "--json", *arguments]
        environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'layers/shared'}", "PATH": "/usr/bin:/bin"}
        done = subprocess.run(command, capture_output=True, check=True, text=True, env=environment)  # noqa: S603 - ours
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    run("tenants", "create", "described")
    run("tenants", "set-cap", "described", "100000")
    return str(run("keys", "create", "--tenant", "described")["api_key"])


def test_served_document_is_the_one_in_the_repository_at_this_address(relay: RelayClient) -> None:
    reply = relay.call("GET", "/v1/openapi.json", headers={"Authorization": None})

    kept = json.loads((ROOT / "docs" / "openapi.json").read_text())
    assert reply.status_code == 200
    assert reply.json() == {**kept, "servers": [{"url": relay.stack.api_url}]}


def test_page_is_served_without_a_key_and_may_run_nothing(relay: RelayClient) -> None:
    reply = relay.call("GET", "/v1/docs", headers={"Authorization": None})

    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
    assert "POST" in reply.text
    assert relay.stack.api_url in reply.text


def test_whatever_is_generated_from_the_document_is_answered_as_it_says(
    relay: RelayClient, api_key: str, tmp_path: Path
) -> None:
    owner = RelayClient(relay.stack, api_key)
    images = {"https://example.com/fox.png": "fox.png", "https://example.com/robot.png": "robot.png"}
    text = (ROOT / "docs" / "openapi.json").read_text()
    for example, name in images.items():
        text = text.replace(example, relay.image(name))
    (request,) = json.loads(text)["components"]["schemas"]["VideoRequest"]["examples"]
    document = tmp_path / "openapi.json"
    document.write_text(text.replace(TASK_ID, owner.submit(request)["task_id"]))  # examples that are there
    owner.close()
    (tmp_path / "schemathesis.toml").touch()  # no configuration but this one

    command = [
        venv_program("dev", "schemathesis"),
        *("--config-file", "schemathesis.toml", "run", str(document), "--url", relay.stack.api_url),
        *("--header", f"Authorization: Bearer {api_key}", "--tls-verify", relay.stack.aws_ca_bundle or "true"),
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
    assert int(cases[1]) > 400
