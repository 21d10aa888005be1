"""Which tests may talk to what.

Sockets are closed to every test (``--disable-socket`` in pyproject.toml). The folders named here start servers on
this machine, so their tests may reach it, and nothing else.
"""

import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

TESTS = Path(__file__).parent
TALKS_TO_THIS_MACHINE = frozenset({"browser", "contract", "e2e", "local"})


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--simulate",
        choices=("sample", "all"),
        default="sample",
        help="how much tests/simulation explores, and whether property tests draw other examples in each run",
    )


def pytest_configure(config: pytest.Config) -> None:
    """No proxy of this machine's stands between tests and their own servers.

    Properties are tried on the same examples each time, however slow the machine is; `--simulate all` draws others.
    """
    direct = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), "127.0.0.1,localhost"]))
    os.environ.update(NO_PROXY=direct, no_proxy=direct)
    settings.register_profile(
        "ours",
        deadline=None,
        derandomize=config.getoption("--simulate") == "sample",
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("ours")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(TESTS) and item.path.relative_to(TESTS).parts[0] in TALKS_TO_THIS_MACHINE:
            item.add_marker(pytest.mark.allow_hosts(["127.0.0.1", "localhost"]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests say that they explored, summed up. It stands here because only here it is seen with `-n`, too."""
    explored: Counter[str] = Counter()
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, content in report.user_properties:
                if name == "explored":
                    what, number = content
                    explored[what] += number
    if explored:
        terminalreporter.section("explored")
        for what, number in sorted(explored.items()):
            terminalreporter.write_line(f"{number:>9,} {what}")
