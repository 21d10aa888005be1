"""How the tool is called, which relay it reaches, and which commands it suggests."""

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cli.api import KEY_VARIABLE
from cli.command import Relay
from cli.connection import connect_local, connect_stack
from cli.main import main
from tests.documents import ROOT
from tests.unit.account import REGION
from tests.unit.cli.conftest import COMMANDS, STACK, Deployment, Run, Stacks, parse


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")


@pytest.mark.parametrize("command", [*COMMANDS, *sorted({(c[0],) for c in COMMANDS if len(c) > 1}), ()], ids=" ".join)
def test_help_shows_examples_that_parse(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    examples = re.findall(r"^  relay (.*?)(?: {2,}\(.*)?$", capsys.readouterr().out, flags=re.MULTILINE)
    assert examples
    for example in examples:
        found = parse(*shlex.split(example))
        assert found[0][: len(command)] == list(command), example


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (("--local", "tenants", "list"), {"local": True}),
        (("tenants", "list", "--local"), {"local": True}),
        (("tenants", "--stack", "y", "list"), {"stack": "y"}),
        (("--stack", "tenants", "tenants", "list", "--region", "r"), {"stack": "tenants", "region": "r"}),
        (("--json", "--stack=y", "tenants", "list"), {"stack": "y", "json": True}),
        (("--stack=y", "tenants", "list", "--json"), {"stack": "y", "json": True}),
        (("--stack=y", "--profile=p", "tenants", "list", "--profile=q"), {"stack": "y", "profile": "q"}),
        (("tenants", "list", "--local-file", "f"), {"local_file": Path("f")}),
    ],
)  # fmt: skip
def test_options_stand_before_or_behind_the_command(words: tuple[str, ...], options: dict[str, Any]) -> None:
    assert parse(*words) == (["tenants", "list"], options)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Usage:"),
        (("keys",), "Usage:"),
        (("keys", "list", "--tenant", "a"), "say which relay, once"),
        (("--local", "--stack", "y", "tenants", "list"), "say which relay, once"),
        (("--local", "watc", "x"), "No such command 'watc'"),
        (("--local", "tenants", "rename", "acme"), "No such command 'rename'"),
        (("--local", "tenants", "set-cap", "acme"), "Missing argument 'CAP'"),
        (("--local", "queues", "redrive"), "Missing argument 'QUEUE'"),
        (("--local", "doctor", "provide"), "'provide' is not one of"),
        (("--api-url", "https://x", "tail"), "this command needs --stack or --local"),
    ],
)
def test_wrong_usage_is_explained(arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [*(c for c in COMMANDS if len(c) == 1 and c[0] in ("list", "tail", "env")), ("queues", "list")]
)
def test_local_means_the_file_of_make_local(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cli.command.default_stack_file", lambda: tmp_path / "none.json")
    assert main(["--local", *command]) == 1
    assert f"{tmp_path / 'none.json'} does not exist: is `make local` running?" in capsys.readouterr().err


def test_word_behind_two_hyphens_is_no_option(relay: Run) -> None:
    status, _, error = relay("tenants", "show", "--", "--json")
    assert (status, "no tenant '--json'" in error) == (1, True)


@pytest.mark.parametrize("content", ["", "[]", "{}", "{", '{"region": "x"}'])
def test_other_file_is_refused(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "stack.json").write_text(content)
    assert main(["--local-file", str(tmp_path / "stack.json"), "tenants", "list"]) == 1
    assert "is not the file that `make local` writes" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    ["--local", "--stack s --region eu-west-1 --profile p", "--local-file 'a b'", "--stack s --api-key-file k"],
)
def test_suggestion_is_a_whole_command_with_the_options_given(
    options: str, deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `tenants list` suggests where there is none, by whatever options the deployment was reached."""
    monkeypatch.setattr(Relay, "connection", connect_local(deployment.file))
    assert main([*shlex.split(options), "tenants", "list"]) == 0
    suggested = capsys.readouterr().out.split("`")[1]
    assert suggested == f"relay {options} tenants create NAME"
    assert parse(*shlex.split(suggested)[1:])[0] == ["tenants", "create"]


def test_script_works_through_a_symlink_with_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    """Its suggestions name it as it was called."""
    folder, home = tmp_path / "bin", tmp_path / "home"
    for made in (folder, home):
        made.mkdir()
    (tmp_path / "link").symlink_to(ROOT / "cli" / "relay")
    (folder / "relay").symlink_to("../link")
    home.chmod(0o500)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home)}
    command = [str(folder / "relay"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)  # noqa: S603 - ours
    assert f"  {folder / 'relay'} --local list" in done.stdout
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("relay --local ten", "tenants"),
        ("relay --loc", "--local"),
        ("relay tenants set", "set-cap"),
        ("relay doctor clo", "clock"),
    ],
)
def test_shell_completes_commands_options_and_values(
    words: str, completed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_RELAY_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    with pytest.raises(SystemExit):
        main([])
    assert f"plain,{completed}" in capsys.readouterr().out.splitlines()


def test_env_is_read_by_a_shell_as_it_stands(relay: Run, deployment: Deployment) -> None:
    stack = json.loads(deployment.file.read_text()) | {
        "api_url": "http://a",
        "api_key": "it's $x `id`",
        "inbox_bucket": "i",
    }
    deployment.file.write_text(json.dumps(stack | {"aws_endpoint_url": "http://aws", "aws_ca_bundle": "/a b"}))
    script = (
        'eval "$(cat)" && printf "%s|" "$API" "$KEY" "$RELAY_API_KEY" "$INBOX" "$CURL_CA_BUNDLE" "$AWS_ENDPOINT_URL"'
    )
    done = subprocess.run(["/bin/sh", "-c", script], input=relay("env")[1], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert done.stdout == "http://a|it's $x `id`|it's $x `id`|i|/a b|http://aws|"


def test_api_of_a_deployed_stack_is_at_its_output(
    deployment: Deployment, stacks: Stacks, credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks[STACK]["ApiUrl"] = "https://api.example.com/"
    monkeypatch.setenv(KEY_VARIABLE, "key")
    relay = Relay()
    relay.options = {"stack": STACK, "region": REGION}
    assert (relay.api.url, relay.api.local) == ("https://api.example.com", False)


@pytest.mark.parametrize(
    ("name", "says"), [("website", "not a Vidu Relay"), ("nowhere", "cannot read the stack 'nowhere'")]
)
def test_stack_that_is_no_relay_is_refused(
    name: str, says: str, stacks: Stacks, credentials: None, capsys: pytest.CaptureFixture[str]
) -> None:
    stacks["website"] = {"WebsiteUrl": "x"}
    assert main(["--stack", name, "--region", REGION, "tenants", "list"]) == 1
    assert says in capsys.readouterr().err


def test_local_and_deployed_stack_are_read_the_same_way(deployment: Deployment, credentials: None) -> None:
    local, deployed = connect_local(deployment.file), connect_stack(STACK, REGION, None)
    assert {name: local.resource(name) for name in deployment.resources} == deployment.resources
    assert {name: deployed.resource(name) for name in deployment.resources} == deployment.resources


def test_missing_resource_is_named_with_what_to_do(relay: Run, deployment: Deployment, stacks: Stacks) -> None:
    del stacks[STACK]["FailuresBucket"]
    status, _, error = relay("failures", "list")
    assert (status, "has no FailuresBucket" in error, "deploy" in error) == (1, True, True)


def test_trouble_with_aws_is_one_line(relay: Run, deployment: Deployment) -> None:
    deployment.client("sqs").delete_queue(QueueUrl=deployment.resources["UnroutedEvents"])
    status, out, error = relay("queues", "list")
    assert (status, out, error[:7], error.count("\n")) == (1, "", "relay: ", 1)
