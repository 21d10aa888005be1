"""Reads task events from an SQS queue that a rule on the relay's bus fills: `python3 sqs_consumer.py QUEUE_URL`.

A message is deleted only after it was handled, so that a crash loses none. SQS and EventBridge may repeat and reorder:
the task's latest version is kept in memory here; keep it in a table. Needs boto3 and `sqs:ReceiveMessage` and
`sqs:DeleteMessage`.
"""

import json
import sys
from typing import Any

import boto3

latest: dict[str, int] = {}


def handle(event: dict[str, Any]) -> None:
    """Take one event."""
    task = event["detail"].get("task")  # `VideoTaskRejected` and `VideoTaskNotificationFailed` have none
    if task and task["version"] > latest.get(task["task_id"], 0):  # neither repeated nor overtaken
        latest[task["task_id"]] = task["version"]
        print(task["task_id"], task["status"], *(f"s3://{one['bucket']}/{one['key']}" for one in task["videos"]))


def consume(sqs: Any, queue_url: str) -> int:
    """Wait for messages, 20 seconds at most, and handle up to ten; how many there were."""
    reply = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=20)
    messages = reply.get("Messages", [])
    for message in messages:
        handle(json.loads(message["Body"]))
        sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
    return len(messages)


if __name__ == "__main__":
    while True:
        consume(boto3.client("sqs"), sys.argv[1])
