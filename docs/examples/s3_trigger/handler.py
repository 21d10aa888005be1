"""Takes each video that arrives in the relay's videos bucket. It is whole, and it is never overwritten."""

from typing import Any


def handler(event: dict[str, Any], context: object) -> None:
    video = event["detail"]["object"]
    _, tenant, _year, _month, _day, task_id, name = video["key"].split("/")
    print(tenant, task_id, name, video["size"])
