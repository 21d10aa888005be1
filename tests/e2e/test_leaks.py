"""Canaries: secrets and signed links are put everywhere a secret can be, and searched for in all that a run wrote.

The table in docs/security.md says what may stand where, and nothing else may; what it says may be there must be there.
"""

import json
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.client import RelayClient
from local.stack import LocalStack
from tests.canaries import Searcher
from tests.documents import table
from tests.e2e.attempts import listed
from tests.e2e.leak_scenario import PLACES, Run, canary, everything_happens
from tests.e2e.waiting import wait_until
from tests.e2e.watched import GENERATION_SECONDS, PARAMETERS

DOCUMENT, MARK = "docs/security.md", "<!-- secrets: a test looks for each of them everywhere -->"

Body = dict[str, Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The whole run on a stack of its own, everything that it wrote gathered."""
    provider_key = f"sk-{secrets.token_urlsafe(32)}"
    local_stack = LocalStack(
        tmp_path_factory.mktemp("leaks"),
        parameters={
            **PARAMETERS,
            "CallbackSignature": "verify-if-present",
            "TrustedOrigins": "http://127.0.0.1:*",
        },
        provider_key=provider_key,
        generation_seconds=GENERATION_SECONDS,
    )
    with local_stack as stack:
        relay = RelayClient(stack)
        found = relay.resources()
        contents = []
        for name in ("CallbackSecret", "WebhookSecret"):
            secret = relay.aws("secretsmanager").get_secret_value(SecretId=found[name])
            contents.append(json.loads(secret["SecretString"]))
        callback_keys, webhook_keys = contents
        keys = {
            "the provider's API key": provider_key,
            "the callback keys": callback_keys["k1"],
            "the webhooks' master key": next(value for value in webhook_keys.values() if len(value) > 20),
            "API keys": stack.api_key,
        }
        run = Run(relay, keys | canaries())
        everything_happens(run, found, callback_keys)
        gather(run, found)
        yield run
        relay.close()


def canaries() -> dict[str, str | bytes]:
    """What is secret in the scenario besides keys; two are what marks a signed link."""
    return {
        "what strangers take for keys and tokens": secrets.token_urlsafe(32),
        "the provider's signed links": "Signature=v1/+",
        "our presigned links": "X-Amz-Signature=",
        "idempotency keys": f"key-{secrets.token_hex(12)}",
        "the prompt": canary("prompt"),
        "a short payload": canary("payload"),
        "a long payload": canary("long") + secrets.token_hex(160),
        "a short meta_data": secrets.token_hex(16),
        "a long meta_data": secrets.token_hex(16),
        "image bytes": secrets.token_bytes(64),
        "what makes a client's image link work": secrets.token_hex(16),
        "the client's callback_url": secrets.token_hex(16),
        "what a webhook's receiver answers": canary("answer"),
        "an uploaded image": secrets.token_bytes(64),
        "what a dropped file holds": canary("dropped"),
        "what a line of a batch holds": canary("line"),
        "what an event asks for": canary("event"),
        "what a refused file or event holds": canary("rejected"),
        "what was refused": canary("refused"),
        "what a message holds": canary("queue"),
        "a broken secret": canary("broken"),
    }


def gather(run: Run, found: dict[str, str]) -> None:
    """Everything that the run wrote, by the kind of place."""
    relay, keep = run.relay, run.keep
    replay(relay, found)
    for group in relay.aws("logs").describe_log_groups()["logGroups"]:
        name = group["logGroupName"]
        for event in listed(relay, "logs", "filter_log_events", "events", logGroupName=name):
            keep("logs", event["message"])
    for place, name in (("records", relay.stack.table), ("ledger", found["LedgerTable"])):
        for item in listed(relay, "dynamodb", "scan", "Items", TableName=name):
            keep(place, item)
    for place in ("inbox", "videos bucket", "failures bucket"):
        bucket = found[place.removesuffix(" bucket").capitalize() + "Bucket"]
        for one in relay.aws("s3").list_object_versions(Bucket=bucket).get("Versions", []):
            reply = relay.aws("s3").get_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])
            keep(place, reply.pop("Body").read())
            keep(place, [one["Key"], reply])
    gather_queues(run, found)
    states = relay.aws("stepfunctions")
    for execution in states.list_executions(stateMachineArn=relay.stack.state_machine_arn)["executions"]:
        keep("executions", states.describe_execution(executionArn=execution["executionArn"]))
        keep("executions", states.get_execution_history(executionArn=execution["executionArn"])["events"])
    keep("metrics", listed(relay, "cloudwatch", "list_metrics", "Metrics"))
    cloudformation, of_ours = relay.aws("cloudformation"), {"StackName": relay.stack.stack_name}
    keep("stack", [cloudformation.describe_stacks(**of_ours), cloudformation.describe_stack_events(**of_ours)])
    describe = relay.aws("lambda").get_function_configuration
    keep("stack", [describe(FunctionName=function) for function in relay.stack.functions.values()])
    keep("stack", relay.aws("cloudwatch").describe_alarms()["MetricAlarms"])


def gather_queues(run: Run, found: dict[str, str]) -> None:
    """Every message of every queue, whole; they are taken out."""
    sqs, places = run.relay.aws("sqs"), {found["DeliveriesDeadLetters"]: "dead-letter queue"}
    places[run.relay.stack.events_queue_url] = "events"
    for url in sqs.list_queues()["QueueUrls"]:
        whole = {"MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"], "AttributeNames": ["All"]}
        while messages := sqs.receive_message(QueueUrl=url, **whole).get("Messages", []):
            for message in messages:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                place = places.get(url, "other queues")
                if place != "events" or json.loads(message["Body"])["source"] == "vidu-relay":  # the others: not ours
                    run.keep(place, message)


def replay(relay: RelayClient, found: dict[str, str]) -> None:
    """What the archive holds is published once more, into the bus's queue."""
    events, name = relay.aws("events"), f"replay-{secrets.token_hex(4)}"
    archive = events.describe_archive(ArchiveName=found["EventArchive"])
    assert archive["EventCount"] > 0
    events.start_replay(
        ReplayName=name,
        EventSourceArn=archive["ArchiveArn"],
        EventStartTime=datetime.now(UTC) - timedelta(hours=1),
        EventEndTime=datetime.now(UTC) + timedelta(minutes=1),
        Destination={"Arn": archive["EventSourceArn"]},
    )
    wait_until(lambda: events.describe_replay(ReplayName=name)["State"] == "COMPLETED", "the end of the replay")


def search(run: Run) -> dict[str, set[str]]:
    """The places of each secret; several of one kind, which are numbered, under one name."""
    searcher = Searcher(run.secrets)
    found: dict[str, set[str]] = {name.partition(" (")[0]: set() for name in run.secrets}
    for place, contents in run.contents.items():
        for content in dict.fromkeys(contents):
            for name in searcher.find(content):
                found[name.partition(" (")[0]].add(place)
    return found


def test_each_secret_stands_where_the_document_says_and_nowhere_else(run: Run) -> None:
    said = {name: set(cell.split(", ")) - {"nowhere"} for name, (cell, *_) in table(DOCUMENT, MARK).items()}

    assert set().union(*said.values()) <= PLACES
    assert search(run) == said


def test_every_fault_was_met_and_every_place_written_to(run: Run) -> None:
    logs = "\n".join(str(line) for line in run.contents["logs"])
    signs = (
        *("submission_unconfirmed", "submission_not_created", "delivery_failed", "callback_refused", "request_refused"),
        *("record_unreadable", "check_read_failed", "key_refused", "AccessDenied", "ConfigurationError"),
        *("the message names no task", "stackTrace"),
    )
    assert [sign for sign in signs if sign not in logs] == []
    assert {place for place, contents in run.contents.items() if not contents} <= {"other queues"}


def test_injected_leak_is_found_in_the_places_where_the_document_allows_no_secret(run: Run) -> None:
    """The search can fail there, too; `tests/unit/test_canaries.py` has the encodings."""
    relay, found, key = run.relay, run.relay.resources(), run["the provider's API key"]
    relay.aws("s3").put_object(Bucket=relay.stack.videos_bucket, Key=f"videos/{key[:20]}.mp4", Body=b"")
    relay.aws("s3").put_object(Bucket=found["FailuresBucket"], Key="injected", Metadata={"x": key.encode().hex()})
    relay.aws("sqs").send_message(QueueUrl=found["UnroutedEvents"], MessageBody=json.dumps(json.dumps(f'"{key}"')))
    relay.aws("cloudwatch").put_metric_data(Namespace="Injected", MetricData=[{"MetricName": key, "Value": 1}])
    relay.aws("stepfunctions").start_execution(
        stateMachineArn=relay.stack.state_machine_arn, input=json.dumps({"task_id": key, "lease": 0})
    )

    again = Run(relay, {"the provider's API key": key})
    gather(again, found)

    places = {"failures bucket", "videos bucket", "other queues", "metrics", "executions"}
    # the function that got the key as a task's id logs that it is none
    assert search(again)["the provider's API key"] - {"logs"} == places
