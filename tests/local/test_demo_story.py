"""What the demo makes of the tool's lines, in every order in which two processes may print them."""

import json
import queue
from itertools import combinations
from typing import Any

import pytest

from local.demo import DemoFailedError, Narrator, follow

TASK = "tqgzodnul6flnabcd5iyqgged4"
CREATED = {"task_id": TASK, "idempotency_key": "k"}
CHANGED = {"task_id": TASK, "settled": False, "status": "generated", "source": "callback"}
COMPLETED = {"task_id": TASK, "settled": True, "status": "completed"}
FAILED = {"task_id": TASK, "settled": True, "status": "failed", "error": {"code": "provider_failed"}}
ENDED = None
SUBMIT = [("submit", line) for line in (CREATED, CHANGED, COMPLETED, ENDED)]
KINDS = ("VideoTaskAccepted", "VideoTaskGenerated", "VideoTaskCompleted")
TAIL = [("tail", {"detail-type": kind, "detail": {"event_id": f"{TASK}:1"}}) for kind in KINDS]


class Lines(queue.Queue[tuple[str, str]]):
    """Lines, and a clock that stands until they have all been read: no pause of this machine makes them late."""

    now = 0.0

    def get(self, block: bool = True, timeout: float | None = None) -> tuple[str, str]:  # noqa: ARG002 - it never does
        try:
            return super().get(block=False)
        except queue.Empty:
            self.now += timeout or 0
            raise


def followed(*printed: tuple[str, dict[str, Any] | None]) -> str:
    lines = Lines()
    for command, line in printed:
        lines.put((command, json.dumps(line) if line else ""))
    return follow(lines, Narrator(), None, 120, lambda: lines.now)


def test_demo_follows_both_to_the_end_in_any_order(capsys: pytest.CaptureFixture[str]) -> None:
    count = len(SUBMIT) + len(TAIL)
    for places in combinations(range(count), len(TAIL)):
        submit, tail = iter(SUBMIT), iter(TAIL)

        assert followed(*(next(tail) if place in places else next(submit) for place in range(count))) == TASK
        printed = capsys.readouterr().out
        assert printed.count("✉") == len(TAIL)
        assert "● generated   by callback" in printed


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([SUBMIT[0], SUBMIT[3]], "`relay submit` ended before the task's end"),
        ([TAIL[0], SUBMIT[2], ("tail", ENDED)], "`relay tail` ended before the task's end"),
        ([SUBMIT[0], ("submit", FAILED), TAIL[0]], f"task {TASK} is failed"),
        ([SUBMIT[0], *SUBMIT[2:]], f"task {TASK} was not told of to its end"),
    ],
)
def test_demo_fails_when_a_tool_does(lines: list[tuple[str, dict[str, Any] | None]], message: str) -> None:
    with pytest.raises(DemoFailedError, match=message):
        followed(*lines)
