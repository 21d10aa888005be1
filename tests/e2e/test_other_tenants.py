"""What belongs to one tenant, asked for by another: nothing is given, and no answer tells whether it exists.

What is foreign and what does not exist must be answered alike: status, headers, body.
"""

import base64
import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests

from local.client import RelayClient
from tests.e2e.attempts import WITH_A_KEY, as_function, calm_task, effects, listed, operate, send
from tests.e2e.conftest import request_of
from tests.e2e.tenants import client_of_new_tenant
from tests.e2e.waiting import wait_until
from tests.unit.pictures import png

MISSING = "a" * 26
NEVER_A_TASK = ("a" * 27, "1" * 26, "task%23" + "a" * 26, "%2e%2e", "a" * 26 + "%00", "%ff", "*", "a" * 4000)

Body = dict[str, Any]


@pytest.fixture(scope="module")
def intruder(relay: RelayClient) -> Iterator[RelayClient]:
    """A client of another tenant, which has a bucket and an event source of its own."""
    client = client_of_new_tenant(relay, "intruder", "--event-source", "intruder.app")
    for tenant, bucket in (("intruder", "intruders-own"), (relay.stack.tenant_id, "demos-own")):
        relay.aws("s3").create_bucket(Bucket=bucket)
        operate(relay, "tenants", "add-bucket", tenant, bucket)
    yield client
    client.close()


@pytest.fixture(scope="module")
def task_id(relay: RelayClient, request: pytest.FixtureRequest) -> str:
    return calm_task(relay, request_of(relay, request))


def test_foreign_task_and_missing_task_are_answered_alike(
    relay: RelayClient, intruder: RelayClient, task_id: str
) -> None:
    key, before = intruder.stack.api_key, effects(relay, task_id)
    for method, path in (route.split() for route in WITH_A_KEY if "{task_id}" in route):
        foreign, missing, *never = (
            send(relay.stack, method, path.replace("{task_id}", one), key=key)
            for one in (task_id, MISSING, *NEVER_A_TASK)
        )
        assert (missing.status, json.loads(missing.body)["code"]) == (404, "task_not_found")
        assert foreign == missing
        assert [answer for answer in never if answer != missing] == []
    names = ("x-tenant-id", "tenant_id", "x-amzn-tenant", "x-forwarded-user")
    headers = [(name, relay.stack.tenant_id) for name in names]
    answer = send(relay.stack, "GET", f"/v1/tasks/{task_id}", key=key, headers=headers)
    assert answer == send(relay.stack, "GET", f"/v1/tasks/{MISSING}", key=key)
    assert effects(relay, task_id) == before


def test_list_shows_no_foreign_task(relay: RelayClient, intruder: RelayClient, request_body: Body) -> None:
    """Not to a tenant that names another one, and not at a cursor of the other or one that it computes."""
    calm_task(relay, request_body)
    task = calm_task(relay, request_body)
    foreign = relay.call("GET", "/v1/tasks", params={"limit": "1"}).json()["next_cursor"]

    def cursor(position: str) -> str:
        return base64.urlsafe_b64encode(position.encode()).rstrip(b"=").decode()

    position = f"{10**13}.{task}"
    digest = hashlib.sha256(f"intruder\0{position}".encode()).hexdigest()[:16]
    none: Body = {"tasks": [], "next_cursor": None}
    for query in ({}, {"status": "submitted"}, {"limit": "100"}, {"cursor": cursor(f"{position}.{digest}")}):
        assert intruder.call("GET", "/v1/tasks", params=query).json() == none
    for query in ({"tenant_id": "demo"}, {"owner": "demo"}, {"owner[]": "demo"}):
        assert intruder.call("GET", "/v1/tasks", params=query).json()["code"] == "invalid_query"
    refused = [intruder.call("GET", "/v1/tasks", params={"cursor": one}) for one in (foreign, cursor(position))]
    assert {(reply.status_code, reply.json()["code"]) for reply in refused} == {(400, "invalid_cursor")}
    assert refused[0].content == refused[1].content


def test_one_idempotency_key_of_two_tenants_is_two_tasks_and_shows_nothing_of_the_other(
    relay: RelayClient, intruder: RelayClient, request_body: Body
) -> None:
    """By HTTP and by an event; nor does a key that is built from the other tenant's id lead to a task of it."""
    key, by_event, tenant = f"shared-{secrets.token_hex(8)}", f"shared-{secrets.token_hex(8)}", relay.stack.tenant_id
    own = {relay.submit(request_body, one)["task_id"] for one in (key, by_event)}
    other = request_body | {"duration": 2, "prompt": f"@fox and @robot rest {key}"}
    replies = [
        intruder.call("POST", "/v1/tasks", json=other, headers={"Idempotency-Key": one})
        for one in (key, secrets.token_hex(8), f"{tenant}%00{key}", f"../{tenant}/{key}", f"{tenant}{key}")
    ]
    relay.put_event({"request": other, "idempotency_key": by_event}, "intruder.app")
    wait_until(lambda: len(relay.seen_by_provider(other["prompt"])) == len(replies) + 1, "the event's task")

    assert {reply.status_code for reply in replies} == {202}
    assert len(own | {reply.json()["task_id"] for reply in replies}) == 2 + len(replies)
    assert replies[0].json().keys() == replies[1].json().keys()
    assert {name.lower() for name in replies[0].headers} == {name.lower() for name in replies[1].headers}
    assert other["prompt"] not in relay.call("GET", "/v1/tasks?limit=100").text
    reply = intruder.call("POST", "/v1/tasks", json=request_body | {"tenant_id": tenant})
    assert (reply.status_code, [fault["loc"] for fault in reply.json()["errors"]]) == (422, ["tenant_id"])


def test_presigned_link_opens_its_one_object_for_reading_and_nothing_else(
    relay: RelayClient, request_body: Body
) -> None:
    task = relay.wait(relay.submit(request_body)["task_id"], "completed")
    link, stored = task["output"][0]["results"][0]["url"], task["videos"][0]
    foreign = stored["key"].replace(f"videos/{relay.stack.tenant_id}/", "videos/intruder/")
    relay.aws("s3").put_object(Bucket=stored["bucket"], Key=foreign, Body=b"another tenant's")
    session, parts = requests.Session(), urlsplit(link)
    session.trust_env, session.verify = False, relay.stack.aws_ca_bundle or True
    root, query = parts.path.partition("videos/")[0], dict(parse_qsl(parts.query))

    def altered(path: str = parts.path, **changed: str) -> str:
        return str(parts._replace(path=path, query=urlencode(query | changed)).geturl())

    attempts = {
        "another key": session.get(altered(root + foreign), timeout=40),
        "the bucket": session.get(altered(root), timeout=40),
        "longer": session.get(altered(**{"X-Amz-Expires": "604800"}), timeout=40),
        "unsigned": session.get(link.partition("?")[0], timeout=40),
        "write": session.put(link, data=b"x", timeout=40),
        "delete": session.delete(link, timeout=40),
        "acl": session.get(link + "&acl", timeout=40),
    }

    assert {name: reply.status_code for name, reply in attempts.items() if reply.ok} == {}
    assert session.get(link, timeout=40).ok
    assert int(query["X-Amz-Expires"]) <= 900
    session.close()


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
    inbox = {"Bucket": relay.stack.inbox_bucket, "Prefix": prefix}
    return {(one["Key"], one["ETag"]) for one in listed(relay, "s3", "list_objects_v2", "Contents", **inbox)}


def test_foreign_image_and_missing_image_are_answered_alike(
    relay: RelayClient, intruder: RelayClient, request_body: Body
) -> None:
    """Word for word, in every place where another tenant's images can be."""
    form = form_of(relay)
    assert send_form(relay, form).ok
    inbox, tenant = relay.stack.inbox_bucket, relay.stack.tenant_id
    foreign = [
        (inbox, f"requests/{tenant}/fox.png"),
        (inbox, f"tasks/{tenant}/x/0.png"),
        (inbox, f"uploads/{tenant}x/fox.png"),
        (inbox, "uploads/fox.png"),
        (relay.stack.videos_bucket, f"videos/{tenant}/fox.png"),
        ("demos-own", "fox.png"),
    ]
    for bucket, key in foreign:
        relay.aws("s3").put_object(Bucket=bucket, Key=key, Body=png(200, 200))
    prompt = f"a fox {secrets.token_hex(8)}"

    def answer(uri: str) -> tuple[int, Body]:
        body = {"model": request_body["model"], "prompt": prompt, "images": [uri]}
        reply = intruder.call("POST", "/v1/tasks", json=body)
        return reply.status_code, reply.json()

    expected = answer(f"s3://{inbox}/uploads/intruder/{secrets.token_hex(16)}.png")
    assert (expected[0], expected[1]["errors"][0]["code"]) == (422, "image_not_found")
    for uri in (form["uri"], *(f"s3://{bucket}/{key}" for bucket, key in foreign)):
        assert answer(uri) == expected, uri
    assert relay.seen_by_provider(prompt) == []
    key = relay.drop(
        "stolen.json",
        request_body | {"subjects": [{"id": "fox", "images": [form["uri"]]}], "prompt": f"@fox {prompt}"},
        tenant_id="intruder",
    )
    detail = relay.rejection(f"s3://{inbox}/{key}")["detail"]
    assert (detail["tenant_id"], detail["error"]["errors"][0]["code"]) == ("intruder", "image_not_found")


def test_form_of_an_upload_stores_its_one_object_and_nothing_else(relay: RelayClient, intruder: RelayClient) -> None:
    foreign = form_of(relay)
    assert send_form(relay, foreign).ok
    victim, tenant = foreign["fields"]["key"], relay.stack.tenant_id
    before = keys_below(relay, f"uploads/{tenant}/"), keys_below(relay, "requests/")
    form = form_of(intruder)
    fields = form["fields"]
    policy = json.loads(base64.b64decode(fields["policy"]))
    opened = {**policy, "conditions": [{"bucket": relay.stack.inbox_bucket}, ["starts-with", "$key", ""]]}
    attempts = {
        "another's object": {**fields, "key": victim},
        "a request": {**fields, "key": f"requests/{tenant}/evil.json"},
        "another type": {**fields, "Content-Type": "text/html"},
        "an open policy": {**fields, "key": victim, "policy": base64.b64encode(json.dumps(opened).encode()).decode()},
        "no signature": {name: value for name, value in fields.items() if name != "x-amz-signature"},
        "another's form": {**fields, "policy": foreign["fields"]["policy"], "key": victim},
    }
    statuses = {name: send_form(intruder, form, fields=given).status_code for name, given in attempts.items()}
    elsewhere = form["url"].replace(relay.stack.inbox_bucket, relay.stack.videos_bucket)
    statuses["another bucket"] = send_form(intruder, form, url=elsewhere).status_code
    statuses["too large"] = send_form(intruder, form, content=png(200, 200) + b"\0" * (50 * 2**20)).status_code

    assert {name: status for name, status in statuses.items() if status < 400} == {}
    assert (keys_below(relay, f"uploads/{tenant}/"), keys_below(relay, "requests/")) == before
    signer, key = as_function(relay, "create_upload", "s3"), fields["key"]
    for seconds, stored in ((-10, False), (60, True)):
        signed = signer.generate_presigned_post(relay.stack.inbox_bucket, key, ExpiresIn=seconds)
        assert send_form(relay, signed).ok is bool(keys_below(relay, key)) is stored
