"""The deployable artefacts, made by SAM from the template, and made again only when something in them changed.

What `sam build` and `sam package` make is kept below ``.local/build``: the packaged template, and each object it
refers to. A start that finds them uploads them and is done.
"""

import fcntl
import hashlib
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.programs import ROOT, run, venv_program

BUCKET = "vidu-relay-artifacts"
"""Where the packaged template expects its objects."""

SOURCES = ("template.yaml", "functions", "layers", "statemachines", "requirements/sam.txt", "local/build.py")
BUILDS = ROOT / ".local" / "build"
KEPT = 3
SHORT = 16


@dataclass(frozen=True)
class Artefacts:
    """One build: a folder that never changes once it is there."""

    folder: Path

    @property
    def template(self) -> Path:
        return self.folder / "template.yaml"

    @property
    def objects(self) -> dict[str, Path]:
        """Key and file of each object the template refers to."""
        folder = self.folder / "objects"
        return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def find_or_build(s3: Any, environment: Mapping[str, str], log: Path, progress: Callable[[str], None]) -> Artefacts:
    """The artefacts of the sources as they are now, for this machine.

    `s3` is a client of a running emulator with an empty bucket `BUCKET`, and `environment` lets programs reach it:
    packaging uploads. Several stacks may ask at once; one builds, the others wait.
    """
    with _lock(BUILDS / "lock"):
        artefacts = Artefacts(BUILDS / _digest())
        if not artefacts.folder.is_dir():
            progress("Building with SAM, about a minute: the first time, or the sources changed")
            _build(artefacts, s3, environment, log)
        artefacts.folder.touch()
        for old in sorted(_builds(), key=lambda folder: folder.stat().st_mtime)[:-KEPT]:
            shutil.rmtree(old)
    return artefacts


def _build(artefacts: Artefacts, s3: Any, environment: Mapping[str, str], log: Path) -> None:
    sam, unfinished = venv_program("sam", "sam"), BUILDS / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    host = {**environment, "LAYER_TARGET": "host", "LAYER_PYTHON": venv_program("runtime")}
    built = unfinished / "sam"
    run("`sam build`", [sam, "build", "--build-dir", str(built)], host, log)
    for bytecode in list(built.rglob("__pycache__")):
        if "python" not in bytecode.relative_to(built).parts:
            shutil.rmtree(bytecode)
    template = unfinished / "template.yaml"
    package = ["package", "--template-file", str(built / "template.yaml"), "--s3-bucket", BUCKET]
    run("`sam package`", [sam, *package, "--output-template-file", str(template)], environment, log)
    shutil.rmtree(built)
    for entry in s3.list_objects_v2(Bucket=BUCKET)["Contents"]:
        target = unfinished / "objects" / entry["Key"]
        target.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(BUCKET, entry["Key"], str(target))
    unfinished.rename(artefacts.folder)


def _builds() -> list[Path]:
    return [path for path in BUILDS.iterdir() if path.is_dir() and len(path.name) == SHORT]


def _digest() -> str:
    """Changes with everything that goes into a build: sources, interpreter, machine, SAM's version."""
    python = venv_program("runtime")
    version = subprocess.run([python, "-VV"], capture_output=True, check=True, text=True).stdout  # noqa: S603 - ours
    digest = hashlib.sha256(f"{version}{platform.machine()}{platform.system()}".encode())
    for path in _files():
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:SHORT]


def _files() -> Iterator[Path]:
    for name in SOURCES:
        source = ROOT / name
        yield from (
            [source]
            if source.is_file()
            else sorted(path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        )


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Wait for the lock; it ends with the process at the latest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
