"""`relay doctor` on a stack of its own: all is well, and each check fails when what it checks is broken."""

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from tests.e2e.sweeps import schedule_switched_off
from tests.e2e.watched import GENERATION_SECONDS, PARAMETERS
from vidu_relay.adapters.event_bus import SOURCE

Findings = dict[str, dict[str, str]]
Doctor = Callable[..., tuple[int, Findings]]
Restore = Callable[[], object]
Arguments = dict[str, Any]
Call = tuple[str, Arguments]
Break = tuple[Callable[[LocalStack], Restore], str, str]
Place = tuple[str, ...]
NAMES = [check.name for check in CHECKS]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack without leftovers of other tests."""
    folder = tmp_path_factory.mktemp("doctor")
    stack = LocalStack(folder, parameters=PARAMETERS, generation_seconds=GENERATION_SECONDS)
    with stack as description:
        description.write(folder / "stack.json")
        # no check waits for the first minute's sweep
        stack.client("lambda").invoke(FunctionName=stack.resources["FindOverdueTasks"], Payload=b"{}")
        yield stack


@pytest.fixture(scope="module")
def stack_file(local: LocalStack) -> Path:
    return local.logs.parent / "stack.json"


@pytest.fixture(scope="module")
def kept_secret(local: LocalStack) -> list[str]:
    """The values in the three secrets, without the names of keys."""
    client = local.client("secretsmanager")
    names = ("ProviderSecret", "CallbackSecret", "WebhookSecret")
    contents = [json.loads(client.get_secret_value(SecretId=local.resources[name])["SecretString"]) for name in names]
    values = [value for content in contents for value in content.values()]
    keys = [value["key"] if isinstance(value, dict) else value for value in values]
    return [key for key in keys if len(key) > len("k1")]


@pytest.fixture
def doctor(stack_file: Path, kept_secret: list[str], capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Runs `relay doctor`, which shows no secret: its exit status, and what each check found."""

    def run(*arguments: str, where: Place = (f"--local-file={stack_file}",)) -> tuple[int, Findings]:
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


def swap(local: LocalStack, service: str, arguments: Arguments, broken: Call, restored: Call) -> Restore:
    """Call AWS once with what breaks, and in the end with what restores."""
    client = local.client(service)
    getattr(client, broken[0])(**arguments, **broken[1])
    return lambda: getattr(client, restored[0])(**arguments, **restored[1])


def throttle(local: LocalStack, output: str, most: int = 0) -> Restore:
    """A function has so many executions, and no other has them."""
    limited = ("put_function_concurrency", {"ReservedConcurrentExecutions": most})
    name = {"FunctionName": local.resources[output]}
    return swap(local, "lambda", name, limited, ("delete_function_concurrency", {}))


def reserve_for_others(local: LocalStack) -> Restore:
    limit = local.client("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
    return throttle(local, "DescribeApi", limit - 50)


def replace_secret(local: LocalStack, output: str, content: dict[str, str]) -> Restore:
    secret = {"SecretId": local.resources[output]}
    before = local.client("secretsmanager").get_secret_value(**secret)["SecretString"]
    put = [("put_secret_value", {"SecretString": text}) for text in (json.dumps(content), before)]
    return swap(local, "secretsmanager", secret, *put)


def lead_to_no_provider(local: LocalStack) -> Restore:
    return with_variable(local, "PROVIDER_BASE_URL", "http://127.0.0.1:9")


def with_variable(local: LocalStack, variable: str, value: str) -> Restore:
    name = {"FunctionName": local.resources["SubmitTask"]}
    before = local.client("lambda").get_function_configuration(**name)["Environment"]
    broken = {"Variables": {**before["Variables"], variable: value}}
    calls = [("update_function_configuration", {"Environment": one}) for one in (broken, before)]
    return swap(local, "lambda", name, *calls)


def deny_on_the_bus(local: LocalStack, source: str) -> Restore:
    bus = local.resources["EventBus"]
    before = local.client("events").describe_event_bus(Name=bus)["Policy"]
    policy = json.loads(before)
    denied = {"Sid": "Broken", "Effect": "Deny", "Principal": "*", "Action": "events:PutEvents"}
    sources = {"ForAnyValue:StringEquals": {"events:source": [source]}}
    policy["Statement"].append({**denied, "Resource": local.outputs["EventBusArn"], "Condition": sources})
    calls = [("put_permission", {"Policy": one}) for one in (json.dumps(policy), before)]
    return swap(local, "events", {"EventBusName": bus}, *calls)


def disable_source(local: LocalStack) -> Restore:
    list_sources = local.client("lambda").list_event_source_mappings
    (source,) = list_sources(FunctionName=local.resources["NotifyClient"])["EventSourceMappings"]
    calls = [("update_event_source_mapping", {"Enabled": enabled}) for enabled in (False, True)]
    return swap(local, "lambda", {"UUID": source["UUID"]}, *calls)


def disable_rule(local: LocalStack) -> Restore:
    bus = {"EventBusName": local.resources["EventBus"]}
    (name,) = (r["Name"] for r in local.client("events").list_rules(**bus)["Rules"] if "NotificationRule" in r["Name"])
    return swap(local, "events", {**bus, "Name": name}, ("disable_rule", {}), ("enable_rule", {}))


def take_permissions(local: LocalStack) -> Restore:
    role = local.client("lambda").get_function_configuration(FunctionName=local.resources["DeliverVideos"])["Role"]
    policy = {"RoleName": role.rpartition("/")[2], "PolicyName": "deliver-videos"}
    before = json.dumps(local.client("iam").get_role_policy(**policy)["PolicyDocument"])
    return swap(local, "iam", policy, ("delete_role_policy", {}), ("put_role_policy", {"PolicyDocument": before}))


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
    alarm = {"AlarmName": f"{STACK_NAME}-failure-rate", "StateReason": "a test"}
    return swap(local, "cloudwatch", alarm, *(("set_alarm_state", {"StateValue": one}) for one in ("ALARM", "OK")))


def give_a_message_up(local: LocalStack) -> Restore:
    url = {"QueueUrl": local.resources["NotificationsDeadLetters"]}
    return swap(local, "sqs", url, ("send_message", {"MessageBody": "{}"}), ("purge_queue", {}))


def keep_a_record(local: LocalStack) -> Restore:
    record = {"Bucket": local.resources["FailuresBucket"], "Key": "a-record"}
    return swap(local, "s3", record, ("put_object", {"Body": b"{}"}), ("delete_object", {}))


def deploy_other_code(local: LocalStack) -> Restore:
    handler = (ROOT / "functions" / "describe_api" / "handler.py").read_bytes()

    def archive(content: bytes) -> bytes:
        with io.BytesIO() as made:
            with zipfile.ZipFile(made, "w") as file:
                file.writestr("handler.py", content)
            return made.getvalue()

    calls = [("update_function_code", {"ZipFile": archive(one)}) for one in (handler + b"# older\n", handler)]
    return swap(local, "lambda", {"FunctionName": local.resources["DescribeApi"]}, *calls)


def set_here(name: str, value: object) -> Restore:
    """What no call of AWS changes is changed on this machine."""
    patch = pytest.MonkeyPatch()
    patch.setattr(name, value)
    return patch.undo


QUOTA = (QUOTAS[0]._replace(needed=20_000),)
BREAKS: dict[str, tuple[Break, ...]] = {
    "provider down": ((lead_to_no_provider, "provider", "unknown"),),
    "callbacks throttled": ((lambda s: throttle(s, "ReceiveCallback"), "callback", "not"),),
    "authorizer throttled": ((lambda s: throttle(s, "AuthorizeRequest"), "authorizer", "not"),),
    "bus refuses ours": ((lambda s: deny_on_the_bus(s, TENANT), "bus", "unknown"),),
    "bus refuses the relay's": ((lambda s: deny_on_the_bus(s, SOURCE), "inbox", "not"),),
    "requests throttled": ((lambda s: throttle(s, "AcceptRequest"), "inbox", "not"),),
    "others at once": (
        (lambda s: replace_secret(s, "ProviderSecret", {"api_key": "x"}), "provider", "not"),
        (lambda s: replace_secret(s, "WebhookSecret", {}), "secrets", "not"),
        (lambda s: with_variable(s, "OFFERED_MODELS", "vidu9"), "models", "not"),
        (disable_source, "workers", "not"),
        (disable_rule, "rules", "not"),
        (take_permissions, "delivery", "not"),
        (disable_schedule, "schedule", "not"),
        (unsubscribe, "alarm-topic", "not"),
        (raise_alarm, "alarms", "not"),
        (give_a_message_up, "dead-letters", "not"),
        (keep_a_record, "failures", "not"),
        (reserve_for_others, "concurrency", "not"),
        (deploy_other_code, "versions", "not"),
        (lambda _: set_here("cli.doctor.account.QUOTAS", QUOTA), "quotas", "not"),
        (lambda _: set_here("cli.connection.now", lambda: time.time_ns() // 1_000_000 + 60_000), "clock", "not"),
    ),
}
"""What is broken in one run, and the state in which each break must show."""


def test_each_check_is_broken() -> None:
    assert {check for breaks in BREAKS.values() for _, check, _ in breaks} == set(NAMES)


@pytest.mark.parametrize("name", BREAKS)
def test_breaks_show_in_their_own_lines_alone(
    name: str, local: LocalStack, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("LIVE_BY", "CAME_BY", "SEEN_BY"):  # what never comes is not waited for as long as on AWS
        monkeypatch.setattr(events, limit, getattr(events, limit) / 4)
    with ExitStack() as restored:
        for break_it, _, _ in BREAKS[name]:
            restored.callback(break_it(local))
        status, findings = doctor()
    expected = {check: state for _, check, state in BREAKS[name]}
    assert bad(findings) == expected, findings
    assert status == EXIT_STATUS[State(min(expected.values()))]
    assert all(findings[check]["remedy"] for check in expected)
