"""What is built: layers with bytecode that stays valid, from pinned packages without a word on where they come from."""

import importlib.util
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from local.programs import ROOT, venv_program

UNCHECKED_HASH = 1
REQUIREMENTS = sorted([*(ROOT / "requirements").glob("*.txt"), ROOT / "layers" / "dependencies" / "requirements.txt"])


def test_the_shared_layer_has_the_package_and_bytecode_that_is_never_stale(tmp_path: Path) -> None:
    source = shutil.copytree(ROOT / "layers" / "shared", tmp_path / "source")
    target = tmp_path / "target"
    arguments = [f"ARTIFACTS_DIR={target}", "LAYER_TARGET=host", f"LAYER_PYTHON={venv_program('runtime')}"]
    make = shutil.which("make")
    assert make is not None
    subprocess.run([make, "build-SharedLayer", *arguments], cwd=source, check=True, timeout=60)  # noqa: S603 - our own
    assert [path.name for path in (target / "python").iterdir()] == ["vidu_relay"]
    modules = sorted((target / "python").rglob("*.py"))
    assert {path.relative_to(target / "python") for path in modules} == {
        path.relative_to(source) for path in (source / "vidu_relay").rglob("*.py")
    }
    for module in modules:
        bytecode = Path(importlib.util.cache_from_source(str(module)))
        assert int.from_bytes(bytecode.read_bytes()[4:8], "little") == UNCHECKED_HASH
        assert str(tmp_path).encode() not in bytecode.read_bytes()


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_requirements_are_pinned_by_hash_and_name_no_address(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text
    pins = re.findall(r"^[a-z0-9].*$", text, re.MULTILINE)
    assert pins
    assert all("==" in pin and pin.endswith("\\") for pin in pins)


def test_the_tests_run_with_the_packages_that_are_deployed() -> None:
    def pins(path: Path) -> dict[str, str]:
        return dict(re.findall(r"^([a-z0-9.-]+)==([^ ;\\]+)", path.read_text(), re.MULTILINE))

    deployed = pins(ROOT / "layers" / "dependencies" / "requirements.txt")
    assert deployed.items() <= pins(ROOT / "requirements" / "dev.txt").items()


def test_sam_never_builds_from_a_cache() -> None:
    configuration = tomllib.loads((ROOT / "samconfig.toml").read_text())
    assert "cached" not in configuration["default"].get("build", {}).get("parameters", {})
