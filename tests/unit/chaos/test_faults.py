"""What a campaign asks for: every fault, the same for the same seed, in words that simulator and emulator take."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.chaos.clients import MOODS
from local.chaos.faults import GUEST, TOGETHER, Times, aws_faults, client_faults, plan_campaign, provider_faults
from local.chaos.verdict import CODES
from local.programs import ROOT
from local.simulator.scripts import Script

TIMES = Times(deadline=60, hold=1, hand=1, patience=1)
FOLDERS = {path.parent.name for path in Path(ROOT / "functions").glob("*/handler.py")}


@given(seed=st.integers(0, 1_000_000), tasks=st.integers(1, 600))
def test_the_same_seed_asks_for_the_same(seed: int, tasks: int) -> None:
    assert plan_campaign(tasks, seed, TIMES) == plan_campaign(tasks, seed, TIMES)


@pytest.mark.parametrize("tasks", (1, 100, 300, 1000))
def test_every_fault_has_tasks_and_the_number_is_about_what_was_asked_for(tasks: int) -> None:
    plans = [plan for phase in plan_campaign(tasks, 1, TIMES) for plan in phase.plans]
    rows = {plan.row for plan in plans}

    assert rows == {*provider_faults(TIMES), *client_faults(), *(fault.name for fault in aws_faults()), TOGETHER}
    assert len(plans) >= tasks
    assert tasks < 100 or len(plans) < 1.1 * tasks


def test_no_tasks_words_are_found_in_anothers_prompt() -> None:
    tags = [plan.tag for phase in plan_campaign(1200, 1, TIMES) for plan in phase.plans]

    assert len(set(tags)) == len(tags)
    assert len({len(tag) for tag in tags}) == 1


def test_the_simulator_takes_every_script() -> None:
    for phase in plan_campaign(600, 3, TIMES, cancels=True):
        for plan in phase.plans:
            Script.model_validate(plan.script)


def test_every_mood_of_a_client_has_a_row_and_whatever_meets_a_fault_of_aws_has_a_client() -> None:
    phases = plan_campaign(300, 3, TIMES)
    moods = {plan.client for phase in phases for plan in phase.plans if plan.row.startswith("client")}

    assert moods == set(client_faults().values()) == set(MOODS)
    assert all(plan.client for phase in phases if phase.aws for plan in phase.plans)
    assert {plan.client is None for plan in phases[0].plans if plan.row == TOGETHER} == {True, False}


def test_a_tenants_client_is_at_an_address_of_its_own_and_some_are_guests() -> None:
    plans = [plan for phase in plan_campaign(300, 3, TIMES) for plan in phase.plans if plan.client]

    assert len({plan.hook for plan in plans}) == len(plans)
    assert 0.1 < sum(plan.tenant == GUEST for plan in plans) / len(plans) < 0.5
    assert all(plan.door == "http" for plan in plans if plan.tenant == GUEST)


def test_a_fault_of_aws_names_functions_that_there_are() -> None:
    named = {name for fault in aws_faults() for order in fault.orders for name in re.findall(r"{(\w+)}", order["at"])}

    assert named
    assert named <= FOLDERS


def test_grouped_faults_are_the_same_orders() -> None:
    grouped = plan_campaign(1, 1, Times(deadline=60, hold=1, hand=1, patience=1, whole=False))
    orders = [json.dumps(order) for phase in grouped if phase.aws for order in phase.aws.orders]

    assert sorted(orders) == sorted(json.dumps(order) for fault in aws_faults() for order in fault.orders)


def test_the_judge_knows_the_end_of_every_video_that_is_never_any_better() -> None:
    for name, script in provider_faults(TIMES).items():
        fault = script.get("videos", {}).get("fault")
        if fault and fault.get("times") is None:
            assert fault["kind"] in CODES, name
