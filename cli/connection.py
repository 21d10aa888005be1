"""Which deployment the tool talks to: a CloudFormation stack on AWS, or the local one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

CALLS = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=5, read_timeout=60)
LOCAL_CREDENTIALS: dict[str, Any] = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
"""The local stack's, the same for everyone."""
_MAKING = threading.Lock()
"""A session makes one client at a time; clients themselves may be used by several threads."""


class ConnectionFailedError(Exception):
    """The deployment cannot be found or reached. The message says what to do."""


@dataclass(frozen=True)
class Connection:
    """A deployment: its name, what its stack consists of, and how to call AWS for it."""

    session: boto3.Session
    stack_name: str
    endpoint_url: str | None = None
    ca_bundle: str | None = None
    known: dict[str, str] = field(default_factory=dict)
    """Outputs and resources that need not be asked for."""

    def client(self, service: str, config: Config | None = None) -> Any:
        """A client of an AWS service; `config` says what is different from other calls."""
        calls = CALLS if self.endpoint_url is None else CALLS.merge(Config(proxies={}))
        with _MAKING:
            return self.session.client(  # type: ignore[call-overload]  # the name is not a literal here
                service,
                endpoint_url=self.endpoint_url,
                verify=self.ca_bundle,
                config=calls.merge(config) if config else calls,
            )

    def output(self, name: str) -> str:
        """An output of the stack. Raises `ConnectionFailedError` if the stack has none of that name."""
        return self._found(name, self.known.get(name) or self.outputs.get(name))

    def resource(self, name: str) -> str:
        """The physical id of a resource by its name in the template: of a queue its URL, of a secret its ARN.

        Raises `ConnectionFailedError` if the stack has none of that name.
        """
        return self._found(name, self.known.get(name) or self.resources.get(name))

    def _found(self, name: str, found: str | None) -> str:
        if found is None:
            raise ConnectionFailedError(
                f"the stack {self.stack_name!r} has no {name}: it is not a Vidu Relay, or of another version "
                "(deploy this one, or use the tool that came with it)"
            )
        return found

    def time_at_aws(self) -> int:
        """The time by DynamoDB's clock, in milliseconds since the epoch and whole seconds.

        For moments that functions compare with their own clock: the laptop's may be off. Raises `ConnectionFailedError`
        if the reply has no date.
        """
        key = {"pk": {"S": "tenant#"}}  # no item has it: the header of the reply is what counts
        reply = self.client("dynamodb").get_item(TableName=self.resource("TaskTable"), Key=key)
        date = reply["ResponseMetadata"]["HTTPHeaders"].get("date")
        try:
            return int(parsedate_to_datetime(date).timestamp()) * 1000
        except (TypeError, ValueError):
            raise ConnectionFailedError("DynamoDB's reply does not say what time it is: repeat the command") from None

    @cached_property
    def outputs(self) -> dict[str, str]:
        """Every output of the stack, by name. Raises `ConnectionFailedError`."""
        with self._reading():
            stacks = self.client("cloudformation").describe_stacks(StackName=self.stack_name)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stacks[0].get("Outputs", [])}

    @cached_property
    def resources(self) -> dict[str, str]:
        """The physical id of each resource, by its name in the template. Raises `ConnectionFailedError`."""
        pages = self.client("cloudformation").get_paginator("list_stack_resources")
        with self._reading():
            return {
                resource["LogicalResourceId"]: resource["PhysicalResourceId"]
                for page in pages.paginate(StackName=self.stack_name)
                for resource in page["StackResourceSummaries"]
                if "PhysicalResourceId" in resource
            }

    @cached_property
    def submitting(self) -> Mapping[str, str]:
        """What the deployed function that submits tasks reads from its environment."""
        configuration = self.client("lambda").get_function_configuration(FunctionName=self.resource("SubmitTask"))
        variables: Mapping[str, str] = configuration["Environment"]["Variables"]
        return variables

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (ClientError, BotoCoreError) as error:
            raise ConnectionFailedError(f"cannot read the stack {self.stack_name!r}: {error}") from error


def default_stack_file() -> Path:
    """Where `make local` writes: in this checkout, or below the current folder if the tool was installed."""
    checkout = Path(__file__).parents[1]
    return (checkout if (checkout / "template.yaml").exists() else Path.cwd()) / ".local" / "stack.json"


def read_stack_file(stack_file: Path) -> dict[str, Any]:
    """What the local stack has written of itself when it was ready. Raises `ConnectionFailedError`."""
    try:
        stack: dict[str, Any] = json.loads(stack_file.read_text())
        complete = stack.keys() >= {"region", "stack_name", "table", "aws_endpoint_url", "aws_ca_bundle"}
    except FileNotFoundError:
        raise ConnectionFailedError(f"{stack_file} does not exist: is `make local` running?") from None
    except (OSError, ValueError, AttributeError):
        stack, complete = {}, False
    if not complete:
        raise ConnectionFailedError(f"{stack_file} is not the file that `make local` writes")
    return stack


def connect_local(stack_file: Path) -> Connection:
    """The stack that `make local` runs, from the file that it writes. Its calls go through no proxy."""
    stack = read_stack_file(stack_file)
    session = boto3.Session(**LOCAL_CREDENTIALS, region_name=stack["region"])
    return Connection(
        session, stack["stack_name"], stack["aws_endpoint_url"], stack["aws_ca_bundle"], {"TaskTable": stack["table"]}
    )


def connect_stack(name: str, region: str | None, profile: str | None) -> Connection:
    """A deployed stack, found by its name with the usual AWS credentials."""
    try:
        connection = Connection(boto3.Session(region_name=region, profile_name=profile), name)
    except BotoCoreError as error:
        raise ConnectionFailedError(f"cannot use the AWS configuration: {error}") from error
    connection.resource("TaskTable")
    return connection


def now() -> int:
    """The time, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
