"""Which callers get in, and what the API answers to the others: on the deployed stack, with IAM enforced."""

import base64
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cli.fault_switch import FaultSwitch
from local.client import RelayClient
from tests.e2e.attempts import WITH_A_KEY, operate, send
from tests.e2e.tenants import client_of_new_tenant
from tests.e2e.waiting import stay_within_a_day

MISSING = "a" * 26

Body = dict[str, Any]


def test_call_without_a_key_is_401_and_with_a_wrong_one_403(relay: RelayClient, request_body: Body) -> None:
    """On every route, for whatever form or place the key has, and always with the same answer."""
    key = relay.stack.api_key
    digest = hashlib.sha256(key.encode()).hexdigest()
    wrong = ["Bearer " + "A" * 43, key, f"Basic {base64.b64encode(f'api:{key}'.encode()).decode()}", f"Bearer: {key}"]
    wrong += [
        f"Bearer\t{key}",
        f'Bearer "{key}"',
        f"Bearer {key}, Bearer {key}",
        f"Bearer {key[:-1]}",
        f"Bearer {key}A",
    ]
    wrong += [f"Bearer {key.swapcase()}", f"Bearer {digest}", f"Bearer key#{digest}", "Bearer *", "Bearer "]
    elsewhere = [([(name, f"Bearer {key}")], "") for name in ("x-api-key", "proxy-authorization", "x-authorization")]
    elsewhere += [
        ([("cookie", f"authorization=Bearer {key}")], ""),
        ([], f"?api_key={key}"),
        ([], f"?access_token={key}"),
    ]
    good = json.dumps(request_body).encode()
    for method, path in (route.replace("{task_id}", MISSING).split() for route in WITH_A_KEY):
        refused = [send(relay.stack, method, path, headers=[("authorization", value)], body=good) for value in wrong]
        assert {(answer.status, answer.body) for answer in refused} == {(403, refused[0].body)}
        assert [answer for answer in refused if answer != refused[0]] == []
        bare = send(relay.stack, method, path)
        assert bare.status == 401
        for headers, query in elsewhere:
            assert send(relay.stack, method, path + query, headers=headers) == bare
    assert relay.seen_by_provider(request_body["prompt"]) == []


def test_key_that_was_revoked_or_whose_tenant_is_disabled_opens_nothing_and_is_not_stored(relay: RelayClient) -> None:
    """Keys that were not used before: API Gateway keeps an answer for a minute."""
    tenant = relay.stack.tenant_id
    revoked = operate(relay, "keys", "create", "--tenant", tenant, "--name", "short-lived")
    operate(relay, "keys", "revoke", "--tenant", tenant, revoked["key_id"])
    disabled = client_of_new_tenant(relay, "closed")
    operate(relay, "tenants", "disable", "closed")

    for key in (revoked["api_key"], disabled.stack.api_key):
        assert send(relay.stack, "GET", "/v1/tasks", key=key).status == 403
    disabled.close()
    stored = json.dumps(relay.aws("dynamodb").scan(TableName=relay.stack.table)["Items"], default=str)
    assert "key#" in stored
    assert [key for key in (relay.stack.api_key, disabled.stack.api_key) if key in stored] == []


def test_a_key_that_the_authorizer_could_not_check_is_answered_500(relay: RelayClient) -> None:
    stack = relay.stack
    switch = FaultSwitch(stack.aws_endpoint_url, stack.aws_ca_bundle or "", stack.region)
    switch.order([{"at": stack.functions["authorize_request"], "how": "throttle"}], 1)
    try:
        answer = send(stack, "GET", "/v1/tasks", key="unchecked" * 8)  # no other test's key: answers are cached
    finally:
        switch.end()

    assert (answer.status, json.loads(answer.body)) == (500, {"message": "Internal Server Error"})


def test_parallel_submits_cannot_pass_a_tenants_daily_cap(relay: RelayClient, request_body: Body) -> None:
    client = client_of_new_tenant(relay, "capped")
    operate(relay, "tenants", "set-cap", "capped", "5")
    stay_within_a_day()

    def submit(number: int) -> Any:
        headers = {"Idempotency-Key": f"{request_body['prompt']}-{number}"}
        return client.call("POST", "/v1/tasks", json=request_body, headers=headers)

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(submit, range(20)))
    accepted = [number for number, reply in enumerate(replies) if reply.status_code == 202]
    again = [submit(number).status_code for number in accepted]
    client.close()

    assert again == [202] * 5
    refused = [reply for reply in replies if reply.status_code != 202]
    assert {(reply.status_code, reply.json()["code"]) for reply in refused} == {(429, "daily_cap_reached")}
    assert all(0 < int(reply.headers["Retry-After"]) <= 86_401 for reply in refused)


def test_invalid_request_is_answered_with_every_fault(relay: RelayClient, request_body: Body) -> None:
    changed = {"prompt": "x" * 2001, "duration": 9, "audio": "yes", "colour": "red"}
    reply = relay.call("POST", "/v1/tasks", json=request_body | changed)

    assert (reply.status_code, reply.headers["Content-Type"]) == (422, "application/problem+json")
    problem = reply.json()
    assert (problem["status"], problem["code"]) == (422, "validation_error")
    assert {fault["loc"] for fault in problem["errors"]} == set(changed)
    del request_body["subjects"]
    assert relay.call("POST", "/v1/tasks", json=request_body).json()["code"] == "008017002", "the provider's own code"


def test_body_that_is_not_json_is_400_and_one_too_large_413(relay: RelayClient) -> None:
    assert relay.call("POST", "/v1/tasks", data="{").status_code == 400
    large = relay.call("POST", "/v1/tasks", data=json.dumps({"payload": "x" * 4_300_000}))
    assert (large.status_code, large.json()["code"]) == (413, "body_too_large")
