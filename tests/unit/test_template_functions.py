"""Each function: folder, resource, settings and variables agree, and its limits are those the code relies on."""

import random
import re

import pytest

from tests.unit.template import FUNCTIONS, ROOT, ROUTES, TEMPLATE, get_att, of_type, properties, variables
from vidu_relay import settings
from vidu_relay.adapters.client_webhook import TOTAL_SECONDS
from vidu_relay.adapters.webhook_origins import FIRST_BLOCK_MS, LONGEST_BLOCK_MS, PROBE_MS, REST_FACTOR, SLOW_MS
from vidu_relay.domain.notification import GIVE_UP_MS, gives_up, retry_seconds, waiting_seconds
from vidu_relay.domain.polling import ATTEMPT_LIMIT_MS, DELIVERY_GRACE_MS, HANDOVER_MS, LEASE_MS
from vidu_relay.outbound.provider_calls import create_seconds
from vidu_relay.usecases.begin_submission import WRITES_MS
from vidu_relay.usecases.check_references import ALL_SECONDS
from vidu_relay.usecases.verify_reservations import SETTLE_MS

GLOBALS = TEMPLATE["Globals"]["Function"]
NEW_ACCOUNT_EXECUTIONS = 10
"""How many functions a new AWS account may run at once, all of them together."""
API_GATEWAY_SECONDS, COLD_START_SECONDS = 30, 3
"""An HTTP API's hard limit, and what a cold start, which `Timeout` does not count, may take of it."""
COMMON = GLOBALS["Environment"]["Variables"]


def reads(name: str) -> set[str]:
    return set(settings.variables(getattr(settings, f"{name}Settings")))


def test_every_folder_is_a_function_with_a_handler_and_a_role_of_its_own() -> None:
    folders = [path for path in (ROOT / "functions").iterdir() if path.name != "__pycache__"]
    assert {path.name for path in folders} == set(FUNCTIONS)
    for folder in folders:
        name = "".join(word.capitalize() for word in folder.name.split("_"))
        assert [path.name for path in folder.iterdir() if path.name not in ("__pycache__", "static")] == ["handler.py"]
        assert FUNCTIONS[folder.name] == name
        assert properties(name)["Role"] == get_att(f"{name}Role", "Arn")
        assert not {"Runtime", "Architectures", "Handler", "Layers", "LoggingConfig"} & set(properties(name))


@pytest.mark.parametrize("name", FUNCTIONS.values())
def test_function_is_given_what_it_reads_and_its_own_variables_are_read(name: str) -> None:
    assert reads(name) <= set(variables(name))
    assert set(variables(name)) - set(COMMON) <= reads(name)
    # Whatever the default deployment puts in must be readable: ARNs and names stand in for references.
    environ = {
        variable: str(TEMPLATE["Parameters"].get(value.get("Ref"), {}).get("Default", "a-reference"))
        for variable, value in variables(name).items()
        if isinstance(value, dict)
    }
    settings.load(getattr(settings, f"{name}Settings"), environ)


def test_common_variables_are_those_that_several_functions_read() -> None:
    every = [reads(name) for name in FUNCTIONS.values()]
    assert all(variable.startswith("POWERTOOLS_") or sum(variable in one for one in every) > 1 for variable in COMMON)
    own = [variable for name in FUNCTIONS.values() for variable in set(variables(name)) - set(COMMON)]
    # Functions have the common variables: these cannot name one, nor the state machine, which names one.
    assert {variable for variable in own if own.count(variable) > 1} == {"STATE_MACHINE_ARN", "SWEEP_FUNCTION"}


def test_layers_are_for_the_functions_runtime() -> None:
    for name, layer in of_type("AWS::Serverless::LayerVersion").items():
        assert layer["Properties"]["CompatibleRuntimes"] == [GLOBALS["Runtime"]]
        assert layer["Properties"]["CompatibleArchitectures"] == GLOBALS["Architectures"]
        # `makefile` builds call the target build-<logical id>.
        makefile = ROOT / layer["Properties"]["ContentUri"] / "Makefile"
        assert re.search(rf"^build-{name}:", makefile.read_text(), re.MULTILINE)


def test_submitting_ends_before_anybody_calls_it_over() -> None:
    submitters = ("SubmitTask", "CheckTask", "AcceptRequest")
    longest_ms = max(properties(name)["Timeout"] for name in submitters) * 1000
    assert longest_ms + 30_000 <= ATTEMPT_LIMIT_MS


@pytest.mark.parametrize("folder", sorted({*ROUTES.values(), "authorize_request"}))
def test_what_answers_clients_ends_before_api_gateway_does_a_cold_start_included(folder: str) -> None:
    assert properties(FUNCTIONS[folder])["Timeout"] + COLD_START_SECONDS <= API_GATEWAY_SECONDS


def test_a_create_call_fits_into_a_submission_whose_references_take_nearly_all_their_time() -> None:
    """Where they take all of it, the call is left to a check."""
    assert properties("SubmitTask")["Timeout"] - WRITES_MS / 1000 >= create_seconds(0) + 0.85 * ALL_SECONDS


@pytest.mark.parametrize(
    ("queue", "function"),
    [("Deliveries", "DeliverVideos"), ("Requests", "AcceptRequest"), ("Notifications", "NotifyClient")],
)
def test_a_message_waits_for_a_free_execution_for_hours_before_the_dead_letter_queue(queue: str, function: str) -> None:
    waiting = properties(f"{queue}Queue")
    # AWS's advice: Lambda developer guide, "Creating and configuring an Amazon SQS event source mapping"
    assert waiting["VisibilityTimeout"] == 6 * properties(function)["Timeout"]
    assert waiting["VisibilityTimeout"] * waiting["RedrivePolicy"]["maxReceiveCount"] >= 2 * 3600


def test_a_delivery_is_asked_for_again_when_a_copy_that_began_at_once_must_have_ended() -> None:
    assert (properties("DeliverVideos")["Timeout"] + 120) * 1000 == DELIVERY_GRACE_MS
    assert properties("DeliverVideosSource")["BatchSize"] == 1


def test_queued_task_is_its_recorders_until_that_one_must_have_ended() -> None:
    timeout = properties("AcceptRequest")["Timeout"]
    assert timeout * 1000 <= HANDOVER_MS
    # received again only when no function works on it, and the sweep of the minute after has run
    assert properties("RequestsQueue")["VisibilityTimeout"] * 1000 >= HANDOVER_MS + 120_000
    assert properties("AcceptRequestSource")["BatchSize"] == 1


def test_no_client_is_notified_twice_at_once_and_every_try_ends_in_time() -> None:
    timeout = properties("NotifyClient")["Timeout"]
    assert timeout >= TOTAL_SECONDS * 2
    assert timeout * 1000 <= PROBE_MS
    assert properties("NotifyClientSource")["BatchSize"] == 1


def test_three_days_of_tries_fit_into_what_the_queue_allows() -> None:
    """Each time the function is given a message it tries, or the origin cools down: it must be the one to give up."""
    queue, now, receives = properties("NotificationsQueue"), 0, 0
    while not gives_up(0, now, receives=receives):
        receives += 1
        now += 1000 * retry_seconds(0, now, jitter=0, requested=None)
    block, at, cooled = FIRST_BLOCK_MS, 0, 0
    while at < GIVE_UP_MS:
        at, block, cooled = at + block, min(2 * block, LONGEST_BLOCK_MS), cooled + 1
    assert 2 * (receives + cooled) <= queue["RedrivePolicy"]["maxReceiveCount"]
    assert now < queue["MessageRetentionPeriod"] * 1000


@pytest.mark.parametrize("seed", range(20))
def test_three_days_of_waiting_for_slow_servers_fit_into_what_the_queue_allows(seed: int) -> None:
    """A message that waits behind a server which has just become slow comes back often at first, and seldom later."""
    chance, now, receives = random.Random(seed), 0, 0  # noqa: S311 - guards nothing
    while not gives_up(0, now, receives=receives):
        receives += 1
        now += 1000 * waiting_seconds(0, now, wait_ms=SLOW_MS * REST_FACTOR, jitter=chance.random())
    assert receives + 30 <= properties("NotificationsQueue")["RedrivePolicy"]["maxReceiveCount"]
    assert now <= GIVE_UP_MS + 2 * 3_600_000


def test_queues_leave_executions_of_a_new_account_to_clients_and_callbacks() -> None:
    sources = ("DeliverVideosSource", "AcceptRequestSource", "NotifyClientSource")
    at_once = [properties(name)["ScalingConfig"]["MaximumConcurrency"] for name in sources]
    left = NEW_ACCOUNT_EXECUTIONS - sum(at_once)
    assert min(at_once) >= 2  # Lambda takes no less
    assert max(at_once) <= NEW_ACCOUNT_EXECUTIONS // 2
    assert left >= 3
    assert f"leaves {left} of a new account's {NEW_ACCOUNT_EXECUTIONS}" in (ROOT / "template.yaml").read_text()


def test_a_sweep_ends_before_the_next_begins() -> None:
    assert properties("SweepSchedule")["ScheduleExpression"] == "rate(1 minute)"
    assert properties("SweepSchedule")["Target"]["Input"] == "{}"
    assert properties("FindOverdueTasks")["Timeout"] < 60
    # A retry would run beside the next minute's sweep.
    assert properties("FindOverdueTasks")["EventInvokeConfig"]["MaximumRetryAttempts"] == 0
    assert properties("SweepSchedule")["Target"]["RetryPolicy"]["MaximumRetryAttempts"] == 0
    # Nor is a check retried, or begun late, beside the one that the next lease is for.
    lease = {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": LEASE_MS // 1000}
    assert properties("CheckTask")["EventInvokeConfig"] == lease


def test_runs_of_the_reconciliation_come_when_a_half_hour_can_be_compared() -> None:
    schedule, function = properties("ReconcileSchedule"), properties("ReconcileSpending")
    assert schedule["ScheduleExpression"] == f"cron({SETTLE_MS // 60_000},{30 + SETTLE_MS // 60_000} * * * ? *)"
    assert function["Timeout"] < 1_800
    assert function["EventInvokeConfig"]["MaximumRetryAttempts"] == 0
    assert schedule["Target"]["RetryPolicy"]["MaximumRetryAttempts"] == 0
    takers = ("SubmitTask", "AcceptRequest")
    assert max(properties(name)["Timeout"] for name in takers) * 1000 < SETTLE_MS, (
        "a reservation's record may still come"
    )
