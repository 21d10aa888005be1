"""Each handler starts with nothing on its path but the two layers: no sibling, no function next door, no tool."""

import importlib.metadata
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from tests.functions.conftest import settings_of
from tests.unit.template import FUNCTIONS, ROOT
from tests.unit.usecases.account import ENVIRONMENT

START = """
import importlib.util, sys
sys.path[:0] = [{dependencies!r}, {shared!r}]
spec = importlib.util.spec_from_file_location("handler", {handler!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
assert callable(module.handler)
roots = {{name.partition(".")[0] for name in sys.modules}}
foreign = roots & {{"functions", "tests", "cli", "local", "pytest", "moto"}}
assert not foreign, foreign
print("started")
"""


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


def start(function: str, dependencies: Path, *, more: str = "") -> subprocess.CompletedProcess[str]:
    """Import a handler in an interpreter of its own; prints `started`. `more` is checked before that."""
    variables = {setting.name.upper(): "1" for setting in fields(settings_of(function))}
    variables |= {"PROVIDER_NAME": "gateway", "OFF_PEAK_AVAILABLE": "false", "PROBE_IMAGE_URLS": "true"}
    variables |= {"TRUSTED_ORIGINS": "", **ENVIRONMENT}
    code = START.format(
        dependencies=str(dependencies),
        shared=str(ROOT / "layers" / "shared"),
        handler=str(ROOT / "functions" / function / "handler.py"),
    )
    return subprocess.run(  # noqa: S603 - our own interpreter, our own code
        [sys.executable, "-I", "-S", "-c", code.replace('print("started")', more + '\nprint("started")')],
        env={**variables, "PATH": os.environ["PATH"]},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_handler_starts_on_the_layers_alone(function: str, dependencies: Path) -> None:
    result = start(function, dependencies)
    assert result.stdout == "started\n", result.stderr


def test_description_is_served_without_loading_models_or_aws(dependencies: Path) -> None:
    """It reads a file: whoever opens the page must not wait for what submissions need."""
    result = start("describe_api", dependencies, more='heavy = roots & {"pydantic", "boto3"}; assert not heavy, heavy')
    assert result.stdout == "started\n", result.stderr


def test_function_folders_hold_a_handler_and_nothing_else() -> None:
    found = sorted(
        str(path.relative_to(ROOT / "functions"))
        for path in (ROOT / "functions").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )
    assert found == sorted(f"{folder}/handler.py" for folder in FUNCTIONS)
