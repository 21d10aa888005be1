"""`relay doctor` on a stack of its own: all is well, and each check notices when what it checks is broken."""

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from cli.connection import connect_local
from cli.doctor import events
from cli.doctor.account import QUOTAS
from cli.doctor.findings import TENANT, State
from cli.doctor.running import CHECKS, EXIT_STATUS
from cli.main import main
from cli.tailing import Listener
from cli.tenants import directory_of
from local.programs import ROOT
from local.rehearse import POLICIES
from local.stack import STACK_NAME, LocalStack
from tests.e2e.conftest import GENERATION_SECONDS, PARAMETERS
from tests.e2e.sweeps import schedule_switched_off
from vidu_relay.adapters.event_bus import SOURCE

Findings = dict[str, dict[str, str]]
Doctor = Callable[..., tuple[int, Findings]]
Restore = Callable[[], object]
Place = tuple[str, ...]
NAMES = [check.name for check in CHECKS]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack that no other test has left anything on."""
    folder = tmp_path_factory.mktemp("doctor")
    stack = LocalStack(folder, parameters=PARAMETERS, generation_seconds=GENERATION_SECONDS)
    with stack as description:
        description.write(folder / "stack.json")
        yield stack


@pytest.fixture(scope="module")
def stack_file(local: LocalStack) -> Path:
    return local.logs.parent / "stack.json"


@pytest.fixture(scope="module")
def kept_secret(local: LocalStack) -> list[str]:
    """What stands in the three secrets, without the names of keys."""
    client = local.client("secretsmanager")
    names = ("ProviderSecret", "CallbackSecret", "WebhookSecret")
    contents = [json.loads(client.get_secret_value(SecretId=local.resources[name])["SecretString"]) for name in names]
    return [value for content in contents for value in content.values() if len(value) > len("k1")]


@pytest.fixture
def doctor(stack_file: Path, kept_secret: list[str], capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Runs `relay doctor`, which shows no secret: its exit status, and what each check found."""

    def run(*arguments: str, where: Place = (f"--local={stack_file}",)) -> tuple[int, Findings]:
        status = main([*where, "--json", "doctor", *arguments])
        said = capsys.readouterr()
        assert [secret for secret in kept_secret if secret in said.out + said.err] == []
        lines = [json.loads(line) for line in said.out.splitlines()]
        return status, {line.pop("check"): line for line in lines}

    return run


def bad(findings: Findings) -> dict[str, str]:
    """The state of each check that is not ok."""
    return {name: line["state"] for name, line in findings.items() if line["state"] != "ok"}


def listeners(local: LocalStack) -> list[str]:
    """Rules and queues of `doctor` in the account."""
    client, bus = local.client("events"), local.resources["EventBus"]
    rules = [rule["Name"] for rule in client.list_rules(EventBusName=bus, NamePrefix=events.PREFIX)["Rules"]]
    return [*rules, *local.client("sqs").list_queues(QueueNamePrefix=events.PREFIX).get("QueueUrls", [])]


def test_all_is_well_on_a_fresh_stack_and_nothing_is_left_behind(
    local: LocalStack, stack_file: Path, doctor: Doctor
) -> None:
    status, findings = doctor()
    assert (status, bad(findings), list(findings)) == (0, {}, NAMES), findings
    directory = directory_of(connect_local(stack_file))
    tenant = directory.find_tenant(TENANT)
    assert tenant is not None
    assert (tenant.daily_cap, directory.list_keys(TENANT)) == (0, [])
    assert listeners(local) == []
    bucket = local.resources["InboxBucket"]
    assert not {"Versions", "DeleteMarkers"} & set(local.client("s3").list_object_versions(Bucket=bucket))


def test_rules_and_queues_of_a_killed_run_are_removed_and_those_of_another_run_are_not(
    local: LocalStack, stack_file: Path
) -> None:
    connection, now = connect_local(stack_file), time.time()
    killed = Listener(connection, events.PREFIX)
    killed.set_up({"source": [TENANT]})
    Listener.remove_leftovers(connection, events.PREFIX, now - 60)
    Listener.remove_leftovers(replace(connection, known={"EventBus": "other"}), events.PREFIX, now + 60)
    assert [killed.name in name for name in listeners(local)] == [True, True]
    Listener.remove_leftovers(connection, events.PREFIX, now + 60)
    assert listeners(local) == []


def test_spending_pays_for_one_task_each_time_and_says_what_it_cost(local: LocalStack, doctor: Doctor) -> None:
    for _ in range(2):
        status, findings = doctor("clock", "--spend")
        assert status == 0, findings
        assert "cost US$ 0.0450" in findings["spend"]["found"]
    videos = local.client("s3").list_objects_v2(Bucket=local.resources["VideosBucket"], Prefix=f"videos/{TENANT}/")
    assert videos["KeyCount"] == 2


@pytest.fixture
def as_user(local: LocalStack, stack_file: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Place]:
    """Makes a user with a policy; how to reach the stack with its credentials."""

    def become(name: str, policy: str) -> Place:
        iam, stack = local.client("iam"), json.loads(stack_file.read_text())
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        monkeypatch.setenv("AWS_ENDPOINT_URL", stack["aws_endpoint_url"])
        for variable in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
            monkeypatch.setenv(variable, stack["aws_ca_bundle"])
        return "--stack", STACK_NAME, "--region", stack["region"]

    return become


def test_permissions_of_the_runbook_are_enough(as_user: Callable[[str, str], Place], doctor: Doctor) -> None:
    policy = (POLICIES / "doctor.json").read_text()
    status, findings = doctor(where=as_user("operator", policy))
    assert (status, bad(findings)) == (0, {}), findings


def test_every_check_names_the_permission_that_is_missing(as_user: Callable[[str, str], Place], doctor: Doctor) -> None:
    allowed = {
        "Effect": "Allow",
        "Action": ["cloudformation:DescribeStacks", "cloudformation:ListStackResources"],
        "Resource": "*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    status, findings = doctor(where=as_user("visitor", policy))
    assert (status, bad(findings)) == (3, dict.fromkeys(NAMES, "unknown"))
    assert [name for name in NAMES if not findings[name]["remedy"].startswith("allow yourself ")] == [], findings


# -------------------------------------------------------------------------- breaks: each returns what restores


def throttle(local: LocalStack, output: str, most: int = 0) -> Restore:
    """A function has so many executions, and no other has them."""
    client, name = local.client("lambda"), local.resources[output]
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=most)
    return lambda: client.delete_function_concurrency(FunctionName=name)


def reserve_for_others(local: LocalStack) -> Restore:
    limit = local.client("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
    return throttle(local, "DescribeApi", limit - 50)


def replace_secret(local: LocalStack, output: str, content: dict[str, str]) -> Restore:
    client, arn = local.client("secretsmanager"), local.resources[output]
    before = client.get_secret_value(SecretId=arn)["SecretString"]
    client.put_secret_value(SecretId=arn, SecretString=json.dumps(content))
    return lambda: client.put_secret_value(SecretId=arn, SecretString=before)


def lead_to_no_provider(local: LocalStack) -> Restore:
    client, name = local.client("lambda"), local.resources["SubmitTask"]
    before = client.get_function_configuration(FunctionName=name)["Environment"]
    broken = {"Variables": {**before["Variables"], "PROVIDER_BASE_URL": "http://127.0.0.1:9"}}
    client.update_function_configuration(FunctionName=name, Environment=broken)
    return lambda: client.update_function_configuration(FunctionName=name, Environment=before)


def deny_on_the_bus(local: LocalStack, source: str) -> Restore:
    client, bus = local.client("events"), local.resources["EventBus"]
    before = client.describe_event_bus(Name=bus)["Policy"]
    policy = json.loads(before)
    denied = {"Sid": "Broken", "Effect": "Deny", "Principal": "*", "Action": "events:PutEvents"}
    sources = {"ForAnyValue:StringEquals": {"events:source": [source]}}
    policy["Statement"].append({**denied, "Resource": local.outputs["EventBusArn"], "Condition": sources})
    client.put_permission(EventBusName=bus, Policy=json.dumps(policy))
    return lambda: client.put_permission(EventBusName=bus, Policy=before)


def disable_source(local: LocalStack) -> Restore:
    client = local.client("lambda")
    (source,) = client.list_event_source_mappings(FunctionName=local.resources["NotifyClient"])["EventSourceMappings"]
    client.update_event_source_mapping(UUID=source["UUID"], Enabled=False)
    return lambda: client.update_event_source_mapping(UUID=source["UUID"], Enabled=True)


def disable_rule(local: LocalStack) -> Restore:
    client, bus = local.client("events"), local.resources["EventBus"]
    (name,) = (r["Name"] for r in client.list_rules(EventBusName=bus)["Rules"] if "NotificationRule" in r["Name"])
    client.disable_rule(Name=name, EventBusName=bus)
    return lambda: client.enable_rule(Name=name, EventBusName=bus)


def take_permissions(local: LocalStack) -> Restore:
    configuration = local.client("lambda").get_function_configuration(FunctionName=local.resources["DeliverVideos"])
    iam, policy = local.client("iam"), {"RoleName": configuration["Role"].rpartition("/")[2]}
    policy["PolicyName"] = "deliver-videos"
    before = json.dumps(iam.get_role_policy(**policy)["PolicyDocument"])
    iam.delete_role_policy(**policy)
    return lambda: iam.put_role_policy(**policy, PolicyDocument=before)


def disable_schedule(local: LocalStack) -> Restore:
    switched_off = ExitStack()
    switched_off.enter_context(schedule_switched_off(local.client("scheduler")))
    return switched_off.close


def unsubscribe(local: LocalStack) -> Restore:
    sns, topic = local.client("sns"), local.resources["AlarmTopic"]
    (one,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    sns.unsubscribe(SubscriptionArn=one["SubscriptionArn"])
    return lambda: sns.subscribe(TopicArn=topic, Protocol=one["Protocol"], Endpoint=one["Endpoint"])


def raise_alarm(local: LocalStack) -> Restore:
    client, alarm = local.client("cloudwatch"), {"AlarmName": f"{STACK_NAME}-failure-rate", "StateReason": "a test"}
    client.set_alarm_state(**alarm, StateValue="ALARM")
    return lambda: client.set_alarm_state(**alarm, StateValue="OK")


def give_a_message_up(local: LocalStack) -> Restore:
    sqs, url = local.client("sqs"), local.resources["NotificationsDeadLetters"]
    sqs.send_message(QueueUrl=url, MessageBody="{}")
    return lambda: sqs.purge_queue(QueueUrl=url)


def keep_a_record(local: LocalStack) -> Restore:
    s3, record = local.client("s3"), {"Bucket": local.resources["FailuresBucket"], "Key": "a-record"}
    s3.put_object(**record, Body=b"{}")
    return lambda: s3.delete_object(**record)


def deploy_other_code(local: LocalStack) -> Restore:
    client, name = local.client("lambda"), local.resources["DescribeApi"]
    here = (ROOT / "functions" / "describe_api" / "handler.py").read_bytes()

    def deploy(handler: bytes) -> None:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("handler.py", handler)
        client.update_function_code(FunctionName=name, ZipFile=archive.getvalue())

    deploy(here + b"# older\n")
    return lambda: deploy(here)


def set_here(name: str, value: object) -> Restore:
    """What no call of AWS changes is changed on this machine."""
    patch = pytest.MonkeyPatch()
    patch.setattr(name, value)
    return patch.undo


def put_clock_ahead(_: LocalStack) -> Restore:
    return set_here("cli.connection.now", lambda: time.time_ns() // 1_000_000 + 60_000)


def need_more(_: LocalStack) -> Restore:
    return set_here("cli.doctor.account.QUOTAS", (QUOTAS[0]._replace(needed=20_000),))


BREAKS: dict[str, tuple[Callable[[LocalStack], Restore], dict[str, str]]] = {
    "wrong provider key": (lambda s: replace_secret(s, "ProviderSecret", {"api_key": "x"}), {"provider": "not"}),
    "provider down": (lead_to_no_provider, {"provider": "unknown"}),
    "callbacks throttled": (lambda s: throttle(s, "ReceiveCallback"), {"callback": "not"}),
    "authorizer throttled": (lambda s: throttle(s, "AuthorizeRequest"), {"authorizer": "not"}),
    "bus refuses ours": (lambda s: deny_on_the_bus(s, TENANT), {"bus": "unknown"}),
    "bus refuses the relay's": (lambda s: deny_on_the_bus(s, SOURCE), {"inbox": "not"}),
    "requests throttled": (lambda s: throttle(s, "AcceptRequest"), {"inbox": "not"}),
    "source disabled": (disable_source, {"workers": "not"}),
    "rule disabled": (disable_rule, {"rules": "not"}),
    "role without policy": (take_permissions, {"delivery": "not"}),
    "secret emptied": (lambda s: replace_secret(s, "WebhookSecret", {}), {"secrets": "not"}),
    "schedule disabled": (disable_schedule, {"schedule": "not"}),
    "nobody subscribed": (unsubscribe, {"alarm-topic": "not"}),
    "alarm raised": (raise_alarm, {"alarms": "not"}),
    "message given up": (give_a_message_up, {"dead-letters": "not"}),
    "record unpublished": (keep_a_record, {"failures": "not"}),
    "executions reserved": (reserve_for_others, {"concurrency": "not"}),
    "quota too small": (need_more, {"quotas": "not"}),
    "clock ahead": (put_clock_ahead, {"clock": "not"}),
    "other code deployed": (deploy_other_code, {"versions": "not"}),
}


def test_each_check_is_broken() -> None:
    assert {name for _, expected in BREAKS.values() for name in expected} == set(NAMES)


@pytest.mark.parametrize("broken", BREAKS)
def test_a_break_shows_in_its_own_line_alone(
    broken: str, local: LocalStack, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LIVE_BY", "CAME_BY", "SEEN_BY"):  # what never comes is not waited for as long as on AWS
        monkeypatch.setattr(events, name, getattr(events, name) / 4)
    break_it, expected = BREAKS[broken]
    restore = break_it(local)
    try:
        status, findings = doctor()
    finally:
        restore()
    assert bad(findings) == expected, findings
    assert status == EXIT_STATUS[State(min(expected.values()))]
    assert all(findings[name]["remedy"] for name in expected)
