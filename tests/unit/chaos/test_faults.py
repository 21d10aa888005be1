"""What a chaos test plans: every fault, the same for the same seed, in words that simulator and emulator take."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.chaos.backends import BEHAVIOURS
from local.chaos.faults import TOGETHER, Times, aws_faults, plan_run, rows_of
from local.programs import ROOT
from local.simulator.scripts import Script

TIMES = Times(deadline=60, hold=1, hand=1, settling=1)
FOLDERS = {path.parent.name for path in Path(ROOT / "functions").glob("*/handler.py")}


@given(seed=st.integers(0, 1_000_000), tasks=st.integers(1, 600))
def test_same_seed_plans_the_same(seed: int, tasks: int) -> None:
    assert plan_run(tasks, seed, TIMES) == plan_run(tasks, seed, TIMES)


@pytest.mark.parametrize("tasks", (1, 100, 300, 1000))
def test_every_fault_has_tasks_and_their_number_is_about_what_was_asked_for(tasks: int) -> None:
    phases = plan_run(tasks, 1, TIMES, cancels=True)
    plans = [plan for phase in phases for plan in phase.plans]

    names = {*rows_of(TIMES, cancels=True), *(fault.name for fault in aws_faults()), TOGETHER}
    assert {plan.row for plan in plans} == names
    assert {plan.client for plan in plans if plan.row.startswith("client")} == set(BEHAVIOURS)
    assert all(plan.client for phase in phases if phase.aws for plan in phase.plans)
    assert tasks <= len(plans) < max(120, 1.1 * tasks)


def test_no_task_s_words_are_found_in_another_s_prompt_and_the_simulator_takes_every_script() -> None:
    plans = [plan for phase in plan_run(1200, 1, TIMES) for plan in phase.plans]

    assert len({plan.tag for plan in plans}) == len(plans)
    assert len({len(plan.tag) for plan in plans}) == 1
    for plan in plans:
        Script.model_validate(plan.script)


def test_fault_of_aws_names_functions_that_exist_and_groups_hold_the_same_orders() -> None:
    orders = [order for fault in aws_faults() for order in fault.orders]
    named = {name for order in orders for name in re.findall(r"{(\w+)}", order["at"])}
    grouped = plan_run(1, 1, Times(deadline=60, hold=1, hand=1, settling=1, whole=False))

    assert named
    assert named <= FOLDERS
    assert sorted(json.dumps(order) for phase in grouped if phase.aws for order in phase.aws.orders) == sorted(
        map(json.dumps, orders)
    )
