"""A deployment of changed code, layers, settings and state machine while 50 tasks are under way."""

import io
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from local.build import BUCKET
from local.client import RelayClient
from tests.e2e.attempts import listed, record
from tests.e2e.conftest import request_of
from tests.e2e.waiting import wait_until
from tests.e2e.watched import watched_stack

HELD = {"outcome": {"never_finish": True}}
PHASES: dict[str, tuple[int, dict[str, Any]]] = {
    "processing": (12, HELD),
    "unconfirmed": (4, {"create": {"lose_reply": {}}, **HELD}),
    "without callbacks": (8, {"callbacks": {"drop": True}, **HELD}),
    "delivering": (6, {"videos": {"size_bytes": 300_000, "slow_bytes_per_second": 6_000}}),
    "accepted": (8, {"create": {"throttle": {"n": 1, "retry_after": 5}}}),
    "submitting": (6, {"create": {"hang": {"seconds": 15, "created": True}}}),
}
"""How many tasks are in each phase when the deployment begins, and what the simulator does to keep them there."""

FILES, EVENTS, REQUESTS = 2, 2, 2
"""How many tasks come while the deployment goes on."""

ALL = sum(count for count, _ in PHASES.values()) + FILES + EVENTS + REQUESTS


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RelayClient]:
    """A client of a stack of its own: a deployment here disturbs no other test."""
    with watched_stack(tmp_path) as client:
        yield client


def test_a_deployment_loses_no_task_bills_none_twice_and_leaves_no_event_out(
    relay: RelayClient, request: pytest.FixtureRequest
) -> None:
    def body(words: str) -> dict[str, Any]:
        return request_of(relay, request) | {"prompt": f"@fox meets @robot, {words}"}

    def submit(words: str) -> None:
        """As the documents say: after a 5xx again, under the same key."""
        status = 500
        while status >= 500:
            headers = {"Idempotency-Key": words}
            status = relay.call("POST", "/v1/tasks", json=body(words), headers=headers).status_code
        assert status == 202

    before = functions(relay)
    for phase, (_, script) in PHASES.items():
        relay.script(f", {phase} ", script)
    with ThreadPoolExecutor(PHASES["submitting"][0]) as clients:
        *first, throttled, hanging = (
            [f"{phase} {number}" for number in range(count)] for phase, (count, _) in PHASES.items()
        )
        list(clients.map(submit, chain(*first)))
        relay.sweep()
        hung = clients.map(submit, hanging)
        wait_until(lambda: phases(relay)["hanging"], "create calls that hang")
        for words in throttled:  # last: what comes behind them waits in the queue
            submit(words)
        wait_until(lambda: all(phases(relay).values()), "a task in each phase")
        deploy_again(relay)
        for number in range(FILES):
            relay.drop(f"{number}.json", body(f"file {number}"))
        for number in range(EVENTS):
            relay.put_event({"request": body(f"event {number}")})
        list(clients.map(submit, (f"late {number}" for number in range(REQUESTS))))
        for phase in ("processing", "unconfirmed", "without callbacks"):
            relay.change_script(f", {phase} ", {"outcome": {"never_finish": False}})
        wait_until(lambda: deployed(relay), "the end of the deployment")
        list(hung)

    ended = all_ended(relay)

    assert Counter(task["status"] for task in ended.values()) == {"completed": ALL}
    assert made_by_provider(relay) == Counter(dict.fromkeys(ended, 1))
    assert events_missing(relay, ended) == {}
    after = functions(relay)
    assert all(before[name][part] != after[name][part] for name in before for part in ("CodeSha256", "Layers"))


def phases(relay: RelayClient) -> dict[str, int]:
    """How many tasks are in each state, create calls have no answer yet, and checks wait."""
    states = Counter(task["status"] for task in tasks(relay).values())
    running = {"stateMachineArn": relay.stack.state_machine_arn, "statusFilter": "RUNNING"}
    checks = listed(relay, "stepfunctions", "list_executions", "executions", **running)
    hanging = sum(call.get("fault") == "hang" for call in relay.ask_provider("requests"))
    counted = {state: states[state] for state in ("accepted", "submitting", "processing", "generated")}
    return counted | {"hanging": hanging, "checks": len(checks)}


def tasks(relay: RelayClient) -> dict[str, dict[str, Any]]:
    reply = relay.call("GET", "/v1/tasks", params={"limit": 100})
    return {task["task_id"]: task for task in reply.json()["tasks"]}


def functions(relay: RelayClient) -> dict[str, dict[str, Any]]:
    """What Lambda says of each function."""
    describe = relay.aws("lambda").get_function_configuration
    return {folder: describe(FunctionName=name) for folder, name in relay.stack.functions.items()}


def deploy_again(relay: RelayClient) -> None:
    """Begin an update of the stack: other code, layers and state machine, and another setting."""
    s3 = relay.aws("s3")
    template = s3.get_object(Bucket=BUCKET, Key="template")["Body"].read().decode()
    for key in [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET)["Contents"] if entry["Key"] != "template"]:
        content = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        s3.put_object(Bucket=BUCKET, Key=f"{key}-again", Body=changed(content))
        template = template.replace(key, f"{key}-again")
    s3.put_object(Bucket=BUCKET, Key="template-again", Body=template)
    cloudformation = relay.aws("cloudformation")
    given = cloudformation.describe_stacks(StackName=relay.stack.stack_name)["Stacks"][0]["Parameters"]
    kept = [one for one in given if one["ParameterKey"] != "CheckIntervalSeconds"]
    cloudformation.update_stack(
        StackName=relay.stack.stack_name,
        TemplateURL=f"{relay.stack.aws_endpoint_url}/{BUCKET}/template-again",
        Parameters=[*kept, {"ParameterKey": "CheckIntervalSeconds", "ParameterValue": "2"}],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )


def changed(content: bytes) -> bytes:
    """The next release of an object of the template: each layer gets a module, which each handler imports."""
    if not content.startswith(b"PK"):
        return content.replace(b'"Comment": "', b'"Comment": "Again: ')
    archive = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(archive, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name) + (b"import deployed_again\n" if name == "handler.py" else b""))
        if "handler.py" not in old.namelist():
            new.writestr("python/deployed_again.py", "")
    return archive.getvalue()


def deployed(relay: RelayClient) -> bool:
    """Whether the update is over; fails the test if it was rolled back."""
    status = relay.aws("cloudformation").describe_stacks(StackName=relay.stack.stack_name)["Stacks"][0]["StackStatus"]
    assert "ROLLBACK" not in status
    return str(status) == "UPDATE_COMPLETE"


def all_ended(relay: RelayClient) -> dict[str, dict[str, Any]]:
    def ended() -> dict[str, dict[str, Any]] | None:
        relay.sweep()
        found = tasks(relay)
        states = {task["status"] for task in found.values()}
        return found if len(found) == ALL and states <= {"completed", "failed", "expired"} else None

    return wait_until(ended, "the end of all tasks", 300)


def made_by_provider(relay: RelayClient) -> Counter[str]:
    """How many tasks the provider made for each of ours, by the address that it is to call."""
    return Counter(one["callback_url"].partition("?")[0].rpartition("/")[2] for one in relay.ask_provider("tasks"))


def events_missing(relay: RelayClient, ended: Mapping[str, Mapping[str, Any]]) -> dict[str, set[int]]:
    """The versions of each task without an event; those that have yet to come are waited for."""
    missing = {
        task_id: set(range(int(record(relay, task_id)["created_at"]["N"]) // 1000, task["version"] + 1))
        for task_id, task in ended.items()
    }
    deadline = time.monotonic() + 60
    while any(missing.values()) and time.monotonic() < deadline:
        for task_id, versions in missing.items():
            versions -= {event["detail"]["task"]["version"] for event in relay.new_events(task_id)}
    return {task_id: versions for task_id, versions in missing.items() if versions}
