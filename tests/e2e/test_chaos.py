"""The chaos test in its short form: every fault once, on a stack of its own, each task checked."""

from pathlib import Path

import pytest

from local.chaos.__main__ import SHORT, run_chaos

SEED = 20_260_101


def test_no_task_is_lost_billed_twice_or_fooled_while_everything_misbehaves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run_chaos(1, SEED, SHORT, tmp_path)

    assert status == 0, capsys.readouterr().out
