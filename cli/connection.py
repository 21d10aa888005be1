"""Which deployment the tool talks to: a CloudFormation stack on AWS, or the local one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

__all__ = ["Connection", "ConnectionFailedError", "connect_local", "connect_stack"]


class ConnectionFailedError(Exception):
    """The deployment cannot be found or reached. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A deployment's table, and how to call AWS for it."""

    session: boto3.Session
    endpoint_url: str | None
    ca_bundle: str | None
    table_name: str

    def client(self, service: str) -> Any:
        """A client of an AWS service."""
        return self.session.client(  # type: ignore[call-overload]  # the name is not a literal here
            service, endpoint_url=self.endpoint_url, verify=self.ca_bundle
        )


def connect_local(stack_file: Path) -> Connection:
    """The stack that `make local` runs, from the file it writes when it is ready."""
    try:
        stack = json.loads(stack_file.read_text())
        region, table = str(stack["region"]), str(stack["table"])
        endpoint, bundle = stack["aws_endpoint_url"], stack["aws_ca_bundle"]
    except FileNotFoundError:
        raise ConnectionFailedError(f"{stack_file} does not exist: is `make local` running?") from None
    except (ValueError, KeyError, TypeError):
        raise ConnectionFailedError(f"{stack_file} is not the file that `make local` writes") from None
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=region)  # noqa: S106 - the local stack's fixed credentials
    return Connection(session, endpoint, bundle, table)


def connect_stack(name: str, region: str | None, profile: str | None) -> Connection:
    """A deployed stack, found by its name with the usual AWS credentials."""
    try:
        session = boto3.Session(region_name=region, profile_name=profile)
        stacks = session.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except (ClientError, BotoCoreError) as error:
        raise ConnectionFailedError(f"cannot read the stack {name!r}: {error}") from error
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stacks[0].get("Outputs", [])}
    if "TableName" not in outputs:
        raise ConnectionFailedError(f"the stack {name!r} is not a Vidu Relay: it has no output TableName")
    return Connection(session, None, None, outputs["TableName"])
