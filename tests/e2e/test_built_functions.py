"""What is deployed starts by itself: each built handler on the built layers, with its variables and nothing else."""

import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from local import build
from local.build import Artefacts
from local.client import RelayClient
from local.programs import ROOT, venv_program

FUNCTIONS = sorted(path.parent.name for path in (ROOT / "functions").glob("*/handler.py"))

START = """
import sys
sys.path[:0] = {path!r}
import handler
assert callable(handler.handler)
print("started")
"""


@pytest.fixture(scope="module")
def artefacts(relay: RelayClient) -> Artefacts:
    """The build of the sources as they are: starting the stack has made it."""
    return Artefacts(build.BUILDS / build._digest())


@pytest.fixture(scope="module")
def resources(artefacts: Artefacts) -> dict[str, Any]:
    """The packaged template's resources."""
    found: dict[str, Any] = yaml.safe_load(artefacts.template.read_text())["Resources"]  # SAM writes no short forms
    return found


def unpacked(artefacts: Artefacts, uri: str, target: Path) -> Path:
    """The content of the object that a template names by its S3 address."""
    with zipfile.ZipFile(artefacts.objects[uri.split("/", 3)[3]]) as archive:
        archive.extractall(target)
    return target


@pytest.fixture(scope="module")
def layers(artefacts: Artefacts, resources: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The `python` folders of both layers, in the order in which Lambda lays them."""
    return [
        str(unpacked(artefacts, resources[name]["Properties"]["ContentUri"], tmp_path_factory.mktemp(name)) / "python")
        for name in ("DependenciesLayer", "SharedLayer")
    ]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_built_handler_starts_on_the_built_layers(
    relay: RelayClient,
    artefacts: Artefacts,
    resources: dict[str, Any],
    layers: list[str],
    function: str,
    tmp_path: Path,
) -> None:
    logical = "".join(word.capitalize() for word in function.split("_"))
    code = unpacked(artefacts, resources[logical]["Properties"]["CodeUri"], tmp_path)
    assert [path.name for path in code.iterdir()] == ["handler.py"]
    deployed = relay.aws("lambda").get_function_configuration(FunctionName=relay.stack.functions[function])

    done = subprocess.run(  # noqa: S603 - our own interpreter, our own code
        [venv_program("runtime"), "-I", "-S", "-B", "-c", START.format(path=[str(code), *layers])],
        env={**deployed["Environment"]["Variables"], "AWS_DEFAULT_REGION": relay.stack.region},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == "started\n", done.stderr
