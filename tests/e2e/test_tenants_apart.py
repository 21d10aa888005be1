"""One tenant's things in another tenant's hands: nothing opens, and no answer tells whether a thing is there.

What is foreign and what does not exist must look the same: status, headers, body.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests

from local.client import RelayClient
from tests.e2e.attempts import Answer, calm_task, effects, operate, send
from tests.unit.template import of_type

WITH_A_KEY = sorted(
    route["Properties"]["RouteKey"]
    for route in of_type("AWS::ApiGatewayV2::Route").values()
    if route["Properties"]["AuthorizationType"] == "CUSTOM"
)
OF_ONE_TASK = [route for route in WITH_A_KEY if "{task_id}" in route]
MISSING = "a" * 26
NEVER_A_TASK = (
    "A" * 26,
    "a" * 25,
    "a" * 27,
    "1" * 26,
    "task%23" + "a" * 26,
    "%2e%2e",
    "a" * 26 + "%00",
    "%ff",
    "%F0%9F%92%A9",
    "'%20OR%20'1'='1",
    "*",
    "a" * 4000,
)

Body = dict[str, Any]


@pytest.fixture(scope="module")
def stranger_key(relay: RelayClient, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An API key of another tenant."""
    folder = tmp_path_factory.mktemp("stranger")
    operate(relay, folder, "tenants", "create", "intruder")
    key: str = operate(relay, folder, "keys", "create", "--tenant", "intruder")["api_key"]
    return key


@pytest.fixture
def stranger(relay: RelayClient, stranger_key: str) -> Iterator[RelayClient]:
    client = RelayClient(relay.stack, stranger_key)
    yield client
    client.close()


@pytest.mark.parametrize("route", OF_ONE_TASK)
def test_foreign_task_and_missing_task_are_answered_alike(
    relay: RelayClient, stranger_key: str, request_body: Body, route: str
) -> None:
    task_id = calm_task(relay, request_body)
    before = effects(relay, task_id)
    method, path = route.split()

    foreign, missing = (
        send(relay.stack, method, path.replace("{task_id}", one), key=stranger_key) for one in (task_id, MISSING)
    )

    assert foreign == missing
    assert (foreign.status, json.loads(foreign.body)["code"]) == (404, "task_not_found")
    assert effects(relay, task_id) == before


@pytest.mark.parametrize("route", OF_ONE_TASK)
@pytest.mark.parametrize("never", NEVER_A_TASK)
def test_what_cannot_be_an_id_is_answered_like_a_missing_task(
    relay: RelayClient, stranger_key: str, route: str, never: str
) -> None:
    method, path = route.split()
    missing = send(relay.stack, method, path.replace("{task_id}", MISSING), key=stranger_key)

    assert send(relay.stack, method, path.replace("{task_id}", never), key=stranger_key) == missing


def test_settled_foreign_task_is_no_more_visible_than_an_open_one(
    relay: RelayClient, stranger_key: str, request_body: Body
) -> None:
    task = relay.wait(relay.submit(request_body)["task_id"], "completed")
    foreign, missing = (
        send(relay.stack, "GET", f"/v1/tasks/{one}", key=stranger_key) for one in (task["task_id"], MISSING)
    )
    assert foreign == missing


@pytest.mark.parametrize("query", ("", "?status=submitted", "?limit=100"))
def test_list_shows_no_foreign_task(relay: RelayClient, stranger_key: str, request_body: Body, query: str) -> None:
    calm_task(relay, request_body)

    answer = send(relay.stack, "GET", "/v1/tasks" + query, key=stranger_key)

    assert json.loads(answer.body) == {"tasks": [], "next_cursor": None}


@pytest.mark.parametrize("query", ("?tenant_id=demo", "?owner=demo", "?limit=100&owner%5B%5D=demo"))
def test_list_of_somebody_elses_cannot_be_asked_for(
    relay: RelayClient, stranger_key: str, request_body: Body, query: str
) -> None:
    task_id = calm_task(relay, request_body)

    answer = send(relay.stack, "GET", "/v1/tasks" + query, key=stranger_key)

    assert answer.status == 400
    assert json.loads(answer.body)["code"] == "invalid_query"
    assert task_id.encode() not in answer.body


def test_foreign_cursor_is_refused_like_any_that_is_not_ours(
    relay: RelayClient, stranger_key: str, request_body: Body
) -> None:
    task_id = calm_task(relay, request_body)
    calm_task(relay, request_body)
    theirs = relay.call("GET", "/v1/tasks", params={"limit": "1"}).json()["next_cursor"]
    made = base64.urlsafe_b64encode(f"{10**13}.{task_id}".encode()).rstrip(b"=").decode()
    foreign, none = (
        send(relay.stack, "GET", f"/v1/tasks?cursor={cursor}", key=stranger_key) for cursor in (theirs, made)
    )
    assert (foreign.status, json.loads(foreign.body)["code"]) == (400, "invalid_cursor")
    assert foreign == none


def test_position_that_a_stranger_computes_shows_nothing_foreign(
    relay: RelayClient, stranger: RelayClient, request_body: Body
) -> None:
    """The checksum of a cursor is no secret: what keeps the lists apart is the query."""
    position = f"{10**13}.{calm_task(relay, request_body)}"
    digest = hashlib.sha256(f"intruder\0{position}".encode()).hexdigest()
    cursor = base64.urlsafe_b64encode(f"{position}.{digest[:16]}".encode()).rstrip(b"=").decode()
    assert stranger.call("GET", "/v1/tasks", params={"cursor": cursor}).json() == {"tasks": [], "next_cursor": None}


@pytest.mark.parametrize("name", ("x-tenant-id", "tenant_id", "x-amzn-tenant", "x-forwarded-user", "x-owner"))
def test_header_cannot_change_the_tenant(relay: RelayClient, stranger_key: str, request_body: Body, name: str) -> None:
    task_id = calm_task(relay, request_body)
    told = send(relay.stack, "GET", f"/v1/tasks/{task_id}", key=stranger_key, headers=[(name, relay.stack.tenant_id)])
    assert told == send(relay.stack, "GET", f"/v1/tasks/{MISSING}", key=stranger_key)


def test_tenant_in_the_body_is_an_unknown_parameter(stranger: RelayClient, request_body: Body) -> None:
    reply = stranger.call("POST", "/v1/tasks", json=request_body | {"tenant_id": stranger.stack.tenant_id})
    assert (reply.status_code, [fault["loc"] for fault in reply.json()["errors"]]) == (422, ["tenant_id"])


def test_one_idempotency_key_in_two_hands_is_two_tasks_that_know_nothing_of_each_other(
    relay: RelayClient, stranger: RelayClient, request_body: Body
) -> None:
    """No conflict with another request, no task of the other's, no sign that the key is used."""
    headers = {"Idempotency-Key": f"shared-{request_body['prompt']}"}
    own = relay.call("POST", "/v1/tasks", json=request_body, headers=headers)
    other = stranger.call("POST", "/v1/tasks", json=request_body | {"duration": 2}, headers=headers)
    fresh = stranger.call("POST", "/v1/tasks", json=request_body | {"duration": 2})

    assert (own.status_code, other.status_code) == (202, 202)
    assert own.json()["task_id"] != other.json()["task_id"]
    assert shape_of(other) == shape_of(fresh)
    assert relay.task(own.json()["task_id"])["request"]["duration"] == 1
    assert stranger.call("GET", f"/v1/tasks/{own.json()['task_id']}").status_code == 404


def shape_of(reply: requests.Response) -> tuple[int, list[str], Body]:
    """An answer with a new task, without the task's own id and times."""
    task = reply.json()
    for name in ("task_id", "created_at", "updated_at", "history", "metadata"):
        del task[name]
    return reply.status_code, sorted(name.lower() for name in reply.headers), task


def test_idempotency_key_built_from_the_other_tenants_name_reaches_no_task_of_it(
    relay: RelayClient, stranger: RelayClient, request_body: Body
) -> None:
    """Ids are a digest of tenant and key: no key of one tenant may run into the other's."""
    own = relay.submit(request_body, f"one-{request_body['prompt']}")["task_id"]
    tries = (
        f"{relay.stack.tenant_id}%00one-{request_body['prompt']}",
        f"../{relay.stack.tenant_id}/one-{request_body['prompt']}",
        f"{relay.stack.tenant_id}one-{request_body['prompt']}",
    )
    made = {stranger.submit(request_body, key)["task_id"] for key in tries}
    assert own not in made
    assert len(made) == len(tries)


WRONG_FORMS = {
    "bare": "{key}",
    "token": "Token {key}",
    "basic": "Basic {basic}",
    "key": "ApiKey {key}",
    "no space": "Bearer{key}",
    "colon": "Bearer: {key}",
    "tab": "Bearer\t{key}",
    "quoted": 'Bearer "{key}"',
    "two keys": "Bearer {key} {key}",
    "list": "Bearer {key}, Bearer {key}",
    "parameter": "Bearer {key}; tenant=demo",
    "upper case scheme": "BEARER {key}",
    "cut": "Bearer {cut}",
    "longer": "Bearer {key}A",
    "other case": "Bearer {swapped}",
    "padded": "Bearer {key}=",
    "its digest": "Bearer {digest}",
    "record's key": "Bearer key#{digest}",
    "percent": "Bearer %{hex}",
    "wildcard": "Bearer *",
    "nothing": "Bearer ",
    "null": "Bearer null",
    "of another kind": "AWS4-HMAC-SHA256 Credential={key}",
}


def wrong_forms(key: str) -> dict[str, str]:
    return {
        name: form.format(
            key=key,
            basic=base64.b64encode(f"api:{key}".encode()).decode(),
            cut=key[:-1],
            swapped=key.swapcase(),
            digest=hashlib.sha256(key.encode()).hexdigest(),
            hex=key.encode().hex(),
        )
        for name, form in WRONG_FORMS.items()
    }


@pytest.mark.parametrize("route", WITH_A_KEY)
def test_key_in_a_wrong_form_opens_no_route_and_all_are_refused_alike(
    relay: RelayClient, request_body: Body, route: str
) -> None:
    method, path = route.split()
    path = path.replace("{task_id}", MISSING)
    good = json.dumps(request_body).encode()
    answers = {
        name: send(relay.stack, method, path, headers=[("authorization", value)], body=good)
        for name, value in wrong_forms(relay.stack.api_key).items()
    }

    assert {answer.status for answer in answers.values()} == {403}
    assert len({(answer.body, tuple(sorted(answer.headers.items()))) for answer in answers.values()}) == 1
    assert relay.seen_by_provider(request_body["prompt"]) == []


@pytest.mark.parametrize("route", WITH_A_KEY)
@pytest.mark.parametrize(
    ("headers", "query"),
    (
        ([("x-api-key", "{key}")], ""),
        ([("api-key", "{key}")], ""),
        ([("cookie", "authorization=Bearer {key}")], ""),
        ([("proxy-authorization", "Bearer {key}")], ""),
        ([("x-authorization", "Bearer {key}")], ""),
        ([("x-original-authorization", "Bearer {key}")], ""),
        ([], "?api_key={key}"),
        ([], "?access_token={key}"),
        ([], "?authorization=Bearer%20{key}"),
    ),
    ids=lambda value: str(value)[:40],
)
def test_key_in_a_wrong_place_is_no_key(
    relay: RelayClient, route: str, headers: list[tuple[str, str]], query: str
) -> None:
    method, path = route.split()
    path = path.replace("{task_id}", MISSING)
    key = relay.stack.api_key
    misplaced = [(name, value.format(key=key)) for name, value in headers]
    answer = send(relay.stack, method, path + query.format(key=key), headers=misplaced)

    assert answer == send(relay.stack, method, path)
    assert answer.status == 401


@pytest.mark.parametrize("place", ("first", "second"))
def test_second_authorization_header_does_not_lend_its_tenant(
    relay: RelayClient, stranger_key: str, request_body: Body, place: str
) -> None:
    """Whichever of two headers counts, authorizer and function go by one tenant: no foreign task for a stranger."""
    task_id = calm_task(relay, request_body)
    headers = [("authorization", f"Bearer {'A' * 43}"), ("authorization", f"Bearer {stranger_key}")]
    answer = send(relay.stack, "GET", f"/v1/tasks/{task_id}", headers=headers if place == "second" else headers[::-1])
    assert answer.status in (400, 401, 403, 404)


@pytest.fixture
def presigned(relay: RelayClient, request_body: Body) -> tuple[str, str]:
    """A link to the relay tenant's own video, and the key of another tenant's video."""
    task = relay.wait(relay.submit(request_body)["task_id"], "completed")
    link = task["output"][0]["results"][0]["url"]
    key = task["videos"][0]["key"].replace(f"videos/{relay.stack.tenant_id}/", "videos/intruder/")
    relay.aws("s3").put_object(Bucket=task["videos"][0]["bucket"], Key=key, Body=b"another tenant's")
    return link, key


def altered(link: str, *, path: str | None = None, **query: str) -> str:
    parts = urlsplit(link)
    values = dict(parse_qsl(parts.query)) | query
    return parts._replace(path=path or parts.path, query=urlencode(values)).geturl()


def test_presigned_link_opens_its_one_object_for_reading_and_nothing_else(
    relay: RelayClient, presigned: tuple[str, str]
) -> None:
    link, foreign_key = presigned
    bucket = relay.stack.videos_bucket
    session = requests.Session()
    session.trust_env, session.verify = False, relay.stack.aws_ca_bundle or True
    root = urlsplit(link).path.partition("videos/")[0]

    another_signer = {"X-Amz-Credential": "test/20380101/us-east-1/s3/aws4_request"}
    attempts = {
        "as given": session.get(link, timeout=40),
        "another key": session.get(altered(link, path=f"{root}{foreign_key}"), timeout=40),
        "the folder": session.get(altered(link, path=f"{root}videos/"), timeout=40),
        "the bucket": session.get(altered(link, path=root), timeout=40),
        "longer": session.get(altered(link, **{"X-Amz-Expires": "604800"}), timeout=40),
        "later": session.get(altered(link, **{"X-Amz-Date": "20380101T000000Z"}), timeout=40),
        "other signer": session.get(altered(link, **another_signer), timeout=40),
        "unsigned": session.get(link.partition("?")[0], timeout=40),
        "write": session.put(link, data=b"x", timeout=40),
        "delete": session.delete(link, timeout=40),
        "more": session.get(link + "&response-content-type=text/html", timeout=40),
        "versions": session.get(link + "&versions", timeout=40),
        "acl": session.get(link + "&acl", timeout=40),
    }

    assert {name for name, reply in attempts.items() if reply.ok} == {"as given"}, {
        name: reply.status_code for name, reply in attempts.items()
    }
    assert int(dict(parse_qsl(urlsplit(link).query))["X-Amz-Expires"]) <= 900
    assert relay.aws("s3").head_object(Bucket=bucket, Key=foreign_key)["ContentLength"] == len(b"another tenant's")
    session.close()


def test_error_of_the_door_says_nothing_of_the_house(relay: RelayClient, stranger_key: str) -> None:
    answers: list[Answer] = [
        send(relay.stack, "GET", "/v1/tasks"),
        send(relay.stack, "GET", "/v1/tasks", key="A" * 43),
        send(relay.stack, "GET", f"/v1/tasks/{MISSING}", key=stranger_key),
        send(relay.stack, "GET", "/v1/tasks?cursor=%00", key=stranger_key),
        send(relay.stack, "POST", "/v1/tasks", key=stranger_key, body=b"{"),
    ]
    for answer in answers:
        assert answer.status >= 400
        assert not re.search(rb"(?i)arn:|amazonaws|boto|python|pydantic|traceback|/var/task|line \d+, in", answer.body)
