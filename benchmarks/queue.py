"""How fair and how full the queue in front of a provider is, in simulated time: exact, and the same in each run.

The relay's own code on an account in memory; the provider runs five tasks at once, each for about a minute, and answers
429 beyond. Two tenants send 300 and 20 tasks at once. The index of what waits lags a second behind the table.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.rows import row, table
from tests.simulation.crowd import Turns, serve_two_tenants
from tests.simulation.http_provider import provider_http
from vidu_relay.observability import logger

__all__ = ["measure", "report"]


def measure(say: Callable[[str], None] = lambda _: None) -> Turns:
    """Serve both tenants until all tasks are completed."""
    say("two tenants at a provider of five slots")
    level = logger.log_level
    logger.setLevel("CRITICAL")  # the relay's own code runs in this process
    try:
        with provider_http():
            return serve_two_tenants()
    finally:
        logger.setLevel(level)


def report(turns: Turns) -> list[str]:
    """The table, as Markdown."""
    return table(
        [
            row("slots that are used while tasks wait", [100 * turns.busy], "%", at_least=95),
            row("wait of the small tenant ÷ its share", [turns.waited], "×", at_most=2),
            row("create calls that create a task, a task", [turns.creates], at_most=1),
            row("429s a task", [turns.refusals], at_most=0.03),
            row("dispatches a task", [turns.dispatches]),
        ]
    )
