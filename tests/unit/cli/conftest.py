"""The tool on an account in memory, which has a stack with the template's resources."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import boto3
import click
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from cli.command import Command, Relay
from cli.connection import CALLS
from cli.main import main
from cli.main import relay as tool
from tests.unit.account import REGION, Account, mock_aws, new_account
from tests.unit.template import TEMPLATE

STACK = "relay"

Ask = Callable[..., Any]
Refused = Callable[..., str]
Run = Callable[..., tuple[int, str, str]]
Stacks = dict[str, dict[str, str]]


def commands(group: click.Group = tool, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield from commands(command, (*path, name)) if isinstance(command, click.Group) else [(*path, name)]


COMMANDS = sorted(commands())


def parse(*words: str) -> tuple[list[str], dict[str, Any]]:
    """The command that the words call, which is not run, and the shared options that it gets."""
    with patch.object(Command, "invoke", lambda _, ctx: (ctx.command_path.split()[1:], ctx.find_object(Relay).options)):
        found: tuple[list[str], dict[str, Any]] = main(words)  # type: ignore[assignment]  # by the patch
    return found


@dataclass(frozen=True, slots=True)
class Deployment:
    """An account with a stack in it."""

    account: Account
    resources: dict[str, str]
    file: Path

    def client(self, service: str) -> Any:
        return self.account.clients[service]

    def items(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client("dynamodb").scan(TableName=self.account.table)["Items"]
        return found


class _CloudFormation:
    """Describes the stacks it is given, as AWS would (moto's needs packages that nothing else does)."""

    def __init__(self, stacks: Stacks) -> None:
        self._stacks = stacks

    def describe_stacks(self, *, StackName: str) -> dict[str, Any]:  # noqa: N803 - boto3's name
        if StackName not in self._stacks:
            fault: Any = {"Error": {"Code": "ValidationError", "Message": f"Stack with id {StackName} does not exist"}}
            raise ClientError(fault, "DescribeStacks")
        known = self._stacks[StackName].items()
        outputs = [{"OutputKey": name, "OutputValue": value} for name, value in known if name in TEMPLATE["Outputs"]]
        return {"Stacks": [{"StackName": StackName, "Outputs": outputs}]}

    def get_paginator(self, _: str) -> Any:
        """Of `list_stack_resources`."""
        return SimpleNamespace(paginate=self._resources)

    def _resources(self, *, StackName: str) -> list[dict[str, Any]]:  # noqa: N803 - boto3's name
        self.describe_stacks(StackName=StackName)
        known = self._stacks[StackName].items()
        resources = [
            {"LogicalResourceId": name, "PhysicalResourceId": value}
            for name, value in known
            if name in TEMPLATE["Resources"]
        ]
        return [{"StackResourceSummaries": resources}]


SESSION: Any = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test")
_clients: dict[str, Any] = {}
"""Made once, because botocore takes longer to make a client than a test takes; moto answers them in every account."""


def _at_once(params: dict[str, Any], **_: Any) -> dict[str, Any]:
    """No queue here has more than one server to ask: an empty one need not be waited for."""
    return {**params, "WaitTimeSeconds": 0}


@pytest.fixture
def stacks(monkeypatch: pytest.MonkeyPatch) -> Stacks:
    """The account's stacks: by its name what the template's outputs and resources are in each."""
    current: Stacks = {}

    class Session:
        def __init__(self, region_name: str | None = None, **_: Any) -> None:
            self.region_name = region_name or REGION

        def client(self, service: str, *, config: Config = CALLS, **arguments: Any) -> Any:
            if service == "cloudformation":
                return _CloudFormation(current)
            name = f"{service} {self.region_name} {arguments} {config._user_provided_options}"  # type: ignore[attr-defined]
            if name not in _clients:
                _clients[name] = SESSION.client(service, self.region_name, config=config, **arguments)
                _clients[name].meta.events.register("provide-client-params.sqs.ReceiveMessage", _at_once)
            return _clients[name]

    monkeypatch.setattr("cli.connection.boto3", SimpleNamespace(Session=Session))
    return current


@pytest.fixture
def deployment(tmp_path: Path, stacks: Stacks) -> Iterator[Deployment]:
    with mock_aws():
        account = new_account()
        sqs = account.clients["sqs"]
        resources = {
            "TaskTable": account.table,
            "LedgerTable": account.ledger,
            "InboxBucket": account.inbox,
            "VideosBucket": account.videos,
            "FailuresBucket": account.failures,
            "PollTask": account.state_machine_arn,
            "DeliveriesQueue": account.queue_url,
            "DeliveriesDeadLetters": sqs.create_queue(QueueName="deliveries-dead")["QueueUrl"],
            "RequestsQueue": sqs.create_queue(QueueName="requests")["QueueUrl"],
            "RequestsDeadLetters": sqs.create_queue(QueueName="requests-dead")["QueueUrl"],
            "NotificationsQueue": account.notifications_url,
            "NotificationsDeadLetters": account.notifications_dead_url,
            "WebhookSecret": account.webhook_secret,
            "UnroutedEvents": sqs.create_queue(QueueName="unrouted")["QueueUrl"],
            "PublishEvents": "publish-events",
            "ReconcileSpending": "reconcile-spending",
        }
        stacks[STACK] = resources
        file = tmp_path / "stack.json"
        stack = {"region": REGION, "aws_endpoint_url": None, "aws_ca_bundle": None, "table": account.table}
        file.write_text(json.dumps({**stack, "stack_name": STACK}))
        yield Deployment(account, resources, file)


@pytest.fixture
def relay(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command against the account: exit status, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(["--local-file", str(deployment.file), *arguments])
        output = capsys.readouterr()
        return status, output.out, output.err

    return run


@pytest.fixture
def ask(relay: Run) -> Callable[..., Any]:
    """Run a command that must succeed; its answer as data."""

    def run(*arguments: str) -> Any:
        status, out, error = relay("--json", *arguments)
        assert status == 0, error
        return json.loads(out)

    return run


@pytest.fixture
def refused(relay: Run) -> Callable[..., str]:
    """Run a command that must be refused; what it prints on standard error."""

    def run(*arguments: str) -> str:
        status, out, error = relay(*arguments)
        assert (status, out) == (1, "")
        return error

    return run
