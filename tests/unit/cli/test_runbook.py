"""docs/runbook.md: a section for each alarm, commands that exist, and steps that do what they say."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cli.alarms import SECTION, runbook
from local.description.events import SENT
from tests.documents import ROOT, blocks
from tests.unit.cli.conftest import COMMANDS, parse
from tests.unit.template import TEMPLATE, of_type
from vidu_relay.adapters.secret_store import KEEP_SECONDS
from vidu_relay.domain.callback_token import CallbackKeys
from vidu_relay.observability import Metric

PAGE = "docs/runbook.md"
TEXT = (ROOT / PAGE).read_text()
SECTIONS = dict(re.findall(r"^## (.+)\n((?:(?!^## ).*\n)*)", TEXT, flags=re.MULTILINE))
SHELL = "".join(blocks(PAGE, "sh"))
LINES = [line for line in SHELL.splitlines() if line.startswith("relay ")]
TOOL = re.findall(r"^relay\(\) \{ cli/(relay .*) \"\$@\"; \}$", SHELL, re.MULTILINE)
"""The function `relay` of the page: what stands before each command."""
OF_AWS = {"AccessDenied", "ConfigurationError", "StartExecution"}
OTHERS = {
    "Unpublished records",  # a message on the alarms' topic
    "Common steps",
    "Is everything in order",
    "Rotate the callback key",
    "Rotate the provider key",
    "A provider outage",
    "Change the default provider",
}


def title(alarm: str) -> str:
    words = re.findall("[A-Z][a-z]*", alarm.removesuffix("Alarm"))
    return " ".join(words).capitalize()


ALARM_PROPERTIES = {name: alarm["Properties"] for name, alarm in of_type("AWS::CloudWatch::Alarm").items()}
ALARMS = set(map(title, ALARM_PROPERTIES))


def test_there_is_a_section_for_each_alarm_and_for_nothing_that_is_gone() -> None:
    assert set(SECTIONS) == ALARMS | OTHERS


@pytest.mark.parametrize("section", sorted(ALARMS | {"Unpublished records"}))
def test_section_has_its_parts_in_order_and_commands_to_diagnose(section: str) -> None:
    parts = [SECTIONS[section].find(f"**{part}.**") for part in ("Meaning", "Diagnose", "Fix", "Verify")]
    assert -1 not in parts
    assert parts == sorted(parts)
    assert "```sh" in SECTIONS[section][parts[1] : parts[2]]


def test_tool_finds_the_section_that_each_alarm_names() -> None:
    named = {name: SECTION.search(alarm["AlarmDescription"]) for name, alarm in ALARM_PROPERTIES.items()}
    shown = {name: runbook().get(found[1], "") if found else "" for name, found in named.items()}
    assert {name: text.partition("\n")[0] for name, text in shown.items()} == {
        name: f"## {title(name)}" for name in ALARM_PROPERTIES
    }
    assert "\n\n".join(runbook().values()).split() == TEXT[TEXT.index("## ") :].split()


def test_every_command_parses() -> None:
    assert LINES
    (tool,) = TOOL
    for line in LINES:
        assert tuple(parse(*shlex.split(line.replace("relay", tool, 1))[1:])[0]) in COMMANDS, line
    assert len(re.findall(r"(?<![\w-])relay ", SHELL)) == len(LINES) + 1


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_is_in_the_tools_table(command: tuple[str, ...]) -> None:
    readme = (ROOT / "docs" / "tool.md").read_text()
    (row,) = (
        cells
        for cells in re.findall(r"^\| (`.*?) \|", readme, flags=re.MULTILINE)
        if re.match(rf"`{command[0]}[` ]", cells) and re.search(rf"[` ]{command[-1]}[` ]", cells)
    )
    assert row


def test_functions_and_outputs_that_are_named_exist() -> None:
    functions = set(of_type("AWS::Serverless::Function"))
    assert set(re.findall(r"--name (\w+)", SHELL)) <= functions
    assert set(re.findall(r"(?:\(|^)output (\w+)", SHELL, re.MULTILINE)) <= set(TEMPLATE["Outputs"])
    assert set(re.findall(r"\(resource (\w+)\)", SHELL)) <= set(TEMPLATE["Resources"])
    for parameter in re.findall(r"`([A-Z][a-z]+(?:[A-Z][A-Za-z]+)+)`", TEXT):
        assert parameter in {*TEMPLATE["Parameters"], *TEMPLATE["Outputs"], *Metric, *SENT, *OF_AWS}


def test_shell_can_read_every_block() -> None:
    for block in blocks(PAGE, "sh"):
        subprocess.run(["/bin/sh", "-n"], input=block, text=True, check=True)


def test_rotation_waits_until_no_function_can_be_without_the_new_key() -> None:
    (waits,) = re.findall(r"^sleep (\d+)$", SHELL, re.MULTILINE)
    assert int(waits) > KEEP_SECONDS


def test_rotation_adds_a_key_that_signs_while_the_old_one_still_opens(tmp_path: Path) -> None:
    add, activate = re.findall(r"^python3 - callback-keys.json <<'END'\n(.*?)^END$", SHELL, re.MULTILINE | re.DOTALL)
    file = tmp_path / "callback-keys.json"
    keys: dict[str, str] = {"active": "k1", "k1": "x" * 40}
    old = CallbackKeys(keys).sign("task")
    for count in range(2, 5):
        file.write_text(json.dumps(keys))
        before = keys["active"]
        for step in (add, activate):
            assert keys["active"] == before, "a function signs with a key that another does not know"
            subprocess.run([sys.executable, "-", str(file)], input=step, text=True, check=True)  # noqa: S603 - the page's own text
            keys = json.loads(file.read_text())
        assert keys["active"] != before
        assert len(keys) == count + 1
        rotated = CallbackKeys(keys)
        assert rotated.verify("task", old)
        assert rotated.sign("task").partition(".")[0] == keys["active"] != "k1"
    assert not CallbackKeys({k: v for k, v in keys.items() if k != "k1"}).verify("task", old)
