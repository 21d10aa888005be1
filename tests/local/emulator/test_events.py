"""What EventBridge takes and hands on: calls below 1 MB, to queues and topics whose policy allows it."""

import json
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


def a_queue(emulator: Emulator, name: str) -> tuple[str, str, Callable[[Statement], Any]]:
    """Address and ARN of a queue without a policy, and what gives it one."""
    sqs = emulator.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return (
        url,
        arn,
        lambda statement: sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document(statement)}),
    )


def a_topic(emulator: Emulator, name: str) -> tuple[str, str, Callable[[Statement], Any]]:
    """Address of a queue behind a topic, the topic's ARN, and what sets the topic's policy."""
    sns = emulator.client("sns")
    url, queue, set_policy = a_queue(emulator, name)
    set_policy(allow("sns", "sqs:SendMessage", queue))
    arn = sns.create_topic(Name=name)["TopicArn"]
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue)
    policy = {"TopicArn": arn, "AttributeName": "Policy"}
    return url, arn, lambda statement: sns.set_topic_attributes(**policy, AttributeValue=document(statement))


def document(statement: Statement) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.mark.parametrize(("sizes", "taken"), [((500_000, 500_000), True), ((600_000, 600_000), False)])
def test_entries_of_together_1_mb_are_refused_as_a_whole(
    emulator: Emulator, sizes: tuple[int, ...], taken: bool
) -> None:
    details = [json.dumps({"x": "x" * size}) for size in sizes]
    entries = [{"Source": "large", "DetailType": "t", "Detail": detail} for detail in details]
    if taken:
        assert emulator.client("events").put_events(Entries=entries)["FailedEntryCount"] == 0
    else:
        with pytest.raises(ClientError, match="Total size of the entries in the request is over the limit"):
            emulator.client("events").put_events(Entries=entries)
