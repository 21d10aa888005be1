"""`make demo`, as a newcomer runs it."""

import subprocess
from pathlib import Path

from local.demo import WORK_DIR
from local.programs import ROOT, venv_program

STATES = ("accepted", "submitted", "generated", "completed")
EVENTS = ("VideoTaskAccepted", "VideoTaskSubmitted", "VideoTaskGenerated", "VideoTaskCompleted")


def test_demo_shows_two_tasks_to_their_end_and_leaves_their_videos() -> None:
    command = [str(venv_program("dev")), "-m", "local.demo"]
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(Path.home())}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=300)  # noqa: PLW1510, S603 - the status is what is tested

    assert done.returncode == 0, done.stdout + done.stderr
    called_back, lost = done.stdout.split("A task whose callbacks are lost")
    for part in (called_back, lost):
        assert [state for state in STATES if f"● {state}" in part] == list(STATES)
        assert [event for event in EVENTS if f"✉ {event}" in part] == list(EVENTS)
        assert "in S3    s3://" in part
    assert "generated   by callback" in called_back
    assert "generated   by check" in lost
    videos = list(WORK_DIR.glob("*.mp4"))
    assert len(videos) == 2
    assert all(video.read_bytes()[4:8] == b"ftyp" for video in videos)
    assert not (WORK_DIR / "tmp").exists()
