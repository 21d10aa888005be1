"""Off-peak images and switched-off probing, on a stack that has both."""

import base64
import hashlib
import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.client import RelayClient
from local.programs import ROOT
from local.simulator.images import image
from local.stack import LocalStack
from tests.documents import blocks
from tests.e2e.watched import WatchedClient

Body = dict[str, Any]


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayClient]:
    """A client of a stack that takes off-peak tasks and leaves image URLs to the provider."""
    parameters = {"OffPeakAvailable": "true", "ProbeImageUrls": "false"}
    with LocalStack(tmp_path_factory.mktemp("stack"), parameters=parameters, generation_seconds=1) as stack:
        client = WatchedClient(stack)
        yield client
        client.close()


def put(relay: RelayClient, name: str, content: bytes) -> str:
    key = f"uploads/{relay.stack.tenant_id}/{name}"
    relay.aws("s3").put_object(Bucket=relay.stack.inbox_bucket, Key=key, Body=content)
    return f"s3://{relay.stack.inbox_bucket}/{key}"


def test_off_peak_images_travel_inside_and_are_the_very_bytes(relay: RelayClient, request_body: Body) -> None:
    in_s3, inside = image("fox", "jpeg"), image("garden", "png")
    request_body["subjects"][0]["images"] = [put(relay, "fox", in_s3)]
    request_body["subjects"][1]["images"] = [f"data:image/png;base64,{base64.b64encode(inside).decode()}"]
    task = relay.submit(request_body | {"off_peak": True})

    assert task["status"] == "submitted", task["error"]
    (seen,) = relay.seen_by_provider(request_body["prompt"])
    read = relay.images_at_provider(seen["id"])
    assert [(one["form"], one["sha256"], one["fault"]) for one in read] == [
        ("data", hashlib.sha256(content).hexdigest(), None) for content in (in_s3, inside)
    ]
    assert "base64" not in str(relay.task(task["task_id"]))


def test_off_peak_images_that_do_not_fit_are_refused_before_anything_is_spent(
    relay: RelayClient, request_body: Body
) -> None:
    picture = image("fox", "png")
    uris = [put(relay, f"{number}.png", picture + bytes(7_500_000 - len(picture))) for number in range(2)]
    before = relay.create_calls()
    request_body["subjects"][0]["images"] = [uris[0]]
    request_body["subjects"][1]["images"] = [uris[1]]
    refused = relay.call("POST", "/v1/tasks", json=request_body | {"off_peak": True})

    assert (refused.status_code, refused.json()["code"]) == (422, "off_peak_too_large")
    assert "off_peak false" in refused.json()["detail"]
    assert relay.create_calls() == before
    assert relay.submit(request_body)["status"] == "submitted"  # as links they are no burden


def test_without_probing_urls_are_the_providers_business_and_other_images_are_not(
    relay: RelayClient, request_body: Body
) -> None:
    request_body["subjects"][0]["images"] = [relay.image("too_small.png")]
    assert relay.submit(request_body)["status"] == "submitted"
    request_body["subjects"][1]["images"] = [put(relay, "small.png", image("too_small", "png"))]
    refused = relay.call("POST", "/v1/tasks", json=request_body)
    assert [fault["loc"] for fault in refused.json()["errors"]] == ["subjects.1.images.0"]


def test_example_of_the_readme_works_as_written_with_the_variables_of_env(relay: RelayClient, tmp_path: Path) -> None:
    relay.stack.write(tmp_path / "stack.json")
    (example,) = (block for block in blocks("README.md", "sh") if block.startswith("curl"))
    variables = shlex.join([str(ROOT / "cli" / "relay"), "--local-file", str(tmp_path / "stack.json"), "env"])
    script = f'eval "$({variables})"\n{example}'
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert json.loads(done.stdout)["status"] == "submitted"
