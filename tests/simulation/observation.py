"""The tasks of a simulation as the oracle takes them: read from stream, events, objects, provider and backend."""

import hashlib
import hmac
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from local.chaos.oracle import DELAYED, ENDS, Call, End, Event, ObservedTask
from tests.simulation.notifications import HOOK
from tests.simulation.simulation import TENANT, Simulation
from tests.simulation.spending import bill, booked
from tests.simulation.wiring import PRICE
from tests.unit.account import WEBHOOK_MASTER

GIVEN_UP = "VideoTaskNotificationFailed"
INCONCLUSIVE = frozenset({"008017096", "008017097", "008017098"})


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
    """The version at which the delay of its delivery was published."""
    videos: tuple[tuple[str, int, str], ...]

    @property
    def first(self) -> int:
        """The version of the acceptance: the second of creation."""
        return self.created_at // 1000

    @property
    def change(self) -> str:
        if self.version == self.first:
            return "accepted"
        return DELAYED if self.delayed == self.version else self.status


Rows = Mapping[str, list[Row]]


def _row(position: int, image: Mapping[str, Any]) -> Row:
    delivery = image.get("delivery", {"M": {}})["M"]
    videos = [video["M"] for video in image.get("videos", {"L": []})["L"]]
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
        delayed=int(delivery["delayed_version"]["N"]) if "delayed_version" in delivery else None,
        videos=tuple((video["key"]["S"], int(video["size"]["N"]), video["sha256"]["S"]) for video in videos),
    )


def records(sim: Simulation) -> Rows:
    """Every task's records, oldest first."""
    found: dict[str, list[Row]] = defaultdict(list)
    for position, record in enumerate(sim.stream):
        image = record["dynamodb"]["NewImage"]
        found[image["pk"]["S"].removeprefix("task#")].append(_row(position, image))
    return found


@lru_cache(maxsize=256)
def _digest(content: bytes) -> tuple[int, str]:
    return len(content), hashlib.sha256(content).hexdigest()


@cache
def _secret() -> bytes:
    return hmac.new(WEBHOOK_MASTER["master"].encode(), f"webhook/{TENANT}/1".encode(), hashlib.sha256).digest()


def _call(call: Any) -> Call:
    """The adapter says whom, what and by whose signature; that it is a POST of JSON is said below it."""
    headers = {**call.headers, "content-type": "application/json"}
    return Call("POST", call.url, headers, call.body, int(call.headers["webhook-timestamp"]), call.answer)


def observe(
    sim: Simulation, tasks: Rows, *, described: bool, rest: tuple[bool, frozenset[str]] | None = None
) -> Iterable[ObservedTask]:
    """Each task as the oracle takes it; `rest` is (misled, named) once nothing is left to do."""
    details: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for kind, detail in sim.published:
        details[str(detail.get("task_id") or detail.get("task", {}).get("task_id"))].append((kind, detail))
    rows_of_ledger = booked(sim)
    dead = [json.loads(body) for body in sim.notifications.dead]
    for task_id, rows in tasks.items():
        row, published = rows[-1], details[task_id]
        shown = [s for s in sim.provider.shown.get(row.remote_id or "", ()) if is_success(s)]
        stored = [_digest(sim.stored(key)) for key, _, _ in row.videos]
        calls = [call for call in sim.backend.calls if call.headers["webhook-id"].startswith(f"{task_id}:")]
        events = [(kind, detail) for kind, detail in published if kind != GIVEN_UP]
        hooked = any(detail.get("client_callback") for _, detail in events)
        yield ObservedTask(
            task_id=task_id,
            end=End(row.status, row.error),
            changes={row.version: row.change for row in reversed(rows)},
            creates=[outcome for owner, outcome in sim.provider.outcomes if owner == task_id],
            events=[
                Event(kind, detail["task"]["version"], detail["event_id"], json.dumps(detail, sort_keys=True))
                for kind, detail in events
            ],
            listed=[video[1:] for video in row.videos] if described else stored,
            stored=stored,
            served=[[_digest(sim.source.video(url)) for url in snapshot.video_urls] for snapshot in shown],
            ends=None if rest is None else _ends(sim, task_id, row, *rest),
            due=row.due_at is not None,
            hook=HOOK if hooked else None,
            secret=_secret(),
            calls=[_call(call) for call in calls],
            booked=rows_of_ledger.get(task_id),
            billed=bill(sim, row.remote_id),
            reserved=None if rest is None or rest[0] else PRICE,
            owed=[row.version] if hooked and row.status in ENDS else [],
            given_up=[detail for kind, detail in published if kind == GIVEN_UP],
            dead_letters={f"{one['task_id']}:{one['version']}" for one in dead if one["task_id"] == task_id},
        )


def shown_by(sim: Simulation, row: Row) -> Sequence[Any]:
    """What the provider had shown of a record's remote task when it was written."""
    remote_id = row.remote_id or ""
    return sim.provider.shown.get(remote_id, [])[: sim.shown_by_then[row.position].get(remote_id, 0)]


def is_success(snapshot: Any) -> bool:
    return snapshot.state == "succeeded" and any(output.video_urls for output in snapshot.outputs)


def is_failure(snapshot: Any) -> bool:
    return snapshot.state == "failed" and (snapshot.error is None or snapshot.error.code not in INCONCLUSIVE)


def _ends(sim: Simulation, task_id: str, row: Row, misled: bool, named: frozenset[str]) -> set[End]:
    """The ends that the provider's side allows; a code that does not matter is the recorded one."""
    if row.status == "canceled" and not row.remote_id:
        return {End("canceled", row.error)}  # `_check_canceled` says whether it may be
    statuses = (
        set(ENDS) if misled else _known_ends(sim, row) if row.remote_id else _unknown_ends(sim, task_id, row, named)
    )
    return {End(status, row.error) for status in statuses}


def _unknown_ends(sim: Simulation, task_id: str, row: Row, named: frozenset[str]) -> set[str]:
    """How a task may end whose remote task was never found."""
    outcomes = [outcome for owner, outcome in sim.provider.outcomes if owner == task_id]
    if "rejected" in outcomes:  # the answer may be lost with its process
        return {"failed", "expired"}
    nothing = bool(outcomes) and set(outcomes) <= {"nothing"} and not sim.effects.fault_injected
    doubted = nothing and row.error == "submission_unconfirmed"
    made = {remote_id for remote_id, owner in sim.provider.made_for.items() if owner == task_id}
    return set() if doubted or named & made else {"expired"}


def _known_ends(sim: Simulation, row: Row) -> set[str]:
    """How a task may end whose remote task it knows."""
    shown = sim.provider.shown[row.remote_id or ""]
    if any(is_failure(snapshot) for snapshot in shown):
        # if it succeeded as well, what was read first counts; one that failed after its deadline stays expired
        return {"failed", "expired", *(["completed"] if any(is_success(s) for s in shown) else [])}
    if shown[-1].state == "canceled":
        return {"canceled", "expired"}  # after its deadline it stays expired: its clients were notified
    if not is_success(shown[-1]):
        return {"expired"}
    if row.error != "video_unavailable" or not sim.source.faulty:
        return {"completed"}
    good = [url for url in shown[-1].video_urls if url not in sim.source.files]
    return {"completed", "expired"} if len(row.videos) >= len(good) else set()
