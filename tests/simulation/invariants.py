"""What the simulation observes, checked against the oracle's invariants and those that need every write.

It reads the stream of the table, the events, the objects, the counters, and what provider and backend remember, and
decodes them itself: no code under test takes part. `check_invariants` holds at any moment, in the middle of anything;
`check_at_rest` once time has passed and nothing is left to do.
"""

import hashlib
import json
from base64 import b64decode
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise
from urllib.parse import urlsplit

from local.chaos.oracle import ENDS, Invariant, ViolationError, check_quota, check_task
from tests.simulation.observation import GIVEN_UP, Rows, is_failure, is_success, observe, records, shown_by
from tests.simulation.simulation import Simulation
from tests.simulation.spending import find_wrong_spending
from tests.simulation.wiring import PRICE

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
UNPUBLISHED = frozenset({"accepted", "submitting"})
DAY_MS, STEP_MS = 86_400_000, 600_000
"""The clock may move while a function runs."""
LATE_WATCH_MS = 72 * 3_600_000


def _hold(holds: bool, invariant: Invariant, what: str) -> None:
    if not holds:
        raise ViolationError(invariant, what)


def _raise_first(found: Iterable[ViolationError]) -> None:
    for violation in found:
        raise violation


def check_invariants(
    sim: Simulation, *, misled: bool = False, lost_slots: int | None = 0, cap: int = 1000, described: bool = True
) -> None:
    """What must hold at any moment. Raises `ViolationError`.

    `misled`: the provider itself named another task's id, under a good token. `lost_slots`: how many quota slots
    crashes and lost replies may have left unused; None for any number. `described`: whether S3 says what it holds.
    """
    tasks = records(sim)
    for task_id, outcome in sim.provider.outcomes:
        _hold(task_id in tasks, Invariant.BILLED_ONCE, f"a create call ({outcome}) for a task that was never recorded")
    _check_writes(tasks)
    _check_evidence(sim, tasks)
    _check_owners(sim, tasks, misled=misled)
    _check_events(sim, tasks)
    for task in observe(sim, tasks, described=described):
        _raise_first(check_task(task))
    _check_quota(sim, len(tasks), lost_slots, cap)
    _raise_first(find_wrong_spending(sim, lost_slots))
    _check_canceled(sim, tasks)
    _check_requests(sim)
    _check_images(sim)
    for call in sim.backend.calls:
        task_id, _, version = call.headers["webhook-id"].partition(":")
        written = [row.position for row in tasks.get(task_id, ()) if str(row.version) == version]
        _hold(bool(written) and written[0] < call.position, Invariant.NOTIFIED, f"{task_id}:{version} before it was so")
    _check_receipts(sim, tasks)


def check_at_rest(
    sim: Simulation,
    *,
    named: Iterable[str] = (),
    misled: bool = False,
    lost_slots: int | None = 0,
    cap: int = 1000,
    dead_letters: bool = False,
    described: bool = True,
) -> None:
    """What must hold when nothing is left to do. Raises `ViolationError`.

    `named`: the remote ids that a truthful callback named and had answered 200, after the provider decided.
    """
    check_invariants(sim, misled=misled, lost_slots=lost_slots, cap=cap, described=described)
    _raise_first(find_wrong_spending(sim, int(sum(sim.freed) / PRICE)))
    tasks, named = records(sim), frozenset(named)
    for task in observe(sim, tasks, described=described, rest=(misled, named)):
        _raise_first(check_task(task))
    _hold(dead_letters or not sim.dead_letters, Invariant.NO_DEAD_LETTERS, f"{sim.dead_letters}")
    _check_batches(sim)
    refused = {detail["event_id"] for detail in sim.rejections()}
    for message in sim.sent:
        if not message.dead:
            answered = message.asked.rejection_id in refused if message.task_id is None else message.task_id in tasks
            _hold(answered, Invariant.ANSWERED, f"{message.asked.source} came to nothing")


def _check_writes(tasks: Rows) -> None:
    for task_id, rows in tasks.items():
        begins = rows[0].version == rows[0].first and rows[0].revision == 1
        _hold(begins, Invariant.ONE_WRITE, f"{task_id} begins in the middle")
        for row in rows:
            due = row.status in ENDS or row.due_at is not None
            _hold(due, Invariant.ALWAYS_DUE, f"{task_id} is {row.status} and never due")
        for before, after in pairwise(rows):
            change = f"{task_id}: {before.status} {before.revision} → {after.status} {after.revision}"
            moved = before.status != after.status
            news = (moved and after.status not in UNPUBLISHED) or (after.delayed != before.delayed and not moved)
            right = (
                after.revision == before.revision + 1
                and (not moved or after.status in MAY_FOLLOW[before.status])
                and after.version == before.version + news
                and after.lease >= before.lease
            )
            _hold(right, Invariant.ONE_WRITE, f"{change}, version {before.version} → {after.version}")
            kept = before.remote_id is None or before.remote_id == after.remote_id
            _hold(kept, Invariant.ONE_OWNER, f"{change}: {before.remote_id} became {after.remote_id}")


def _check_evidence(sim: Simulation, tasks: Rows) -> None:
    """Each state that reports something of the provider is one that the provider had shown by then."""
    rejected = {task_id for task_id, outcome in sim.provider.outcomes if outcome == "rejected"}
    for task_id, rows in tasks.items():
        for before, row in pairwise([rows[0], *rows]):
            if row.status == before.status:
                continue
            shown = shown_by(sim, row)
            proven = {
                "processing": any(s.state == "processing" for s in shown),
                "generated": any(is_success(s) for s in shown),
                "completed": any(is_success(s) for s in shown),
                "submitted": bool(shown),
                "failed": task_id in rejected or any(is_failure(s) for s in shown),
            }.get(row.status, True)
            what = f"{task_id} is {row.status} {row.error}, which the provider never showed of {row.remote_id}"
            _hold(proven, Invariant.PROVEN_STATE, what)
            if row.status == "expired" and before.status == "generated":
                _hold(row.error == "video_unavailable", Invariant.PROVEN_STATE, f"{task_id} ended by {row.error}")
                tried = row.updated_at - before.created_at >= LATE_WATCH_MS
                _hold(tried, Invariant.SETTLED, f"{task_id} was given up while a late video is waited for")


def _check_owners(sim: Simulation, tasks: Rows, *, misled: bool) -> None:
    owners = Counter(rows[-1].remote_id for rows in tasks.values() if rows[-1].remote_id)
    for remote_id, owned in owners.items():
        _hold(owned == 1, Invariant.ONE_OWNER, f"{remote_id} belongs to {owned} tasks")
    for task_id, rows in tasks.items():
        known = rows[-1].remote_id
        if known and not misled:
            _hold(sim.provider.made_for.get(known) == task_id, Invariant.ONE_OWNER, f"{known} is not its own")
    external = {
        item["pk"]["S"]: item["task_id"]["S"] for item in sim.items() if item["pk"]["S"].startswith("external#")
    }
    for item in sim.items():
        if "external_id" in item:
            name, task_id = f"external#{item['owner']['S']}#{item['external_id']['S']}", item["pk"]["S"]
            _hold(task_id == f"task#{external.get(name)}", Invariant.ONE_OWNER, f"{name} is not {task_id}'s alone")


def _check_events(sim: Simulation, tasks: Rows) -> None:
    """Beyond what the oracle sees at the end: each after its write, no more often than it was handed over, in order."""
    published: dict[str, list[int]] = defaultdict(list)
    times: Counter[str] = Counter()
    for (_, detail), position in zip(sim.published, sim.published_after, strict=True):
        if "task" not in detail:
            continue
        task, event_id = detail["task"], detail["event_id"]
        rows = (row for row in tasks.get(task["task_id"], []) if row.version == task["version"])
        row = next(rows, None)
        _hold(row is not None and row.position < position, Invariant.TRUE_EVENTS, f"{event_id} before it was so")
        assert row is not None
        _hold(task["status"] == row.status, Invariant.TRUE_EVENTS, f"{event_id} says {task['status']}")
        times[event_id] += 1
        handed = sim.handed[sim.stream[row.position]["dynamodb"]["SequenceNumber"]]
        handed += sim.effects.resent["events.put_events"]
        what = f"{event_id} {times[event_id]} times for {handed}"
        _hold(times[event_id] <= handed, Invariant.TRUE_EVENTS, what)
        if row.version not in published[task["task_id"]]:
            published[task["task_id"]].append(row.version)
    for task_id, versions in published.items():
        first = tasks[task_id][0].first
        straight = versions == list(range(first, first + len(versions)))
        _hold(straight, Invariant.TRUE_EVENTS, f"{task_id} was published in the order {versions}")


def _check_quota(sim: Simulation, accepted: int, lost_slots: int | None, cap: int) -> None:
    """The counters of all days together: a task is counted on the day it was accepted."""
    counters = [int(item["accepted"]["N"]) for item in sim.items() if item["pk"]["S"].startswith("cap#")]
    most = None if lost_slots is None else accepted + lost_slots
    _raise_first(check_quota(accepted, sum(counters), most))
    _hold(max(counters, default=0) <= cap, Invariant.QUOTA, f"{counters} slots taken of {cap}")


def _check_canceled(sim: Simulation, tasks: Rows) -> None:
    for task_id, rows in tasks.items():
        for before, row in pairwise(rows):
            if row.status != "canceled" or before.status == "canceled":
                continue
            if row.remote_id:
                said = any(snapshot.state == "canceled" for snapshot in shown_by(sim, row))
                _hold(said, Invariant.TRUE_CANCEL, f"{task_id}: the provider never showed {row.remote_id} canceled")
            else:
                outcomes = {outcome for owner, outcome in sim.provider.outcomes if owner == task_id}
                unsent = before.status == "accepted" and outcomes <= {"nothing", "denied"}
                _hold(unsent, Invariant.TRUE_CANCEL, f"{task_id} was {before.status}, its create calls {outcomes}")


def _check_requests(sim: Simulation) -> None:
    """Only what must be rejected is, and each rejection says the same however often it is published."""
    deserving = {message.asked.rejection_id: message for message in sim.sent if message.task_id is None}
    said: dict[str, str] = {}
    for detail in sim.rejections():
        event_id, text = detail["event_id"], json.dumps(detail, sort_keys=True)
        if sim.sent:
            _hold(event_id in deserving, Invariant.ANSWERED, f"{event_id} was rejected: {detail['error']['code']}")
        _hold(said.setdefault(event_id, text) == text, Invariant.ANSWERED, f"{event_id} was rejected in two ways")


def _check_batches(sim: Simulation) -> None:
    """Each file is a batch, each line a task of it or a rejection, exactly once, and each event has one content."""
    batches = {batch["key"]["S"]: batch for batch in sim.batches()}
    digests = {batch["sha256"]["S"] for batch in batches.values()}
    for (_, key, _), content in sim.account.clients["s3"].versions.items():
        if key.startswith("requests/") and key.endswith(".jsonl"):
            known = hashlib.sha256(content).hexdigest() in digests
            _hold(known or bool(sim.rejections()), Invariant.ANSWERED, f"{key} came to nothing")
    for batch in batches.values():
        batch_id = batch["pk"]["S"].removeprefix("batch#")
        tasks = [item for item in sim.items() if item.get("batch_id", {}).get("S") == batch_id]
        found = [int(batch.get(name, {"N": "0"})["N"]) for name in ("tasks", "rejected", "lines")]
        _hold(batch["state"]["S"] == "completed", Invariant.SETTLED, f"{batch_id} is never completed")
        ended = sum(int(number["N"]) for number in batch["counts"]["M"].values()) if "counts" in batch else 0
        _hold(ended == len(tasks), Invariant.SETTLED, f"{batch_id} has {len(tasks)} tasks, and {ended} ended")
        events = {f"{kind}: {json.dumps(e)}" for kind, e in sim.published if e["event_id"].startswith(f"{batch_id}:")}
        kinds = sorted(event.partition(":")[0] for event in events)
        _hold(kinds == ["VideoBatchAccepted", "VideoBatchCompleted"], Invariant.ANSWERED, f"{batch_id}: {kinds}")
        _hold(found[0] == len(tasks), Invariant.ANSWERED, f"{batch_id} has {len(tasks)} tasks, and counts {found[0]}")
        _hold(found[0] + found[1] == found[2], Invariant.ANSWERED, f"lines of {batch_id} came to nothing: {found}")


def _check_images(sim: Simulation) -> None:
    """What each create call carried, opened as the provider would open it."""
    for call in sim.provider.calls:
        wanted = sim.expected_images.get(urlsplit(call.callback_url).path.rpartition("/")[2])
        if wanted is None:
            continue
        images = call.params["images"]
        lasting = not call.params.get("off_peak") or all(image.startswith("data:") for image in images)
        _hold(lasting, Invariant.TRUE_IMAGES, "links that expire before an off-peak task begins")
        got = [
            b64decode(image.partition(";base64,")[2]) if image.startswith("data:") else sim.linked(image)
            for image in images
        ]
        _hold(got == wanted, Invariant.TRUE_IMAGES, f"{[len(image) for image in got]} bytes were given")


def _check_receipts(sim: Simulation, tasks: Rows) -> None:
    """A notification is done after 2xx, 410, or three days of tries; what fails is published."""
    published = {detail["event_id"].removesuffix(":notification") for kind, detail in sim.published if kind == GIVEN_UP}
    for receipt in sim.backend.receipts:
        asked = json.loads(receipt.message.body)
        name = f"{asked['task_id']}:{asked['version']}"
        if not receipt.called:
            was = next(row.status for row in tasks[asked["task_id"]] if row.version == asked["version"])
            untried = receipt.done and receipt.receives == 1 and was == "processing"
            _hold(not untried, Invariant.NOTIFIED, f"{name} was dropped untried")
        elif receipt.done is not None:
            exhausted = receipt.receives >= 6 and receipt.at - receipt.message.sent_at >= 3 * DAY_MS - STEP_MS
            taken = receipt.got is not None and 200 <= receipt.got < 300
            over = taken or receipt.got == 410
            right = over or exhausted if receipt.done else not over
            _hold(right, Invariant.NOTIFIED, f"{name}, done: {receipt.done}, after the answer {receipt.got}")
            _hold(taken or not receipt.done or name in published, Invariant.NOTIFIED, f"{name} failed without an event")
            in_queue = receipt.message.body in sim.notifications.dead
            _hold(in_queue or over or not receipt.done, Invariant.NOTIFIED, f"{name} is not in the dead-letter queue")
