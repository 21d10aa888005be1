"""Queues of the stack on this machine that get its events and its alarms."""

import json
from collections.abc import Callable
from typing import Any

Clients = Callable[[str], Any]
"""A client of an AWS service, by its name."""


def create_events_queue(clients: Clients, name: str, bus: str) -> str:
    """A queue with every event of the bus, whole, as EventBridge sends it; its address."""
    account, events = clients("sts").get_caller_identity()["Account"], clients("events")
    rule = events.put_rule(
        Name=name, EventBusName=bus, EventPattern=json.dumps({"account": [account]}), State="ENABLED"
    )["RuleArn"]
    url, arn = _create_queue(clients, name, "events.amazonaws.com", rule)
    events.put_targets(Rule=name, EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
    return url


def create_alarms_queue(clients: Clients, name: str, topic: str) -> None:
    """A queue that is subscribed to the alarms' topic."""
    _, arn = _create_queue(clients, name, "sns.amazonaws.com", topic)
    clients("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)


def _create_queue(clients: Clients, name: str, service: str, source: str) -> tuple[str, str]:
    """A queue that a service may fill from one source; its address and ARN."""
    sqs = clients("sqs")
    url: str = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn: str = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": source}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    return url, arn
