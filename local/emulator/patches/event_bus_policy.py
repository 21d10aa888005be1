"""Stands in for ``AWS::Events::EventBusPolicy``, and for ``Policy`` of PutPermission.

MiniStack refuses the one, passes over the other, and never looks at the policy of a bus. Here a statement is kept with
the bus, and a Deny in it refuses PutEvents as on AWS: for every caller, by condition keys such as ``events:source``,
which policies of roles can use too. ``aws:PrincipalArn`` is the ARN of the role, not of its session.
"""

import dataclasses
import json
from typing import Any

from ministack.core import iam_evaluator, responses
from ministack.services import eventbridge, iam
from ministack.services.cloudformation import provisioners

from local.emulator.settings import Settings

Response = tuple[int, dict[str, str], bytes]


def apply(settings: Settings) -> None:
    provisioners._RESOURCE_HANDLERS["AWS::Events::EventBusPolicy"] = {
        "create": create_policy,
        "update": update_policy,
        "delete": delete_policy,
    }
    put_events, put_permission = eventbridge._put_events, eventbridge._put_permission
    enforce = iam_evaluator.enforce
    resolve = iam_evaluator._resolve_condition_key

    def checked_put_events(data: dict[str, Any], allow_aws_source: bool = False) -> Response:
        if not allow_aws_source and (refusal := _refusal(data.get("Entries", []))):
            return refusal
        response: Response = put_events(data, allow_aws_source)
        return response

    def put_whole_policy(data: dict[str, Any]) -> Response:
        if not data.get("Policy"):
            response: Response = put_permission(data)
            return response
        eventbridge._event_bus_policies[data.get("EventBusName", "default")] = json.loads(data["Policy"])
        answer: Response = responses.json_response({})
        return answer

    def enforce_with_sources(
        access_key: str,
        action: str,
        service: str,
        region: str,
        resource_arn: str = "*",
        service_context: dict[str, Any] | None = None,
    ) -> Any:
        request = iam_evaluator._signed_request.get()
        if action == "events:PutEvents" and request is not None:
            service_context = {**(service_context or {}), "events:source": _sources(request.body)}
        return enforce(access_key, action, service, region, resource_arn, service_context)

    def resolve_condition_key(key: str, context: Any) -> Any:
        if key.lower() == "aws:principalarn":
            context = dataclasses.replace(context, principal_arn=_role_arn(context.principal_arn))
        return resolve(key, context)

    eventbridge._put_events = checked_put_events
    eventbridge._put_permission = put_whole_policy
    iam_evaluator.enforce = enforce_with_sources
    iam_evaluator._resolve_condition_key = resolve_condition_key


def create_policy(logical_id: str, properties: dict[str, Any], stack_name: str) -> tuple[str, dict[str, Any]]:
    bus, statement_id = properties.get("EventBusName", "default"), properties["StatementId"]
    policy = eventbridge._event_bus_policies.setdefault(bus, {"Version": "2012-10-17", "Statement": []})
    statements = [statement for statement in policy["Statement"] if statement.get("Sid") != statement_id]
    policy["Statement"] = [*statements, {**properties["Statement"], "Sid": statement_id}]
    return f"{bus}|{statement_id}", {}


def update_policy(
    physical_id: str, old: dict[str, Any], new: dict[str, Any], stack_name: str
) -> tuple[str, dict[str, Any]]:
    delete_policy(physical_id, old)
    return create_policy("", new, stack_name)


def delete_policy(physical_id: str, properties: dict[str, Any]) -> None:
    bus, statement_id = physical_id.split("|", 1)
    policy = eventbridge._event_bus_policies.get(bus)
    if policy is not None:
        policy["Statement"] = [statement for statement in policy["Statement"] if statement.get("Sid") != statement_id]


def _refusal(entries: list[dict[str, Any]]) -> Response | None:
    """The answer to a call that the policy of one of its buses denies."""
    caller = iam_evaluator.caller_arn()
    region, account = responses.get_region(), responses.get_account_id()
    for reference in {entry.get("EventBusName") or "default" for entry in entries}:
        bus = reference.rsplit("/", 1)[-1]
        arn = f"arn:aws:events:{region}:{account}:event-bus/{bus}"
        context = iam_evaluator.EvalContext(
            principal_arn=caller,
            principal_type="AssumedRole" if ":assumed-role/" in caller else "Root",
            principal_account=account,
            action="events:PutEvents",
            resource_arn=arn,
            region=region,
            service_context={"events:source": [entry.get("Source", "") for entry in entries]},
        )
        policy = eventbridge._event_bus_policies.get(bus)
        if iam_evaluator.evaluate_resource_policy(policy, context).decision == "Deny":
            message = (
                f"User: {caller} is not authorized to perform: events:PutEvents on resource: {arn} "
                "with an explicit deny in a resource-based policy"
            )
            refusal: Response = responses.error_response_json("AccessDeniedException", message, 400)
            return refusal
    return None


def _sources(body: bytes) -> list[str]:
    """The sources that a PutEvents request names."""
    try:
        entries = json.loads(body)["Entries"]
    except (ValueError, KeyError, TypeError):
        return []
    return [str(entry.get("Source", "")) for entry in entries if isinstance(entry, dict)]


def _role_arn(principal_arn: str) -> str:
    """The role of a session; any other principal unchanged."""
    if ":assumed-role/" not in principal_arn:
        return principal_arn
    role = iam._roles.get(principal_arn.partition(":assumed-role/")[2].partition("/")[0])
    return str(role["Arn"]) if role else principal_arn
