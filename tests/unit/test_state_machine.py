"""The poller's definition: readable as it stands, valid with its substitutions, bounded in what it repeats."""

import json
import re
from typing import Any

import pytest
from cfnlint.api import lint  # type: ignore[import-untyped]  # cfn-lint ships no types

from tests.unit.template import EVENTS, ROOT, properties

MACHINE = properties("PollTask")
TEXT = (ROOT / MACHINE["DefinitionUri"]).read_text()
DEFINITION: dict[str, Any] = json.loads(TEXT)
STATES: dict[str, Any] = DEFINITION["States"]
LOOP: dict[str, Any] = STATES["Poll"]["ItemProcessor"]
CHECKS = (STATES["Check"], LOOP["States"]["Check again"])
ARN = "arn:aws:lambda:eu-central-1:123456789012:function:check-task"


def test_every_substitution_is_made_and_stands_in_quotes() -> None:
    used = re.findall(r"\$\{(\w+)\}", TEXT)
    assert set(used) == set(MACHINE["DefinitionSubstitutions"])
    # Inside a JSON string: so the file is JSON before and after.
    assert len(used) == len(re.findall(r"\$\{\w+\}", json.dumps(DEFINITION)))
    assert json.loads(substituted())


def test_cfn_lint_finds_nothing_in_the_definition() -> None:
    template = {
        "Resources": {
            "PollTask": {
                "Type": "AWS::StepFunctions::StateMachine",
                "Properties": {
                    "RoleArn": "arn:aws:iam::123456789012:role/poll-task",
                    "DefinitionString": substituted(),
                },
            }
        }
    }
    matches = lint(json.dumps(template), regions=["eu-central-1"])
    assert [f"{match.rule.id} {match.message}" for match in matches] == []


@pytest.mark.parametrize("machine", [DEFINITION, LOOP], ids=["machine", "loop"])
def test_every_state_is_reached_and_the_end_as_well(machine: dict[str, Any]) -> None:
    states, reached, ahead = machine["States"], set(), {machine["StartAt"]}
    while ahead:
        name = ahead.pop()
        reached.add(name)
        state = states[name]
        choices = [choice["Next"] for choice in state.get("Choices", [])]
        ahead |= {n for n in (state.get("Next"), state.get("Default"), *choices) if n} - reached
    assert reached == set(states)
    ends = [name for name, state in states.items() if state["Type"] == "Succeed" or state.get("End")]
    assert ends == ["Poll" if machine is DEFINITION else "Done"]


def test_first_check_that_settles_costs_two_transitions_and_one_more_check_three() -> None:
    # Each is billed: the check and the Map of no item; then the wait, the check, the question whether it is over.
    assert (DEFINITION["StartAt"], STATES["Check"]["Next"], STATES["Poll"]["End"]) == ("Check", "Poll", True)
    assert STATES["Poll"]["Items"] == "{% $states.input.settled ? [] : [$states.input] %}"
    inside = LOOP["States"]
    round_trip = [LOOP["StartAt"], inside["Wait"]["Next"], inside["Check again"]["Next"], inside["Settled?"]["Default"]]
    assert round_trip == ["Wait", "Check again", "Settled?", "Wait"]


@pytest.mark.parametrize("check", CHECKS, ids=["first", "again"])
def test_the_check_is_called_with_the_task_and_the_lease(check: dict[str, Any]) -> None:
    # Taken from the execution's own input, so the loop cannot lose or change it.
    assert check["Arguments"]["Payload"] == {
        name: f"{{% $states.context.Execution.Input.{name} %}}"
        for name in json.loads((EVENTS / "check_task__overdue.json").read_text())
    }
    # Longer than the function may run: the function's own time-out comes first and is the one that is seen.
    assert check["TimeoutSeconds"] > properties("CheckTask")["Timeout"]


def test_ordinary_waiting_is_no_error() -> None:
    assert not [state for state in (*STATES.values(), *LOOP["States"].values()) if "Catch" in state]
    assert LOOP["States"]["Settled?"]["Choices"] == [{"Condition": "{% $states.input.settled %}", "Next": "Done"}]
    assert LOOP["States"]["Wait"]["Seconds"] == "{% $states.input.wait_seconds %}"


@pytest.mark.parametrize(
    "retry", [*STATES["Check"]["Retry"], *STATES["Poll"]["Retry"]], ids=lambda retry: retry["ErrorEquals"][0]
)
def test_retries_are_few_and_back_off(retry: dict[str, Any]) -> None:
    assert 1 <= retry["MaxAttempts"] <= 5
    assert retry["BackoffRate"] >= 2
    assert retry["JitterStrategy"] == "FULL"


def test_any_failure_is_retried_before_the_execution_gives_up() -> None:
    for state in STATES.values():
        # must stand alone and last, or Step Functions refuses it
        assert state["Retry"][-1]["ErrorEquals"] == ["States.ALL"]


def test_the_machine_is_standard_and_logs_errors() -> None:
    # Standard: an execution's name stays taken for 90 days, so a lease is never watched twice.
    assert MACHINE["Type"] == "STANDARD"
    assert MACHINE["Role"] == {"Fn::GetAtt": ["PollTaskRole", "Arn"]}
    assert MACHINE["Logging"]["Level"] == "ERROR"


def substituted() -> str:
    values = {"CheckTaskArn": ARN, "Partition": "aws"}
    return re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], TEXT)
