"""One stack with the keys of two providers: each task is made at its own, also when the default changes meanwhile."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.build import BUCKET
from local.client import RelayClient
from tests.e2e.waiting import wait_until
from tests.e2e.watched import watched_stack

AT_BOTH, AT_VIDU = "viduq3_turbo_text2video", "viduq3_pro_text2video"
HELD = {"outcome": {"never_finish": True}}


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RelayClient]:
    """A client of a stack of its own, whose default provider is the gateway."""
    with watched_stack(tmp_path) as client:
        yield client


def submit(relay: RelayClient, model: str, prompt: str) -> str:
    return str(relay.submit({"model": model, "prompt": prompt})["task_id"])


def asked(relay: RelayClient, task_id: str) -> list[str]:
    """The paths of a task's create calls."""
    calls = relay.ask_provider("requests")
    return [one["path"] for one in calls if one["method"] == "POST" and task_id in one.get("identity", "")]


def change_default(relay: RelayClient, name: str) -> None:
    """Give the old default its address in the secret, as `--base` does, and deploy another `ProviderName`."""
    secrets, secret = relay.aws("secretsmanager"), {"SecretId": relay.resources()["ProviderSecret"]}
    content = json.loads(secrets.get_secret_value(**secret)["SecretString"])
    content["gateway"]["base"] = relay.stack.provider_url
    secrets.put_secret_value(**secret, SecretString=json.dumps(content))
    cloudformation = relay.aws("cloudformation")

    def stack() -> dict[str, Any]:
        found: dict[str, Any] = cloudformation.describe_stacks(StackName=relay.stack.stack_name)["Stacks"][0]
        return found

    parameters = {one["ParameterKey"]: one["ParameterValue"] for one in stack()["Parameters"]}
    changed = {**parameters, "ProviderName": name, "ProviderBaseUrl": ""}
    cloudformation.update_stack(
        StackName=relay.stack.stack_name,
        TemplateURL=f"{relay.stack.aws_endpoint_url}/{BUCKET}/template",
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in changed.items()],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    wait_until(lambda: stack()["StackStatus"] == "UPDATE_COMPLETE", "the end of the deployment")


def test_each_task_is_made_at_its_provider_also_when_the_default_changes(relay: RelayClient) -> None:
    beside = submit(relay, AT_VIDU, "a fox")
    relay.script("held", HELD)
    held = submit(relay, AT_BOTH, "a held fox")
    relay.wait(beside, "completed")
    relay.wait(held, "processing")

    change_default(relay, "vidu")
    later = submit(relay, AT_BOTH, "a later fox")
    relay.change_script("held", {"outcome": {"never_finish": False}})
    for task_id in (held, later):
        relay.wait(task_id, "completed", meanwhile=relay.sweep)

    paths = [[path.rpartition("/")[2] for path in asked(relay, task_id)] for task_id in (beside, held, later)]
    assert paths == [["text2video"], ["generation"], ["text2video"]]
