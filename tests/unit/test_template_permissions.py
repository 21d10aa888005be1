"""Who may do what: no role can more than its work, and no resource lets in more than its callers."""

from typing import Any

import pytest

from tests.unit.template import FUNCTIONS, TEMPLATE, get_att, of_type, properties, statements
from vidu_relay import settings

ROLES = of_type("AWS::IAM::Role")
PUBLISHERS = ["PublishEventsRole", "AcceptRequestRole", "NotifyClientRole", "ReconcileSpendingRole"]
OURS = {"ForAllValues:StringEquals": {"events:source": ["vidu-relay"]}}
TAKES_NO_RESOURCE = {
    ("PollTaskRole", "logs"): "log delivery of Step Functions is granted to the account, not to a log group",
    ("PublishEventsRole", "dynamodb"): "ListStreams, with which Lambda looks for the stream",
    ("RecordSpendingRole", "dynamodb"): "the same",
}


def resource_text(resource: Any) -> str:
    """A statement's resource as text: `Name.Arn`, `${Name.Arn}/…` or `Name`."""
    if isinstance(resource, str):
        return resource
    ((_, value),) = resource.items()
    return ".".join(value) if isinstance(value, list) else str(value)


def granted(action: str, resource: str = "") -> set[str]:
    """Functions whose role grants an action, on a resource whose text begins like this."""
    return {
        name
        for name in FUNCTIONS.values()
        for statement in statements(f"{name}Role")
        if action in statement["Action"]
        and any(resource_text(one).startswith(resource) for one in statement["Resource"])
    }


def readers(variable: str) -> set[str]:
    """Functions whose settings have a variable."""
    return {n for n in FUNCTIONS.values() if variable in settings.variables(getattr(settings, f"{n}Settings"))}


@pytest.mark.parametrize("role", ROLES)
def test_role_is_explicit_scoped_and_taken_by_one_service(role: str) -> None:
    assert properties(role).get("ManagedPolicyArns", []) in ([], [{"Ref": "WriteLogs"}])
    for statement in statements(role):
        services = {action.split(":")[0] for action in statement["Action"]}
        assert not [action for action in statement["Action"] if "*" in action]
        if statement["Resource"] == ["*"]:
            assert {(role, service) for service in services} <= set(TAKES_NO_RESOURCE)
        else:
            assert not [one for one in statement["Resource"] if resource_text(one).startswith("*")]
    (trust,) = properties(role)["AssumeRolePolicyDocument"]["Statement"]
    service = trust["Principal"]["Service"]
    assert service in {"lambda.amazonaws.com", "states.amazonaws.com", "scheduler.amazonaws.com"}
    if service != "lambda.amazonaws.com":  # Lambda names no account when it takes a role
        assert trust["Condition"]["StringEquals"]["aws:SourceAccount"] == {"Ref": "AWS::AccountId"}


def test_every_role_is_used_once() -> None:
    holders = str([resource for name, resource in TEMPLATE["Resources"].items() if name not in ROLES])
    for role in ROLES:
        # Those that publish are named once more: by the bus policy that lets only them speak as us.
        assert holders.count(str(get_att(role, "Arn"))) == (2 if role in (*PUBLISHERS, "SweepScheduleRole") else 1), (
            role
        )


@pytest.mark.parametrize("name", FUNCTIONS.values())
def test_function_logs_to_the_functions_group_only_and_takes_back_nothing_recorded(name: str) -> None:
    logs = [statement for statement in statements(f"{name}Role") if statement["Action"][0].startswith("logs:")]
    actions = ["logs:CreateLogStream", "logs:PutLogEvents"]
    assert logs == [{"Effect": "Allow", "Action": actions, "Resource": [get_att("FunctionLogs", "Arn")]}]
    taken = {action for statement in statements(f"{name}Role") for action in statement["Action"]}
    deletes = {action for action in taken if action.startswith(("dynamodb:Delete", "s3:Delete", "dynamodb:Scan"))}
    assert deletes == ({"s3:DeleteObject", "s3:DeleteObjectVersion"} if name == "DeleteTask" else set())


@pytest.mark.parametrize(
    ("variable", "action", "resource"),
    [
        ("STATE_MACHINE_ARN", "states:StartExecution", "PollTask"),
        ("PROVIDER_SECRET_ARN", "secretsmanager:GetSecretValue", "ProviderSecret"),
        ("CALLBACK_SECRET_ARN", "secretsmanager:GetSecretValue", "CallbackSecret"),
        ("WEBHOOK_SECRET_ARN", "secretsmanager:GetSecretValue", "WebhookSecret"),
        ("DELIVERIES_QUEUE_URL", "sqs:SendMessage", "DeliveriesQueue"),
        ("EVENT_BUS_NAME", "events:PutEvents", "EventBus"),
    ],
)
def test_what_is_granted_is_granted_to_those_who_read_of_it(variable: str, action: str, resource: str) -> None:
    assert granted(action, resource) == readers(variable) != set()


@pytest.mark.parametrize(
    ("variable", "bucket", "linkers"),
    [("INBOX_BUCKET", "InboxBucket", set()), ("VIDEOS_BUCKET", "VideosBucket", {"ReadTasks", "NotifyClient"})],
    ids=["inbox", "videos"],
)
def test_bucket_is_used_by_those_who_read_of_it_or_link_what_a_task_names(
    variable: str, bucket: str, linkers: set[str]
) -> None:
    objects = f"${{{bucket}.Arn}}/"
    users = [granted(f"s3:{action}Object", objects) for action in ("Get", "Put", "Delete")]
    assert set().union(*users) == readers(variable) | linkers
    assert not granted("s3:PutObject", objects) & linkers


@pytest.mark.parametrize(
    ("role", "keys"),
    [
        ("AuthorizeRequestRole", {"dynamodb:GetItem": ["key#*", "tenant#*"]}),
        ("CreateUploadRole", {"dynamodb:UpdateItem": ["cap#*"]}),
        ("DeleteTaskRole", {"dynamodb:GetItem": ["task#*"], "dynamodb:UpdateItem": ["notification#*"]}),
        ("RecordSpendingRole", {"dynamodb:GetItem": ["cap#*"]}),
        (
            "ReconcileSpendingRole",
            {"dynamodb:GetItem": ["task#*", "cap#*", "remote#*", "billed#*", "learned#*", "books#*", "exports"]},
        ),
        (
            "NotifyClientRole",
            {
                "dynamodb:GetItem": ["task#*", "tenant#*", "webhook#*"],
                "dynamodb:UpdateItem": ["webhook#*", "notification#*"],
            },
        ),
        ("SendWebhookRole", {"dynamodb:GetItem": ["task#*", "tenant#*"], "dynamodb:UpdateItem": ["hour#*"]}),
    ],
)
def test_who_needs_few_items_of_the_table_sees_and_changes_no_others(role: str, keys: dict[str, list[str]]) -> None:
    found = [s for s in statements(role) if s["Resource"] == [get_att("TaskTable", "Arn")]]
    assert {s["Action"][0]: s["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"] for s in found} == keys
    actions = {"DeleteTaskRole": 3, "RecordSpendingRole": 2, "ReconcileSpendingRole": 4}
    assert sum(len(statement["Action"]) for statement in found) == actions.get(role, len(found))


def test_action_without_a_resource_is_granted_on_all() -> None:
    """Else the statement grants nothing."""
    found = [s for role in ROLES for s in statements(role) if "dynamodb:ListStreams" in s["Action"]]
    assert found == [{"Effect": "Allow", "Action": ["dynamodb:ListStreams"], "Resource": ["*"]}] * 2


@pytest.mark.parametrize("kind", ["AWS::S3::Bucket", "AWS::SQS::Queue"])
def test_every_bucket_and_queue_refuses_what_comes_without_tls(kind: str) -> None:
    policies = [p["Properties"] for p in of_type(f"{kind}Policy").values()]
    for name in of_type(kind):
        (policy,) = (p for p in policies if {"Ref": name} in [p.get("Bucket"), *p.get("Queues", [])])
        (refusal,) = (s for s in policy["PolicyDocument"]["Statement"] if s["Effect"] == "Deny")
        everything = [get_att(name, "Arn"), {"Fn::Sub": f"${{{name}.Arn}}/*"}] if "Bucket" in policy else "*"
        action = "s3:*" if "Bucket" in policy else "sqs:*"
        assert (refusal["Principal"], refusal["Action"], refusal["Resource"]) == ("*", action, everything)
        assert refusal["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        assert kind != "AWS::SQS::Queue" or properties(name)["SqsManagedSseEnabled"] is True


def test_queues_take_messages_from_our_rules_and_topic_from_alarms_and_rules() -> None:
    to_queues = [
        name
        for name, rule in of_type("AWS::Events::Rule").items()
        if rule["Properties"]["Targets"][0]["Arn"] != {"Ref": "AlarmTopic"}
    ]
    (allowed,) = (s for s in properties("QueuesPolicy")["PolicyDocument"]["Statement"] if s["Effect"] == "Allow")
    assert (allowed["Action"], allowed["Principal"]) == ("sqs:SendMessage", {"Service": "events.amazonaws.com"})
    assert allowed["Condition"].keys() == {"ArnEquals"}
    sources = [arn["Fn::GetAtt"][0] for arn in allowed["Condition"]["ArnEquals"]["aws:SourceArn"]]
    assert sorted(sources) == sorted(to_queues)
    # EventBridge's documentation: a topic's policy can have no Condition for EventBridge. With one, it is denied.
    topic = {s["Sid"]: s for s in properties("AlarmTopicPolicy")["PolicyDocument"]["Statement"]}
    of_account = {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    assert set(topic) == {"FromOurAlarms", "FromRules", "TlsOnly"}
    assert topic["FromOurAlarms"]["Condition"] == of_account
    assert "Condition" not in topic["FromRules"]
    assert (topic["FromRules"]["Principal"], topic["FromRules"]["Action"]) == (allowed["Principal"], "sns:Publish")
    assert topic["TlsOnly"]["Effect"] == "Deny"


def test_only_the_publishers_publish_and_only_under_our_source() -> None:
    policy = properties("EventBusPolicy")
    refusal = policy["Statement"]
    assert policy["EventBusName"] == {"Ref": "EventBus"}
    assert (refusal["Effect"], refusal["Principal"], refusal["Action"]) == ("Deny", "*", "events:PutEvents")
    assert refusal["Condition"] == {
        "ForAnyValue:StringEquals": {"events:source": ["vidu-relay"]},
        "ArnNotEquals": {"aws:PrincipalArn": [get_att(role, "Arn") for role in PUBLISHERS]},
        "BoolIfExists": {"aws:PrincipalIsAWSService": "false"},
    }
    puts = [s for role in PUBLISHERS for s in statements(role) if "events:PutEvents" in s["Action"]]
    assert [statement.get("Condition") for statement in puts] == [OURS] * len(PUBLISHERS)
