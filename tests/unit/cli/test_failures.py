"""Stream records that could not be published: out of the bucket only once they are on the bus."""

import json
from typing import Any

import pytest

from cli.answer import RefusedError
from tests.unit.builders import TASK_ID
from tests.unit.cli.conftest import Deployment, Run

RECORD = {"dynamodb": {"SequenceNumber": "7", "Keys": {"pk": {"S": f"task#{TASK_ID}"}}}}


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the publisher is given; a record with the number 666 it cannot publish, at 500 it fails."""
    given: list[Any] = []

    def publish(records: list[Any], _: object) -> list[str]:
        numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
        if "500" in numbers:
            raise RefusedError("publish-events failed")
        given.extend(number for number in numbers if number != "666")
        return [number for number in numbers if number == "666"]

    monkeypatch.setattr("cli.failures.publish_again", publish)
    return given


def put(deployment: Deployment, key: str, content: Any) -> None:
    deployment.client("s3").put_object(
        Bucket=deployment.resources["FailuresBucket"], Key=key, Body=json.dumps(content).encode()
    )


def numbered(*numbers: str) -> dict[str, Any]:
    """A failure as Lambda writes it: the whole event as text."""
    records = [{"dynamodb": {**RECORD["dynamodb"], "SequenceNumber": number}} for number in numbers]
    return {"requestContext": {}, "payload": json.dumps({"Records": records})}


def keys(ask: Any) -> list[str]:
    return [failure["key"] for failure in ask("failures", "list")["failures"]]


def test_failures_are_listed_with_their_tasks(relay: Run, ask: Any, deployment: Deployment) -> None:
    assert relay("failures", "list")[1] == "No failures.\n"
    put(deployment, "aws/lambda/a", numbered("1", "2"))
    put(deployment, "b", {"payload": {"Records": [RECORD]}})
    put(deployment, "c", {})
    assert {f["key"]: f["tasks"] for f in ask("failures", "list")["failures"]} == {
        "aws/lambda/a": [TASK_ID],
        "b": [TASK_ID],
        "c": [],
    }
    assert "unreadable" in relay("failures", "list")[1]


def test_only_what_got_through_whole_is_removed(ask: Any, deployment: Deployment, handed: list[Any]) -> None:
    for key, numbers in (("a", ("1", "2")), ("b", ("3", "666", "4")), ("c", ("500",)), ("d", ("5",))):
        put(deployment, key, numbered(*numbers))
    answer = ask("failures", "republish")
    assert (answer["published"], answer["removed"]) == (5, 2)
    assert {left["key"]: left["reason"] for left in answer["left"]} == {
        "b": "records 666 could not be published",
        "c": "publish-events failed",
    }
    assert handed == ["1", "2", "3", "4", "5"]
    assert keys(ask) == ["b", "c"]


def test_one_object_is_published_by_its_key(relay: Run, ask: Any, deployment: Deployment, handed: list[Any]) -> None:
    for key in ("a", "b"):
        put(deployment, key, numbered(key))
    assert ask("failures", "republish", "b") == {"published": 1, "removed": 1, "left": []}
    assert (handed, keys(ask)) == (["b"], ["a"])
    status, _, complaint = relay("failures", "republish", "b")
    assert (status, "failures list" in complaint) == (1, True)


@pytest.mark.parametrize(
    "content",
    [None, [], {}, {"payload": "x"}, {"payload": "{}"}, {"payload": {"Records": [{}]}}, {"payload": {"Records": 1}}],
)
def test_object_that_is_no_failure_stays_and_is_said(
    relay: Run, deployment: Deployment, handed: list[Any], ask: Any, content: Any
) -> None:
    put(deployment, "a", content)
    (left,) = ask("failures", "republish")["left"]
    assert "nothing can be published" in left["reason"]
    assert relay("failures", "republish", "a")[0] == 1
    assert (handed, keys(ask)) == ([], ["a"])
