"""`make demo`, as a newcomer runs it."""

import json
import re
import subprocess
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from local.demo import EVIDENCE, VIDEO, WORK_DIR, DemoFailedError, check
from local.programs import ROOT, venv_program


@pytest.fixture(scope="module")
def screen() -> str:
    command = [str(venv_program("dev")), "-m", "local.demo"]
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(Path.home())}
    done = subprocess.run(  # noqa: S603 - ours
        command, cwd=ROOT, capture_output=True, check=False, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_story_fits_one_screen_in_its_order_and_leaves_video_and_evidence(screen: str) -> None:
    shown = (
        "202, task", "the same task", "submitted   by create", "callbacks are lost", "it finds the task overdue",
        "check_task is killed", "generated   by check", "completed   by delivery", "counts 1 create call and 1 task",
        str(VIDEO.relative_to(ROOT)), str(EVIDENCE.relative_to(ROOT)), "make local",
    )  # fmt: skip

    places = [screen.find(part) for part in shown]
    assert places == sorted(places)
    assert places[0] > 0
    assert len(screen.splitlines()) <= 40
    assert max(map(len, screen.splitlines())) <= 100
    assert VIDEO.read_bytes()[4:8] == b"ftyp"
    assert not (WORK_DIR / "tmp").exists()


def lines_of(text: str) -> list[str]:
    """The lines without what differs from run to run: times, dates, ids and sizes."""
    return [re.sub(r"[a-z0-9]{26}|[\d.,]+|\s+", " ", line).strip() for line in text.splitlines() if line.strip()]


def test_the_picture_in_the_readme_shows_what_is_printed(screen: str) -> None:
    texts = ElementTree.parse(ROOT / "docs" / "images" / "demo.svg").iter("{http://www.w3.org/2000/svg}text")  # noqa: S314 - our own file
    assert lines_of("\n".join(text.text or "" for text in texts)) == lines_of(screen)
    assert "docs/images/demo.svg" in (ROOT / "README.md").read_text()


def change(*path: Any, to: Any) -> Callable[[Any], None]:
    def apply(evidence: Any) -> None:
        *way, last = path
        for step in way:
            evidence = evidence[step]
        evidence[last] = to

    return apply


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (change("create_calls", to=2), "2 create calls"),
        (lambda evidence: evidence["provider"].extend(evidence["provider"]), "2 tasks are at the provider"),
        (change("task", "status", to="expired"), "the task is expired"),
        (change("killed", to=[]), "no function was killed"),
        (change("provider", 0, "callbacks", 0, "kind", to="true"), "a callback arrived"),
        (change("task", "history", to=[]), "the poller did not find the video"),
    ],
)
def test_the_demo_fails_if_the_evidence_shows_less_than_it_says(
    screen: str, break_it: Callable[[Any], None], message: str
) -> None:
    evidence = json.loads(EVIDENCE.read_text())
    check(evidence)
    broken = deepcopy(evidence)
    break_it(broken)
    with pytest.raises(DemoFailedError, match=f"^{message}"):
        check(broken)
