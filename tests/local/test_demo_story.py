"""What the demo makes of the tool's lines, in every order in which two processes may say them."""

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
Line = tuple[str, dict[str, Any] | None]


def event(name: str) -> dict[str, Any]:
    return {"detail-type": name, "detail": {"event_id": f"{TASK}:1"}}


SUBMIT: list[dict[str, Any] | None] = [CREATED, CHANGED, COMPLETED, ENDED]
TAIL = [event("VideoTaskAccepted"), event("VideoTaskGenerated"), event("VideoTaskCompleted")]


class Said(queue.Queue[tuple[str, str]]):
    """Lines, and a clock that stands until they have all been read: no pause of this machine makes them late."""

    now = 0.0

    def get(self, block: bool = True, timeout: float | None = None) -> tuple[str, str]:  # noqa: ARG002 - it never does
        try:
            return super().get(block=False)
        except queue.Empty:
            self.now += timeout or 0
            raise


def told(*lines: Line) -> str:
    said = Said()
    for command, line in lines:
        said.put((command, json.dumps(line) if line else ""))
    return follow(said, Narrator(), None, 120, lambda: said.now)


def test_demo_follows_both_to_the_end_in_any_order(capsys: pytest.CaptureFixture[str]) -> None:
    for places in combinations(range(len(SUBMIT) + len(TAIL)), len(TAIL)):
        submit, tail = iter(SUBMIT), iter(TAIL)
        lines: list[Line] = [
            ("tail", next(tail)) if place in places else ("submit", next(submit))
            for place in range(len(SUBMIT) + len(TAIL))
        ]

        assert told(*lines) == TASK
        printed = capsys.readouterr().out
        assert printed.count("✉") == len(TAIL)
        assert "● generated   by callback" in printed


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([("submit", CREATED), ("submit", ENDED)], "`relay submit` ended before the task's end"),
        ([("tail", TAIL[0]), ("submit", COMPLETED), ("tail", ENDED)], "`relay tail` ended before the task's end"),
        ([("submit", CREATED), ("submit", FAILED), ("tail", TAIL[0])], f"task {TASK} is failed"),
        ([("submit", CREATED), ("submit", COMPLETED), ("submit", ENDED)], f"task {TASK} was not told of to its end"),
    ],
)
def test_demo_fails_when_a_tool_does(lines: list[Line], message: str) -> None:
    with pytest.raises(DemoFailedError, match=message):
        told(*lines)
