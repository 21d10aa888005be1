"""The built layers, opened: bytecode that Lambda takes without reading the source, and nothing that is not imported."""

import functools
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from local.programs import ROOT, venv_program

UNCHECKED_HASH = 1
MAGIC_OF_3_13 = (3571).to_bytes(2, "little") + b"\r\n"
"""`importlib.util.MAGIC_NUMBER` of every release of Python 3.13."""
LAYERS = {"dependencies": "DependenciesLayer", "shared": "SharedLayer"}
TARGETS = {"host": ["LAYER_TARGET=host", f"LAYER_PYTHON={venv_program('runtime')}"], "lambda": []}
NAMES = {"python-dateutil": "dateutil", "aws-lambda-powertools": "aws_lambda_powertools"}
PINS = re.findall(r"^([a-z0-9-]+)==", (ROOT / "layers" / "dependencies" / "requirements.txt").read_text(), re.MULTILINE)

Build = Callable[[str, str], tuple[Path, str]]


@pytest.fixture(scope="module")
def build_again(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Builds a layer as SAM does, from a copy of its folder: where it is, and what was printed."""

    def make(layer: str, target: str) -> tuple[Path, str]:
        folder = tmp_path_factory.mktemp(f"{layer}-{target}")
        source = shutil.copytree(ROOT / "layers" / layer, folder / "source")
        command = ["make", f"build-{LAYERS[layer]}", *TARGETS[target], f"ARTIFACTS_DIR={folder / 'target'}"]
        environment = {**os.environ, "PATH": f"{Path(venv_program('sam')).parent}{os.pathsep}{os.environ['PATH']}"}
        result = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - ours
        assert result.returncode == 0, result.stderr
        return folder / "target" / "python", result.stdout

    return make


@pytest.fixture(scope="module")
def build(build_again: Build) -> Build:
    return functools.cache(build_again)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("layer", LAYERS)
def test_every_module_has_bytecode_that_is_never_stale(layer: str, target: str, build: Build) -> None:
    """SAM sets every time to 1980: bytecode that is compared with its source would be thrown away at each start."""
    folder, printed = build(layer, target)
    modules = [path for path in sorted(folder.rglob("*.py")) if not path.is_symlink()]
    assert modules
    if "goes without bytecode" in printed:
        assert target == "lambda", "the host's own interpreter compiles"
        pytest.skip(printed)
    magic = MAGIC_OF_3_13 if target == "lambda" else bytes.fromhex(of_runtime("importlib.util.MAGIC_NUMBER.hex()"))
    tag = "cpython-313" if target == "lambda" else of_runtime("sys.implementation.cache_tag")
    for module in modules:
        bytecode = (module.parent / "__pycache__" / f"{module.stem}.{tag}.pyc").read_bytes()
        assert bytecode[:4] == magic
        assert int.from_bytes(bytecode[4:8], "little") == UNCHECKED_HASH
        assert f"/opt/python/{module.relative_to(folder).as_posix()}".encode() in bytecode
        assert str(folder.parent).encode() not in bytecode
    assert len(list(folder.rglob("*.pyc"))) == len(modules)


def of_runtime(expression: str) -> str:
    command = [venv_program("runtime"), "-c", f"import importlib.util, sys; print({expression})"]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()  # noqa: S603 - ours


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("target", TARGETS)
def test_the_same_input_gives_the_same_bytes(layer: str, target: str, build: Build, build_again: Build) -> None:
    """Else every deployment would publish new layers, and renew every function with them."""

    def tree(folder: Path) -> dict[str, tuple[int, str]]:
        files = [path for path in folder.rglob("*") if path.is_file()]
        return {
            str(path.relative_to(folder)): (path.stat().st_mode, hashlib.sha256(path.read_bytes()).hexdigest())
            for path in files
        }

    assert tree(build_again(layer, target)[0]) == tree(build(layer, target)[0])


@pytest.mark.parametrize("target", TARGETS)
def test_a_layer_holds_its_packages_with_versions_and_licences_and_nothing_else(target: str, build: Build) -> None:
    folder, _ = build("dependencies", target)
    beside = list(folder.glob("*.dist-info"))
    packages = {path.name.removesuffix(".py") for path in folder.iterdir() if path not in beside} - {"__pycache__"}
    assert packages == {NAMES.get(name, name.replace("-", "_")) for name in PINS}
    inside = [path.relative_to(folder) for path in folder.rglob("*")]
    assert not [path for path in inside if path.name in {"tests", "test", "examples", "RECORD", "direct_url.json"}]
    unread = [path for path in inside if path.suffix in {".md", ".pyi", ".js", ".gz"}]
    assert not [path for path in unread if not {"licenses", "zoneinfo"} & {*path.parts}]
    assert len(beside) == len(PINS)
    for one in beside:
        assert (one / "METADATA").is_file()
        assert [path for path in one.rglob("*") if path.name.startswith(("LICENSE", "LICENCE"))], one
    if target == "lambda":
        libraries = [path.name for path in inside if path.suffix == ".so"]
        assert libraries
        assert all("aarch64" in name for name in libraries)


@pytest.mark.parametrize("target", TARGETS)
def test_the_shared_layer_is_the_package_and_all_of_it(target: str, build: Build) -> None:
    folder, _ = build("shared", target)
    source = ROOT / "layers" / "shared"
    assert [path.name for path in folder.iterdir()] == ["vidu_relay"]
    assert {path.relative_to(folder) for path in folder.rglob("*.py")} == {
        path.relative_to(source) for path in (source / "vidu_relay").rglob("*.py")
    }
