"""Uploads, references, dropped files and event sources of another tenant: none can be used, and none can be seen."""

import base64
import json
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import requests

from local.client import RelayClient
from tests.e2e.attempts import as_function, operate
from tests.e2e.waiting import wait_until
from tests.unit.pictures import png

Body = dict[str, Any]


@pytest.fixture(scope="module")
def stranger(relay: RelayClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayClient]:
    """A client of another tenant, which has a bucket and an event source of its own."""
    folder = tmp_path_factory.mktemp("stranger")
    operate(relay, folder, "tenants", "create", "burglar", "--event-source", "burglar.app")
    relay.aws("s3").create_bucket(Bucket="burglars-own")
    operate(relay, folder, "tenants", "add-bucket", "burglar", "burglars-own")
    relay.aws("s3").create_bucket(Bucket="demos-own")
    operate(relay, folder, "tenants", "add-bucket", relay.stack.tenant_id, "demos-own")
    client = RelayClient(relay.stack, operate(relay, folder, "keys", "create", "--tenant", "burglar")["api_key"])
    yield client
    client.close()


def form_of(client: RelayClient) -> Body:
    reply = client.call("POST", "/v1/uploads", json={"content_type": "image/png"})
    assert reply.status_code == 201, reply.text
    form: Body = reply.json()
    return form


def send_form(
    client: RelayClient, form: Body, content: bytes = b"", fields: Mapping[str, str] | None = None, url: str = ""
) -> requests.Response:
    return requests.post(
        url or form["url"],
        data=form["fields"] if fields is None else fields,
        files={"file": ("image", content or png(200, 200))},
        verify=client.stack.aws_ca_bundle,
        timeout=120,
    )


def keys_below(relay: RelayClient, prefix: str) -> set[tuple[str, str]]:
    pages = relay.aws("s3").get_paginator("list_objects_v2").paginate(Bucket=relay.stack.inbox_bucket, Prefix=prefix)
    return {(one["Key"], one["ETag"]) for page in pages for one in page.get("Contents", [])}


def test_foreign_image_and_missing_image_are_answered_alike(
    relay: RelayClient, stranger: RelayClient, request_body: Body
) -> None:
    """Word for word, in every place where another tenant's images can lie."""
    form = form_of(relay)
    assert send_form(relay, form).ok
    inbox, videos, tenant = relay.stack.inbox_bucket, relay.stack.videos_bucket, relay.stack.tenant_id
    s3, picture = relay.aws("s3"), png(200, 200)
    own = form["uri"].rpartition("/")[2]
    there = {
        (inbox, f"requests/{tenant}/fox.png"),
        (inbox, f"tasks/{tenant}/x/0.png"),
        (inbox, f"uploads/{tenant}x/fox.png"),
        (inbox, "fox.png"),
        (inbox, "uploads/fox.png"),
        (inbox, f"uploads/burglar/../{tenant}/{own}"),
        (videos, f"videos/{tenant}/fox.png"),
        ("demos-own", "fox.png"),
    }
    for bucket, key in there:
        s3.put_object(Bucket=bucket, Key=key, Body=picture)
    uris = [
        form["uri"],
        *(f"s3://{bucket}/{key}" for bucket, key in sorted(there)),
        f"s3://{inbox}/uploads/burglar%2F..%2F{tenant}/{own}",
        f"s3://{inbox}//uploads/burglar/{own}",
        f"s3://{inbox}/uploads/burglar",
        f"s3://{inbox.upper()}/uploads/burglar/{own}",
        f"s3://arn:aws:s3:::{inbox}/{own}",
        "s3://vidu-relay-artifacts/template",
    ]
    missing = f"s3://{inbox}/uploads/burglar/{secrets.token_hex(16)}.png"
    prompt = f"a fox {secrets.token_hex(8)}"

    def answer(uri: str) -> tuple[int, Body]:
        body = {name: value for name, value in request_body.items() if name != "subjects"}
        reply = stranger.call("POST", "/v1/tasks", json=body | {"prompt": prompt, "images": [uri]})
        return reply.status_code, reply.json()

    expected = answer(missing)
    assert (expected[0], expected[1]["code"], expected[1]["errors"][0]["code"]) == (
        422,
        "invalid_image",
        "image_not_found",
    )
    for uri in uris:
        status, problem = answer(uri)
        assert status == 422, uri
        if problem["code"] == "invalid_image":
            assert problem == expected[1], uri
        else:  # refused as no address at all, whatever lies there
            assert problem["code"] == "validation_error", uri
    assert relay.seen_by_provider(prompt) == []
    assert prompt not in stranger.call("GET", "/v1/tasks?limit=100").text


def test_form_of_an_upload_stores_its_one_object_and_nothing_else(relay: RelayClient, stranger: RelayClient) -> None:
    foreign = form_of(relay)
    assert send_form(relay, foreign).ok
    victim = foreign["fields"]["key"]
    before = keys_below(relay, f"uploads/{relay.stack.tenant_id}/"), keys_below(relay, "requests/")
    form = form_of(stranger)
    fields = form["fields"]
    policy = json.loads(base64.b64decode(fields["policy"]))
    assert policy["conditions"]
    open_policy = {**policy, "conditions": [{"bucket": relay.stack.inbox_bucket}, ["starts-with", "$key", ""]]}
    later = {**policy, "expiration": "2099-01-01T00:00:00Z"}

    def encoded(document: Body) -> str:
        return base64.b64encode(json.dumps(document).encode()).decode()

    attempts = {
        "another's object": {**fields, "key": victim},
        "a request": {**fields, "key": f"requests/{relay.stack.tenant_id}/evil.json"},
        "another folder": {**fields, "key": "uploads/" + fields["key"].rpartition("/")[2]},
        "the file's name": {**fields, "key": f"uploads/{relay.stack.tenant_id}/${{filename}}"},
        "another type": {**fields, "Content-Type": "text/html"},
        "an open policy": {**fields, "key": victim, "policy": encoded(open_policy)},
        "a later end": {**fields, "policy": encoded(later)},
        "another signature": {**fields, "x-amz-signature": "0" * 64},
        "no signature": {name: value for name, value in fields.items() if name != "x-amz-signature"},
        "no policy": {name: value for name, value in fields.items() if name != "policy"},
        "another's form": {**fields, "policy": foreign["fields"]["policy"], "key": victim},
    }
    got_in = {name: send_form(stranger, form, fields=given).status_code for name, given in attempts.items()}
    elsewhere = form["url"].replace(relay.stack.inbox_bucket, relay.stack.videos_bucket)
    got_in["another bucket"] = send_form(stranger, form, url=elsewhere).status_code
    got_in["too large"] = send_form(stranger, form, content=png(200, 200) + b"\0" * (50 * 2**20)).status_code

    assert {name: status for name, status in got_in.items() if status < 400} == {}
    assert (keys_below(relay, f"uploads/{relay.stack.tenant_id}/"), keys_below(relay, "requests/")) == before
    assert keys_below(relay, fields["key"]) == set()


def test_form_whose_time_is_over_stores_nothing(relay: RelayClient) -> None:
    """Signed by the function's own role, as the relay does it."""
    signer = as_function(relay, "create_upload", "s3")
    key = f"uploads/{relay.stack.tenant_id}/{secrets.token_hex(16)}.png"
    for seconds, stored in ((-10, False), (60, True)):
        form = signer.generate_presigned_post(relay.stack.inbox_bucket, key, ExpiresIn=seconds)
        assert send_form(relay, form).ok is stored
        assert bool(keys_below(relay, key)) is stored


def test_file_in_a_foreign_folder_is_that_tenants_and_its_images_too(
    relay: RelayClient, stranger: RelayClient, request_body: Body
) -> None:
    """Who may write there is IAM's to say; what the file says changes nothing about whose it is."""
    mine = form_of(relay)
    assert send_form(relay, mine).ok
    body = {
        **request_body,
        "subjects": [{"id": "fox", "images": [mine["uri"]]}],
        "prompt": f"@fox {secrets.token_hex(8)}",
    }
    key = relay.drop("stolen.json", body, tenant_id="burglar")
    event = relay.rejection(f"s3://{relay.stack.inbox_bucket}/{key}")

    assert event["detail"]["tenant_id"] == "burglar"
    assert event["detail"]["error"]["errors"][0]["code"] == "image_not_found"
    assert relay.seen_by_provider(body["prompt"]) == []


@pytest.mark.parametrize(
    "folder",
    ("", "/", "nobody/", "demo%2F", "DEMO/", "burglar/../demo/", "./demo/", "*/", "demo /", "../requests/demo/"),
)
def test_file_in_a_folder_that_is_nearly_a_tenants_makes_no_task(
    relay: RelayClient, request_body: Body, folder: str
) -> None:
    """Only the first part of the path counts, letter by letter."""
    prompt = f"@fox meets @robot {secrets.token_hex(8)}"
    key = f"requests/{folder}{secrets.token_hex(4)}.json"
    body = json.dumps(request_body | {"prompt": prompt}).encode()
    relay.aws("s3").put_object(Bucket=relay.stack.inbox_bucket, Key=key, Body=body)

    def told() -> bool:
        rejected = relay.rejection(f"s3://{relay.stack.inbox_bucket}/{key}")
        return rejected["detail"]["tenant_id"] in (None, "burglar")

    if folder.startswith("burglar/"):  # the stranger's own, deeper down: its own task, and never the other's
        wait_until(lambda: len(relay.seen_by_provider(prompt)) == 1, "the burglar's own task")
        assert prompt not in relay.call("GET", "/v1/tasks?limit=100").text
    else:
        assert told()
        assert relay.seen_by_provider(prompt) == []


def test_event_of_the_stranger_makes_a_task_of_the_stranger(
    relay: RelayClient, stranger: RelayClient, request_body: Body
) -> None:
    """The other tenant's idempotency key in it leads to no task of the other's, and `tenant_id` cannot choose."""
    key = f"key-{secrets.token_hex(8)}"
    own = relay.submit(request_body, key)["task_id"]
    prompt = f"@fox meets @robot {secrets.token_hex(8)}"
    detail = {"request": request_body | {"prompt": prompt}, "idempotency_key": key}
    event_id = relay.put_event({**detail, "tenant_id": relay.stack.tenant_id}, "burglar.app")
    refused = relay.rejection("burglar.app", event_id)
    assert refused["detail"]["event_id"] == f"{event_id}:rejected"
    assert (refused["detail"]["tenant_id"], refused["detail"]["error"]["code"]) == ("burglar", "tenant_mismatch")
    assert own not in json.dumps(refused)

    relay.put_event(detail, "burglar.app")
    wait_until(lambda: len(relay.seen_by_provider(prompt)) == 1, "the stranger's task")
    (task,) = stranger.call("GET", "/v1/tasks?limit=1").json()["tasks"]
    assert (task["request"]["prompt"], task["task_id"] != own) == (prompt, True)
    assert prompt not in relay.call("GET", "/v1/tasks?limit=100").text
