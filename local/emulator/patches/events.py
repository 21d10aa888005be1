"""EventBridge: buses, their policies and archives, and what rules send where."""

import dataclasses
import json
import logging
from typing import Any

from ministack.core import iam_evaluator, responses
from ministack.services import eventbridge, iam, sns, sqs
from ministack.services.cloudformation import provisioners

from local.emulator.patches import replaces
from local.emulator.settings import Settings

SERVICE = "events.amazonaws.com"
ARCHIVE_NAME_LENGTH = 48
log = logging.getLogger(__name__)


def apply(settings: Settings) -> None:
    archives()
    bus_deletion()
    bus_policies()
    replay_destination()
    target_policies()


def archives() -> None:
    """``AWS::Events::Archive``. MiniStack keeps archives and replays them, but refuses a template that declares one."""

    def create(logical_id: str, properties: dict[str, Any], stack_name: str) -> tuple[str, dict[str, Any]]:
        name = properties.get("ArchiveName") or provisioners._physical_name(
            stack_name, logical_id, max_len=ARCHIVE_NAME_LENGTH
        )
        request = {"ArchiveName": name, "EventSourceArn": properties["SourceArn"], **_archive_settings(properties)}
        return _archive(name, eventbridge._create_archive(request))

    def update(name: str, old: Any, new: dict[str, Any], stack_name: str) -> tuple[str, dict[str, Any]]:
        return _archive(name, eventbridge._update_archive({"ArchiveName": name, **_archive_settings(new)}))

    def delete(name: str, properties: dict[str, Any]) -> None:
        eventbridge._delete_archive({"ArchiveName": name})

    provisioners._RESOURCE_HANDLERS["AWS::Events::Archive"] = {"create": create, "update": update, "delete": delete}


def _archive_settings(properties: dict[str, Any]) -> dict[str, Any]:
    settings = {
        "Description": properties.get("Description", ""),
        "RetentionDays": int(properties.get("RetentionDays", 0)),
    }
    if pattern := properties.get("EventPattern"):
        settings["EventPattern"] = pattern if isinstance(pattern, str) else json.dumps(pattern)
    return settings


def _archive(name: str, response: Any) -> tuple[str, dict[str, Any]]:
    return name, {"ArchiveName": name, "Arn": _body(response)["ArchiveArn"]}


def _body(response: tuple[int, dict[str, str], bytes]) -> dict[str, Any]:
    """What a call answers. Raises `ValueError`, which fails the resource, where it is refused."""
    status, _, body = response
    answer: dict[str, Any] = json.loads(body or b"{}")
    if status >= 400:
        raise ValueError(answer["message"])
    return answer


def bus_deletion() -> None:
    """A bus that has rules is not deleted (API reference, DeleteEventBus). MiniStack deletes the rules with it."""

    @replaces(eventbridge, "_delete_event_bus")
    def delete(original: Any, request: dict[str, Any]) -> Any:
        if any(rule.get("EventBusName") == request.get("Name") for rule in eventbridge._rules.values()):
            return responses.error_response_json(
                "ValidationException", "EventBus can't be deleted since it has rules.", 400
            )
        return original(request)

    provisioners._RESOURCE_HANDLERS["AWS::Events::EventBus"]["delete"] = lambda name, _: _body(
        eventbridge._delete_event_bus({"Name": name})
    )


def bus_policies() -> None:
    """``AWS::Events::EventBusPolicy``, and ``Policy`` of PutPermission: a Deny refuses PutEvents to every caller.

    Conditions name ``events:source``, also in the policies of roles, and ``aws:PrincipalArn``, which is the ARN of the
    role, not of its session (EventBridge user guide, "Using IAM policy conditions"; IAM user guide, "Global condition
    keys"). MiniStack refuses the resource, ignores ``Policy``, and never reads the policy of a bus.
    """
    provisioners._RESOURCE_HANDLERS["AWS::Events::EventBusPolicy"] = {
        "create": _create_policy,
        "update": _update_policy,
        "delete": _delete_policy,
    }

    @replaces(eventbridge, "_put_events")
    def put_events(original: Any, data: dict[str, Any], allow_aws_source: bool = False) -> Any:
        refusal = None if allow_aws_source else _refusal(data.get("Entries", []))
        return refusal or original(data, allow_aws_source)

    @replaces(eventbridge, "_put_permission")
    def put_permission(original: Any, data: dict[str, Any]) -> Any:
        if not data.get("Policy"):
            return original(data)
        eventbridge._event_bus_policies[data.get("EventBusName", "default")] = json.loads(data["Policy"])
        return responses.json_response({})

    @replaces(iam_evaluator, "enforce")
    def enforce(
        original: Any, access_key: str, action: str, *rest: Any, service_context: Any = None, **more: Any
    ) -> Any:
        request = iam_evaluator._signed_request.get()
        if action == "events:PutEvents" and request is not None:
            service_context = {**(service_context or {}), "events:source": _sources(request.body)}
        return original(access_key, action, *rest, service_context=service_context, **more)

    @replaces(iam_evaluator, "_resolve_condition_key")
    def resolve(original: Any, key: str, context: Any) -> Any:
        if key.lower() == "aws:principalarn":
            context = dataclasses.replace(context, principal_arn=_role_arn(context.principal_arn))
        return original(key, context)


def _create_policy(logical_id: str, properties: dict[str, Any], stack_name: str) -> tuple[str, dict[str, Any]]:
    bus, statement_id = properties.get("EventBusName", "default"), properties["StatementId"]
    name = f"{bus}|{statement_id}"
    policy = eventbridge._event_bus_policies.setdefault(bus, {"Version": "2012-10-17", "Statement": []})
    _delete_policy(name, properties)
    policy["Statement"].append({**properties["Statement"], "Sid": statement_id})
    return name, {}


def _update_policy(name: str, old: dict[str, Any], new: dict[str, Any], stack_name: str) -> Any:
    _delete_policy(name, old)
    return _create_policy("", new, stack_name)


def _delete_policy(name: str, properties: dict[str, Any]) -> None:
    bus, statement_id = name.split("|", 1)
    if policy := eventbridge._event_bus_policies.get(bus):
        policy["Statement"] = [statement for statement in policy["Statement"] if statement.get("Sid") != statement_id]


def _refusal(entries: list[dict[str, Any]]) -> Any:
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
            return responses.error_response_json("AccessDeniedException", message, 400)
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
    _, session, name = principal_arn.partition(":assumed-role/")
    role = iam._roles.get(name.partition("/")[0]) if session else None
    return str(role["Arn"]) if role else principal_arn


def replay_destination() -> None:
    """A replay reaches the rules in ``Destination.FilterArns`` alone (StartReplay). MiniStack replays to every rule."""

    @replaces(eventbridge, "_invoke_target")
    def invoke(original: Any, target: Any, event: dict[str, Any], rule: dict[str, Any], *rest: Any) -> None:
        replay = eventbridge._replays[event["ReplayName"]] if event.get("ReplayName") else {"Destination": {}}
        if rule["Arn"] in (replay["Destination"].get("FilterArns") or [rule["Arn"]]):
            original(target, event, rule, *rest)


def target_policies() -> None:
    """A queue or topic gets what its policy allows ``events.amazonaws.com`` to send.

    In the policy of a topic a statement with a ``Condition`` does not count (EventBridge user guide, "Using
    resource-based policies"). MiniStack reads no policy. A refused event goes to no dead-letter queue here.
    """

    @replaces(eventbridge, "_invoke_target")
    def invoke(original: Any, target: dict[str, Any], event: Any, rule: dict[str, Any], *rest: Any) -> None:
        arn, account = str(target.get("Arn", "")), responses.get_account_id()
        if (arn.startswith("arn:aws:sqs:") and not sqs.queue_policy_allows(arn, SERVICE, rule["Arn"], account)) or (
            arn.startswith("arn:aws:sns:") and not _topic_allows(arn)
        ):
            log.warning("EventBridge: the policy of %s does not allow rule %s", arn, rule.get("Name"))
            return
        original(target, event, rule, *rest)


def _topic_allows(arn: str) -> bool:
    document = json.loads((sns.topic_policy_for_arn(arn) or ("", ""))[0] or "{}")
    statements = [
        statement
        for statement in document.get("Statement", [])
        if statement.get("Effect") == "Deny" or not statement.get("Condition")
    ]
    context = iam_evaluator.EvalContext(
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action="sns:Publish",
        resource_arn=arn,
        region=responses.get_region(),
    )
    policy = {**document, "Statement": statements}
    return bool(iam_evaluator.evaluate_resource_policy(policy, context, service=SERVICE).decision == "Allow")
