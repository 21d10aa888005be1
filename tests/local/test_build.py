"""What is built, from pinned packages without a word on where they come from. The layers: test_layers.py."""

import re
import tomllib
from pathlib import Path

import pytest

from local.programs import ROOT

REQUIREMENTS = sorted([*(ROOT / "requirements").glob("*.txt"), ROOT / "layers" / "dependencies" / "requirements.txt"])


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
