"""Takes the event of each completed task. It may come twice: `event_id` (`<task_id>:<version>`) stays the same."""

from typing import Any


def handler(event: dict[str, Any], context: object) -> None:
    task = event["detail"]["task"]
    for video in task["videos"]:
        print(event["detail"]["event_id"], f"s3://{video['bucket']}/{video['key']}", video["size"], video["sha256"])
