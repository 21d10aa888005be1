"""The example in docs/examples/consumer, deployed beside the relay, and the events that docs/consuming.md shows."""

import importlib.metadata
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

from local.build import BUCKET
from local.client import RelayClient
from tests.documents import ROOT, blocks
from tests.e2e.queues import messages_until, take_all
from tests.e2e.waiting import wait_until

PAGE = "docs/consuming.md"
EXAMPLE = ROOT / "docs" / "examples" / "consumer"
CONSUMER = "consumer"
CODE = "consumer.zip"
RUNTIME = (
    "annotated-types", "aws-lambda-powertools", "boto3", "botocore", "jmespath", "pydantic", "pydantic-core",
    "python-dateutil", "s3transfer", "six", "typing-extensions", "typing-inspection", "urllib3",
)  # fmt: skip
SERVICES = {"dynamodb", "sqs"}
"""Of the SDK's data, which is large, what the examples call."""

REQUEST = {"model": "viduq2_pro_fast_reference2video", "prompt": "a fox for the consumers", "duration": 1}

Body = dict[str, Any]


def template() -> str:
    """The example's template, its code where the test has put it."""
    return (EXAMPLE / "template.yaml").read_text().replace("CodeUri: src/", f"CodeUri: s3://{BUCKET}/{CODE}")


def handlers() -> dict[str, str]:
    """The example's Python files, by name."""
    return {path.name: path.read_text() for path in (EXAMPLE / "src").glob("*.py")}


def printed_events() -> list[Body]:
    """The events among the page's JSON."""
    return [event for block in blocks(PAGE, "json") if "detail-type" in (event := json.loads(block))]


def code() -> bytes:
    """The example's Python files and the relay's models, as `sam package` would zip the folder."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name, source in handlers().items():
            file.writestr(name, source)
        file.write(ROOT / "docs" / "schemas" / "events.py", "events.py")
    return archive.getvalue()


def runtime() -> bytes:
    """What a function finds on Lambda besides its code: Powertools in the public layer, and the SDK in the runtime."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name in RUNTIME:
            for path in importlib.metadata.distribution(name).files or ():
                of_a_service = path.parts[:2] == ("botocore", "data") and len(path.parts) > 3
                if path.suffix == ".pyc" or ".." in path.parts or (of_a_service and path.parts[2] not in SERVICES):
                    continue
                file.write(str(path.locate()), f"python/{path}")
    return archive.getvalue()


@pytest.fixture(scope="module")
def consumer(relay: RelayClient) -> Iterator[dict[str, str]]:
    """The deployed examples: physical ids by logical ones."""
    relay.aws("s3").put_object(Bucket=BUCKET, Key=CODE, Body=code())
    cloudformation = relay.aws("cloudformation")
    published = relay.aws("lambda").publish_layer_version(LayerName="Powertools", Content={"ZipFile": runtime()})
    layer = published["LayerVersionArn"]
    parameters = {"RelayBus": relay.stack.bus, "VideosBucket": relay.stack.videos_bucket, "PowertoolsLayer": layer}
    cloudformation.create_stack(
        StackName=CONSUMER,
        TemplateBody=template(),
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )

    def ended() -> str | None:
        status = str(cloudformation.describe_stacks(StackName=CONSUMER)["Stacks"][0]["StackStatus"])
        return None if status.endswith("_IN_PROGRESS") else status

    status = wait_until(ended, "the consumer")
    resources = cloudformation.describe_stack_resources(StackName=CONSUMER)["StackResources"]
    assert status == "CREATE_COMPLETE", resources
    yield {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources}
    cloudformation.delete_stack(StackName=CONSUMER)


@pytest.fixture(scope="module")
def completed(relay: RelayClient, consumer: dict[str, str]) -> Body:
    """A task that was completed while the consumers existed."""
    return relay.wait(relay.submit(REQUEST | {"images": [relay.image("fox.png")]})["task_id"], "completed")


@pytest.fixture(scope="module")
def event(relay: RelayClient, consumer: dict[str, str], completed: Body) -> Body:
    """The task's event that arrived in the example's queue."""
    bodies = messages_until(relay, consumer["FinishedVideos"], lambda body: completed["task_id"] in body)
    found: Body = json.loads(bodies[0])
    return found


def item(relay: RelayClient, table: str, key: dict[str, str]) -> Body | None:
    """An item of a consumer's table, its values bare."""
    wanted = {name: {"S": value} for name, value in key.items()}
    found = relay.aws("dynamodb").get_item(TableName=table, Key=wanted, ConsistentRead=True).get("Item")
    return {name: next(iter(value.values())) for name, value in found.items()} if found else None


def invoke(relay: RelayClient, function: str, event: Body) -> None:
    reply = relay.aws("lambda").invoke(FunctionName=function, Payload=json.dumps(event))
    assert "FunctionError" not in reply, reply["Payload"].read()


def shape(value: Any) -> Any:
    """The names in a JSON value, and the kinds of what they hold."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return type(value) if not isinstance(value, float) else int


def test_event_on_the_page_looks_like_the_one_that_comes(event: Body, completed: Body) -> None:
    printed, _ = printed_events()
    come = deepcopy(event)

    for one in (printed, come):
        del one["detail"]["task"]["request"]  # is what the client gave
    assert shape(come) == shape(printed)
    assert event["detail"]["event_id"] == f"{completed['task_id']}:{completed['version']}"
    assert event["detail"]["task"]["videos"] == completed["videos"]


def test_rejection_on_the_page_looks_like_the_one_that_comes(relay: RelayClient) -> None:
    _, printed = printed_events()
    event_id = relay.put_event({"request": REQUEST | {"images": [relay.image("fox.png")], "duration": 9}})
    event = relay.rejection(relay.stack.event_source, event_id)

    assert shape(event) == shape(printed)
    for one in (printed, event):
        del one["detail"]["error"]["title"]  # is Python's name of the status, which changed in 3.13
    assert event["detail"]["error"] == printed["detail"]["error"]
    assert event["detail"]["event_id"] == f"{event_id}:rejected"


def test_latest_state_is_kept_whatever_is_repeated_or_overtaken(
    relay: RelayClient, consumer: dict[str, str], event: Body, completed: Body
) -> None:
    key, video = {"task_id": completed["task_id"]}, completed["videos"][0]

    def kept() -> Body | None:
        found = item(relay, consumer["Latest"], key)
        return found if found and found["task_status"] == "completed" else None

    before = wait_until(kept, "the latest state")
    assert before["videos"] == [{"S": f"s3://{video['bucket']}/{video['key']}"}]
    older = json.loads(json.dumps(event))
    older["detail"]["task"] |= {"version": 2, "status": "submitted", "videos": []}
    for late in (older, event):
        invoke(relay, consumer["KeepLatest"], late)
    assert item(relay, consumer["Latest"], key) == before


def test_booking_is_made_once_for_an_event_that_comes_twice(
    relay: RelayClient, consumer: dict[str, str], event: Body, completed: Body
) -> None:
    bookings = messages_until(relay, consumer["Bookings"], lambda body: completed["task_id"] in body)
    first = completed["version"] - len(completed["history"]) + 1
    version = first + [entry["status"] for entry in completed["history"]].index("generated")
    event_id = f"{completed['task_id']}:{version}"
    again = {**event, "id": "another", "detail": {**event["detail"], "event_id": event_id}}
    invoke(relay, consumer["AnnounceOnce"], again)
    bookings += [body for body in take_all(relay, consumer["Bookings"]) if completed["task_id"] in body]
    assert bookings == [f"{completed['task_id']} {completed['usage']['cost']}"]


def test_object_in_the_bucket_is_indexed(relay: RelayClient, consumer: dict[str, str], completed: Body) -> None:
    video = completed["videos"][0]
    entry = wait_until(lambda: item(relay, consumer["Index"], {"key": video["key"]}), "the index entry")
    assert entry == {
        "key": video["key"],
        "tenant_id": relay.stack.tenant_id,
        "task_id": completed["task_id"],
        "size": str(video["size"]),
    }


def test_replay_feeds_the_one_consumer_that_it_names(
    relay: RelayClient, consumer: dict[str, str], completed: Body
) -> None:
    outputs = {
        name: {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        for name in (relay.stack.stack_name, CONSUMER)
        for stack in relay.aws("cloudformation").describe_stacks(StackName=name)["Stacks"]
    }
    archive, rule = outputs[relay.stack.stack_name]["EventArchiveName"], outputs[CONSUMER]["FinishedVideosRuleArn"]
    environment = {
        **os.environ,
        "AWS_ENDPOINT_URL": relay.stack.aws_endpoint_url,
        "AWS_CA_BUNDLE": relay.stack.aws_ca_bundle or "",
        "AWS_DEFAULT_REGION": relay.stack.region,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    command = [sys.executable, str(EXAMPLE / "replay_to_one.py"), archive, rule, "1"]
    name = subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout.strip()  # noqa: S603 - the example's script
    describe = relay.aws("events").describe_replay
    wait_until(lambda: describe(ReplayName=name)["State"] == "COMPLETED", "the end of the replay")
    event_id = f"{completed['task_id']}:{completed['version']}"
    bodies = messages_until(
        relay, consumer["FinishedVideos"], lambda body: name in body, lambda found: event_id in "".join(found)
    )
    assert {json.loads(body)["detail-type"] for body in bodies} == {"VideoTaskCompleted"}
    # the stack's own queue gets every event of the bus: of this replay it got none
    elsewhere = [*relay.new_events(completed["task_id"]), *relay.new_events("")]
    assert [event for event in elsewhere if event.get("replay-name") == name] == []


def test_every_python_file_of_the_example_is_a_handler_that_is_deployed() -> None:
    names = [name.removesuffix(".py") for name in handlers()]

    assert sorted(re.findall(r"Handler: (\w+)\.handler", template())) == sorted(names)
