"""What the documents say of names, numbers and files is what the project has."""

import ast
import importlib
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from cli.doctor import running
from tests.documents import DOCUMENTS, ROOT, table
from tests.unit.template import TEMPLATE, properties
from vidu_relay.domain.catalogue import models
from vidu_relay.domain.lifecycle import SUBMISSION_UNCONFIRMED
from vidu_relay.domain.states import (
    EVENT_TYPE_ACCEPTED,
    EVENT_TYPE_DELIVERY_DELAYED,
    EVENT_TYPES,
    TRANSITIONS,
    Status,
)
from vidu_relay.http import STATUS_OF_CODE
from vidu_relay.observability import Metric
from vidu_relay.usecases.notify_client import NO_TURN

PACKAGE = ROOT / "layers" / "shared" / "vidu_relay"
SOURCES = [ast.parse(path.read_text()) for path in (*PACKAGE.rglob("*.py"), *(ROOT / "functions").glob("*/handler.py"))]
CALLS = [node for tree in SOURCES for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
REFERENCE = "docs/reference.md"
UNITS = {"bytes": 1, "KiB": 1024, "MiB": 1024**2, "MB": 10**6, "s": 1, "min": 60, "h": 3600, "d": 86_400}
QUANTITY = (
    r"(?i)\b(?:\d[\d,.]*|two|three|four|five|six|seven|ten|twelve|fifteen|thirty)[ \n-]"
    r"(?:[KMG]i?B|bytes|characters|pixels|ms|s|seconds|min|minutes|h|hours|days)\b"
)
ELSEWHERE = {
    "reference.md",
    "provider-contract.md",  # the provider's limits, compared by test_provider_contract.py
    "scale.md",  # compared by test_scale.py, or measured
    "aws-differences.md",  # AWS's numbers
    *("simulation.md", "local-stack.md", "tool.md"),  # waits of the test machinery and of the tool itself
    "CHANGELOG.md",
}
ALLOWED = {
    "adding-a-model.md": {"30 minutes", "two minutes"},  # measured
    "configuration.md": {"four bytes"},  # of UTF-8
    "decisions.md": {"1 KB", "8 bytes"},  # a write unit of DynamoDB, a box's header in MP4
    "deploy.md": {"15 MB", "7 days", "35 days", "57 characters"},  # computed by test_deploy_page.py; what AWS keeps
    "finding-your-way.md": {"5 MiB", "90 days"},  # S3's smallest part; an example
    "runbook.md": {"5 minutes"},  # in an alarm's description
    "usage.md": {"1 MB"},  # EventBridge's
}
"""What is no limit or timing of the relay, or is compared by another test."""

FOR_THE_OPERATOR = {"mapping_taken", "key_exists"}
"""Refusals that only the operator's tool meets, as sentences."""


def listed(heading: str) -> dict[str, str]:
    """The list below a heading of the reference: what stands between each item's name and its colon."""
    section = (ROOT / REFERENCE).read_text().split(f"\n## {heading}\n", 1)[1].partition("\n## ")[0]
    items = {name: value.strip() for name, value in re.findall(r"^- `([^`]+)`([^:\n]*): .+$", section, re.MULTILINE)}
    assert len(items) == section.count("\n- "), f"{heading}: an item of another form, or twice the same name"
    return items


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are made of them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def codes_of(*calls: str, position: int = 0) -> set[str]:
    """The literal codes that these are called with; an f-string's parts in braces become `<status>`."""
    found: set[str] = set()
    for call in CALLS:
        if ast.unparse(call.func) in calls and len(call.args) > position:
            found |= _codes(call.args[position])
    return found


def _codes(node: ast.expr) -> set[str]:
    if isinstance(node, ast.JoinedStr):
        parts = (str(part.value) if isinstance(part, ast.Constant) else "<status>" for part in node.values)
        return {"".join(parts)}
    words = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return {word for word in words if re.fullmatch(r"[a-z_0-9]{4,}", word)}


def symbols(path: Path) -> set[str]:
    """What a file defines: Python's top-level names and members of its classes, the template's logical names."""
    if path.suffix == ".yaml":
        return {*TEMPLATE["Parameters"], *TEMPLATE["Resources"]}
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize("page", DOCUMENTS, ids=page_name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text()):
        linked = (page.parent / target).resolve() if target else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), f"{target}#{anchor}"


@pytest.mark.parametrize("page", DOCUMENTS, ids=page_name)
def test_files_that_are_named_exist(page: Path) -> None:
    own = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    yours = [line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    missing = []
    for text in re.findall(r"`([^`\n]+)`", page.read_text()):
        if not re.fullmatch(r"[\w./-]+", text) or text.startswith("/") or any(fnmatch(text, name) for name in yours):
            continue  # a pattern, a command, a route, a file that only you have
        first, slash, _ = text.partition("/")
        if (slash and first in own) or re.fullmatch(r"[\w-]+\.(md|toml|yaml)", text):
            missing += [] if (ROOT / text).exists() else [text]
        elif re.fullmatch(r"[\w/]+\.py", text):
            missing += [] if any(PACKAGE.rglob(text)) or any(ROOT.glob(f"*/**/{text}")) else [text]
    assert missing == []


@pytest.mark.parametrize("page", DOCUMENTS, ids=page_name)
def test_make_targets_that_are_named_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(), re.MULTILINE)) <= targets


@pytest.mark.parametrize("page", DOCUMENTS, ids=page_name)
def test_pages_are_plain_text_of_the_project_alone(page: Path) -> None:
    text = page.read_text()
    assert not re.search(r"(?i)\btodo\b|\bfixme\b|/(?:home|root|work|tmp)/", text)
    assert text.endswith("\n")
    assert [line for line in text.splitlines() if line != line.rstrip()] == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=page_name)
def test_page_can_be_reached_from_the_front_page(page: Path) -> None:
    assert f"(docs/{page.name})" in (ROOT / "README.md").read_text()


def test_transitions_are_those_in_the_code() -> None:
    said = {
        row: set(re.findall(r"`(\w+)`", cells[0])) for row, cells in table("docs/architecture.md", "## States").items()
    }
    assert said == {before.value: {status.value for status in after} for before, after in TRANSITIONS.items()}


def test_events_are_those_that_are_published() -> None:
    said = {row: cells[0] for row, cells in table(REFERENCE, "## Events").items()}
    assert said.pop(EVENT_TYPE_ACCEPTED)
    assert said.pop(EVENT_TYPE_DELIVERY_DELAYED).startswith("`generated`")
    assert said == {name: f"`{status.value}`" for status, name in EVENT_TYPES.items()}


def test_every_metric_has_its_meaning_beside_it() -> None:
    """The reference sends its reader there."""
    source = (PACKAGE / "observability.py").read_text()

    described = set(re.findall(r'^    [A-Z_]+ = "(\w+)"  # .+$', source, re.MULTILINE))
    assert described == {metric.value for metric in Metric}


def test_notes_on_a_video_are_those_in_the_code() -> None:
    source = (PACKAGE / "domain" / "video_proof.py").read_text()
    codes = set(re.findall(r'"([a-z]+(?:_[a-z]+)+)"', source))
    assert set(listed("Notes on a video")) == codes


def test_codes_of_refused_requests_are_those_in_the_code() -> None:
    answered = codes_of("problem", position=1)
    raised = codes_of("InvalidRequestError") | codes_of("super().__init__")
    offers = [offer for model in models().values() for offer in model.offers.values()]
    of_models = {part.code for offer in offers for part in (*offer.rules, *offer.parameters.values()) if part.code}
    refused = raised | of_models | {"validation_error"}
    said = table(REFERENCE, "## Codes of refused requests")
    assert set(said) == (refused | answered) - FOR_THE_OPERATOR
    for code in refused - FOR_THE_OPERATOR:
        assert said[code][0] == str(int(STATUS_OF_CODE.get(code, 422))), code


def test_codes_of_tasks_are_those_in_the_code() -> None:
    said = table(REFERENCE, "## Codes of tasks")
    assert set(said) == (codes_of("TaskError") | {SUBMISSION_UNCONFIRMED}) - {"code", NO_TURN.code}
    assert NO_TURN.code in listed("Codes of notifications")
    assert {cells[0] for cells in said.values()} == {Status.FAILED.value, Status.EXPIRED.value, Status.CANCELED.value}


def test_codes_of_images_are_those_in_the_code() -> None:
    assert set(listed("Codes of images")) == codes_of("BadImageError", "BadLinkError") - {"code"}


def test_codes_of_deliveries_are_those_in_the_code() -> None:
    source, way = codes_of("BadSourceError", "BadLinkError") - {"code"}, codes_of("DeliveryInterruptedError")
    at_fault = {
        code: "both" if code in source & way else "source" if code in source else "transfer" for code in source | way
    }
    assert listed("Codes of deliveries") == at_fault


@pytest.mark.parametrize(("symbol", "value"), listed("Fixed numbers").items())
def test_fixed_number_is_the_one_in_the_code(symbol: str, value: str) -> None:
    path, name = symbol.split(":")
    module = importlib.import_module("vidu_relay." + path.removesuffix(".py").replace("/", "."))

    number, _, unit = value.replace(",", "").partition(" ")
    scale = (UNITS[unit] if unit else 1) * (1000 if name.endswith("_MS") else 1)
    assert getattr(module, name) == float(number) * scale


@pytest.mark.parametrize(("row", "value"), listed("Fixed properties").items())
def test_fixed_property_is_the_one_in_the_template(row: str, value: str) -> None:
    """A queue alone stands for the time until its messages go to the dead-letter queue."""
    resource, _, name = row.partition(".")
    found = properties(resource)
    seconds = found[name] if name else found["VisibilityTimeout"] * found["RedrivePolicy"]["maxReceiveCount"]
    number, unit = value.split(" ")

    assert seconds * (86_400 if name.endswith("Days") else 1) == float(number) * UNITS[unit]


@pytest.mark.parametrize("page", [page for page in DOCUMENTS if page.name not in ELSEWHERE], ids=page_name)
def test_limits_and_timings_stand_in_the_reference_alone(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)

    found = {" ".join(words.split()) for words in re.findall(QUANTITY, prose)}
    assert found == ALLOWED.get(page.name, set())


@pytest.mark.parametrize(
    ("task", "cells"), [pytest.param(*row, id=row[0]) for row in table("docs/finding-your-way.md", "# ").items()]
)
def test_file_and_symbol_of_a_change_exist(task: str, cells: list[str]) -> None:
    path, symbol = re.findall(r"`([^`]+)`", cells[0])

    assert (ROOT / path).is_file()
    assert symbol in symbols(ROOT / path)


def test_every_emulator_patch_is_named_once_and_no_other() -> None:
    page = (ROOT / "docs" / "aws-differences.md").read_text()
    modules = [path.stem for path in (ROOT / "local" / "emulator" / "patches").glob("[!_]*.py")]
    assert sorted(re.findall(r"`(\w+)`", page.split("## What the emulator refuses")[1])) == sorted(modules)


def test_what_only_aws_can_show_names_checks_of_the_doctor_or_says_that_none_is_made() -> None:
    page = (ROOT / "docs" / "aws-differences.md").read_text()
    checked, unchecked = page.split("## What only")[1].split("\n## ")[0].split("Nothing checks these:")
    named = re.findall(r"^- \*\*([\w-]+)\*\*", checked, re.MULTILINE)
    assert len(named) == checked.count("\n- ") > 5
    assert set(named) <= {check.name for check in running.CHECKS}
    assert unchecked.count("\n- ") > 10


def test_every_decision_has_its_date_reason_and_cost() -> None:
    text = (ROOT / "docs" / "decisions.md").read_text()
    decisions = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    assert len(decisions) > 10
    for decision in decisions:
        assert re.match(r"\d{4}-\d\d-\d\d · .+\n\n(?!Cost: ).+\n", decision), decision
        assert decision.count("\nCost: ") == 1, decision
