"""Checks of the stack's parts: models, workers, rules, permissions, secrets, schedule, alarms, DLQs, failures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from cli.alarms import raised_alarms
from cli.doctor.findings import Context, Finding, State, secret_fault, worst
from cli.queues import depths
from vidu_relay.adapters.secret_store import ProviderAccounts, Secret
from vidu_relay.domain.callback_token import CallbackKeys
from vidu_relay.domain.catalogue import PROVIDERS, Offering, known_ids
from vidu_relay.domain.errors import ConfigurationError
from vidu_relay.domain.webhook_signature import tenant_secret

DEPLOY = "deploy again"
KMS_REMEDY = "see that the roles of the functions may use the key; --spend tries it"
WORKERS = ("AcceptRequest", "DeliverVideos", "NotifyClient", "PublishEvents")
SETTLING = frozenset({"Creating", "Enabling", "Updating"})
FEEDS = (
    ("RequestsQueue", False),
    ("RequestsQueue", True),
    ("DeliveriesQueue", True),
    ("NotificationsQueue", True),
    ("AlarmTopic", False),
)
"""What the stack's rules lead to, and whether they are on its own bus or on the account's."""
PREFIX_CHARACTERS = 16
"""CloudFormation shortens the stack's name in names that would be too long."""
SWEEP_MINUTES = 5
SWEEP_DONE = "sweep_done"
"""What the sweep logs at its end."""


def models(context: Context) -> Finding:
    """What the relay offers of the models that the parameter `Models` names."""
    chosen = [one.strip() for one in context.submitting["OFFERED_MODELS"].split(",") if one.strip()]
    secret = Secret(context.client("secretsmanager"), context.resource("ProviderSecret"))
    default = context.submitting["PROVIDER_NAME"]
    try:
        others = ProviderAccounts(secret, default).others()
    except ConfigurationError as error:
        return secret_fault(error, context.again("provider", "set-key"))
    return assess_models(chosen, (default, *others))


def assess_models(chosen: Sequence[str], providers: tuple[str, ...]) -> Finding:
    """By the ids that the operator chose, none for all, and the providers that can be asked."""
    remedy = "deploy again with ids in Models that `relay models` lists for these providers"
    try:
        offered = Offering(providers, known_ids(chosen)).model_ids()
    except ConfigurationError as error:
        return Finding(State.NOT, str(error), remedy)
    if lacking := [one for one in chosen if one not in offered]:
        return Finding(State.NOT, f"{', '.join(providers)} has no {', '.join(lacking)}", remedy)
    return Finding(State.OK, f"{len(offered)} offered")


def workers(context: Context) -> Finding:
    """Whether Lambda reads the three queues and the table's stream for their functions."""
    client = context.client("lambda")
    problems = []
    for worker in WORKERS:
        sources = client.list_event_source_mappings(FunctionName=context.resource(worker))["EventSourceMappings"]
        problem = assess_source(worker, sources[0] if sources else None)
        problems += [problem] if problem else []
    return worst(problems, f"{len(WORKERS)} enabled")


def assess_source(function: str, source: Mapping[str, Any] | None) -> Finding | None:
    """What is wrong with a function's event source mapping."""
    if source is None:
        return Finding(State.NOT, f"{function} has no source", DEPLOY)
    if source["State"] in SETTLING:
        return Finding(State.UNKNOWN, f"the source of {function} is {source['State']}", "repeat it")
    if source["State"] != "Enabled":
        remedy = f"aws lambda update-event-source-mapping --enabled --uuid {source['UUID']}"
        return Finding(State.NOT, f"the source of {function} is {source['State']}", remedy)
    if (last := str(source.get("LastProcessingResult", ""))).startswith("PROBLEM"):
        return Finding(State.NOT, f"{function}: {last}", f"sam logs --name {function}")
    return None


def rules(context: Context) -> Finding:
    """Whether the rules that feed queues and alarm topic exist and are enabled."""
    events, own = context.client("events"), context.resource("EventBus")
    problems, seen = [], 0
    for target, on_own_bus in FEEDS:
        bus = own if on_own_bus else "default"
        names = events.list_rule_names_by_target(TargetArn=_arn(context, target), EventBusName=bus)["RuleNames"]
        if not names:
            problems.append(Finding(State.NOT, f"no rule of the bus {bus} leads to {target}", DEPLOY))
        for name in names:
            seen += 1
            if events.describe_rule(Name=name, EventBusName=bus)["State"] == "DISABLED":
                remedy = f"aws events enable-rule --event-bus-name {bus} --name {name}"
                problems.append(Finding(State.NOT, f"{name} is disabled", remedy))
    return worst(problems, f"{seen} enabled")


def _arn(context: Context, name: str) -> str:
    """The ARN of a queue or a topic, by its name in the template."""
    value = context.resource(name)
    if value.startswith("arn:"):
        return value
    attributes = context.client("sqs").get_queue_attributes(QueueUrl=value, AttributeNames=["QueueArn"])["Attributes"]
    return str(attributes["QueueArn"])


def delivery(context: Context) -> Finding:
    """Whether the role of `deliver_videos` may write into the videos bucket, by IAM's simulator and its policy."""
    s3, iam, bucket = context.client("s3"), context.client("iam"), context.resource("VideosBucket")
    role = context.function("DeliverVideos")["Role"]
    arn = f"{role.partition(':iam:')[0]}:s3:::{bucket}"
    needed = {f"{arn}/videos/x": ["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"], arn: ["s3:ListBucket"]}
    s3.head_bucket(Bucket=bucket)
    denied = [
        result["EvalActionName"]
        for resource, actions in needed.items()
        for result in iam.simulate_principal_policy(PolicySourceArn=role, ActionNames=actions, ResourceArns=[resource])[
            "EvaluationResults"
        ]
        if result["EvalDecision"] != "allowed"
    ]
    problems = [Finding(State.NOT, f"its role lacks {', '.join(denied)}", DEPLOY)] if denied else []
    rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    if any("KMS" in str(rule).upper() for rule in rules):
        problems.append(Finding(State.UNKNOWN, "the bucket is encrypted with a KMS key", KMS_REMEDY))
    try:
        problems += assess_bucket_policy(s3.get_bucket_policy(Bucket=bucket)["Policy"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucketPolicy":
            raise
    return worst(problems, "allowed, and the policy of the bucket denies nothing else than plain HTTP")


def assess_bucket_policy(policy: str) -> Iterator[Finding]:
    """Statements that deny more than plain HTTP. Whether they concern the role, the simulator does not say of roles."""
    for statement in json.loads(policy)["Statement"]:
        if statement["Effect"] != "Deny" or statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}:
            continue
        for_all = statement.get("Principal") in ("*", {"AWS": "*"}) and "Condition" not in statement
        found = f"the policy of the bucket denies {statement.get('Action')} (Sid {statement.get('Sid')})"
        yield Finding(State.NOT if for_all else State.UNKNOWN, found, "see that it spares the role; or use --spend")


def secrets(context: Context) -> Finding:
    """Whether the three secrets hold what functions need, and none is about to be deleted. Read by the operator."""
    client = context.client("secretsmanager")
    readers: dict[str, Callable[[Secret], object]] = {
        "ProviderSecret": lambda secret: _read_providers(ProviderAccounts(secret, context.submitting["PROVIDER_NAME"])),
        "CallbackSecret": lambda secret: CallbackKeys(secret.get()),
        "WebhookSecret": lambda secret: tenant_secret(secret.get(), "x", 1),
    }
    problems = []
    for name, read in readers.items():
        arn = context.resource(name)
        described = client.describe_secret(SecretId=arn)
        if "KmsKeyId" in described:
            problems.append(Finding(State.UNKNOWN, f"{name} is encrypted with a key of your own", KMS_REMEDY))
        if "DeletedDate" in described:
            remedy = f"aws secretsmanager restore-secret --secret-id {arn}"
            problems.append(Finding(State.NOT, f"{name} is to be deleted", remedy))
            continue
        try:
            read(Secret(client, arn))
        except ConfigurationError as error:
            remedy = (
                context.again("provider", "set-key") if name == "ProviderSecret" else "restore its previous version"
            )
            problems.append(secret_fault(error, remedy))
    return worst(problems, f"{len(readers)} can be read")


def _read_providers(accounts: ProviderAccounts) -> None:
    """Raises `ConfigurationError` for the first entry that functions cannot use, or that is no provider's."""
    for name in dict.fromkeys((accounts.default, *accounts.names())):
        if name not in PROVIDERS:
            raise ConfigurationError(f"the provider secret names {name!r}; providers are {', '.join(PROVIDERS)}")
        accounts.signing(name)


def schedule(context: Context) -> Finding:
    """Whether the schedule of the sweep is on, and a sweep has ended lately, by the log line that each one writes."""
    function = context.function("FindOverdueTasks")
    sweep, scheduler, logs = function["FunctionArn"], context.client("scheduler"), context.client("logs")
    pages = scheduler.get_paginator("list_schedules").paginate(
        NamePrefix=context.connection.stack_name[:PREFIX_CHARACTERS]
    )
    ours = [one for page in pages for one in page["Schedules"] if one["Target"]["Arn"] == sweep]
    if not ours or ours[0]["State"] != "ENABLED":
        return assess_schedule(ours[0]["State"] if ours else None, swept=False, young=False)

    def swept() -> bool:
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=function["LoggingConfig"]["LogGroup"],
            startTime=context.connection.time_at_aws() - SWEEP_MINUTES * 60_000,
            filterPattern=f'"{SWEEP_DONE}"',
        )
        return any(page["events"] for page in pages)  # a page may be empty and another follow

    young = datetime.now(UTC) - ours[0]["LastModificationDate"] < timedelta(minutes=SWEEP_MINUTES)
    return assess_schedule("ENABLED", swept=context.comes(swept) if young else swept(), young=young)


def assess_schedule(state: str | None, *, swept: bool, young: bool) -> Finding:
    """By the schedule's state (None: there is none), whether the log shows sweeps, and whether it is newly enabled."""
    if state is None:
        return Finding(State.NOT, "there is no schedule", DEPLOY)
    if state != "ENABLED":
        return Finding(State.NOT, f"the schedule is {state}", "runbook, Sweep silent")
    if swept:
        return Finding(State.OK, f"enabled, and swept within {SWEEP_MINUTES} minutes")
    found = f"enabled, and no sweep ended within {SWEEP_MINUTES} minutes"
    if young:
        return Finding(State.UNKNOWN, f"{found}, but it has just been changed", "repeat it in five minutes")
    return Finding(State.NOT, found, "sam logs --name FindOverdueTasks; runbook, Sweep silent")


def alarm_topic(context: Context) -> Finding:
    """Whether the alarm topic has a subscription that was confirmed."""
    topic = context.resource("AlarmTopic")
    pages = context.client("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    found = [one["SubscriptionArn"] for page in pages for one in page["Subscriptions"]]
    confirmed = [arn for arn in found if arn.startswith("arn:")]
    if confirmed:
        return Finding(State.OK, f"{len(confirmed)} confirmed")
    remedy = f"aws sns subscribe --topic-arn {topic} --protocol email --notification-endpoint ADDRESS, then confirm"
    return Finding(State.NOT, f"none confirmed, {len(found)} pending", remedy)


def alarms(context: Context) -> Finding:
    """Which of the stack's alarms, those that notify its topic, are in state ALARM."""
    raised = raised_alarms(context.connection)
    if not raised:
        return Finding(State.OK, "none")
    remedy = ", ".join(f"docs/runbook.md#{one['section']}" for one in raised if one["section"])
    return Finding(State.NOT, ", ".join(one["alarm"] for one in raised), remedy)


def dead_letters(context: Context) -> Finding:
    """How many messages the dead-letter queues hold."""
    waiting = {
        queue["name"]: queue["depth"] + queue["in_flight"]
        for queue in depths(context.connection)
        if queue["depth"] + queue["in_flight"]
    }
    if not waiting:
        return Finding(State.OK, "all empty")
    found = ", ".join(f"{number} in {name}" for name, number in waiting.items())
    return Finding(
        State.NOT, found, "; ".join(f"docs/runbook.md#{n}, {context.again('queues', 'redrive', n)}" for n in waiting)
    )


def failures(context: Context) -> Finding:
    """Whether the failures bucket holds stream records."""
    listed = context.client("s3").list_objects_v2(Bucket=context.resource("FailuresBucket"))
    if not listed["KeyCount"]:
        return Finding(State.OK, "empty")
    more = " and more" if listed["IsTruncated"] else ""
    return Finding(
        State.NOT,
        f"{listed['KeyCount']}{more}",
        f"{context.again('failures', 'list')}, then {context.again('failures', 'republish')}",
    )
