"""`relay doctor`: every check side by side, within two minutes, each answered by one line."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

import click

from cli.command import Command, Relay
from cli.doctor import account, events, outside, parts
from cli.doctor.findings import Check, Context, Finding, State, fault_of
from cli.doctor.spending import spend
from cli.screen import Screen

CHECKS = (
    Check("provider", "reading an unknown task with the stored key and a made-up one", outside.provider),
    Check("callback", "a callback with a wrong token at the public address", outside.callback),
    Check("authorizer", "listing tasks without a key, with a wrong and a right one", outside.authorizer),
    Check("bus", "an event to a temporary queue", events.bus),
    Check("inbox", "a file that must be refused", events.inbox),
    Check("models", "the parameter Models against the catalogue and the provider", parts.models),
    Check("workers", "the sources of the functions behind queues and stream", parts.workers),
    Check("rules", "the rules that feed queues and alarm topic", parts.rules),
    Check("delivery", "what the role of deliver_videos may do in the videos bucket", parts.delivery),
    Check("secrets", "reading the three secrets as functions do", parts.secrets),
    Check("schedule", "the schedule of the sweep, and its last runs", parts.schedule),
    Check("alarm-topic", "subscriptions of the alarm topic", parts.alarm_topic),
    Check("alarms", "alarms in state ALARM", parts.alarms),
    Check("dead-letters", "messages in dead-letter queues", parts.dead_letters),
    Check("failures", "records in the failures bucket", parts.failures),
    Check("concurrency", "functions that the account may run", account.concurrency),
    Check("quotas", "the account's quotas against what the stack takes", account.quotas),
    Check("clock", "this machine's clock against AWS's", outside.clock_of_this_machine),
    Check("versions", "the deployed code against this checkout", account.versions),
)
SPEND = "spend"
EXIT_STATUS = {State.OK: 0, State.NOT: 1, State.UNKNOWN: 3}
"""By the worst state: `not`, then `unknown`."""
TASKS_NEED = ("provider", "authorizer", "workers", "delivery", "secrets")
"""Checks without which no task succeeds."""
TOTAL_SECONDS, CLEAN_UP_SECONDS = 110.0, 10.0
LOOK_UP_SECONDS = 0.5


@click.command(
    cls=Command, examples=["doctor", "doctor provider callback", "doctor --spend             (pays for one task)"]
)
@click.argument("check", nargs=-1, type=click.Choice([check.name for check in CHECKS]))
@click.option(
    "--spend",
    "spends",
    is_flag=True,
    help="Also submit the cheapest real task, which the provider bills, and check its video in S3; skipped if a check "
    "that every task needs is `not`.",
)
def doctor(relay: Relay, check: tuple[str, ...], spends: bool) -> int:
    """Check the whole deployment in at most two minutes, without cost at the provider; or only the checks named.

    Exit status 0 all ok, 1 something is not, 3 something could not be found out.
    """
    # Lines come in the order of CHECKS, each as soon as it and those before it are known.
    screen, context = relay.screen, Context(relay.connection, relay.again)
    relay.connection.output("ApiUrl")
    found = _run([one for one in CHECKS if one.name in check or not check], context, screen)
    states = list(found.values())
    if spends:
        states.append(_spend(context, screen, [name for name in TASKS_NEED if found.get(name) is State.NOT]))
    counted = ", ".join(f"{states.count(state)} {state}" for state in State)
    screen.remark(f"{counted}, in {time.monotonic() - context.began:.0f} s.")
    return EXIT_STATUS[next((state for state in (State.NOT, State.UNKNOWN) if state in states), State.OK)]


def _run(checks: list[Check], context: Context, screen: Screen) -> dict[str, State]:
    """Run each check in a thread of its own; one that hangs ends with the process."""
    answers: SimpleQueue[tuple[str, Finding]] = SimpleQueue()

    def answer(check: Check) -> None:
        answers.put((check.name, _finding(lambda: check.run(context))))

    threads = [threading.Thread(target=answer, args=(check,), daemon=True) for check in checks]
    known: dict[str, Finding] = {}
    states: dict[str, State] = {}
    try:
        for thread in threads:
            thread.start()
        for check in checks:
            while check.name not in known:
                left = TOTAL_SECONDS - (time.monotonic() - context.began)
                if left <= 0:
                    known[check.name] = Finding(State.UNKNOWN, f"no answer in {TOTAL_SECONDS:g} s", "repeat it")
                    break
                try:
                    name, finding = answers.get(timeout=min(left, LOOK_UP_SECONDS))
                except Empty:
                    continue
                known[name] = finding
            states[check.name] = _say(check.name, check.tried, known[check.name], screen)
    finally:
        context.stopped.set()
        end = time.monotonic() + CLEAN_UP_SECONDS
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
    return states


def _finding(run: Callable[[], Finding]) -> Finding:
    try:
        return run()
    except Exception as error:  # noqa: BLE001 - a failed check must not end the others
        return fault_of(error)


def _spend(context: Context, screen: Screen, broken: list[str]) -> State:
    """The paid check, last: skipped if the other checks show that a task cannot succeed."""
    tried = "the cheapest real task, from the submission to S3"
    if broken:
        found = Finding(State.UNKNOWN, "nothing was submitted", f"first fix {', '.join(broken)}")
        return _say(SPEND, tried, found, screen)
    return _say(SPEND, tried, _finding(lambda: spend(context, screen)), screen)


def _say(name: str, tried: str, finding: Finding, screen: Screen) -> State:
    remedy = f"\n{'':22}→ {finding.remedy}" if finding.remedy else ""
    data = {"check": name, "tried": tried, "state": finding.state, "found": finding.found, "remedy": finding.remedy}
    screen.line(f"{finding.state:<8} {name:<12} {tried}: {finding.found}{remedy}", data)
    return finding.state
