"""The template as data, for the tests that hold it to the code.

Short forms (`!Ref`, `!GetAtt`, `!Sub` …) become their long ones, as CloudFormation reads them.
"""

import json
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
EVENTS = ROOT / "events"

ROUTES = {
    "POST /v1/tasks": "submit_task",
    "POST /v1/estimates": "submit_task",
    "POST /v1/uploads": "create_upload",
    "POST /v1/batches": "create_upload",
    "GET /v1/batches/{batch_id}": "read_tasks",
    "GET /v1/models": "list_models",
    "GET /v1/models/{model_id}": "list_models",
    "GET /v1/tasks": "read_tasks",
    "GET /v1/tasks/{task_id}": "read_tasks",
    "DELETE /v1/tasks/{task_id}": "delete_task",
    "GET /v1/usage": "read_tasks",
    "POST /v1/tasks/{task_id}/cancel": "cancel_task",
    "GET /v1/tasks/{task_id}/notifications": "read_tasks",
    "POST /v1/tasks/{task_id}/notifications/{version}/replay": "send_webhook",
    "POST /v1/webhooks/test": "send_webhook",
    "POST /v1/callbacks/{task_id}": "receive_callback",
    "GET /v1/openapi.json": "describe_api",
    "GET /v1/docs": "describe_api",
    "GET /v1/console": "serve_console",
    "GET /v1/console/{file+}": "serve_console",
}
"""The published routes, and the folder of the function behind each."""
WITHOUT_A_KEY = {
    "POST /v1/callbacks/{task_id}",
    *(route for route, folder in ROUTES.items() if folder in ("describe_api", "serve_console")),
}


class _Loader(yaml.SafeLoader):
    """Reads the short forms of CloudFormation's functions."""


def _long_form(loader: yaml.SafeLoader, name: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    if name == "GetAtt":
        value = value.split(".", 1)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": value}


_Loader.add_multi_constructor("!", _long_form)

TEMPLATE: dict[str, Any] = yaml.load((ROOT / "template.yaml").read_text(), _Loader)  # noqa: S506 a SafeLoader


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    """The resources of a CloudFormation type, by logical id."""
    return {name: resource for name, resource in TEMPLATE["Resources"].items() if resource["Type"] == kind}


def properties(name: str) -> dict[str, Any]:
    found: dict[str, Any] = TEMPLATE["Resources"][name]["Properties"]
    return found


def get_att(name: str, attribute: str) -> dict[str, Any]:
    """`!GetAtt name.attribute`."""
    return {"Fn::GetAtt": [name, attribute]}


def variables(name: str) -> dict[str, Any]:
    """What a function's environment has: what Globals sets for every function, and its own."""
    common: dict[str, Any] = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    return {**common, **properties(name).get("Environment", {}).get("Variables", {})}


def statements(role: str) -> list[dict[str, Any]]:
    """Every statement of a role's own policies and of the stack's managed ones, `Action` and `Resource` as lists."""
    managed = [properties(policy["Ref"]) for policy in properties(role).get("ManagedPolicyArns", [])]
    return [
        {**statement, "Action": _listed(statement["Action"]), "Resource": _listed(statement["Resource"])}
        for policy in [*properties(role).get("Policies", []), *managed]
        for statement in policy["PolicyDocument"]["Statement"]
    ]


def sample(name: str) -> dict[str, Any]:
    """A sample event, by file name without its ending."""
    found: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return found


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


FUNCTIONS = {
    resource["Properties"]["CodeUri"].removeprefix("functions/"): name
    for name, resource in of_type("AWS::Serverless::Function").items()
}
"""Logical ids of the functions, by folder."""
