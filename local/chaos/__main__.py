"""`make chaos`: the chaos test, and its table. Exit status: 0 nothing is wrong, 1 something is, 130 stopped."""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from pathlib import Path

from local.chaos.backends import Backends
from local.chaos.expectation import check_stack, evaluate
from local.chaos.faults import MAX_VIDEO_BYTES, Times, plan_run
from local.chaos.run import ChaosError, Run
from local.chaos.table import details, summary, table
from local.errors import LocalStackError
from local.programs import ROOT
from local.signals import StopRequestedError, stop_on_signals
from local.stack import LocalStack

WORK_DIR = ROOT / ".local" / "chaos"
DEFAULT_TASKS = 300
FULL = Times(deadline=75, hold=8.0, hand=100.0, settling=300.0)
"""The operator waits until every create attempt must be over (90 s)."""
SHORT = Times(deadline=15, hold=3.0, hand=20.0, settling=180.0, whole=False)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.chaos", description=__doc__)
    parser.add_argument("--tasks", type=_number, default=None, help=f"how many (default {DEFAULT_TASKS})")
    parser.add_argument("--seed", type=_number, default=None, help="what is drawn is drawn from it (default: any)")
    parser.add_argument("--short", action="store_true", help="what the tests run")
    parser.add_argument("--provider", choices=("gateway", "vidu"), default="gateway", help="its protocol")
    given = parser.parse_args()
    tasks = DEFAULT_TASKS if given.tasks is None else given.tasks
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    try:
        with stop_on_signals():
            return run_chaos(tasks, seed, SHORT if given.short else FULL, WORK_DIR, provider=given.provider)
    except StopRequestedError:
        _say("Stopped.")
        return 130
    except (ChaosError, LocalStackError) as error:
        _say(f"The chaos test could not go on: {error} The logs are in {WORK_DIR / 'logs'}.")
        return 1


def run_chaos(tasks: int, seed: int, times: Times, work_dir: Path, *, provider: str = "gateway") -> int:
    """One run with its table; 1 if anything is wrong. Raises `ChaosError` or `LocalStackError`."""
    phases = plan_run(tasks, seed, times, cancels=provider == "vidu")
    count, began = sum(len(phase.plans) for phase in phases), time.monotonic()
    _say(f"{count} tasks, SEED={seed}, provider {provider}")
    with Backends() as backends:
        local_stack = LocalStack(
            work_dir,
            parameters=parameters(times, count, provider, backends),
            generation_seconds=times.generation,
            progress=_say,
        )
        with local_stack as stack:
            run = Run(stack, backends, times, seed, work_dir, _say)
            try:
                evidence = run.run(phases)
                local_stack.check()
            finally:
                run.close()
    results = [evaluate(one, evidence, times) for one in run.submitted]
    wrong = list(details(results, check_stack(run.submitted, evidence)))
    _say(f"\n{table(results, run.by_hand)}\n")
    _say(summary(results, evidence))
    _say(f"SEED={seed}, {count} tasks, {time.monotonic() - began:.0f} s, {len(wrong)} things wrong")
    for line in wrong:
        _say(f"WRONG  {line}")
    return 1 if wrong else 0


def parameters(times: Times, tasks: int, provider: str, backends: Backends) -> dict[str, str]:
    """The template's parameters for a run."""
    return {
        "ProviderName": provider,
        "AllowUnlistedModels": str(provider != "gateway").lower(),
        "FirstCheckSeconds": str(times.first_check),
        "CheckIntervalSeconds": str(times.check_interval),
        "TaskDeadlineSeconds": str(times.deadline),
        "MaxVideoBytes": str(MAX_VIDEO_BYTES),
        "DailyTaskCap": str(10 * tasks + 1000),
        "TrustedOrigins": ",".join(backends.origins.values()),
    }


def _number(text: str) -> int | None:
    return int(text) if text else None


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
