"""The built layers, opened: bytecode that Lambda takes without a look at the source, and nothing unused."""

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
HOST = {"LAYER_TARGET": "host", "LAYER_PYTHON": venv_program("runtime")}
TARGETS: dict[str, dict[str, str]] = {"host": HOST, "lambda": {}}
NAMES = {"python-dateutil": "dateutil", "aws-lambda-powertools": "aws_lambda_powertools"}

Build = Callable[..., tuple[Path, str]]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Build a layer as SAM does, from a copy of its folder: where it is, and what was said. Kept, unless `again`."""
    built: dict[tuple[str, str], tuple[Path, str]] = {}

    def make(layer: str, target: str, *, again: bool = False) -> tuple[Path, str]:
        if again or (layer, target) not in built:
            folder = tmp_path_factory.mktemp(f"{layer}-{target}")
            source = shutil.copytree(ROOT / "layers" / layer, folder / "source")
            program = shutil.which("make")
            assert program
            variables = {**TARGETS[target], "ARTIFACTS_DIR": str(folder / "target")}
            path = os.pathsep.join([str(Path(venv_program("sam")).parent), os.environ["PATH"]])
            result = subprocess.run(  # noqa: S603 - our own
                [program, f"build-{LAYERS[layer]}", *(f"{name}={value}" for name, value in variables.items())],
                cwd=source,
                env={**os.environ, "PATH": path},
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
            )
            assert result.returncode == 0, result.stderr
            if again:
                return folder / "target" / "python", result.stdout
            built[layer, target] = folder / "target" / "python", result.stdout
        return built[layer, target]

    return make


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("layer", LAYERS)
def test_every_module_has_bytecode_that_is_never_stale(layer: str, target: str, build: Build) -> None:
    """SAM sets every time to 1980: bytecode that is compared with its source would be thrown away at each start."""
    folder, said = build(layer, target)
    modules = [path for path in sorted(folder.rglob("*.py")) if not path.is_symlink()]
    assert modules
    if "goes without bytecode" in said:
        assert target == "lambda", "the host's own interpreter compiles"
        pytest.skip(said)
    magic = MAGIC_OF_3_13 if target == "lambda" else _magic_of_runtime()
    tag = "cpython-313" if target == "lambda" else _tag_of_runtime()
    for module in modules:
        bytecode = (module.parent / "__pycache__" / f"{module.stem}.{tag}.pyc").read_bytes()
        assert bytecode[:4] == magic
        assert int.from_bytes(bytecode[4:8], "little") == UNCHECKED_HASH
        assert f"/opt/python/{module.relative_to(folder).as_posix()}".encode() in bytecode
        assert str(folder.parent).encode() not in bytecode
    assert len(list(folder.rglob("*.pyc"))) == len(modules)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("target", TARGETS)
def test_the_same_input_gives_the_same_bytes(layer: str, target: str, build: Build) -> None:
    """Else every deployment would publish new layers, and renew every function with them."""
    assert _tree(build(layer, target, again=True)[0]) == _tree(build(layer, target)[0])


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_in_the_layer_that_nobody_imports(target: str, build: Build) -> None:
    folder, _ = build("dependencies", target)
    pins = (ROOT / "layers" / "dependencies" / "requirements.txt").read_text()
    named = {NAMES.get(name, name.replace("-", "_")) for name in re.findall(r"^([a-z0-9-]+)==", pins, re.MULTILINE)}
    assert named == {path.name.removesuffix(".py") for path in folder.iterdir() if not _is_beside(path)}
    inside = [path.relative_to(folder) for path in folder.rglob("*")]
    assert not [path for path in inside if path.name in {"tests", "test", "examples", "RECORD", "direct_url.json"}]
    assert not [
        path
        for path in inside
        if path.suffix in {".md", ".pyi", ".js", ".gz"} and not {"licenses", "zoneinfo"} & {*path.parts}
    ]


@pytest.mark.parametrize("target", TARGETS)
def test_the_shared_layer_is_the_package_and_all_of_it(target: str, build: Build) -> None:
    folder, _ = build("shared", target)
    source = ROOT / "layers" / "shared"
    assert [path.name for path in folder.iterdir()] == ["vidu_relay"]
    assert {path.relative_to(folder) for path in folder.rglob("*.py")} == {
        path.relative_to(source) for path in (source / "vidu_relay").rglob("*.py")
    }


@pytest.mark.parametrize("target", TARGETS)
def test_versions_and_licences_go_with_the_packages(target: str, build: Build) -> None:
    folder, _ = build("dependencies", target)
    beside = list(folder.glob("*.dist-info"))
    assert len(beside) == len(re.findall("==", (ROOT / "layers" / "dependencies" / "requirements.txt").read_text()))
    for one in beside:
        assert (one / "METADATA").is_file()
        assert [path for path in one.rglob("*") if path.name.startswith(("LICENSE", "LICENCE"))], one


def test_the_layer_for_lambda_is_for_its_processor(build: Build) -> None:
    folder, _ = build("dependencies", "lambda")
    libraries = list(folder.rglob("*.so"))
    assert libraries
    assert all("aarch64" in path.name for path in libraries)


def _is_beside(path: Path) -> bool:
    return path.name == "__pycache__" or path.name.endswith(".dist-info")


def _tree(folder: Path) -> dict[str, tuple[int, str]]:
    """Mode and content of every file."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mode, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _magic_of_runtime() -> bytes:
    return bytes.fromhex(_of_runtime("importlib.util.MAGIC_NUMBER.hex()"))


def _tag_of_runtime() -> str:
    return _of_runtime("sys.implementation.cache_tag")


def _of_runtime(expression: str) -> str:
    command = [venv_program("runtime"), "-c", f"import importlib.util, sys; print({expression})"]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()  # noqa: S603 - ours
