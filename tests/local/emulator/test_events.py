"""EventBridge: who may send what, which rules send where, replays, and the deletion of a bus."""

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.probe import Emulator, eventually

Statement = dict[str, Any]


def allow(service: str, action: str, arn: str, source: str | None = None) -> Statement:
    """A statement of a policy that lets a service send to `arn`, on behalf of `source` alone if there is one."""
    condition = {"Condition": {"ArnEquals": {"aws:SourceArn": source}}} if source else {}
    principal = {"Service": f"{service}.amazonaws.com"}
    return {"Effect": "Allow", "Principal": principal, "Action": action, "Resource": arn, **condition}


def document(statement: Statement) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def a_queue(emulator: Emulator, name: str) -> tuple[str, str, Callable[[Statement], Any]]:
    """Address and ARN of a queue without a policy, and what gives it one."""
    sqs = emulator.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def set_policy(statement: Statement) -> None:
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document(statement)})

    return url, arn, set_policy


def a_topic(emulator: Emulator, name: str) -> tuple[str, str, Callable[[Statement], Any]]:
    """Address of a queue behind a topic, the topic's ARN, and what sets the topic's policy."""
    sns = emulator.client("sns")
    url, queue, set_policy = a_queue(emulator, name)
    set_policy(allow("sns", "sqs:SendMessage", queue))
    arn = sns.create_topic(Name=name)["TopicArn"]
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue)
    policy = {"TopicArn": arn, "AttributeName": "Policy"}
    return url, arn, lambda statement: sns.set_topic_attributes(**policy, AttributeValue=document(statement))


@pytest.mark.parametrize(
    ("kind", "statement", "delivered"),
    [
        ("sqs", None, False),
        ("sqs", lambda arn, _: allow("sns", "sqs:SendMessage", arn), False),
        ("sqs", lambda arn, rule: allow("events", "sqs:SendMessage", arn, f"{rule}-of-others"), False),
        ("sqs", lambda arn, rule: allow("events", "sqs:SendMessage", arn, rule), True),
        ("sns", lambda arn, _: allow("cloudwatch", "sns:Publish", arn), False),
        ("sns", lambda arn, rule: allow("events", "sns:Publish", arn, rule), False),
    ],
)
def test_a_rule_sends_only_where_the_policy_of_the_target_allows_it(
    emulator: Emulator, kind: str, statement: Callable[[str, str], Statement] | None, delivered: bool
) -> None:
    name, events, sqs = uuid.uuid4().hex, emulator.client("events"), emulator.client("sqs")
    rule = events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))["RuleArn"]
    queue, arn, set_policy = a_queue(emulator, name) if kind == "sqs" else a_topic(emulator, name)
    events.put_targets(Rule=name, Targets=[{"Id": "target", "Arn": arn}])

    if statement:
        set_policy(statement(arn, rule))
    events.put_events(Entries=[{"Source": name, "DetailType": "first", "Detail": "{}"}])
    set_policy(allow("events", "sqs:SendMessage" if kind == "sqs" else "sns:Publish", arn))
    events.put_events(Entries=[{"Source": name, "DetailType": "second", "Detail": "{}"}])
    (message,) = eventually(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"))
    assert ("first" in message["Body"], "second" in message["Body"]) == (delivered, not delivered)


def entry(emulator: Emulator, source: str, name: str) -> dict[str, str]:
    bus, detail = emulator.outputs["Bus"], json.dumps({"id": name})
    return {"EventBusName": bus, "Source": source, "DetailType": "t", "Detail": detail}


def received(emulator: Emulator, name: str, *rules: str) -> bool:
    """Wait until each of these rules has sent the event; whether no other rule has."""
    sqs, queue, found = emulator.client("sqs"), emulator.outputs["Queue"], list[str]()

    def receive() -> bool:
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            found.extend(rule for rule, event in json.loads(message["Body"]).items() if event == name)
        return set(rules) <= set(found)

    eventually(receive)
    return sorted(found) == sorted(rules)


def test_a_bus_policy_keeps_a_source_to_one_role(emulator: Emulator) -> None:
    reserved = entry(emulator, "reserved", "r")
    with pytest.raises(ClientError, match="AccessDeniedException"):
        emulator.client("events").put_events(Entries=[entry(emulator, "open", "o"), reserved])
    assert emulator.client_of_function("events").put_events(Entries=[reserved])["FailedEntryCount"] == 0
    assert received(emulator, "r", "every")


def test_a_replay_reaches_the_rules_that_it_names_and_no_rule_for_live_events(emulator: Emulator) -> None:
    events, began = emulator.client("events"), time.time() - 60
    events.put_events(Entries=[entry(emulator, "open", "f")])
    assert received(emulator, "f", "every", "live")

    def replay(name: str, *rules: str) -> None:
        arns = [emulator.outputs[f"{rule.title()}Rule"] for rule in rules]
        events.start_replay(
            ReplayName=name,
            EventSourceArn=emulator.outputs["Archive"],
            EventStartTime=began,
            EventEndTime=time.time() + 60,
            Destination={"Arn": emulator.outputs["BusArn"], "FilterArns": arns},
        )
        eventually(lambda: events.describe_replay(ReplayName=name)["State"] == "COMPLETED")
        assert received(emulator, "f", *rules)

    replay("one", "other")
    replay("two", "other", "every")


def test_a_stack_is_not_deleted_while_its_bus_has_another_rule(emulator: Emulator) -> None:
    name, events, cloudformation = f"t-{uuid.uuid4().hex}", emulator.client("events"), emulator.client("cloudformation")
    rule = {"EventBusName": {"Ref": "Bus"}, "EventPattern": {"source": ["own"]}}
    resources = {
        "Bus": {"Type": "AWS::Events::EventBus", "Properties": {"Name": name}},
        "Rule": {"Type": "AWS::Events::Rule", "Properties": rule},
    }

    def becomes(status: str) -> bool:
        (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
        return bool(stack["StackStatus"] == status)

    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": resources}))
    eventually(lambda: becomes("CREATE_COMPLETE"))
    events.put_rule(Name="other", EventBusName=name, EventPattern='{"source": ["other"]}')

    cloudformation.delete_stack(StackName=name)
    eventually(lambda: becomes("DELETE_FAILED"))
    with pytest.raises(ClientError, match="EventBus can't be deleted since it has rules"):
        events.delete_event_bus(Name=name)
    events.delete_rule(Name="other", EventBusName=name)
    cloudformation.delete_stack(StackName=name)
    eventually(lambda: name not in [bus["Name"] for bus in events.list_event_buses()["EventBuses"]])
