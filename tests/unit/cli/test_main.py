"""How the tool is called, and which deployment it finds."""

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.api import KEY_VARIABLE, connect_api, spoken_again
from cli.connection import connect_local, connect_stack
from cli.main import main, parser
from tests.unit.account import REGION
from tests.unit.cli.conftest import STACK, Deployment, Run, Stacks


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")


def commands(found: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command, as the words that call it."""
    inner = [action for action in found._actions if isinstance(action, argparse._SubParsersAction)]
    if not inner:
        yield path
    for action in inner:
        for name, deeper in action.choices.items():
            yield from commands(deeper, (*path, name))


COMMANDS = list(commands(parser()))
GROUPS = sorted({command[0] for command in COMMANDS if len(command) > 1})


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_every_command_teaches_by_an_example_that_parses(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        parser().parse_args(["--local=x", *command, "--help"])
    assert left.value.code == 0
    examples = re.findall(r"^  relay (.*?)(?: {2,}\(.*)?$", capsys.readouterr().out, flags=re.MULTILINE)
    assert examples
    for example in examples:
        words = shlex.split(example)
        parsed = parser().parse_args(words)
        assert parsed.run is parser().parse_args(["--local=x", *words[2:]]).run
        assert tuple(words[2 : 2 + len(command)]) == command


@pytest.mark.parametrize("group", GROUPS)
def test_help_of_every_group_shows_an_example_that_parses(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--local=x", group, "--help"])
    (example,) = re.findall(r"^  relay (.*)$", capsys.readouterr().out, flags=re.MULTILINE)
    assert parser().parse_args(example.split()).run
    assert example.split()[2] == group


@pytest.mark.parametrize(
    "arguments",
    [
        ("tenants", "list", "--local"),
        ("tenants", "list", "--local=x"),
        ("tenants", "--stack", "y", "list"),
        ("--local", "tenants", "list", "--json"),
        ("--local", "x", "tenants", "list", "--json"),
        ("--stack", "tenants", "tenants", "list", "--region", "x"),
        ("--json", "--stack=y", "--profile", "p", "tenants", "list", "--profile", "p"),
    ],
)
def test_option_behind_the_command_is_told_its_place(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert "stands before the command" in capsys.readouterr().err


def test_word_behind_two_hyphens_is_no_option(relay: Run) -> None:
    status, _, complaint = relay("tenants", "show", "--", "--json")
    assert (status, "no tenant '--json'" in complaint) == (1, True)


@pytest.mark.parametrize("group", GROUPS)
def test_local_before_a_command_means_the_default_file(
    group: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cli.main.LOCAL_FILE", tmp_path / "none.json")
    harmless = ("list", "show", "secret", "set-key", "publish")
    command = next(command for command in COMMANDS if command[0] == group and command[1] in harmless)
    assert main(["--local", *command, *(["x"] if command[1] in ("show", "secret") else []), *tenant_of(command)]) == 1
    assert f"{tmp_path / 'none.json'} does not exist: is `make local` running?" in capsys.readouterr().err


@pytest.mark.parametrize("command", [("submit", "-"), ("watch", "x"), ("get", "x"), ("tail",)], ids=" ".join)
def test_local_before_a_consumers_command_means_the_default_file(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cli.main.LOCAL_FILE", tmp_path / "none.json")
    assert main(["--local", *command]) == 1
    assert f"{tmp_path / 'none.json'} does not exist: is `make local` running?" in capsys.readouterr().err


def test_api_of_a_deployed_stack_is_at_its_output(
    deployment: Deployment, stacks: Stacks, credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks[STACK]["ApiUrl"] = "https://api.example.com/"
    monkeypatch.setenv(KEY_VARIABLE, "key")
    arguments = parser().parse_args(["--stack", STACK, "--region", REGION, "watch", "x"])
    api = connect_api(arguments)
    assert (api.url, api.local) == ("https://api.example.com", False)
    assert spoken_again(arguments, "watch", "x") == f"relay --stack {STACK} --region {REGION} watch x"


def tenant_of(command: tuple[str, ...]) -> list[str]:
    return ["--tenant", "acme"] if command[0] == "keys" else []


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("keys",),
        ("keys", "list", "--tenant", "a"),
        ("--local", "x", "--stack", "y", "tenants", "list"),
        ("--local", "tenants"),
        ("--local", "x", "tenants", "rename", "acme"),
        ("--local", "x", "tenants", "set-cap", "acme"),
        ("--local", "x", "task", "show"),
        ("--local", "x", "queues", "redrive"),
    ],
)
def test_incomplete_command_is_wrong_usage(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "[]", "{}", "{", '{"region": "x"}'])
def test_file_that_is_something_else_is_said(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "stack.json").write_text(content)
    assert main(["--local", str(tmp_path / "stack.json"), "tenants", "list"]) == 1
    assert "make local" in capsys.readouterr().err


def test_deployed_stack_is_found_by_its_name(deployment: Deployment, credentials: None) -> None:
    assert main(["--stack", STACK, "--region", REGION, "tenants", "create", "acme"]) == 0
    assert [item["pk"]["S"] for item in deployment.items()] == ["tenant#acme"]


def test_stack_that_is_something_else_is_refused(
    stacks: Stacks, credentials: None, capsys: pytest.CaptureFixture[str]
) -> None:
    stacks["website"] = {"WebsiteUrl": "x"}
    assert main(["--stack", "website", "--region", REGION, "tenants", "list"]) == 1
    assert "not a Vidu Relay" in capsys.readouterr().err


def test_stack_that_is_not_there_is_said(stacks: Stacks, credentials: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stack", "nowhere", "--region", REGION, "tenants", "list"]) == 1
    assert "cannot read the stack 'nowhere'" in capsys.readouterr().err


def test_local_and_deployed_stack_are_asked_the_same_way(deployment: Deployment, credentials: None) -> None:
    local, deployed = connect_local(deployment.file), connect_stack(STACK, REGION, None)
    assert {name: local.resource(name) for name in deployment.resources} == deployment.resources
    assert {name: deployed.resource(name) for name in deployment.resources} == deployment.resources


def test_resource_that_is_missing_is_said_with_what_to_do(relay: Run, deployment: Deployment, stacks: Stacks) -> None:
    del stacks[STACK]["FailuresBucket"]
    status, _, complaint = relay("failures", "list")
    assert status == 1
    assert "has no FailuresBucket" in complaint
    assert "deploy" in complaint
