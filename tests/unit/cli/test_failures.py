"""Stream records that could not be published: removed only once they are on the bus."""

import json
from typing import Any

import pytest

from cli.answer import RefusedError
from tests.unit.builders import TASK_ID
from tests.unit.cli.conftest import Ask, Deployment, Refused, Run

RECORD = {"dynamodb": {"SequenceNumber": "7", "Keys": {"pk": {"S": f"task#{TASK_ID}"}}}}


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The numbers of published records; the publisher cannot publish number 666, and fails at 500."""
    numbers: list[Any] = []

    def publish(records: list[Any], _: object, consumer: str) -> list[str]:
        given = [record["dynamodb"]["SequenceNumber"] for record in records]
        if "500" in given:
            raise RefusedError("publish-events failed")
        numbers.extend(f"{number}{'$' * (consumer == 'RecordSpending')}" for number in given if number != "666")
        return [number for number in given if number == "666"]

    monkeypatch.setattr("cli.failures.publish_again", publish)
    return numbers


def put(deployment: Deployment, key: str, content: Any) -> None:
    body = json.dumps(content).encode()
    deployment.client("s3").put_object(Bucket=deployment.resources["FailuresBucket"], Key=key, Body=body)


def numbered(*numbers: str) -> dict[str, Any]:
    """A failure as Lambda writes it: the whole event as text."""
    records = [{"dynamodb": {**RECORD["dynamodb"], "SequenceNumber": number}} for number in numbers]
    return {"requestContext": {}, "payload": json.dumps({"Records": records})}


def test_failures_are_listed_with_their_tasks(relay: Run, ask: Ask, deployment: Deployment) -> None:
    assert relay("failures", "list")[1] == "No failures.\n"
    for key, content in {"a/b": numbered("1", "2"), "b": {"payload": {"Records": [RECORD]}}, "c": {}}.items():
        put(deployment, key, content)
    listed = {failure["key"]: failure["tasks"] for failure in ask("failures", "list")["failures"]}
    assert listed == {"a/b": [TASK_ID], "b": [TASK_ID], "c": []}
    assert "unreadable" in relay("failures", "list")[1]


def test_objects_are_removed_once_all_their_records_are_published(
    ask: Ask, refused: Refused, deployment: Deployment, published: list[Any]
) -> None:
    for key, numbers in (("a", ("1", "2")), ("b", ("3", "666", "4")), ("c", ("500",)), ("d", ("5",)), ("e", ("6",))):
        put(deployment, key, numbered(*numbers))
    assert ask("failures", "republish", "e") == {"published": 1, "removed": 1, "left": []}
    answer = ask("failures", "republish")
    assert (answer["published"], answer["removed"]) == (5, 2)
    reasons = {left["key"]: left["reason"] for left in answer["left"]}
    assert reasons == {"b": "records 666 could not be processed", "c": "publish-events failed"}
    assert published == ["6", "1", "2", "3", "4", "5"]
    assert [failure["key"] for failure in ask("failures", "list")["failures"]] == ["b", "c"]
    assert "failures list" in refused("failures", "republish", "e")


def test_record_goes_back_to_the_function_that_could_not_process_it(
    ask: Ask, deployment: Deployment, published: list[Any]
) -> None:
    arn = "arn:aws:lambda:eu-central-1:123456789012:function:vidu-relay-RecordSpending-1A2B:$LATEST"
    put(deployment, "record_spending/1.json", numbered("1"))
    put(deployment, "aws/lambda/2", {**numbered("2"), "requestContext": {"functionArn": arn}})
    put(deployment, "publish_events/3.json", numbered("3"))
    assert ask("failures", "republish")["left"] == []
    assert sorted(published) == ["1$", "2$", "3"]


@pytest.mark.parametrize(
    "content",
    [None, [], {}, {"payload": "x"}, {"payload": "{}"}, {"payload": {"Records": [{}]}}, {"payload": {"Records": 1}}],
)
def test_object_without_records_stays(
    ask: Ask, refused: Refused, deployment: Deployment, published: list[Any], content: Any
) -> None:
    put(deployment, "a", content)
    (left,) = ask("failures", "republish")["left"]
    assert (left["key"], "nothing can be published" in left["reason"]) == ("a", True)
    assert "nothing can be published" in refused("failures", "republish", "a")
    assert (published, len(ask("failures", "list")["failures"])) == ([], 1)
