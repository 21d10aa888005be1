"""What a template declares is what there is."""

import json
import re
import time

import pytest
from botocore.exceptions import ClientError

from tests.local.probe import Emulator, eventually


def test_ref_of_a_secret_is_its_arn_and_its_value_has_no_punctuation(emulator: Emulator) -> None:
    arn = emulator.outputs["Secret"]
    assert arn.startswith("arn:aws:secretsmanager:")
    value = emulator.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]
    assert re.fullmatch("[A-Za-z0-9]{200}", json.loads(value)["key"])


def test_a_table_has_its_expiry_and_its_recovery(emulator: Emulator) -> None:
    dynamodb, table = emulator.client("dynamodb"), emulator.outputs["Table"]
    expiry = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}
    backups = dynamodb.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"


def test_roles_may_do_only_what_they_are_allowed_to(emulator: Emulator) -> None:
    answer = json.loads(
        emulator.client("lambda").invoke(FunctionName=emulator.outputs["Probe"], Payload=b"{}")["Payload"].read()
    )
    as_function = emulator.session_of(answer["environment"])
    as_function("dynamodb").put_item(TableName=emulator.outputs["Table"], Item={"pk": {"S": "allowed"}})
    with pytest.raises(ClientError) as refusal:
        as_function("dynamodb").get_item(TableName=emulator.outputs["Table"], Key={"pk": {"S": "allowed"}})
    assert refusal.value.response["Error"]["Code"] == "AccessDeniedException"


def test_a_bus_policy_keeps_a_source_to_one_role(emulator: Emulator) -> None:
    entry = {"EventBusName": emulator.outputs["Bus"], "Source": "reserved", "DetailType": "t", "Detail": '{"id": "r"}'}
    with pytest.raises(ClientError) as refusal:
        emulator.client("events").put_events(Entries=[{**entry, "Source": "open"}, entry])
    assert refusal.value.response["Error"]["Code"] == "AccessDeniedException"
    answer = json.loads(
        emulator.client("lambda").invoke(FunctionName=emulator.outputs["Probe"], Payload=b"{}")["Payload"].read()
    )
    reply = emulator.session_of(answer["environment"])("events").put_events(Entries=[entry])
    assert reply["FailedEntryCount"] == 0
    assert next_messages(emulator, 1) == [{"every": "r"}]


def test_a_replay_reaches_consumers_and_not_rules_for_live_events(emulator: Emulator) -> None:
    events = emulator.client("events")
    began = time.time() - 60
    entry = {"EventBusName": emulator.outputs["Bus"], "Source": "open", "DetailType": "t", "Detail": '{"id": "o"}'}
    events.put_events(Entries=[entry])
    assert sorted(map(str, next_messages(emulator, 2))) == ["{'every': 'o'}", "{'live': 'o'}"]
    events.start_replay(
        ReplayName="again",
        EventSourceArn=emulator.outputs["Archive"],
        EventStartTime=began,
        EventEndTime=time.time() + 60,
        Destination={"Arn": emulator.outputs["BusArn"]},
    )
    eventually(lambda: events.describe_replay(ReplayName="again")["State"] == "COMPLETED")
    assert next_messages(emulator, 1) == [{"every": "o"}]
    assert next_messages(emulator, 0) == []


def test_a_replay_with_a_filter_reaches_only_the_rules_that_it_names(emulator: Emulator) -> None:
    events = emulator.client("events")
    began = time.time() - 60
    entry = {"EventBusName": emulator.outputs["Bus"], "Source": "open", "DetailType": "t", "Detail": '{"id": "f"}'}
    events.put_events(Entries=[entry])
    assert sorted(map(str, next_messages(emulator, 2))) == ["{'every': 'f'}", "{'live': 'f'}"]

    def replay(name: str, *rules: str) -> None:
        destination = {"Arn": emulator.outputs["BusArn"], "FilterArns": [emulator.outputs[rule] for rule in rules]}
        events.start_replay(
            ReplayName=name,
            EventSourceArn=emulator.outputs["Archive"],
            EventStartTime=began,
            EventEndTime=time.time() + 60,
            Destination=destination,
        )
        eventually(lambda: events.describe_replay(ReplayName=name)["State"] == "COMPLETED")

    replay("other-alone", "OtherRule")
    assert [message for message in next_messages(emulator, 1) if "f" in message.values()] == [{"other": "f"}]
    replay("both", "OtherRule", "EveryRule")
    got = sorted(str(message) for message in next_messages(emulator, 2) if "f" in message.values())
    assert got == ["{'every': 'f'}", "{'other': 'f'}"]


def test_a_standard_queue_gets_the_message_group_that_its_rule_takes_from_the_event(emulator: Emulator) -> None:
    events, sqs, queue = emulator.client("events"), emulator.client("sqs"), emulator.outputs["Queue"]
    (rule,) = (r for r in events.list_rules(EventBusName=emulator.outputs["Bus"])["Rules"] if "LiveRule" in r["Name"])
    (target,) = events.list_targets_by_rule(Rule=rule["Name"], EventBusName=emulator.outputs["Bus"])["Targets"]
    grouped = {**target, "SqsParameters": {"MessageGroupId": "$.detail.tenant"}}
    entry = {"EventBusName": emulator.outputs["Bus"], "Source": "open", "DetailType": "t"}
    seen: dict[str, str | None] = {}

    def received() -> bool:
        reply = sqs.receive_message(
            QueueUrl=queue, MaxNumberOfMessages=10, MessageSystemAttributeNames=["MessageGroupId"]
        )
        for message in reply.get("Messages", []):
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            seen[message["Body"]] = message.get("Attributes", {}).get("MessageGroupId")
        return len(seen) == 2

    events.put_targets(Rule=rule["Name"], EventBusName=emulator.outputs["Bus"], Targets=[grouped])
    try:
        events.put_events(Entries=[{**entry, "Detail": '{"id": "g", "tenant": "acme"}'}])
        eventually(received)
    finally:
        events.put_targets(Rule=rule["Name"], EventBusName=emulator.outputs["Bus"], Targets=[target])
    assert seen == {'{"live": "g"}': "acme", '{"every": "g"}': None}


def test_registry_keeps_the_versions_of_a_schema_and_refuses_nonsense(emulator: Emulator) -> None:
    schemas, which = emulator.client("schemas"), {"RegistryName": "probe", "SchemaName": "probe@t"}
    with pytest.raises(schemas.exceptions.NotFoundException):
        schemas.describe_registry(RegistryName="probe")
    schemas.create_registry(RegistryName="probe")
    with pytest.raises(schemas.exceptions.ConflictException):
        schemas.create_registry(RegistryName="probe")
    with pytest.raises(schemas.exceptions.NotFoundException):
        schemas.update_schema(**which, Type="OpenApi3", Content="{}")
    schemas.create_schema(**which, Type="OpenApi3", Content="{}")
    for nonsense in ({"Type": "OpenApi3", "Content": "{"}, {"Type": "Avro", "Content": "{}"}):
        with pytest.raises(schemas.exceptions.BadRequestException):
            schemas.update_schema(**which, **nonsense)
    schemas.update_schema(**which, Type="OpenApi3", Content="[]")
    described = schemas.describe_schema(**which)
    assert (described["Content"], described["SchemaVersion"]) == ("[]", "2")
    schemas.delete_schema(**which)
    assert schemas.list_schemas(RegistryName="probe")["Schemas"] == []
    schemas.delete_registry(RegistryName="probe")
    with pytest.raises(schemas.exceptions.NotFoundException):
        schemas.describe_registry(RegistryName="probe")


def next_messages(emulator: Emulator, count: int) -> list[dict[str, str]]:
    """The next messages of the queue, at least `count`."""
    sqs, queue = emulator.client("sqs"), emulator.outputs["Queue"]
    bodies: list[dict[str, str]] = []

    def receive() -> bool:
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            bodies.append(json.loads(message["Body"]))
        return len(bodies) >= count

    eventually(receive)
    return bodies
