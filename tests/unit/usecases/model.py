"""The judge: what the relay promises, told from the outside, by nothing of the relay's own.

It reads the stream of the table, the events, the objects, the day's counters and what the provider remembers, and
decodes them itself: not one line of the code under test takes part. `judge_so_far` holds at any moment, in the
middle of anything; `judge_at_rest` once time has passed and nothing is left to do.
"""

import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

from tests.unit.usecases.account import WEBHOOK_MASTER
from tests.unit.usecases.telling import HOOK, Backend
from tests.unit.usecases.world import TENANT, World

__all__ = ["BrokenPromiseError", "Promise", "judge_at_rest", "judge_so_far"]


class Promise(StrEnum):
    """What may be broken."""

    BILLED_ONCE = "billed once"
    SETTLES = "every accepted task settles, as the provider decided"
    WHOLE_VIDEOS = "the videos delivered are the provider's, byte for byte"
    TRUE_EVENTS = "events tell the table's history, in order, nothing missing, nothing else"
    NEVER_FOOLED = "nothing happens that the provider does not say itself"
    ONE_OWNER = "a remote task belongs to one task, the one it was made for"
    ONE_WRITE = "each change follows from the one before it"
    WATCHED = "somebody will look at each unsettled task"
    ONE_WATCHER = "an execution that lost its lease does nothing"
    CAP = "the day's counter is the number of accepted tasks, and no more than the cap"
    ANSWERED = "a request by a queue becomes its task or its rejection, as it deserves"
    CALLED_OFF = "canceled is what was certainly never submitted, or what the provider says is canceled"
    TRUE_IMAGES = "the provider gets the images that the request named"
    NO_DEAD_LETTERS = "no message dies without a cause"
    TOLD = "a client is told of each end at its address, signed, under one id, until it says yes or 410, or all know"


class BrokenPromiseError(AssertionError):
    """The relay broke a promise; says which, and how it came to light."""

    def __init__(self, promise: Promise, what: str) -> None:
        super().__init__(f"{promise.name}: {promise.value}: {what}")
        self.promise = promise


MAY_FOLLOW = {
    "accepted": {"submitting", "submitted", "processing", "generated", "failed", "expired", "canceled"},
    "submitting": {"accepted", "submitted", "processing", "generated", "failed", "expired", "canceled"},
    "submitted": {"processing", "generated", "failed", "expired", "canceled"},
    "processing": {"generated", "failed", "expired", "canceled"},
    "generated": {"completed", "expired"},
    "expired": {"generated"},
    "completed": set(),
    "failed": set(),
    "canceled": set(),
}
TOLD_AS = {
    "submitted": "VideoTaskSubmitted",
    "processing": "VideoTaskProcessing",
    "generated": "VideoTaskGenerated",
    "completed": "VideoTaskCompleted",
    "failed": "VideoTaskFailed",
    "expired": "VideoTaskExpired",
    "canceled": "VideoTaskCanceled",
}
GIVEN_UP = "VideoTaskNotificationFailed"
NOTIFIED = frozenset({"processing", "generated", "completed", "failed", "expired", "canceled"})
DAY_MS, STEP_MS = 86_400_000, 600_000
"""The clock of a story may move while a function runs."""
ENDS = frozenset({"completed", "failed", "expired", "canceled"})
NO_VERDICTS = frozenset({"008017096", "008017097", "008017098"})
LATE_WATCH_MS = 72 * 3_600_000


@dataclass(frozen=True, slots=True)
class Row:
    """A task's record after one write, as the stream carries it; `position` is where."""

    position: int
    status: str
    version: int
    revision: int
    lease: int
    created_at: int
    updated_at: int
    due_at: int | None
    remote_id: str | None
    error: str | None
    delayed: int | None
    videos: tuple[tuple[str, int, str], ...]

    @property
    def first(self) -> int:
        """The version of the acceptance: the second of creation."""
        return self.created_at // 1000


def histories(world: World) -> dict[str, list[Row]]:
    """Every task's records, oldest first."""
    found: dict[str, list[Row]] = defaultdict(list)
    for position, record in enumerate(world.stream):
        image = record["dynamodb"]["NewImage"]
        found[image["pk"]["S"].removeprefix("task#")].append(_row(position, image))
    return found


def _row(position: int, image: Mapping[str, Any]) -> Row:
    return Row(
        position=position,
        status=image["status"]["S"],
        version=int(image["version"]["N"]),
        revision=int(image["revision"]["N"]),
        lease=int(image.get("lease", {"N": "0"})["N"]),
        created_at=int(image["created_at"]["N"]),
        updated_at=int(image["updated_at"]["N"]),
        due_at=int(image["due_at"]["N"]) if "due_at" in image else None,
        remote_id=image["remote_id"]["S"] if "remote_id" in image else None,
        error=image["error"]["M"]["code"]["S"] if "error" in image else None,
        delayed=_delayed(image),
        videos=tuple(_video(video["M"]) for video in image.get("videos", {"L": []})["L"]),
    )


def _delayed(image: Mapping[str, Any]) -> int | None:
    delivery = image.get("delivery", {"M": {}})["M"]
    return int(delivery["delayed_version"]["N"]) if "delayed_version" in delivery else None


def _video(video: Mapping[str, Any]) -> tuple[str, int, str]:
    return video["key"]["S"], int(video["size"]["N"]), video["sha256"]["S"]


def _hold(holds: bool, promise: Promise, what: str) -> None:
    if not holds:
        raise BrokenPromiseError(promise, what)


def judge_so_far(
    world: World, *, misled: bool = False, lost_places: int | None = 0, cap: int = 1000, described: bool = True
) -> None:
    """What must hold at any moment. Raises `BrokenPromiseError`.

    `misled`: the provider itself named another task's id, under a good token. `lost_places`: how many places of a day
    crashes and lost replies may have left unused; None for any number. `described`: whether the account is able to say
    what it holds.
    """
    tasks = histories(world)
    _judge_billing(world, tasks)
    _judge_writes(tasks)
    _judge_evidence(world, tasks)
    _judge_owners(world, tasks, misled=misled)
    _judge_watching(tasks)
    _judge_videos(world, tasks, described=described)
    _judge_events(world, tasks)
    _judge_places(world, tasks, lost_places, cap)
    _judge_canceled(world, tasks)
    _judge_requests(world)
    _judge_images(world)
    if world.backend:
        _judge_calls(world.backend, tasks)
        _judge_handings(world, world.backend, tasks)


def _judge_billing(world: World, tasks: Mapping[str, list[Row]]) -> None:
    """No call once an earlier one may have created something. What the provider itself denied does not count."""
    may_have_created: set[str] = set()
    for task_id, outcome in world.provider.outcomes:
        _hold(task_id in tasks, Promise.BILLED_ONCE, "a create call for a task that was never recorded")
        _hold(task_id not in may_have_created, Promise.BILLED_ONCE, f"called again, now {outcome}")
        if outcome not in ("nothing", "lied"):
            may_have_created.add(task_id)


def _judge_writes(tasks: Mapping[str, list[Row]]) -> None:
    for task_id, rows in tasks.items():
        _hold(
            rows[0].version == rows[0].first and rows[0].revision == 1,
            Promise.ONE_WRITE,
            f"{task_id} begins in the middle",
        )
        for before, after in pairwise(rows):
            change = f"{task_id}: {before.status} {before.revision} → {after.status} {after.revision}"
            _hold(after.revision == before.revision + 1, Promise.ONE_WRITE, f"{change}: the revision")
            moved = before.status != after.status
            _hold(not moved or after.status in MAY_FOLLOW[before.status], Promise.ONE_WRITE, change)
            news = (moved and after.status in TOLD_AS) or (after.delayed != before.delayed and not moved)
            _hold(after.version == before.version + news, Promise.ONE_WRITE, f"{change}: the version")
            _hold(after.lease >= before.lease, Promise.ONE_WRITE, f"{change}: the lease")
            kept = before.remote_id is None or before.remote_id == after.remote_id
            _hold(kept, Promise.ONE_OWNER, f"{change}: {before.remote_id} became {after.remote_id}")


def _judge_evidence(world: World, tasks: Mapping[str, list[Row]]) -> None:
    """Each state that claims something of the provider is one that the provider had shown by then."""
    rejected = {task_id for task_id, outcome in world.provider.outcomes if outcome == "rejected"}
    for task_id, rows in tasks.items():
        for before, row in pairwise([rows[0], *rows]):
            if row.status == before.status:
                continue
            known = world.knew[row.position].get(row.remote_id or "", 0)
            shown = world.provider.shown.get(row.remote_id or "", [])[:known]
            said = f"{task_id} is {row.status}, which the provider never said of {row.remote_id}"
            if row.status == "processing":
                _hold(any(s.state == "processing" for s in shown), Promise.NEVER_FOOLED, said)
            elif row.status in ("generated", "completed"):
                _hold(any(_is_success(s) for s in shown), Promise.NEVER_FOOLED, said)
            elif row.status == "submitted":
                _hold(bool(shown), Promise.NEVER_FOOLED, said)
            elif row.status == "failed":
                why = task_id in rejected or any(_is_verdict(s) for s in shown)
                _hold(why, Promise.NEVER_FOOLED, f"{said}; {row.error}")
            elif row.status == "expired" and before.status == "generated":
                _hold(row.error == "video_unavailable", Promise.NEVER_FOOLED, f"{task_id} ended by {row.error}")
                tried = row.updated_at - before.created_at >= LATE_WATCH_MS
                _hold(tried, Promise.SETTLES, f"{task_id} was given up while a late video is waited for")


def _is_success(snapshot: Any) -> bool:
    return snapshot.state == "succeeded" and any(output.video_urls for output in snapshot.outputs)


def _is_verdict(snapshot: Any) -> bool:
    return snapshot.state == "failed" and (snapshot.error is None or snapshot.error.code not in NO_VERDICTS)


def _judge_owners(world: World, tasks: Mapping[str, list[Row]], *, misled: bool) -> None:
    owners = Counter(rows[-1].remote_id for rows in tasks.values() if rows[-1].remote_id)
    for remote_id, owned in owners.items():
        _hold(owned == 1, Promise.ONE_OWNER, f"{remote_id} belongs to {owned} tasks")
    for task_id, rows in tasks.items():
        known = rows[-1].remote_id
        if known and not misled:
            _hold(world.provider.made_for.get(known) == task_id, Promise.ONE_OWNER, f"{known} is not its own")


def _judge_watching(tasks: Mapping[str, list[Row]]) -> None:
    for task_id, rows in tasks.items():
        for row in rows:
            what = f"{task_id} is {row.status} and never due"
            _hold(row.status in ENDS or row.due_at is not None, Promise.WATCHED, what)


@lru_cache(maxsize=256)
def _digest(content: bytes) -> tuple[int, str]:
    return len(content), hashlib.sha256(content).hexdigest()


def _judge_videos(world: World, tasks: Mapping[str, list[Row]], *, described: bool) -> None:
    for task_id, rows in tasks.items():
        row = rows[-1]
        shown = [s for s in world.provider.shown.get(row.remote_id or "", []) if _is_success(s)]
        wanted = [[_digest(world.source.video(url)) for url in snapshot.video_urls] for snapshot in shown]
        stored = [_digest(world.stored(key)) for key, _, _ in row.videos]
        if row.status == "completed":
            _hold(stored in wanted, Promise.WHOLE_VIDEOS, f"{task_id} has other bytes in the bucket")
        else:  # those that came while others fail
            served = [video for videos in wanted for video in videos]
            _hold(all(video in served for video in stored), Promise.WHOLE_VIDEOS, f"{task_id} has other bytes")
        told = [video[1:] for video in row.videos]
        _hold(told == stored or not described, Promise.WHOLE_VIDEOS, f"{task_id} describes other bytes")


def _judge_events(world: World, tasks: Mapping[str, list[Row]]) -> None:
    told: dict[str, list[int]] = defaultdict(list)
    details: dict[str, str] = {}
    times: Counter[str] = Counter()
    for (kind, detail), position in zip(world.published, world.published_after, strict=True):
        if kind in ("VideoTaskRejected", GIVEN_UP):
            continue
        task, event_id = detail["task"], detail["event_id"]
        news = (row for row in tasks.get(task["task_id"], []) if row.version == task["version"])
        row = next(news, None)
        _hold(row is not None and row.position < position, Promise.TRUE_EVENTS, f"{event_id} told before it was so")
        assert row is not None
        name = "VideoTaskAccepted" if row.version == row.first else TOLD_AS.get(row.status, "")
        if row.delayed == row.version:
            name = "VideoTaskDeliveryDelayed"
        _hold((kind, task["status"]) == (name, row.status), Promise.TRUE_EVENTS, f"{event_id} tells {task['status']}")
        text = json.dumps(detail, sort_keys=True)
        _hold(details.setdefault(event_id, text) == text, Promise.TRUE_EVENTS, f"{event_id} was told in two ways")
        times[event_id] += 1
        handed = world.handed[world.stream[row.position]["dynamodb"]["SequenceNumber"]]
        handed += world.effects.resent["events.put_events"]
        _hold(times[event_id] <= handed, Promise.TRUE_EVENTS, f"{event_id} told {times[event_id]} times for {handed}")
        if row.version not in told[task["task_id"]]:
            told[task["task_id"]].append(row.version)
    for task_id, versions in told.items():
        first = tasks[task_id][0].first
        straight = versions == list(range(first, first + len(versions)))
        _hold(straight, Promise.TRUE_EVENTS, f"{task_id} was told in the order {versions}")


def _judge_places(world: World, tasks: Mapping[str, list[Row]], lost_places: int | None, cap: int) -> None:
    """The counters of all days together: a task is counted on the day it was accepted."""
    counters = [item for item in world.items() if item["pk"]["S"].startswith("cap#")]
    taken = sum(int(item["accepted"]["N"]) for item in counters)
    accepted = len(tasks)
    _hold(taken >= accepted, Promise.CAP, f"{accepted} tasks accepted, {taken} places taken")
    if lost_places is not None:
        _hold(taken <= accepted + lost_places, Promise.CAP, f"{accepted} tasks and {lost_places} lost: {taken} taken")
    most = max((int(item["accepted"]["N"]) for item in counters), default=0)
    _hold(most <= cap, Promise.CAP, f"{most} places taken of {cap}")


def _judge_canceled(world: World, tasks: Mapping[str, list[Row]]) -> None:
    for task_id, rows in tasks.items():
        for before, row in pairwise(rows):
            if row.status != "canceled" or before.status == "canceled":
                continue
            if row.remote_id:
                shown = world.provider.shown[row.remote_id][: world.knew[row.position][row.remote_id]]
                said = any(snapshot.state == "canceled" for snapshot in shown)
                _hold(said, Promise.CALLED_OFF, f"{task_id}: the provider never said so of {row.remote_id}")
            else:
                came = {outcome for owner, outcome in world.provider.outcomes if owner == task_id}
                unsent = before.status == "accepted" and came <= {"nothing", "lied"}
                _hold(unsent, Promise.CALLED_OFF, f"{task_id} was {before.status}, its create calls {came}")


def _judge_requests(world: World) -> None:
    """Rejections are of requests that deserve one, and each says the same however often it is said."""
    deserving = {message.asked.rejection_id: message for message in world.sent if message.task_id is None}
    said: dict[str, str] = {}
    for detail in world.rejections():
        event_id, text = detail["event_id"], json.dumps(detail, sort_keys=True)
        if world.sent:
            _hold(event_id in deserving, Promise.ANSWERED, f"{event_id} was rejected: {detail['error']['code']}")
        _hold(said.setdefault(event_id, text) == text, Promise.ANSWERED, f"{event_id} was rejected in two ways")


def _judge_images(world: World) -> None:
    """What each create call carried, opened as the provider would open it."""
    for call in world.provider.calls:
        wanted = world.pictures.get(urlsplit(call.callback_url).path.rpartition("/")[2])
        if wanted is not None:
            links = [image for image in call.params["images"] if not image.startswith("data:")]
            lasting = not (call.params.get("off_peak") and links)
            _hold(lasting, Promise.TRUE_IMAGES, "links that die before an off-peak task begins")
            got = [_opened(world, image) for image in call.params["images"]]
            _hold(got == wanted, Promise.TRUE_IMAGES, f"{[len(image) for image in got]} bytes were given")


def _judge_calls(backend: Backend, tasks: Mapping[str, list[Row]]) -> None:
    """Each call tells what was so by then, to whom it is about, signed by what its tenant was given."""
    for call in backend.calls:
        said = json.loads(call.body)
        name = f"{said['task_id']}:{said['version']}"
        rows = [row for row in tasks.get(said["task_id"], []) if row.version == said["version"]]
        _hold(bool(rows) and rows[0].position < call.position, Promise.TOLD, f"{name} was told before it was so")
        true = rows[0].status == said["status"] and said["status"] in NOTIFIED
        _hold(true and call.url == HOOK, Promise.TOLD, f"{call.url} was told that {name} is {said['status']}")
        _hold(call.headers["webhook-id"] == name, Promise.TOLD, f"{name} went by {call.headers['webhook-id']}")
        content = b".".join((name.encode(), call.headers["webhook-timestamp"].encode(), call.body))
        good = b64encode(hmac.new(_webhook_key(), content, hashlib.sha256).digest()).decode()
        _hold(call.headers["webhook-signature"] == f"v1,{good}", Promise.TOLD, f"{name} is not signed by its tenant's")


@cache
def _webhook_key() -> bytes:
    return hmac.new(WEBHOOK_MASTER["master"].encode(), f"webhook/{TENANT}/1".encode(), hashlib.sha256).digest()


def _judge_handings(world: World, backend: Backend, tasks: Mapping[str, list[Row]]) -> None:
    """A message is done with once the client said yes or 410, or after a day of tries; the bus hears of all but yes."""
    why = {d["event_id"].removesuffix(":notification"): d["error"]["code"] for k, d in world.published if k == GIVEN_UP}
    for handing in backend.handings:
        asked = json.loads(handing.notice.body)
        name = f"{asked['task_id']}:{asked['version']}"
        if not handing.called:
            was = next(row.status for row in tasks[asked["task_id"]] if row.version == asked["version"])
            untried = handing.done and handing.receives == 1 and was == "processing"
            _hold(not untried, Promise.TOLD, f"{name} was dropped untried")
            continue
        if handing.done is None:
            continue
        tried_out = handing.receives >= 6 and handing.at - handing.notice.sent_at >= DAY_MS - STEP_MS
        taken = handing.got is not None and 200 <= handing.got < 300
        over = taken or handing.got == 410 or tried_out
        _hold(over or not handing.done, Promise.TOLD, f"{name} was dropped after the answer {handing.got}")
        _hold(handing.done or not (taken or handing.got == 410), Promise.TOLD, f"{name} goes on after {handing.got}")
        _hold(taken or not handing.done or name in why, Promise.TOLD, f"{name} was given up, and nobody was told")
        letter = handing.notice.body in world.given_up
        _hold(letter or taken or handing.got == 410 or not handing.done, Promise.TOLD, f"{name} has no dead letter")


def _judge_told(world: World, backend: Backend, tasks: Mapping[str, list[Row]]) -> None:
    taken = {call.headers["webhook-id"] for call in backend.calls if call.answer and 200 <= call.answer < 300}
    why = {d["event_id"].removesuffix(":notification") for kind, d in world.published if kind == GIVEN_UP}
    for _, detail in world.published:
        if not detail.get("client_callback") or detail["task"]["status"] not in ENDS:
            continue
        name = detail["event_id"]
        last = detail["task"]["version"] == tasks[detail["task"]["task_id"]][-1].version
        _hold(not last or name in taken | why, Promise.TOLD, f"nobody was ever told of {name}")


def _opened(world: World, image: str) -> bytes:
    return b64decode(image.partition(";base64,")[2]) if image.startswith("data:") else world.linked(image)


def judge_at_rest(
    world: World,
    *,
    rang: Iterable[str] = (),
    misled: bool = False,
    lost_places: int | None = 0,
    cap: int = 1000,
    dead_letters: bool = False,
    described: bool = True,
) -> None:
    """What must hold when nothing is left to do. Raises `BrokenPromiseError`.

    `rang`: the remote ids that a truthful callback named and had answered with success, after the provider decided.
    """
    judge_so_far(world, misled=misled, lost_places=lost_places, cap=cap, described=described)
    tasks, rung = histories(world), frozenset(rang)
    for task_id, rows in tasks.items():
        row = rows[-1]
        _hold(row.status in ENDS and row.due_at is None, Promise.SETTLES, f"{task_id} rests as {row.status}")
        told = {d["task"]["version"] for _, d in world.published if d.get("task", {}).get("task_id") == task_id}
        missing = set(range(row.first, row.version + 1)) - told
        _hold(not missing, Promise.TRUE_EVENTS, f"{task_id}: versions {missing} were never told")
        if not misled and (row.status != "canceled" or row.remote_id):
            _judge_end(world, task_id, row, rung)
    if world.backend:
        _judge_told(world, world.backend, tasks)
    _hold(dead_letters or not world.deaths, Promise.NO_DEAD_LETTERS, f"{world.deaths}")
    refused = {detail["event_id"] for detail in world.rejections()}
    for message in world.sent:
        if not message.dead:
            answered = message.asked.rejection_id in refused if message.task_id is None else message.task_id in tasks
            _hold(answered, Promise.ANSWERED, f"{message.asked.source} came to nothing")


def _judge_end(world: World, task_id: str, row: Row, rung: frozenset[str]) -> None:
    made = [remote_id for remote_id, owner in world.provider.made_for.items() if owner == task_id]
    outcomes = [outcome for owner, outcome in world.provider.outcomes if owner == task_id]
    if row.remote_id is None:
        if "rejected" in outcomes:
            # the answer may be lost with its process: then nobody knows
            allowed = {"failed", "expired"}
        else:
            allowed = {"expired"}
            nothing = bool(outcomes) and set(outcomes) <= {"nothing"} and not world.effects.ever_struck
            doubted = nothing and row.error == "submission_unconfirmed"
            _hold(not doubted, Promise.SETTLES, f"{task_id} is unconfirmed, though the provider made nothing")
            found = rung.intersection(made)
            _hold(not found, Promise.SETTLES, f"{task_id} is {row.status} {row.error}, though a callback named {found}")
    else:
        allowed = _ends(world, row)
    what = f"{task_id} is {row.status} {row.error}; the provider's story allows {sorted(allowed)}"
    _hold(row.status in allowed, Promise.SETTLES, what)


def _ends(world: World, row: Row) -> set[str]:
    """How a task may end whose remote task it knows."""
    shown = world.provider.shown[row.remote_id or ""]
    if any(_is_verdict(snapshot) for snapshot in shown):
        # if it succeeded as well, what was read first counts; one that failed after its deadline stays expired
        return {"failed", "expired", *(["completed"] if any(_is_success(s) for s in shown) else [])}
    if shown[-1].state == "canceled":
        return {"canceled", "expired"}  # after its deadline it stays expired: its clients were told
    if _is_success(shown[-1]):
        if row.error == "video_unavailable":
            good = [url for url in shown[-1].video_urls if url not in world.source.files]
            _hold(len(row.videos) >= len(good), Promise.SETTLES, f"{row.remote_id}: good videos are not shown")
        return {"completed", *(["expired"] if row.error == "video_unavailable" and world.source.faulty else [])}
    return {"expired"}
