"""Who may do what: no role can more than its work, and no resource lets in more than its callers."""

from typing import Any

import pytest

from tests.unit.template import FUNCTIONS, TEMPLATE, get_att, of_type, properties, statements

ROLES = of_type("AWS::IAM::Role")

TAKES_NO_RESOURCE = {
    ("PollTaskRole", "logs"): "log delivery of Step Functions is granted to the account, not to a log group",
    ("PublishEventsRole", "dynamodb"): "ListStreams, with which Lambda looks for the stream",
}


def resource_text(resource: Any) -> str:
    """A statement's resource as text: `Name.Arn`, `${Name.Arn}/…` or `Name`."""
    if isinstance(resource, str):
        return resource
    ((_, value),) = resource.items()
    return ".".join(value) if isinstance(value, list) else str(value)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_explicit_and_scoped(role: str) -> None:
    assert "ManagedPolicyArns" not in properties(role)
    for statement in statements(role):
        services = {action.split(":")[0] for action in statement["Action"]}
        assert not [action for action in statement["Action"] if "*" in action]
        if statement["Resource"] == ["*"]:
            assert {(role, service) for service in services} <= set(TAKES_NO_RESOURCE)
        else:
            for resource in statement["Resource"]:
                assert not resource_text(resource).startswith("*")


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_taken_by_one_service(role: str) -> None:
    (trust,) = properties(role)["AssumeRolePolicyDocument"]["Statement"]
    service = trust["Principal"]["Service"]

    assert trust["Principal"] == {"Service": service}
    assert service in {"lambda.amazonaws.com", "states.amazonaws.com", "scheduler.amazonaws.com"}
    if service != "lambda.amazonaws.com":  # Lambda names no account when it takes a role
        assert trust["Condition"]["StringEquals"]["aws:SourceAccount"] == {"Ref": "AWS::AccountId"}


def test_every_role_is_used_once() -> None:
    holders = str([resource for name, resource in TEMPLATE["Resources"].items() if name not in ROLES])

    for role in ROLES:
        # Those that publish are named once more: by the bus policy that lets only them speak as us.
        expected = 2 if role in ("PublishEventsRole", "AcceptRequestRole", "NotifyClientRole") else 1
        assert holders.count(str(get_att(role, "Arn"))) == expected, role


@pytest.mark.parametrize("name", FUNCTIONS.values())
def test_a_function_logs_to_its_own_group_only(name: str) -> None:
    logs = [statement for statement in statements(f"{name}Role") if statement["Action"][0].startswith("logs:")]

    assert logs == [
        {
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": [get_att(f"{name}Logs", "Arn")],
        }
    ]


@pytest.mark.parametrize("name", FUNCTIONS.values())
def test_no_function_can_take_back_what_was_recorded(name: str) -> None:
    granted = {action for statement in statements(f"{name}Role") for action in statement["Action"]}

    assert not {a for a in granted if a.startswith(("dynamodb:Delete", "s3:Delete", "dynamodb:Scan"))}


def test_only_those_who_start_the_poller_may() -> None:
    starters = {
        name
        for name in FUNCTIONS.values()
        if any("states:StartExecution" in statement["Action"] for statement in statements(f"{name}Role"))
    }

    told = {n for n in FUNCTIONS.values() if "STATE_MACHINE_ARN" in properties(n)["Environment"]["Variables"]}
    assert (
        starters
        == told
        == {
            "AcceptRequest",
            "CancelTask",
            "FindOverdueTasks",
            "ReceiveCallback",
            "SubmitTask",
        }
    )


@pytest.mark.parametrize(
    ("variable", "secret"),
    [
        ("PROVIDER_SECRET_ARN", "ProviderSecret"),
        ("CALLBACK_SECRET_ARN", "CallbackSecret"),
        ("WEBHOOK_SECRET_ARN", "WebhookSecret"),
    ],
)
def test_a_secret_is_read_by_those_who_are_told_of_it(variable: str, secret: str) -> None:
    readers = {
        name
        for name in FUNCTIONS.values()
        for statement in statements(f"{name}Role")
        if "secretsmanager:GetSecretValue" in statement["Action"] and {"Ref": secret} in statement["Resource"]
    }

    assert readers == {n for n in FUNCTIONS.values() if variable in properties(n)["Environment"]["Variables"]}


@pytest.mark.parametrize(
    ("variable", "bucket", "readers"),
    [("INBOX_BUCKET", "InboxBucket", set()), ("VIDEOS_BUCKET", "VideosBucket", {"ReadTasks", "NotifyClient"})],
    ids=["inbox", "videos"],
)
def test_a_bucket_is_used_by_those_who_are_told_of_it_or_link_what_a_task_names(
    variable: str, bucket: str, readers: set[str]
) -> None:
    used: dict[str, set[str]] = {name: set() for name in FUNCTIONS.values()}
    for name in used:
        for statement in statements(f"{name}Role"):
            if any(resource_text(resource).startswith(f"${{{bucket}.Arn}}/") for resource in statement["Resource"]):
                used[name] |= set(statement["Action"])

    told = {n for n in FUNCTIONS.values() if variable in properties(n)["Environment"]["Variables"]}
    assert {name for name, actions in used.items() if actions} == told | readers
    assert all(used[name] == {"s3:GetObject"} for name in readers)


def test_the_authorizer_sees_keys_and_tenants_only() -> None:
    (read,) = (s for s in statements("AuthorizeRequestRole") if s["Action"] == ["dynamodb:GetItem"])

    assert read["Condition"] == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["key#*", "tenant#*"]}}


def test_who_gives_out_upload_forms_changes_counters_only() -> None:
    (write,) = (s for s in statements("CreateUploadRole") if s["Resource"] == [get_att("TaskTable", "Arn")])

    assert write["Action"] == ["dynamodb:UpdateItem"]
    assert write["Condition"] == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["cap#*"]}}


def test_an_action_without_a_resource_is_granted_on_all() -> None:
    """Else the statement grants nothing."""
    granted = [s for role in ROLES for s in statements(role) if "dynamodb:ListStreams" in s["Action"]]

    assert granted == [{"Effect": "Allow", "Action": ["dynamodb:ListStreams"], "Resource": ["*"]}]


def test_what_an_upload_replaces_is_removed_after_a_day() -> None:
    rules = {rule["Id"]: rule for rule in properties("InboxBucket")["LifecycleConfiguration"]["Rules"]}

    assert rules["remove-replaced-uploads"] == {
        "Id": "remove-replaced-uploads",
        "Status": "Enabled",
        "Prefix": "uploads/",
        "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
    }


def test_who_tells_clients_changes_no_task() -> None:
    table = [s for s in statements("NotifyClientRole") if s["Resource"] == [get_att("TaskTable", "Arn")]]

    leading = {s["Action"][0]: s["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"] for s in table}
    assert leading == {"dynamodb:GetItem": ["task#*", "tenant#*", "webhook#*"], "dynamodb:UpdateItem": ["webhook#*"]}


@pytest.mark.parametrize("bucket", of_type("AWS::S3::Bucket"))
def test_a_bucket_is_private_encrypted_and_tls_only(bucket: str) -> None:
    block = properties(bucket)["PublicAccessBlockConfiguration"]
    (policy,) = (
        p["Properties"]["PolicyDocument"]
        for p in of_type("AWS::S3::BucketPolicy").values()
        if p["Properties"]["Bucket"] == {"Ref": bucket}
    )

    assert set(block.values()) == {True}
    assert len(block) == 4
    assert properties(bucket)["BucketEncryption"]
    assert properties(bucket)["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    (refusal,) = policy["Statement"]
    assert (refusal["Effect"], refusal["Principal"], refusal["Action"]) == ("Deny", "*", "s3:*")
    assert refusal["Resource"] == [get_att(bucket, "Arn"), {"Fn::Sub": f"${{{bucket}.Arn}}/*"}]
    assert refusal["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


@pytest.mark.parametrize("queue", of_type("AWS::SQS::Queue"))
def test_a_queue_is_encrypted_tls_only_and_takes_messages_from_our_rules_only(queue: str) -> None:
    (policy,) = (
        p["Properties"]["PolicyDocument"]
        for p in of_type("AWS::SQS::QueuePolicy").values()
        if {"Ref": queue} in p["Properties"]["Queues"]
    )
    rules = [get_att(name, "Arn") for name in of_type("AWS::Events::Rule")]
    allowed = [s for s in policy["Statement"] if s["Effect"] == "Allow"]
    (refusal,) = (s for s in policy["Statement"] if s["Effect"] == "Deny")

    assert properties(queue)["SqsManagedSseEnabled"] is True
    assert (refusal["Principal"], refusal["Action"], refusal["Resource"]) == ("*", "sqs:*", get_att(queue, "Arn"))
    assert refusal["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    for statement in allowed:
        assert (statement["Action"], statement["Resource"]) == ("sqs:SendMessage", get_att(queue, "Arn"))
        assert all(arn in rules for arn in statement["Condition"]["ArnEquals"]["aws:SourceArn"])


def test_every_queue_a_rule_writes_to_lets_it() -> None:
    admitted = {
        (queue["Ref"], str(arn))
        for policy in of_type("AWS::SQS::QueuePolicy").values()
        for queue in policy["Properties"]["Queues"]
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
        for arn in statement["Condition"]["ArnEquals"]["aws:SourceArn"]
    }

    for name, rule in of_type("AWS::Events::Rule").items():
        for target in rule["Properties"]["Targets"]:
            if target["Arn"] == {"Ref": "AlarmTopic"}:
                continue  # the topic's own policy: below
            for arn in (target["Arn"], target["DeadLetterConfig"]["Arn"]):
                assert (arn["Fn::GetAtt"][0], str(get_att(name, "Arn"))) in admitted


def test_the_alarm_topic_takes_messages_from_our_alarms_and_from_rules() -> None:
    """EventBridge's documentation: a topic's policy can have no Condition for EventBridge. With one, it is denied."""
    (policy,) = of_type("AWS::SNS::TopicPolicy").values()
    statements_ = {s["Sid"]: s for s in policy["Properties"]["PolicyDocument"]["Statement"]}

    assert policy["Properties"]["Topics"] == [{"Ref": "AlarmTopic"}]
    assert set(statements_) == {"FromOurAlarms", "FromRules", "TlsOnly"}
    assert statements_["FromOurAlarms"]["Condition"] == {
        "StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    }
    assert statements_["FromRules"] == {
        "Sid": "FromRules",
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sns:Publish",
        "Resource": {"Ref": "AlarmTopic"},
    }
    assert statements_["TlsOnly"]["Effect"] == "Deny"


def test_nobody_but_those_who_publish_speaks_as_us() -> None:
    (policy,) = of_type("AWS::Events::EventBusPolicy").values()
    refusal = policy["Properties"]["Statement"]

    assert policy["Properties"]["EventBusName"] == {"Ref": "EventBus"}
    assert (refusal["Effect"], refusal["Principal"], refusal["Action"]) == ("Deny", "*", "events:PutEvents")
    assert refusal["Condition"] == {
        "ForAnyValue:StringEquals": {"events:source": ["vidu-relay"]},
        "ArnNotEquals": {
            "aws:PrincipalArn": [
                get_att(role, "Arn") for role in ("PublishEventsRole", "AcceptRequestRole", "NotifyClientRole")
            ]
        },
        "BoolIfExists": {"aws:PrincipalIsAWSService": "false"},
    }


def test_those_who_publish_speak_as_nobody_else() -> None:
    putters = {
        name: statement.get("Condition")
        for name in FUNCTIONS.values()
        for statement in statements(f"{name}Role")
        if "events:PutEvents" in statement["Action"]
    }

    ours = {"ForAllValues:StringEquals": {"events:source": ["vidu-relay"]}}
    assert putters == {"PublishEvents": ours, "AcceptRequest": ours, "NotifyClient": ours}
