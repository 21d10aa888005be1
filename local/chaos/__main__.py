"""`make chaos`: the campaign of faults, and its table. Exit status: 0 nothing wrong, 1 something is, 130 stopped."""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from pathlib import Path

from local.chaos.campaign import Campaign, CampaignError, judge_all, parameters
from local.chaos.clients import Clients
from local.chaos.faults import Times, plan_campaign
from local.chaos.report import details, summary, table
from local.chaos.verdict import judge_stack
from local.errors import LocalStackError
from local.programs import ROOT
from local.signals import StopRequestedError, stop_on_signals
from local.stack import LocalStack

WORK_DIR = ROOT / ".local" / "chaos"
DEFAULT_TASKS = 300
FULL = Times(deadline=75, hold=8.0, hand=100.0, patience=300.0)
"""The operator waits until every create attempt must be over (90 s): only what would take minutes more gets a hand."""

SHORT = Times(deadline=15, hold=3.0, hand=20.0, patience=180.0, whole=False)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.chaos", description=__doc__)
    parser.add_argument("--tasks", type=_number, default=None, help=f"how many (default {DEFAULT_TASKS})")
    parser.add_argument("--seed", type=_number, default=None, help="what is drawn is drawn from it (default: any)")
    parser.add_argument("--short", action="store_true", help="the campaign that the tests run")
    parser.add_argument("--provider", choices=("gateway", "vidu"), default="gateway", help="its protocol")
    arguments = parser.parse_args()
    tasks = DEFAULT_TASKS if arguments.tasks is None else arguments.tasks
    seed = secrets.randbelow(1_000_000) if arguments.seed is None else arguments.seed
    try:
        with stop_on_signals():
            return run_campaign(tasks, seed, SHORT if arguments.short else FULL, WORK_DIR, provider=arguments.provider)
    except StopRequestedError:
        _say("Stopped.")
        return 130
    except (CampaignError, LocalStackError) as error:
        _say(f"The campaign failed: {error} The logs are in {WORK_DIR / 'logs'}.")
        return 1


def run_campaign(tasks: int, seed: int, times: Times, work_dir: Path, *, provider: str = "gateway") -> int:
    """One campaign with its table; 1 if anything is wrong. Raises `CampaignError` or `LocalStackError`."""
    phases = plan_campaign(tasks, seed, times, cancels=provider == "vidu")
    count = sum(len(phase.plans) for phase in phases)
    began = time.monotonic()
    _say(f"Campaign of {count} tasks, SEED={seed}, provider {provider}")
    with Clients() as clients:
        local_stack = LocalStack(
            work_dir,
            parameters=parameters(times, count, provider, clients),
            generation_seconds=times.generation,
            progress=_say,
        )
        with local_stack as stack:
            campaign = Campaign(stack, clients, times, seed, work_dir, _say)
            try:
                evidence = campaign.run(phases)
                local_stack.check()
            finally:
                campaign.close()
            judgements = judge_all(campaign, evidence, times)
            problems = judge_stack(campaign.submitted, evidence)
    wrong = list(details(judgements, problems))
    _say(f"\n{table(judgements, campaign.by_hand)}\n")
    _say(summary(judgements, evidence, campaign.republished, campaign.asked_again))
    _say(f"SEED={seed}, {count} tasks, {time.monotonic() - began:.0f} s, {len(wrong)} things wrong")
    for line in wrong:
        _say(f"WRONG  {line}")
    return 1 if wrong else 0


def _number(text: str) -> int | None:
    return int(text) if text else None


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
