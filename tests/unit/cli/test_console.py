"""The operator's console: each endpoint is its command, and its pages are plain files."""

import gzip
import hashlib
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from cli.command import Relay
from cli.connection import connect_local
from cli.console.endpoints import ELSEWHERE, READS, Endpoints, UnknownCommandError, WrongUsageError
from cli.console.server import STATIC
from cli.main import relay as tool
from tests.unit.cli.conftest import COMMANDS, Ask, Deployment, parse

PATHS = {" ".join(path) for path in COMMANDS}
VENDORED = {"vendor/htm-preact-3.1.1.js": "72284e8e9079c87817145df1110f74e8a2aa040b2fc384922e18dfcb46fc1fd7"}
"""`htm/preact/standalone.module.js` of htm 3.1.1, as npm has it."""
MAX_GZIP_BYTES = 60_000


@pytest.fixture
def endpoints(deployment: Deployment) -> Endpoints:
    return Endpoints(tool, local(deployment))


def local(deployment: Deployment) -> Relay:
    relay = Relay()
    relay.options = {"local_file": deployment.file}
    return relay


def run(endpoints: Endpoints, path: str, **values: Any) -> dict[str, Any]:
    return dict(endpoints.run(path, values, lambda _: None))


def test_every_command_is_an_endpoint_but_those_named(endpoints: Endpoints) -> None:
    assert {one["path"] for one in endpoints.about()["commands"]} == PATHS - ELSEWHERE
    assert PATHS >= ELSEWHERE | READS
    for path in ELSEWHERE:
        with pytest.raises(UnknownCommandError):
            endpoints.command_line(path, {})


def test_command_line_that_is_shown_is_the_endpoints_command(endpoints: Endpoints, deployment: Deployment) -> None:
    for one in endpoints.about()["commands"]:
        values: dict[str, Any] = {}
        for taken in one["takes"]:
            text = taken["choices"][0] if taken["choices"] else "7"
            values[taken["name"]] = True if taken["kind"] == "flag" else [text, text] if taken["several"] else text
        line = endpoints.command_line(one["path"], values)[0]
        program, *words = shlex.split(line)
        assert (program, parse(*words)) == ("relay", (one["path"].split(), {"local_file": deployment.file}))


def test_endpoint_answers_what_its_command_answers(endpoints: Endpoints, ask: Ask) -> None:
    ask("tenants", "create", "acme")
    for path, values, words in (
        ("tenants list", {}, "tenants list"),
        ("tenants show", {"tenant": "acme"}, "tenants show acme"),
        ("tenants set-cap", {"tenant": "acme", "cap": "0", "accept_nothing": True},
         "tenants set-cap acme 0 --accept-nothing"),
        ("tenants set-budget", {"tenant": "acme", "daily": "2.5", "monthly": ""},
         "tenants set-budget acme --daily 2.5"),
        ("keys list", {"tenant": "acme"}, "keys list --tenant acme"),
        ("queues list", {}, "queues list"),
        ("queues peek", {"queue": "unrouted-events"}, "queues peek unrouted-events"),
        ("failures list", {}, "failures list"),
        ("task overdue", {}, "task overdue"),
        ("task list", {"tenant": "acme", "limit": "5"}, "task list --tenant acme --limit 5"),
        ("usage", {"group_by": "model"}, "usage --group-by model"),
        ("prices list", {}, "prices list"),
        ("alarms", {"section": "sweep-silent"}, "alarms sweep-silent"),
    ):  # fmt: skip
        assert json.loads(json.dumps(run(endpoints, path, **values)["data"])) == ask(*words.split())


def test_values_that_the_command_does_not_take_are_refused(endpoints: Endpoints) -> None:
    for path, values, says in (
        ("tenants show", {}, "Missing argument 'TENANT'"),
        ("tenants show", {"tenant": 7}, "tenant must be text"),
        ("tenants show", {"tenant": "acme", "local": True}, "does not take local"),
        ("tenants set-cap", {"tenant": "a", "cap": "1", "accept_nothing": "x"}, "accept_nothing must be true"),
        ("task list", {"limit": "0"}, "not in the range"),
        ("doctor", {"check": ["nonsense"]}, "is not one of"),
    ):
        with pytest.raises(WrongUsageError, match=says):
            run(endpoints, path, **values)


def test_text_is_never_an_option_or_shell(endpoints: Endpoints) -> None:
    for text in ("--json", "--local", "-h", "$(id)", "a b", "<b>x</b>", "'"):
        assert f"no tenant {text!r}" in run(endpoints, "tenants show", tenant=text)["error"]
        assert shlex.split(endpoints.command_line("tenants show", {"tenant": text})[0])[-1] == text


def test_confirmation_is_of_this_command_line_alone(endpoints: Endpoints) -> None:
    lines = [("tenants disable", {"tenant": "acme"}), ("tenants disable", {"tenant": "b"}),
             ("tenants enable", {"tenant": "acme"})]  # fmt: skip
    assert len({endpoints.command_line(path, values)[1] for path, values in lines}) == len(lines)


def test_stack_that_is_another_one_is_found_again(endpoints: Endpoints, deployment: Deployment) -> None:
    gone = connect_local(deployment.file)
    gone.known["TaskTable"] = "gone"
    endpoints._connection = gone
    assert "ResourceNotFoundException" in run(endpoints, "tenants list")["error"]
    assert run(endpoints, "tenants list")["data"] == {"tenants": []}


def static() -> list[Path]:
    return [file for file in STATIC.rglob("*") if file.is_file()]


def test_vendored_files_are_those_named_with_their_licences() -> None:
    vendored = {file.relative_to(STATIC).as_posix(): file for file in static() if file.parent.name == "vendor"}
    assert vendored.keys() == {*VENDORED, "vendor/LICENSE-htm.txt", "vendor/LICENSE-preact.txt"}
    for name, digest in VENDORED.items():
        assert hashlib.sha256(vendored[name].read_bytes()).hexdigest() == digest


def test_pages_are_small_and_name_no_other_site_and_never_set_markup() -> None:
    shown = [file for file in static() if file.suffix != ".txt"]
    assert sum(len(gzip.compress(file.read_bytes(), mtime=0)) for file in shown) < MAX_GZIP_BYTES
    for file in (file for file in shown if file.parent.name != "vendor"):
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|https?:|style=", text) == [], (
            file
        )


def test_pages_name_commands_that_exist() -> None:
    text = "\n".join(file.read_text() for file in static() if file.suffix == ".js" and file.parent.name != "vendor")
    read = set(re.findall(r'useRead\("([^"]+)"', text))
    acted = set(re.findall(r'\bpath="([^"]+)"', text)) | set(re.findall(r'\["(task \w+)", "', text))
    assert read == READS - {"prices export", "keys list"}
    assert acted
    assert acted <= PATHS - ELSEWHERE - READS
