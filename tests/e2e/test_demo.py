"""`make demo`, as a newcomer runs it."""

import json
import re
import signal
import subprocess
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import requests

from local.demo import EVIDENCE, VIDEO, WORK_DIR, DemoFailedError, check
from local.programs import ROOT, venv_program


@pytest.fixture(scope="module")
def shown() -> tuple[str, str]:
    """What the demo prints, and what `KEEP=1` adds before it is stopped: its stack answered then."""
    command = [str(venv_program("dev")), "-m", "local.demo", "--keep", "1"]
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(Path.home())}
    lines: list[str] = []
    with subprocess.Popen(  # noqa: S603 - ours
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as demo:
        assert demo.stdout
        for line in demo.stdout:
            lines.append(line)
            if line.startswith("Operator"):
                break
        screen, stays, kept = "".join(lines).partition("The stack stays up. Ctrl-C stops it.\n")
        assert stays, screen
        console, key = (
            line.split(maxsplit=2)[-1].strip("'") for line in kept.replace("API key", "API").splitlines()[:2]
        )
        url, bundle = (
            f"{console.removesuffix('/v1/console')}/v1/tasks",
            WORK_DIR / "emulator" / "certificates" / "ca.pem",
        )
        (task,) = requests.get(url, headers={"Authorization": f"Bearer {key}"}, verify=str(bundle), timeout=60).json()[
            "tasks"
        ]
        demo.send_signal(signal.SIGINT)
        screen += demo.stdout.read()
    assert (demo.returncode, task["status"]) == (0, "completed")
    return screen, kept


@pytest.fixture(scope="module")
def screen(shown: tuple[str, str]) -> str:
    return shown[0]


def test_kept_stack_shows_its_consoles(shown: tuple[str, str]) -> None:
    assert re.findall(r"^(Console|API key|Operator) +", shown[1], re.MULTILINE) == ["Console", "API key", "Operator"]


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
