"""Each handler starts with nothing on its path but the two layers: no sibling, no other function, no tool.

And it loads nothing it does not need: cold starts are paid for. Names and numbers of modules are held to, no times.
"""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.functions.conftest import process_environment
from tests.unit.template import FUNCTIONS, ROOT

START = """
import gc, importlib.util, json, sys
collections = []
gc.callbacks.append(lambda phase, info: collections.append(phase) if "vidu_relay" in sys.modules else None)
sys.path[:0] = [{dependencies!r}, {shared!r}]
spec = importlib.util.spec_from_file_location("handler", {handler!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
enabled, frozen = gc.isenabled(), gc.get_freeze_count()
assert callable(module.handler)
roots = {{name.partition(".")[0] for name in sys.modules}}
foreign = roots & {{"functions", "tests", "cli", "local", "pytest", "moto"}}
assert not foreign, foreign
order = list(sys.modules)
assert order.index("vidu_relay") < order.index("aws_lambda_powertools"), "the collector still worked"
print(json.dumps([sorted(sys.modules), collections, enabled, frozen]))
"""

NOWHERE = {
    "aws_xray_sdk",  # nothing is traced
    "asyncio", "unittest", "sqlite3", "pydoc", "doctest",
    "aws_lambda_powertools.event_handler", "aws_lambda_powertools.utilities.batch",
    "aws_lambda_powertools.utilities.idempotency", "aws_lambda_powertools.utilities.parameters",
    "aws_lambda_powertools.utilities.parser", "aws_lambda_powertools.utilities.validation",
}  # fmt: skip
"""What no function loads, itself or below it."""

TAKE_REQUESTS = {"submit_task", "accept_request", "create_upload"}
TALK_TO_THE_PROVIDER = {
    "submit_task", "accept_request", "cancel_task", "check_task", "deliver_videos", "receive_callback",
}  # fmt: skip
ONLY_IN: dict[str, set[str]] = {
    "pydantic": TAKE_REQUESTS,
    "pydantic_core": TAKE_REQUESTS,
    "annotated_types": TAKE_REQUESTS,
    "imagesize": {"submit_task", "accept_request"},
    "requests": {*TALK_TO_THE_PROVIDER, "notify_client", "send_webhook"},
    "vidu_relay.domain.documents": set(),  # types for mypy, and for what generates the schemas
    "vidu_relay.domain.video_proof": {"deliver_videos"},
    "vidu_relay.outbound.exchange": {*TALK_TO_THE_PROVIDER, "notify_client", "send_webhook"},
    "vidu_relay.adapters.provider_gateway": TALK_TO_THE_PROVIDER,
    "vidu_relay.adapters.provider_vidu": set(),  # the stack that starts here talks to the gateway
}
"""What only some functions load."""

MOST_MODULES = 500
MORE_WITH = {"requests": 130, "pydantic": 70}
"""Modules loaded by the end of a start, the interpreter's own 40 among them. Today's numbers and a tenth."""


@pytest.fixture(scope="module")
def dependencies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What requirements.txt names, and nothing else of this environment."""
    folder = tmp_path_factory.mktemp("dependencies")
    text = (ROOT / "layers" / "dependencies" / "requirements.txt").read_text()
    for name in re.findall(r"^([A-Za-z0-9._-]+)==", text, re.MULTILINE):
        for file in importlib.metadata.distribution(name).files or ():
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (folder / top).exists():
                (folder / top).symlink_to(
                    Path(str(file.locate())).parents[len(file.parts) - 2]
                    if len(file.parts) > 1
                    else Path(str(file.locate()))
                )
    return folder


def start(function: str, dependencies: Path) -> Any:
    """Start a function once, as Lambda does, in an interpreter of its own; what `START` prints."""
    code = START.format(
        dependencies=str(dependencies),
        shared=str(ROOT / "layers" / "shared"),
        handler=str(ROOT / "functions" / function / "handler.py"),
    )
    result = subprocess.run(  # noqa: S603 - our own interpreter, our own code
        [sys.executable, "-I", "-S", "-c", code],
        env={**process_environment(function), "PATH": os.environ["PATH"]},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_handler_starts_on_the_layers_alone_and_loads_nothing_that_its_path_does_not_need(
    function: str, dependencies: Path
) -> None:
    """The garbage collector rests meanwhile, and works afterwards: else a warm function would grow without end."""
    modules, collections, collects, frozen = start(function, dependencies)
    assert "vidu_relay.observability" in modules
    assert not set(modules) & NOWHERE
    assert not {name for name, functions in ONLY_IN.items() if name in modules and function not in functions}
    assert len(modules) <= MOST_MODULES + sum(more for name, more in MORE_WITH.items() if name in modules)
    assert (collections, collects) == ([], True)
    assert frozen > 10_000


def test_the_collector_is_left_alone_outside_lambda() -> None:
    """The operator's tool and these tests import the package too."""
    shared = str(ROOT / "layers" / "shared")
    code = f"import gc, sys; sys.path.append({shared!r}); import vidu_relay; print(gc.isenabled())"
    command = [sys.executable, "-I", "-c", code]
    result = subprocess.run(command, env={}, capture_output=True, check=True, text=True)  # noqa: S603 - our own
    assert result.stdout == "True\n"


def test_function_folders_hold_a_handler_and_nothing_else() -> None:
    found = sorted(
        str(path.relative_to(ROOT / "functions"))
        for path in (ROOT / "functions").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )
    assert found == sorted(f"{folder}/handler.py" for folder in FUNCTIONS)
