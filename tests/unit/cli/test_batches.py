"""`relay batch`: what is sent, what is printed, and how it ends, with the API replaced."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cli.answer import NoAnswerError
from cli.api import ApiRefusedError
from cli.main import main

BATCH_ID = "b" + "a" * 26
FORM = {"batch_id": BATCH_ID, "url": "u", "fields": {}, "expires_at": "2026-11-30T12:15:00.000Z"}
OPEN: dict[str, Any] = {
    "batch_id": BATCH_ID, "state": "accepting", "created_at": "2026-11-30T12:00:00.000Z", "attempt": 1, "lines": 3,
    "tasks": None, "rejected": None, "expected_cost_usd": "0.9", "ended": {}, "cost_usd": "0", "uncertain_usd": "0",
}  # fmt: skip
DONE = OPEN | {"state": "completed", "tasks": 3, "rejected": 0, "ended": {"completed": 3}, "summary_url": "s"}
FAILED = DONE | {"tasks": 2, "rejected": 1, "ended": {"completed": 1, "expired": 1}, "retry_url": "r"}
REFUSED = {"batch_id": BATCH_ID, "state": "rejected", "error": {"code": "daily_cap_reached", "detail": "3 are left."}}
BEFORE, AFTER = ({"rejected_at": f"2026-11-30T{at}:00.000Z"} for at in ("11:59", "12:01"))
SUMMARY = {
    "rejections": [{"line": 2, "error": {"code": "validation_error"}}],
    "failures": [{"line": 1, "task_id": "t", "status": "expired", "error": {"code": "deadline_exceeded"}}],
}
UNREAD, SILENT = ApiRefusedError("HTTP 404", 404), NoAnswerError("HTTP 503")


class FakeApi:
    """Answers one after the other what it is given."""

    url, local, advised_wait = "https://relay.example", True, None

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.sent: list[Any] = []

    def batch(self, batch_id: str) -> Any:
        assert batch_id == BATCH_ID
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def batch_form(self, sha256: str, size: int) -> Any:
        self.sent.append((sha256, size))
        return FORM

    def send_form(self, _: Any, content: bytes) -> None:
        self.sent.append(content)

    @contextmanager
    def open(self, link: str, _: int) -> Iterator[Any]:
        yield False, iter([json.dumps(SUMMARY).encode() if link == "s" else b"a line\n"])


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    made = FakeApi()
    monkeypatch.setattr("cli.api.connect_api", lambda *_: made)
    monkeypatch.setattr("cli.batches.time.sleep", lambda _: None)
    return made


def run(*words: str) -> int:
    return main(["--api-url", "https://relay.example", "batch", *words])


@pytest.mark.parametrize(
    ("answers", "status", "printed"),
    [
        (
            [UNREAD, OPEN, OPEN, DONE],
            0,
            ["accepting: 3 lines.", "completed: 3 lines, 3 tasks, 0 rejected, 3 completed."],
        ),
        ([SILENT, FAILED], 4, ["1 completed, 1 expired."]),
        ([DONE | {"rejected": 1}], 3, ["1 rejected"]),
        ([REFUSED | BEFORE, DONE], 0, ["3 completed."]),
        ([REFUSED | AFTER], 1, []),
    ],
)
def test_file_is_uploaded_and_watched_to_its_end(
    api: FakeApi,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    answers: list[Any],
    status: int,
    printed: list[str],
) -> None:
    file = tmp_path / "night.jsonl"
    file.write_bytes(b"{}\n")
    api.answers = answers
    assert run("submit", str(file), "--watch") == status
    assert api.sent == [(hashlib.sha256(b"{}\n").hexdigest(), 3), b"{}\n"]
    assert not api.answers
    out, _, *lines = capsys.readouterr().out.partition("is uploaded.\n")
    assert all(text in lines[0] for text in printed), out


def test_watch_waits_for_a_file_that_is_not_read_yet(api: FakeApi) -> None:
    api.answers = [UNREAD, UNREAD, DONE]
    assert run("watch", BATCH_ID) == 0


def test_what_failed_is_shown_and_submitted_again(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.answers = [FAILED, FAILED, FAILED]
    assert run("show", BATCH_ID) == 0
    out = capsys.readouterr().out
    assert [line.split() for line in out.splitlines() if "error" in line or "exceeded" in line] == [
        ["1", "t", "expired", "deadline_exceeded"],
        ["2", "rejected", "validation_error"],
    ]
    assert f"batch retry {BATCH_ID}" in out
    assert run("show", BATCH_ID, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["failures"], "retry_url" in shown) == (SUMMARY["failures"], False)
    assert run("retry", BATCH_ID) == 0
    assert api.sent[1] == b"a line\n"


@pytest.mark.parametrize(
    ("words", "answer", "why"),
    [
        (["retry", BATCH_ID], DONE, "nothing in it can be submitted again"),
        (["retry", BATCH_ID], OPEN, "wait for its end"),
        (["watch", BATCH_ID], UNREAD, "HTTP 404"),
        (["watch", BATCH_ID], SILENT, "gives no answer"),
        (["submit", "none.jsonl"], None, "cannot read none.jsonl"),
    ],
)
def test_what_cannot_be_done_is_refused(
    api: FakeApi, capsys: Any, monkeypatch: pytest.MonkeyPatch, words: list[str], answer: Any, why: str
) -> None:
    monkeypatch.setattr("cli.batches.UNREAD_SECONDS", 0)
    api.answers = [answer] * 3
    assert run(*words) == 1
    assert why in capsys.readouterr().err
    assert api.sent == []
