"""What `pip install .` installs is the whole tool, with tested versions of what it needs and nothing else."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

from tests.documents import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WHEEL = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
DECLARED = dict(pin.split("==") for pin in PROJECT["project"]["dependencies"])
IMPORT_ALL = """
import importlib, json, pkgutil, sys
from importlib.metadata import packages_distributions
sys.path.insert(0, sys.argv[1])
import cli
for module in pkgutil.walk_packages(cli.__path__, "cli."):
    importlib.import_module(module.name)
from cli.__main__ import run
from cli.doctor.account import _runtime
from cli.source import ROOT
from cli.alarms import runbook
assert runbook()
from cli.console.server import STATIC
assert (STATIC / "index.html").exists()
from cli.schemas import detail_types
assert detail_types()
owners = packages_distributions()
roots = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names) - {"cli", "vidu_relay"}
used = {owner.replace("_", "-") for root in roots for owner in owners.get(root, [])}
print(json.dumps([sorted(used), str(ROOT), _runtime()[0]]))
"""


def needed(names: list[str]) -> set[str]:
    """The distributions, and those that they need without an extra."""
    found = set(names)
    for name in names:
        lines = [line for line in requires(name) or [] if "extra ==" not in line]
        found |= needed([re.split(r"[^\w.-]", line)[0] for line in lines])
    return {name.replace("_", "-") for name in found}


def test_dependencies_are_the_tested_versions() -> None:
    tested = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements" / "dev.txt").read_text(), re.MULTILINE))
    assert DECLARED.items() <= tested.items()


def test_packaged_files_and_dependencies_are_enough_and_each_is_used(tmp_path: Path) -> None:
    for package in WHEEL["packages"]:
        shutil.copytree(ROOT / package, tmp_path / Path(package).name)
    for source, target in WHEEL["force-include"].items():
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        (tmp_path / target).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / source, tmp_path / target)
    command = [sys.executable, "-I", "-c", IMPORT_ALL, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    assert done.returncode == 0, done.stderr
    used, root, runtime = json.loads(done.stdout)
    assert set(DECLARED) <= set(used) <= needed(list(DECLARED))
    assert (Path(root).is_relative_to(tmp_path), runtime[:6]) == (True, "python")
    assert len(list(Path(root).glob("functions/*/handler.py"))) == len(list((ROOT / "functions").glob("*/handler.py")))
    assert PROJECT["project"]["scripts"] == {"relay": "cli.__main__:run"}
