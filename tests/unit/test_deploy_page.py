"""What `docs/deploy.md` says of costs, permissions and removal is what was measured, is called, and is retained."""

import ast
import json
import re
from collections import defaultdict
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import botocore.session
import pytest

from benchmarks.cost import METRICS_ON_GOOD_DAYS, VIDEO_BYTES
from benchmarks.prices import PRICES
from cli import schemas
from local.rehearse import PAGE, POLICIES, blocks
from tests.documents import ROOT, table
from tests.unit.template import TEMPLATE

TEXT = PAGE.read_text()
DEPLOYER, OPERATOR = ((POLICIES / f"{user}.json").read_text() for user in ("deployer", "operator"))
PREFIXES = {"apigatewayv2": "apigateway", "serverless": "lambda", "eventschemas": "schemas", "stepfunctions": "states"}
"""Of actions, where a resource's type or boto3 names the service otherwise."""

ADAPTERS = ("delivery_queue", "notification_queue", "task_poller", "task_store", "tenant_directory")
"""Those that the operator's tool works with."""

SERVICES = ("cloudformation", "dynamodb", "events", "lambda", "s3", "secretsmanager", "sqs", "stepfunctions")
OTHERWISE_GRANTED = {
    "s3:ListObjectsV2": "s3:ListBucket",
    "dynamodb:TransactWriteItems": "dynamodb:PutItem",  # by what it holds
    "lambda:Invoke": "lambda:InvokeFunction",
}


def granted(policy: str) -> set[str]:
    """The actions of a policy, with their wildcards."""
    parts = [part["Action"] for part in json.loads(policy)["Statement"]]
    return {action for part in parts for action in ([part] if isinstance(part, str) else part)}


def allows(policy: str, action: str) -> bool:
    return any(fnmatchcase(action, pattern) for pattern in granted(policy))


def called(text: str) -> set[str]:
    """The actions behind the boto3 methods and paginators that are named in Python source."""
    names = {node.attr for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)}
    names |= set(re.findall(r'get_paginator\("(\w+)"\)', text))
    found = {action for name in names for action in actions().get(name, ())}
    return {OTHERWISE_GRANTED.get(action, action) for action in found}


@cache
def actions() -> dict[str, set[str]]:
    """Of each boto3 method, the actions of the services that have it."""
    session, found = botocore.session.get_session(), defaultdict[str, set[str]](set)
    for service in SERVICES:
        for operation in session.get_service_model(service).operation_names:
            found[botocore.xform_name(operation)].add(f"{PREFIXES.get(service, service)}:{operation}")
    return found


def test_costs_are_those_that_were_measured() -> None:
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text().split("| all in, 1,000 tasks")[1]
    few, many = map(float, re.findall(r"^\| sum \| ([0-9.]+) \| ([0-9.]+) \|", results, re.MULTILINE)[0])
    standing = (few - many) / (1 / 10 - 1 / 100)  # each sum, for 1,000 tasks, has its share of what does not grow
    idle = standing - METRICS_ON_GOOD_DAYS * PRICES["custom metric"][0]
    months = {0: idle, 10_000: 10 * few, 100_000: 100 * many}
    video = VIDEO_BYTES / 1e9 * PRICES["internet egress GB"][0]
    said = {f"{tasks:,}": [f"{stack:.2f}", f"{tasks * video:.2f}"] for tasks, stack in months.items()}
    assert table("docs/deploy.md", "<!-- cost:") == said
    stored = 100_000 * VIDEO_BYTES / 1e9 * PRICES["S3 storage GB"][0]
    assert f"100,000 of them US$ {stored:.2f} a month" in TEXT


@pytest.mark.parametrize("kind", sorted({resource["Type"] for resource in TEMPLATE["Resources"].values()}))
def test_who_deploys_may_make_each_resource(kind: str) -> None:
    _, service, name = kind.lower().split("::")
    created = f"iam:Create{'Role' if name == 'role' else 'Policy'}"
    action = created if service == "iam" else f"{PREFIXES.get(service, service)}:*"
    assert action in granted(DEPLOYER)


@pytest.mark.parametrize(
    "path",
    [
        *sorted((ROOT / "cli").glob("*.py")),
        *(ROOT / "layers/shared/vidu_relay/adapters" / f"{name}.py" for name in ADAPTERS),
    ],
    ids=lambda path: path.stem,
)
def test_who_operates_may_call_what_the_tool_calls(path: Path) -> None:
    assert {action for action in called(path.read_text()) if not allows(OPERATOR, action)} == set()


@pytest.mark.parametrize("action", ["lambda:GetFunctionConfiguration", "apigateway:GET", "states:DescribeStateMachine"])
def test_who_operates_may_call_what_sam_logs_calls(action: str) -> None:
    """SAM shows nothing, and says nothing, where it may not ask a function for its log group."""
    assert allows(OPERATOR, action)


def test_the_stack_s_name_leaves_room_for_what_is_made_of_it() -> None:
    longest = schemas.MAX_NAME_LENGTH - len(schemas.registry_of(""))
    assert f"A stack name has at most {longest} characters" in TEXT


def test_everything_that_remains_is_deleted() -> None:
    outputs: dict[str, set[str]] = {}
    for name, output in TEMPLATE["Outputs"].items():
        value = output["Value"]
        resource = value.get("Ref") or value.get("Fn::GetAtt", [None])[0]
        outputs.setdefault(resource, set()).add(name)
    removal = blocks(TEXT)[-1].commands
    for name, resource in TEMPLATE["Resources"].items():
        if resource.get("DeletionPolicy", "").startswith("Retain"):
            assert any(f'"{output}"' in removal for output in outputs[name]), name


def test_what_is_left_out_has_a_reason_and_the_rest_is_most() -> None:
    found = blocks(TEXT)
    assert TEXT.count("```sh") == len(found)
    assert sum(not block.reason for block in found) > len(found) / 2
