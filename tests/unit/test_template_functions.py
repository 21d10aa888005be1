"""Each function: folder, resource, settings and variables agree, and its limits are those the code relies on."""

import random
import re
from typing import Any

import pytest

from tests.unit.template import FUNCTIONS, ROOT, ROUTES, TEMPLATE, get_att, of_type, properties
from vidu_relay import settings
from vidu_relay.adapters.client_webhook import TOTAL_SECONDS
from vidu_relay.adapters.webhook_origins import FIRST_BLOCK_MS, LONGEST_BLOCK_MS, PROBE_MS, REST_FACTOR, SLOW_MS
from vidu_relay.domain.notification import GIVE_UP_MS, gives_up, retry_seconds, waiting_seconds
from vidu_relay.domain.watching import ATTEMPT_LIMIT_MS, DELIVERY_GRACE_MS, HANDOVER_MS
from vidu_relay.outbound.provider_calls import create_seconds
from vidu_relay.usecases.begin_submission import WRITES_MS
from vidu_relay.usecases.check_references import ALL_SECONDS

GLOBALS = TEMPLATE["Globals"]["Function"]
NEW_ACCOUNT_EXECUTIONS = 10
"""How many functions a new AWS account may run at once, all of them together."""
API_GATEWAY_SECONDS, COLD_START_SECONDS = 30, 3
"""An HTTP API's hard limit, and what a cold start, which `Timeout` does not count, may take of it."""
FOR_POWERTOOLS = {"POWERTOOLS_SERVICE_NAME", "POWERTOOLS_METRICS_NAMESPACE", "POWERTOOLS_LOG_LEVEL"}


def camel_case(folder: str) -> str:
    return "".join(word.capitalize() for word in folder.split("_"))


def test_every_folder_is_a_function_and_every_function_a_folder() -> None:
    assert {path.name for path in (ROOT / "functions").iterdir() if path.name != "__pycache__"} == set(FUNCTIONS)


@pytest.mark.parametrize(("folder", "name"), FUNCTIONS.items())
def test_a_function_folder_holds_its_handler_and_nothing_else(folder: str, name: str) -> None:
    held = {path.name for path in (ROOT / "functions" / folder).iterdir() if path.name != "__pycache__"}

    assert held == {"handler.py"}
    assert name == camel_case(folder)


def test_every_settings_class_belongs_to_a_function() -> None:
    classes = {name for name in settings.__all__ if name.endswith("Settings")}

    assert classes == {f"{name}Settings" for name in FUNCTIONS.values()}


@pytest.mark.parametrize("name", FUNCTIONS.values())
def test_a_function_is_given_exactly_the_variables_it_reads(name: str) -> None:
    given = list(properties(name)["Environment"]["Variables"])
    read = [field.upper() for field in getattr(settings, f"{name}Settings")._fields]

    assert given == read


def test_the_same_variable_means_the_same_everywhere() -> None:
    meanings: dict[str, Any] = {}
    for name in FUNCTIONS.values():
        for variable, value in properties(name)["Environment"]["Variables"].items():
            assert meanings.setdefault(variable, value) == value, f"{variable} of {name}"


def test_defaults_of_the_parameters_can_be_read() -> None:
    # Whatever the default deployment puts in, `settings.load` must take: ARNs and names stand in for references.
    for name in FUNCTIONS.values():
        environ = {
            variable: str(TEMPLATE["Parameters"].get(value.get("Ref"), {}).get("Default", "a-reference"))
            for variable, value in properties(name)["Environment"]["Variables"].items()
        }
        settings.load(getattr(settings, f"{name}Settings"), environ)


def test_what_is_common_is_said_once() -> None:
    assert set(GLOBALS["Environment"]["Variables"]) == FOR_POWERTOOLS
    for name in FUNCTIONS.values():
        assert not {"Runtime", "Architectures", "Handler", "Layers"} & set(properties(name)), name


@pytest.mark.parametrize("name", FUNCTIONS.values())
def test_a_function_has_its_own_role_and_log_group(name: str) -> None:
    assert properties(name)["Role"] == get_att(f"{name}Role", "Arn")
    assert properties(name)["LoggingConfig"] == {"LogGroup": {"Ref": f"{name}Logs"}}
    assert f"{name}Logs" in of_type("AWS::Logs::LogGroup")


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
    # received again only when nobody works on it any more, and the sweep of the minute after has had its turn
    assert properties("RequestsQueue")["VisibilityTimeout"] * 1000 >= HANDOVER_MS + 120_000
    assert properties("AcceptRequestSource")["BatchSize"] == 1


def test_no_client_is_told_twice_at_once_and_every_try_ends_in_time() -> None:
    timeout = properties("NotifyClient")["Timeout"]

    assert timeout >= TOTAL_SECONDS * 2
    assert timeout * 1000 <= PROBE_MS
    assert properties("NotifyClientSource")["BatchSize"] == 1


def test_a_day_of_tries_fits_into_what_the_queue_allows() -> None:
    """Each time the function is given a message it tries, or the origin cools down: it must be the one to give up."""
    queue, now, receives = properties("NotificationsQueue"), 0, 0
    while not gives_up(0, now, receives=receives):
        receives += 1
        now += 1000 * retry_seconds(0, now, jitter=0, wished=None)
    block, at, cooled = FIRST_BLOCK_MS, 0, 0
    while at < GIVE_UP_MS:
        at, block, cooled = at + block, min(2 * block, LONGEST_BLOCK_MS), cooled + 1

    assert 2 * (receives + cooled) <= queue["RedrivePolicy"]["maxReceiveCount"]
    assert now < queue["MessageRetentionPeriod"] * 1000


@pytest.mark.parametrize("seed", range(20))
def test_a_day_of_waiting_for_slow_servers_fits_into_what_the_queue_allows(seed: int) -> None:
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

    assert min(at_once) >= 2  # Lambda takes no less
    assert NEW_ACCOUNT_EXECUTIONS - sum(at_once) >= 3
    assert f"leaves {NEW_ACCOUNT_EXECUTIONS - sum(at_once)} of a new account's" in (ROOT / "template.yaml").read_text()


def test_deliveries_leave_half_of_a_new_account_to_everything_else() -> None:
    at_once = properties("DeliverVideosSource")["ScalingConfig"]["MaximumConcurrency"]

    assert 2 <= at_once <= NEW_ACCOUNT_EXECUTIONS // 2  # Lambda takes no less than 2
    for page in ("template.yaml", "docs/runbook.md"):
        assert f"new account has {NEW_ACCOUNT_EXECUTIONS}" in (ROOT / page).read_text()


def test_a_sweep_ends_before_the_next_begins() -> None:
    assert properties("SweepSchedule")["ScheduleExpression"] == "rate(1 minute)"
    assert properties("SweepSchedule")["Target"]["Input"] == "{}"
    assert properties("FindOverdueTasks")["Timeout"] < 60
    # A retry would run beside the next minute's sweep.
    assert properties("FindOverdueTasks")["EventInvokeConfig"]["MaximumRetryAttempts"] == 0
    assert properties("SweepSchedule")["Target"]["RetryPolicy"]["MaximumRetryAttempts"] == 0
