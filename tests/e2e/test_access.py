"""Who gets in, and what the door says: on the deployed stack, with IAM enforced."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.chaos.switch import FaultSwitch
from local.client import RelayClient
from local.programs import ROOT, venv_program
from tests.e2e.attempts import calm_task
from tests.e2e.waiting import stay_within_a_day

Body = dict[str, Any]


@pytest.fixture(scope="session")
def relay_tool(relay: RelayClient, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Runs the operator's tool on the stack; gives what it prints with `--json`."""
    file = tmp_path_factory.mktemp("relay") / "stack.json"
    relay.stack.write(file)

    def run(*arguments: str) -> Body:
        command = [str(venv_program("dev")), "-m", "cli", "--local-file", str(file), "--json", *arguments]
        environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'layers/shared'}", "PATH": "/usr/bin:/bin"}
        done = subprocess.run(command, capture_output=True, check=True, text=True, env=environment)  # noqa: S603 - ours
        content: Body = json.loads(done.stdout)
        return content

    return run


def test_call_without_a_key_is_401_and_with_a_wrong_one_403(relay: RelayClient) -> None:
    bare = relay.call("GET", "/v1/tasks", headers={"Authorization": None})
    assert bare.status_code == 401
    assert RelayClient(relay.stack, "x" * 43).call("GET", "/v1/tasks").status_code == 403


@pytest.mark.parametrize("how", ["throttle", "kill", "time_out"])
def test_a_key_that_the_authorizer_could_not_check_is_answered_500(relay: RelayClient, how: str) -> None:
    stack = relay.stack
    switch = FaultSwitch(stack.aws_endpoint_url, stack.aws_ca_bundle or "", stack.region)
    switch.order([{"at": stack.functions["authorize_request"], "how": how, "within_seconds": 0}], 1)
    try:
        reply = RelayClient(stack, how * 8).call("GET", "/v1/tasks")  # no other test's key: answers are cached
    finally:
        switch.end()

    assert (reply.status_code, reply.json()) == (500, {"message": "Internal Server Error"})


def test_other_tenants_task_does_not_exist(relay: RelayClient, relay_tool: Any, request_body: Body) -> None:
    task_id = relay.submit(request_body)["task_id"]
    relay_tool("tenants", "create", "stranger")
    stranger = RelayClient(relay.stack, relay_tool("keys", "create", "--tenant", "stranger")["api_key"])

    reply = stranger.call("GET", f"/v1/tasks/{task_id}")
    listed = stranger.call("GET", "/v1/tasks").json()
    stranger.close()

    assert reply.status_code == 404
    assert reply.json()["code"] == "task_not_found"
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert listed == {"tasks": [], "next_cursor": None}


def test_revoked_key_opens_nothing(relay: RelayClient, relay_tool: Any) -> None:
    key = relay_tool("keys", "create", "--tenant", relay.stack.tenant_id, "--name", "short-lived")
    relay_tool("keys", "revoke", "--tenant", relay.stack.tenant_id, key["key_id"])

    client = RelayClient(relay.stack, key["api_key"])
    assert client.call("GET", "/v1/tasks").status_code == 403
    client.close()


def test_parallel_submits_cannot_pass_a_tenants_daily_cap(
    relay: RelayClient, relay_tool: Any, request_body: Body
) -> None:
    relay_tool("tenants", "create", "capped")
    relay_tool("tenants", "set-cap", "capped", "5")
    client = RelayClient(relay.stack, relay_tool("keys", "create", "--tenant", "capped")["api_key"])
    stay_within_a_day()

    def submit(number: int) -> Any:
        headers = {"Idempotency-Key": f"{request_body['prompt']}-{number}"}
        return client.call("POST", "/v1/tasks", json=request_body, headers=headers)

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(submit, range(20)))
    accepted = [number for number, reply in enumerate(replies) if reply.status_code == 202]
    again = [submit(number).status_code for number in accepted]
    client.close()

    assert len(accepted) == 5
    refused = [reply for reply in replies if reply.status_code != 202]
    assert {(reply.status_code, reply.json()["code"]) for reply in refused} == {(429, "daily_cap_reached")}
    assert all(0 < int(reply.headers["Retry-After"]) <= 86_401 for reply in refused)
    assert again == [202] * 5


def test_key_of_a_disabled_tenant_opens_nothing(relay: RelayClient, relay_tool: Any) -> None:
    relay_tool("tenants", "create", "closed")
    key = relay_tool("keys", "create", "--tenant", "closed")["api_key"]
    relay_tool("tenants", "disable", "closed")

    client = RelayClient(relay.stack, key)
    assert client.call("GET", "/v1/tasks").status_code == 403
    client.close()


def test_only_digests_of_keys_are_stored(relay: RelayClient) -> None:
    stored = json.dumps(relay.aws("dynamodb").scan(TableName=relay.stack.table)["Items"], default=str)
    assert "key#" in stored
    assert relay.stack.api_key not in stored


def test_invalid_request_is_answered_with_every_fault(relay: RelayClient, request_body: Body) -> None:
    request_body |= {"prompt": "x" * 2001, "duration": 9, "audio": "yes", "colour": "red"}
    reply = relay.call("POST", "/v1/tasks", json=request_body)

    assert reply.status_code == 422
    assert reply.headers["Content-Type"] == "application/problem+json"
    problem = reply.json()
    assert (problem["status"], problem["code"]) == (422, "validation_error")
    assert {fault["loc"] for fault in problem["errors"]} == {"prompt", "duration", "audio", "colour"}


def test_request_without_images_has_the_providers_code(relay: RelayClient, request_body: Body) -> None:
    del request_body["subjects"]
    reply = relay.call("POST", "/v1/tasks", json=request_body)
    assert (reply.status_code, reply.json()["code"]) == (422, "008017002")


def test_body_that_is_not_json_is_400_and_one_too_large_413(relay: RelayClient) -> None:
    assert relay.call("POST", "/v1/tasks", data="{").status_code == 400
    large = relay.call("POST", "/v1/tasks", data=json.dumps({"payload": "x" * 4_300_000}))
    assert (large.status_code, large.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("token", ("", "k1.", "k1.AAAA", "k9.AAAA", "nonsense"))
def test_callback_without_the_tasks_token_is_refused_and_changes_nothing(
    relay: RelayClient, request_body: Body, token: str
) -> None:
    before = relay.task(calm_task(relay, request_body))

    reply = relay.call(
        "POST", f"/v1/callbacks/{before['task_id']}", params={"token": token}, json={"status": "completed"}
    )
    unknown = relay.call("POST", f"/v1/callbacks/{'a' * 26}", params={"token": token}, json={"status": "completed"})

    assert (reply.status_code, reply.json()["code"]) == (403, "callback_refused")
    assert (unknown.status_code, unknown.content) == (reply.status_code, reply.content)
    assert relay.task(before["task_id"])["version"] == before["version"]


def test_forged_body_behind_a_good_token_cannot_complete_a_task(relay: RelayClient, request_body: Body) -> None:
    relay.script(request_body["prompt"], {"outcome": {"never_finish": True}, "callbacks": {"drop": True}})
    task_id = relay.submit(request_body)["task_id"]
    (seen,) = relay.seen_by_provider(request_body["prompt"])
    url = seen["request"]["params"]["callback_url"]
    lie = {
        "id": seen["id"],
        "status": "completed",
        "output": [{"results": [{"type": "video", "url": relay.image("fox.png")}]}],
    }

    reply = relay.call("POST", url.removeprefix(relay.stack.api_url), json=lie)

    assert reply.status_code == 200
    assert relay.task(task_id)["status"] in ("submitted", "processing")
    # what the lie did bring about: somebody looks, and finds out for himself
    lists = relay.aws("stepfunctions").get_paginator("list_executions")
    pages = lists.paginate(stateMachineArn=relay.stack.state_machine_arn)
    names = [execution["name"] for page in pages for execution in page["executions"]]
    assert [name for name in names if name.startswith(f"{task_id}-")]


def test_function_may_not_do_what_its_role_does_not_grant(relay: RelayClient) -> None:
    """The emulator must enforce IAM, or the other tests here prove nothing about the template's policies."""
    import boto3

    function = relay.aws("lambda").get_function(FunctionName=relay.stack.functions["authorize_request"])
    role = relay.aws("sts").assume_role(RoleArn=function["Configuration"]["Role"], RoleSessionName="test")
    credentials = role["Credentials"]
    table = boto3.client(
        "dynamodb",
        endpoint_url=relay.stack.aws_endpoint_url,
        verify=relay.stack.aws_ca_bundle,
        region_name=relay.stack.region,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
    )
    table.get_item(TableName=relay.stack.table, Key={"pk": {"S": "key#0"}})
    with pytest.raises(ClientError, match="AccessDenied"):
        table.put_item(TableName=relay.stack.table, Item={"pk": {"S": "key#0"}})
