"""Values that many unit tests begin with: tasks at any point of their life, readings of the provider, small MP4s."""

from dataclasses import replace
from typing import Any

from vidu_relay.domain import delivery, lifecycle, submission
from vidu_relay.domain.catalogue import DEFAULT_MODEL as MODEL
from vidu_relay.domain.catalogue import Offering
from vidu_relay.domain.delivery import Copies
from vidu_relay.domain.errors import NotCreatedError
from vidu_relay.domain.polling import PollingPolicy
from vidu_relay.domain.snapshot import ProgressState, ProviderOutput, ProviderSnapshot, TaskError, Usage
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Origin, StoredRequest, Task, Video

OFFERING = Offering(("gateway",), off_peak=True)
NOW = 1_800_000_000_000
TASK_ID = "abcdefghijklmnopqrstuvwxyz"
REMOTE_ID = "remote-1"
LINK = "https://cdn.example/v.mp4?signature=secret"

POLICY = PollingPolicy(
    first_check_seconds=120,
    check_interval_seconds=10,
    task_deadline_seconds=7200,
    late_watch_hours=72,
    retain_tasks_days=30,
)

REQUEST: dict[str, Any] = {
    "model": MODEL,
    "subjects": [
        {"id": "1", "images": ["https://images.example/one.png?key=secret"]},
        {"id": "2", "images": ["https://images.example/two.png"]},
    ],
    "prompt": "@1 and @2 eating hotpot together",
    "duration": 5,
    "resolution": "720p",
}


def new_task(**changes: Any) -> Task:
    """A task as it is first recorded, in `accepted`."""
    task = lifecycle.new_task(
        TASK_ID,
        Origin("acme", 1000),
        StoredRequest(REQUEST, "f" * 22),
        token="token",
        provider="gateway",
        now=NOW,
        policy=POLICY,
    )
    return replace(task, **changes)


def submitting(**changes: Any) -> Task:
    """A task whose first create call was begun."""
    return replace(submission.begin_attempt(new_task(), token="token.1", now=NOW), **changes)


def refused_once() -> Task:
    """A task whose first create call certainly created nothing."""
    return submission.record_create_failure(
        submitting(), NotCreatedError("HTTP 429"), now=NOW, jitter=0.5, policy=POLICY
    )


def copied(task: Task, *videos: Video, now: int = NOW) -> Task:
    """The task once its videos are in the bucket."""
    return delivery.record_copies(task, Copies(videos or (video(),)), now=now, jitter=0.5, policy=POLICY)


def copy_failed(task: Task, *videos: Video, now: int = NOW, source_fault: bool = True, whole_copies: int = 0) -> Task:
    """The task after an attempt to copy that failed, but for these videos."""
    error = TaskError("not_mp4", "The file is a web page.")
    copies = Copies(videos, error, source_fault, whole_copies)
    return delivery.record_copies(task, copies, now=now, jitter=0.5, policy=POLICY)


def changes(task: Task) -> int:
    """How many changes of a task were published, the acceptance included."""
    return task.version - task.first_version + 1


def task_in(status: Status) -> Task:
    """A task that went the ordinary way to a state."""
    submitted = submission.record_created(submitting(), reading(), now=NOW, source="create", policy=POLICY)
    generated = lifecycle.apply_snapshot(submitted, done(), now=NOW, source="callback", policy=POLICY)
    ways = {
        Status.ACCEPTED: refused_once(),
        Status.SUBMITTING: submitting(),
        Status.SUBMITTED: submitted,
        Status.PROCESSING: lifecycle.apply_snapshot(
            submitted, reading(ProgressState.PROCESSING), now=NOW, source="callback", policy=POLICY
        ),
        Status.GENERATED: generated,
        Status.COMPLETED: copied(generated),
        Status.FAILED: lifecycle.apply_snapshot(submitted, failed(), now=NOW, source="check", policy=POLICY),
        Status.EXPIRED: lifecycle.expire(submitted, now=submitted.deadline_at, source="check", policy=POLICY),
        Status.CANCELED: lifecycle.apply_snapshot(
            submitted, reading(ProgressState.CANCELED), now=NOW, source="cancel", policy=POLICY
        ),
    }
    return ways[status]


def reading(state: ProgressState = ProgressState.PENDING, **changes: Any) -> ProviderSnapshot:
    """What the provider says of the remote task."""
    return replace(ProviderSnapshot(REMOTE_ID, state, created_at=NOW), **changes)


def done(*links: str, **changes: Any) -> ProviderSnapshot:
    """A reading that shows success, with one video unless links are given."""
    output = ProviderOutput("upstream-1", "done", links or (LINK,))
    return reading(ProgressState.SUCCEEDED, outputs=(output,), usage=Usage("0.4000", "0.9"), **changes)


def failed(code: str = "008017095") -> ProviderSnapshot:
    return reading(ProgressState.FAILED, error=TaskError(code, "Internal generation error"))


def video(**changes: Any) -> Video:
    """A video in our bucket."""
    key = f"videos/acme/2027/01/15/{TASK_ID}/1.mp4"
    return replace(Video("vidu-relay-videos", key, 3_500_000, "ab" * 32, "video/mp4"), **changes)


def box(kind: bytes, content: bytes = b"", *, size: int | None = None, wide: bool = False) -> bytes:
    """A box of an MP4 file; `size` overrides the truth, `wide` writes it in 64 bits."""
    if wide:
        length = 16 + len(content) if size is None else size
        return b"\0\0\0\1" + kind + length.to_bytes(8, "big") + content
    length = 8 + len(content) if size is None else size
    return length.to_bytes(4, "big") + kind + content


def track(
    number: int = 1,
    *,
    handler: bytes = b"vide",
    pixels: tuple[int, int] = (1280, 720),
    timescale: int = 1000,
    ticks: int = 5000,
    tables: bytes = b"",
) -> bytes:
    """A `trak` box; `tables` are tables of its samples in place of those of one without bytes."""
    matrix = b"".join(n.to_bytes(4, "big") for n in (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000))
    shown = b"".join((side << 16).to_bytes(4, "big") for side in pixels)
    entry = box(b"avc1", b"\0" * 24 + b"".join(side.to_bytes(2, "big") for side in pixels) + b"\0" * 50)
    stsd = box(b"stsd", b"\0" * 4 + (1).to_bytes(4, "big") + entry)
    tkhd = box(b"tkhd", b"\0" * 12 + number.to_bytes(4, "big") + b"\0" * 24 + matrix + shown)
    mdhd = box(b"mdhd", b"\0" * 12 + timescale.to_bytes(4, "big") + ticks.to_bytes(4, "big") + b"\0" * 4)
    hdlr = box(b"hdlr", b"\0" * 8 + handler + b"\0" * 13)
    one = b"\0" * 8 + (1).to_bytes(4, "big") + b"\0" * 4
    for kind, table in ((b"stts", b"\0" * 8), (b"stsc", b"\0" * 8), (b"stsz", one), (b"stco", b"\0" * 8)):
        if kind not in tables and not (kind == b"stsz" and b"stz2" in tables):
            tables += box(kind, table)
    minf = box(b"minf", box(b"dinf") + box(b"stbl", stsd + tables))
    return box(b"trak", tkhd + box(b"mdia", mdhd + hdlr + minf))


def movie(*content: bytes, timescale: int = 1000, ticks: int = 5000) -> bytes:
    """A `moov` box with these boxes in it, or with a video track of 5 s in 1280×720."""
    numbers = timescale.to_bytes(4, "big") + ticks.to_bytes(4, "big")
    return box(b"moov", box(b"mvhd", b"\0" * 12 + numbers + b"\0" * 80) + b"".join(content or (track(),)))


def mp4(media_bytes: int = 40) -> bytes:
    """The smallest file that is built like a video in MP4: `MP4_FRAME` bytes and its media data."""
    pattern = bytes(number * 31 % 251 for number in range(251))
    return mp4_of((pattern * (media_bytes // 251 + 1))[:media_bytes])


def mp4_of(media: bytes) -> bytes:
    """The same with this media data."""
    return box(b"ftyp", b"isom\0\0\2\0isomiso2") + movie() + box(b"mdat", media)


MP4_FRAME = len(mp4_of(b""))
"""What such a file has beside its media data."""
