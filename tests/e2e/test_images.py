"""Reference images on the deployed stack: three forms in, one form out, nothing spent on one that cannot be used."""

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from local.client import RelayClient
from local.simulator.images import image
from tests.e2e.tenants import client_of_new_tenant, quota_slots_taken
from tests.unit.pictures import jpeg

Body = dict[str, Any]


@pytest.fixture(scope="module")
def relay(relay: RelayClient) -> Iterator[RelayClient]:
    """A client of a tenant of the module's own: what is counted and listed here is of these tests."""
    client = client_of_new_tenant(relay, "pictures")
    yield client
    client.close()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def upload(relay: RelayClient, content: bytes, status: int = 204) -> str:
    """Ask for an upload and send it; the image's `uri`."""
    form = relay.call("POST", "/v1/uploads", json={"content_type": "image/png"}).json()
    file, trusted = {"file": ("image", content)}, relay.stack.aws_ca_bundle
    sent = requests.post(form["url"], data=form["fields"], files=file, verify=trusted, timeout=30)
    assert sent.status_code == status, sent.text
    return str(form["uri"])


def read_by_provider(relay: RelayClient, body: Body) -> list[tuple[str, str, str | None]]:
    """Form, digest and fault of each image of the task with this prompt, as the provider reads them."""
    (seen,) = relay.seen_by_provider(body["prompt"])
    return [(one["form"], one["sha256"], one["fault"]) for one in relay.images_at_provider(seen["id"])]


def refused(relay: RelayClient, body: Body) -> dict[str, str]:
    """The codes of a refusal by location; nothing may have been recorded, called or counted for it."""
    before = spent(relay, body)
    answer = relay.call("POST", "/v1/tasks", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_image"), answer.text
    assert spent(relay, body) == before
    return {fault["loc"]: fault["code"] for fault in answer.json()["errors"]}


def spent(relay: RelayClient, body: Body) -> tuple[int, int, list[str]]:
    """Create calls for such a request, quota slots of the tenant that are taken, and its newest task."""
    calls = [call for call in relay.ask_provider("requests") if body["prompt"] in str(call.get("prompt"))]
    newest = relay.call("GET", "/v1/tasks?limit=1").json()["tasks"]
    return len(calls), quota_slots_taken(relay), [task["task_id"] for task in newest]


def test_all_three_forms_end_as_bytes_that_the_provider_could_read(relay: RelayClient, request_body: Body) -> None:
    """A key that is used again is answered without another check of its images."""
    inside, in_s3 = image("garden", "webp"), image("smallest", "png")
    request_body["subjects"][0]["images"].append(f"data:image/webp;base64,{base64.b64encode(inside).decode()}")
    uri = upload(relay, in_s3)
    request_body["subjects"][1]["images"].append(uri)
    relay.script(request_body["prompt"], {"create": {"fetch_images": True}})

    task = relay.submit(request_body, uri)

    assert task["status"] == "submitted", task["error"]
    expected = [image("fox", "png"), inside, image("robot", "jpeg"), in_s3]
    assert read_by_provider(relay, request_body) == [("url", sha256(content), None) for content in expected]
    shown = relay.task(task["task_id"])["request"]["subjects"]
    assert shown[0]["images"][1].startswith("ni:///sha-256;")
    assert shown[1]["images"][1] == uri
    assert relay.wait(task["task_id"], "completed")["videos"]
    relay.aws("s3").delete_object(Bucket=relay.stack.inbox_bucket, Key=uri.partition("/uploads/")[2])
    assert relay.submit(request_body, uri)["task_id"] == task["task_id"]


def test_image_replaced_after_the_check_is_not_what_the_provider_gets(relay: RelayClient, request_body: Body) -> None:
    uri = upload(relay, image("fox", "png"))
    request_body["subjects"][0]["images"] = [uri]
    relay.submit(request_body)
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    relay.aws("s3").put_object(Bucket=bucket, Key=key, Body=image("robot", "png"))

    assert read_by_provider(relay, request_body)[0] == ("url", sha256(image("fox", "png")), None)


def test_mapped_bucket_serves_its_tenant_alone(relay: RelayClient, request_body: Body) -> None:
    bucket, not_found = f"pictures-of-{relay.stack.tenant_id}", {"subjects.0.images.0": "image_not_found"}
    relay.aws("s3").create_bucket(Bucket=bucket)
    relay.aws("s3").put_object(Bucket=bucket, Key="fox.png", Body=image("fox", "png"))
    request_body["subjects"][0]["images"] = [f"s3://{bucket}/fox.png"]
    assert refused(relay, request_body) == not_found  # mapped to no tenant
    put = relay.aws("dynamodb").put_item
    for tenant in ("globex", relay.stack.tenant_id):  # mapped to another; its policy lets no function in
        put(TableName=relay.stack.table, Item={"pk": {"S": f"bucket#{bucket}"}, "tenant_id": {"S": tenant}})
        assert refused(relay, request_body) == not_found
    (described,) = relay.aws("cloudformation").describe_stacks(StackName=relay.stack.stack_name)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": [outputs["SubmitTaskRoleArn"], outputs["CheckTaskRoleArn"]]},
        "Action": ["s3:GetObject", "s3:GetObjectVersion"],
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    relay.aws("s3").put_bucket_policy(Bucket=bucket, Policy=policy)
    assert relay.submit(request_body)["status"] == "submitted"
    assert read_by_provider(relay, request_body)[0] == ("url", sha256(image("fox", "png")), None)


def test_every_bad_image_is_named_and_nothing_is_spent(relay: RelayClient, request_body: Body) -> None:
    upload(relay, b"", 400)
    inward = relay.image("fox.png").replace("127.0.0.1", "127.0.0.2")
    request_body["subjects"] = [
        {"id": "fox", "images": [relay.image("too_small.png"), relay.image("too_wide.webp"), inward]},
        {"id": "robot", "images": [relay.image("broken.png"), relay.image("missing.png"), relay.image("fox.png")]},
        {"id": "3", "images": [upload(relay, b"GIF89a" + bytes(100))]},
    ]
    assert refused(relay, request_body) == {
        "subjects.0.images.0": "image_too_small",
        "subjects.0.images.1": "image_ratio",
        "subjects.0.images.2": "address_refused",
        "subjects.1.images.0": "image_format",
        "subjects.1.images.1": "image_not_found",
        "subjects.2.images.0": "image_format",
    }


def test_image_above_50_mb_is_refused_and_one_of_50_mb_is_taken(relay: RelayClient, request_body: Body) -> None:
    limit, picture, key = 50 * 1024 * 1024, jpeg(metadata=900_000), f"uploads/{relay.stack.tenant_id}/large.jpg"
    request_body["subjects"][0]["images"] = [f"s3://{relay.stack.inbox_bucket}/{key}"]
    put = relay.aws("s3").put_object
    put(Bucket=relay.stack.inbox_bucket, Key=key, Body=picture.ljust(limit + 1, b"\0"))
    assert refused(relay, request_body) == {"subjects.0.images.0": "image_too_large"}
    put(Bucket=relay.stack.inbox_bucket, Key=key, Body=picture.ljust(limit, b"\0"))
    assert relay.submit(request_body)["status"] == "submitted"
