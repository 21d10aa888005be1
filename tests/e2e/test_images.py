"""Reference images on the deployed stack: three forms in, one form out, nothing spent on one that cannot be used."""

import base64
import hashlib
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from local.client import RelayClient
from local.simulator.images import image
from tests.e2e.tenants import client_of_new_tenant, places_taken
from tests.unit.pictures import jpeg, png

Body = dict[str, Any]


@pytest.fixture(scope="module")
def relay(relay: RelayClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayClient]:
    """A client of a tenant that nobody else submits for: what is counted and listed here is of these tests."""
    client = client_of_new_tenant(relay, tmp_path_factory.mktemp("pictures"), "pictures")
    yield client
    client.close()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def upload(relay: RelayClient, content: bytes, kind: str = "image/png") -> requests.Response:
    """Ask for an upload and send it; S3's answer, with the image's `uri` as its attribute."""
    answer = relay.call("POST", "/v1/uploads", json={"content_type": kind})
    assert answer.status_code == 201, answer.text
    form = answer.json()
    sent = requests.post(
        form["url"],
        data=form["fields"],
        files={"file": ("image", io.BytesIO(content))},
        verify=relay.stack.aws_ca_bundle,
        timeout=30,
    )
    sent.uri = form["uri"]  # type: ignore[attr-defined]  # what the test goes on with
    return sent


def uploaded(relay: RelayClient, content: bytes, kind: str = "image/png") -> str:
    sent = upload(relay, content, kind)
    assert sent.ok, sent.text
    return str(sent.uri)  # type: ignore[attr-defined]  # set by `upload`


def refused(relay: RelayClient, body: Body) -> dict[str, str]:
    """The codes of a refusal by location; nothing may have been recorded, called or counted for it."""
    before = spent(relay, body)
    answer = relay.call("POST", "/v1/tasks", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "invalid_image"
    assert spent(relay, body) == before
    return {fault["loc"]: fault["code"] for fault in answer.json()["errors"]}


def spent(relay: RelayClient, body: Body) -> tuple[int, int, list[str]]:
    """Create calls for such a request, places of the tenant's cap that are taken, and its newest task."""
    calls = [call for call in relay.ask_provider("requests") if body["prompt"] in str(call.get("prompt"))]
    newest = relay.call("GET", "/v1/tasks?limit=1").json()["tasks"]
    return len(calls), places_taken(relay), [task["task_id"] for task in newest]


def test_all_three_forms_end_as_bytes_that_the_provider_could_read(relay: RelayClient, request_body: Body) -> None:
    inside = image("garden", "webp")
    in_s3 = image("smallest", "png")
    request_body["subjects"][0]["images"].append(f"data:image/webp;base64,{base64.b64encode(inside).decode()}")
    request_body["subjects"][1]["images"].append(uploaded(relay, in_s3))
    relay.script(request_body["prompt"], {"create": {"fetch_images": True}})

    task = relay.submit(request_body)

    assert task["status"] == "submitted", task["error"]
    (seen,) = relay.seen_by_provider(request_body["prompt"])
    read = relay.images_at_provider(seen["id"])
    expected = [image("fox", "png"), inside, image("robot", "jpeg"), in_s3]
    assert [(one["sha256"], one["form"], one["fault"]) for one in read] == [
        (sha256(content), "url", None) for content in expected
    ]
    shown = relay.task(task["task_id"])["request"]["subjects"]
    assert shown[0]["images"][1].startswith("ni:///sha-256;")
    assert shown[1]["images"][1] == request_body["subjects"][1]["images"][1]
    assert relay.wait(task["task_id"], "completed")["videos"]


def test_image_replaced_after_the_check_is_not_what_the_provider_gets(relay: RelayClient, request_body: Body) -> None:
    first, second = image("fox", "png"), image("robot", "png")
    uri = uploaded(relay, first)
    request_body["subjects"][0]["images"] = [uri]
    relay.submit(request_body)
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    relay.aws("s3").put_object(Bucket=bucket, Key=key, Body=second)

    (seen,) = relay.seen_by_provider(request_body["prompt"])
    assert relay.images_at_provider(seen["id"])[0]["sha256"] == sha256(first)


def test_file_dropped_under_requests_can_be_used(relay: RelayClient, request_body: Body) -> None:
    key = f"requests/{relay.stack.tenant_id}/pictures/ä fox+1.png"
    relay.aws("s3").put_object(Bucket=relay.stack.inbox_bucket, Key=key, Body=image("fox", "png"))
    request_body["subjects"][0]["images"] = [f"s3://{relay.stack.inbox_bucket}/{key}"]
    relay.submit(request_body)

    (seen,) = relay.seen_by_provider(request_body["prompt"])
    assert relay.images_at_provider(seen["id"])[0]["sha256"] == sha256(image("fox", "png"))


def test_another_tenants_image_is_answered_like_one_that_is_not_there(relay: RelayClient, request_body: Body) -> None:
    theirs, missing = "uploads/globex/fox.png", f"uploads/{relay.stack.tenant_id}/missing.png"
    relay.aws("s3").put_object(Bucket=relay.stack.inbox_bucket, Key=theirs, Body=image("fox", "png"))
    answers = []
    for key in (theirs, missing, "tasks/globex/fox.png", f"uploads/{relay.stack.tenant_id}x/fox.png"):
        request_body["subjects"][0]["images"] = [f"s3://{relay.stack.inbox_bucket}/{key}"]
        answers.append(relay.call("POST", "/v1/tasks", json=request_body).text)
        assert refused(relay, request_body) == {"subjects.0.images.0": "image_not_found"}
    assert len(set(answers)) == 1
    request_body["subjects"][0]["images"] = [f"s3://{relay.stack.videos_bucket}/fox.png"]
    assert relay.call("POST", "/v1/tasks", json=request_body).text == answers[0]


def test_mapped_bucket_serves_its_tenant_alone(relay: RelayClient, request_body: Body) -> None:
    bucket = f"pictures-of-{relay.stack.tenant_id}"
    relay.aws("s3").create_bucket(Bucket=bucket)
    relay.aws("s3").put_object(Bucket=bucket, Key="fox.png", Body=image("fox", "png"))
    request_body["subjects"][0]["images"] = [f"s3://{bucket}/fox.png"]
    assert refused(relay, request_body) == {"subjects.0.images.0": "image_not_found"}  # mapped to nobody
    put = relay.aws("dynamodb").put_item
    put(TableName=relay.stack.table, Item={"pk": {"S": f"bucket#{bucket}"}, "tenant_id": {"S": "globex"}})
    assert refused(relay, request_body) == {"subjects.0.images.0": "image_not_found"}  # mapped to another
    put(TableName=relay.stack.table, Item={"pk": {"S": f"bucket#{bucket}"}, "tenant_id": {"S": relay.stack.tenant_id}})
    assert refused(relay, request_body) == {"subjects.0.images.0": "image_not_found"}  # its policy lets nobody in
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
    (seen,) = relay.seen_by_provider(request_body["prompt"])
    assert relay.images_at_provider(seen["id"])[0]["sha256"] == sha256(image("fox", "png"))


def test_every_bad_image_is_named_and_nothing_is_spent(relay: RelayClient, request_body: Body) -> None:
    dead = relay.image("fox.png").replace("127.0.0.1", "127.0.0.2")
    request_body["subjects"] = [
        {"id": "fox", "images": [relay.image("too_small.png"), relay.image("too_wide.webp"), dead]},
        {"id": "robot", "images": [relay.image("broken.png"), relay.image("nobody.png"), relay.image("fox.png")]},
        {"id": "3", "images": [uploaded(relay, b"GIF89a" + bytes(100))]},
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
    limit = 50 * 1024 * 1024
    for size, key in ((limit, "inside.jpg"), (limit + 1, "outside.jpg")):
        content = jpeg(metadata=900_000)
        relay.aws("s3").put_object(
            Bucket=relay.stack.inbox_bucket,
            Key=f"uploads/{relay.stack.tenant_id}/{key}",
            Body=content + bytes(size - len(content)),
        )
    uri = f"s3://{relay.stack.inbox_bucket}/uploads/{relay.stack.tenant_id}"
    request_body["subjects"][0]["images"] = [f"{uri}/outside.jpg"]
    assert refused(relay, request_body) == {"subjects.0.images.0": "image_too_large"}
    request_body["subjects"][0]["images"] = [f"{uri}/inside.jpg"]
    assert relay.submit(request_body)["status"] == "submitted"


def test_known_key_is_answered_without_another_look_at_its_images(relay: RelayClient, request_body: Body) -> None:
    uri = uploaded(relay, png())
    request_body["subjects"][0]["images"] = [uri]
    first = relay.submit(request_body, f"images-{uri}")
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    relay.aws("s3").delete_object(Bucket=bucket, Key=key)

    assert relay.submit(request_body, f"images-{uri}")["task_id"] == first["task_id"]


def test_upload_takes_its_own_type_and_nothing_empty(relay: RelayClient) -> None:
    assert upload(relay, b"").status_code == 400
    form = relay.call("POST", "/v1/uploads", json={"content_type": "image/jpeg"}).json()
    for change in ({"Content-Type": "text/html"}, {"key": f"uploads/{relay.stack.tenant_id}/mine.png"}):
        sent = requests.post(
            form["url"],
            data={**form["fields"], **change},
            files={"file": ("image", io.BytesIO(jpeg()))},
            verify=relay.stack.aws_ca_bundle,
            timeout=30,
        )
        assert sent.status_code == 403, change


@pytest.mark.parametrize("body", [{}, {"content_type": "image/gif"}, {"content_type": "image/png", "size": 1}, []])
def test_upload_of_anything_else_is_refused_with_its_reason(relay: RelayClient, body: object) -> None:
    answer = relay.call("POST", "/v1/uploads", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
    assert answer.json()["errors"]
