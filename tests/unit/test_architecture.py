"""What the layout promises and no other tool checks: who imports whom, what a module says of itself, words said once.

Layers inside the package are import-linter's (pyproject.toml); function folder ↔ template ↔ settings stands in
test_template_functions.py; handlers on the layers alone in tests/functions/test_bare_import.py.
"""

import ast
import importlib
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents import ROOT
from tests.unit.template import properties
from vidu_relay.adapters import provider_gateway, provider_vidu, provider_words
from vidu_relay.adapters.event_bus import SOURCE
from vidu_relay.domain.identifiers import request_key, video_key
from vidu_relay.domain.queued_requests import REJECTED_PREFIX, REQUESTS_PREFIX
from vidu_relay.domain.snapshot import ProgressState
from vidu_relay.domain.states import (
    EVENT_TYPE_ACCEPTED,
    EVENT_TYPE_DELIVERY_DELAYED,
    EVENT_TYPE_REJECTED,
    EVENT_TYPES,
    Status,
)
from vidu_relay.observability import Metric
from vidu_relay.outbound.reply_reasons import NO_REASONS

LAYER = ROOT / "layers" / "shared"
PACKAGE = sorted((LAYER / "vidu_relay").rglob("*.py"))
HANDLERS = sorted((ROOT / "functions").glob("*/handler.py"))
TOOL = sorted((ROOT / "cli").glob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in (*PACKAGE, *HANDLERS, *TOOL)}

OTHER_TONGUES = {
    # the provider's words for its own states, translated there
    "layers/shared/vidu_relay/adapters/provider_words.py": {"processing", "completed", "failed", "canceled"},
    # our words for the provider's progress
    "layers/shared/vidu_relay/domain/snapshot.py": {"processing", "failed", "canceled"},
    # the attribute of a counter: how many tasks were accepted
    "layers/shared/vidu_relay/adapters/daily_quota.py": {"accepted"},
    # the states of a batch
    "layers/shared/vidu_relay/domain/batch.py": {"accepted", "completed"},
    # a member of the sweep's answer: how many pollers could not be started
    "functions/find_overdue_tasks/handler.py": {"failed"},
}
"""Where a word that is also a status means something else."""


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(LAYER).with_suffix("").parts).removesuffix(".__init__")


def imports(tree: ast.AST) -> Iterator[tuple[str, str | None]]:
    """Module and, for `from … import`, name of each import, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


def texts(tree: ast.AST) -> set[str]:
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def exported(tree: ast.Module) -> list[str] | None:
    """What `__all__` lists; None without one."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            listed: list[str] = ast.literal_eval(node.value)
            return listed
    return None


def test_what_is_deployed_imports_nothing_that_is_not() -> None:
    found = {
        name_of(path): module
        for path in (*PACKAGE, *HANDLERS)
        for module, _ in imports(TREES[path])
        if module.partition(".")[0] in {"benchmarks", "cli", "functions", "local", "tests"}
    }
    assert found == {}


def test_tool_needs_nothing_of_the_laptop_stack_or_the_tests() -> None:
    found = {
        name_of(path): module
        for path in TOOL
        for module, _ in imports(TREES[path])
        if module.partition(".")[0] in {"functions", "local", "tests"}
    }
    assert found == {}


@pytest.mark.parametrize("path", PACKAGE, ids=name_of)
def test_module_says_what_it_is_for_and_what_is_public(path: Path) -> None:
    assert ast.get_docstring(TREES[path])
    listed = exported(TREES[path])
    if path.name == "__init__.py":
        assert listed is None  # a package is its modules: nothing is passed on
        return
    assert listed
    module = importlib.import_module(module_of(path))
    assert [name for name in listed if not hasattr(module, name)] == []


@pytest.mark.parametrize("path", [*HANDLERS, *TOOL], ids=name_of)
def test_handlers_and_tool_say_what_they_are_for(path: Path) -> None:
    assert ast.get_docstring(TREES[path])


def test_only_public_names_are_imported_from_another_module() -> None:
    public = {module_of(path): exported(TREES[path]) for path in PACKAGE}
    found = {
        f"{name_of(path)}: {module}.{name}"
        for path, tree in TREES.items()
        for module, name in imports(tree)
        if module in public and f"{module}.{name}" not in public and name not in (public[module] or ())
    }
    assert found == set()


def test_environment_is_read_in_settings_and_nowhere_else() -> None:
    found = {
        name_of(path)
        for path in (*PACKAGE, *HANDLERS)
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "environb"}
    }
    asks_where_it_runs = "layers/shared/vidu_relay/__init__.py"
    assert found == {"layers/shared/vidu_relay/settings.py", asks_where_it_runs}


def test_nothing_deployed_prints() -> None:
    found = {
        name_of(path)
        for path in (*PACKAGE, *HANDLERS)
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Name) and node.id == "print"
    }
    assert found == set()


def test_statuses_are_named_by_their_enum() -> None:
    statuses = {status.value for status in Status}
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path, tree in TREES.items():
        found[name_of(path)] |= texts(tree) & statuses
    home = found.pop("layers/shared/vidu_relay/domain/states.py")
    assert home == statuses
    assert {name: words for name, words in found.items() if words} == OTHER_TONGUES


def test_event_types_are_written_in_one_module() -> None:
    types = {EVENT_TYPE_ACCEPTED, EVENT_TYPE_DELIVERY_DELAYED, EVENT_TYPE_REJECTED, *EVENT_TYPES.values()}
    found = {name_of(path): words for path, tree in TREES.items() if (words := texts(tree) & types)}
    assert found == {"layers/shared/vidu_relay/domain/states.py": types}


def test_the_version_is_written_once() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert [name_of(path) for path, tree in TREES.items() if version in texts(tree)] == []
    assert version not in (ROOT / "template.yaml").read_text()
    assert f"\n## {version} - " in (ROOT / "CHANGELOG.md").read_text()


def test_words_and_codes_of_providers_stand_in_their_adapters_and_in_the_catalogue_alone() -> None:
    """But for words that are everyone's, or ours."""
    ours = {*Status, *ProgressState, *NO_REASONS, "done", "created"}
    replies = (provider_gateway.CREATE_REPLIES, provider_vidu.CREATE_REPLIES)
    codes = {code for each in replies for code in each.request_codes | each.account_codes}
    words = {*provider_words.WORDS, *provider_words.CANCELED_WORDS, *provider_vidu.USER_CANCELED}
    theirs = (codes | words | provider_gateway.INCONCLUSIVE_CODES) - ours
    found = {
        name_of(path).partition("vidu_relay/")[2]
        for path, tree in TREES.items()
        if theirs & {text.lower() for text in texts(tree)} or any("80170" in text for text in texts(tree))
    }
    assert {name for name in found if not name.startswith(("adapters/provider_", "domain/models/"))} == set()


def test_metric_names_are_written_in_one_module() -> None:
    names = {metric.value for metric in Metric}
    found = {name_of(path): words for path, tree in TREES.items() if (words := texts(tree) & names)}
    assert found == {"layers/shared/vidu_relay/observability.py": names}


def test_every_metric_is_counted_somewhere() -> None:
    used = {
        node.attr
        for path in (*PACKAGE, *HANDLERS)
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Metric"
    }
    assert used == set(Metric.__members__)


def test_our_event_source_is_written_in_one_module() -> None:
    found = {name_of(path) for path in (*PACKAGE, *HANDLERS) if SOURCE in texts(TREES[path])}
    # the same word as User-Agent is a name, not a source
    agent = "layers/shared/vidu_relay/outbound/exchange.py"
    assert found - {agent} == {"layers/shared/vidu_relay/adapters/event_bus.py"}


def test_prefixes_of_keys_are_the_ones_granted_and_expired() -> None:
    videos = video_key("acme", "task", 0, 1).partition("/")[0]
    requests = request_key("acme", "task", "digest").partition("/")[0]
    entry_points = {prefix.rstrip("/") for prefix in (REQUESTS_PREFIX, REJECTED_PREFIX)}
    template = (ROOT / "template.yaml").read_text()
    assert set(re.findall(r"\$\{VideosBucket\.Arn\}/([\w-]+)", template)) == {videos}
    assert {requests, *entry_points} <= set(re.findall(r"\$\{InboxBucket\.Arn\}/([\w-]+)", template))
    assert all(f"Prefix: {prefix}/" in template for prefix in (requests, *entry_points))


def test_prefixes_of_items_in_the_template_are_the_stores() -> None:
    written = {text for path in PACKAGE if path.parent.name == "adapters" for text in texts(TREES[path])}
    granted = re.findall(r"'([a-z]+#)\*'", (ROOT / "template.yaml").read_text())
    assert granted
    assert [prefix for prefix in granted if prefix not in written] == []


def test_tool_says_how_long_api_gateway_remembers_a_key() -> None:
    said = {number for path in TOOL for number in re.findall(r"(?:another|within) (\d+) seconds", path.read_text())}
    assert said == {str(properties("ApiKeyAuthorizer")["AuthorizerResultTtlInSeconds"])}
