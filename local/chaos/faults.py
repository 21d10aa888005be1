"""The rows of the chaos test: every fault by its name, and which tasks meet which.

A provider's fault is a script for the simulator (`local/simulator/scripts.py`), a fault of AWS an order for the
emulator (`local/emulator/faults.py`), a client's a behaviour of its backend (`local/chaos/backends.py`). One seed draws
everything.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local.chaos.backends import BEHAVIOURS

__all__ = ["MAX_VIDEO_BYTES", "TOGETHER", "AwsFault", "Phase", "Plan", "Times", "aws_faults", "plan_run", "rows_of"]

Script = dict[str, Any]

QUEUE = "queue: redelivered"
TOGETHER = "two or three of these at once"
LATE = "late once"
"""A client's behaviour that takes long: the relay does not call its origin for half a minute after."""
MAX_VIDEO_BYTES = 10_000_000
"""`MaxVideoBytes`: beyond S3's part size, so that an endless video may break off with a part uploaded already."""


@dataclass(frozen=True)
class Times:
    """How quickly things go in a run, in seconds."""

    deadline: int
    """`TaskDeadlineSeconds`."""
    hold: float
    """How long a fault of AWS lasts."""
    hand: float
    """How old an unsettled task is when the operator checks it."""
    settling: float
    """How long after the last submit a task may take to settle."""
    whole: bool = True
    """AWS's faults one by one, and those of others that take long. Else AWS's in two groups, none that takes long."""
    generation: float = 2.0
    first_check: int = 2
    check_interval: int = 1


@dataclass(frozen=True)
class AwsFault:
    """What goes wrong in AWS while some tasks are under way.

    In an order, `{submit_task}` stands for that function's name. `harms_create` says that it may keep a create call's
    outcome from being recorded: such a task is settled only once its attempt must be over.
    """

    name: str
    orders: tuple[Mapping[str, Any], ...]
    harms_create: bool = False


@dataclass(frozen=True)
class Plan:
    """One task: its row in the table, its words in the prompt and how the simulator treats it."""

    row: str
    tag: str
    script: Script
    entry: str = "http"
    """Its entry point: `http`, `file` or `event`."""
    client: str | None = None
    """How its client's backend behaves; None if it gives no `callback_url`."""

    @property
    def hook(self) -> str:
        """The path of its client's backend."""
        return f"/hooks/{self.tag}"

    @property
    def canceled(self) -> bool:
        """Whether its client cancels it at once."""
        return self.row.startswith("cancel")


@dataclass(frozen=True)
class Phase:
    """Tasks that are submitted together, and what is wrong with AWS meanwhile."""

    plans: tuple[Plan, ...]
    aws: AwsFault | None = None


def _forge(*forgeries: Mapping[str, Any]) -> Script:
    return {"callbacks": {"forge": list(forgeries)}}


def _create(what: str, **fields: Any) -> Script:
    return {"create": {what: fields}}


def _once(kind: str, times: int = 1, **fields: Any) -> Script:
    return {"videos": {"fault": {"kind": kind, "times": times, **fields}}}


CANCELS: dict[str, Script] = {
    "cancel": {},
    "cancel: at any time": {"cancel": {"anytime": True}},
    "cancel: refused": {"cancel": {"never": True}},
    "cancel: reply lost": {"cancel": {"anytime": True, "lose_reply": {}}},
    "cancel: 500, carried out": {"cancel": {"server_error": {"created": True}}},
    "cancel: shown late": {"cancel": {"anytime": True, "shown_after": 2}},
    "cancel: after 429": {"create": {"throttle": {"n": 1, "retry_after": 3}}, "cancel": {"anytime": True}},
}
"""Tasks that their client cancels as soon as they are taken: for the provider that can."""
LONG = frozenset({"create: hangs, created", "create: hangs, not created", "create: 429 for ever"})
COMBINED = (
    ("reset before the reply", "closed mid-body", "500, created", "503, created", "429, then well", "HTML, created"),
    ("all lost", "duplicated", "reordered", "delayed", "forged"),
    ("flaps", "completed without a link", "unknown states"),
    ("truncated twice", "corrupted once", "without length", "redirected inward once", "three of them", "link expired"),
)
"""What is combined: at most one of each group, `create`, `callbacks`, `poll` and `video`."""


LOST: Script = {"callbacks": {"drop": True}}
FAILS: Script = {"outcome": {"fail": {"code": "008017095"}}}
WRONG_STATE = {"kind": "wrong_state", "on": "processing"}
FLAPS = [{"kind": kind, "n": 1, "after": after} for kind, after in
         (("status", 0), ("reset", 1), ("html", 1), ("half_body", 2))]  # fmt: skip
FAULTS: dict[str, Script] = {
    "no fault": {},
    "callbacks: all lost": LOST,
    "callbacks: the end lost": {"callbacks": {"drop": ["success", "failed"]}},
    "callbacks: duplicated": {"callbacks": {"duplicate": 4}},
    "callbacks: delayed": {"callbacks": {"delay": 4}},
    "callbacks: reordered": {"callbacks": {"reorder": True, "duplicate": 1}},
    "callbacks: forged": _forge(
        {"kind": "wrong_state", "claim": "success", "on": "created"},
        {**WRONG_STATE, "claim": "failed"},
        {**WRONG_STATE, "claim": "success", "wrong_token": True},
        {"kind": "nonsense", "on": "processing", "n": 3},
    ),
    # not combined: where the create is lost too, nothing that the provider shows distinguishes two unconfirmed
    # tasks of one minute (docs/security.md, known risks)
    "callbacks: forged, naming another task": _forge({"kind": "other_task", "on": "processing"}),
    "create: hangs, created": _create("hang", seconds=20, created=True),
    "create: hangs, not created": _create("hang", seconds=20),
    "create: closed before the reply": _create("lose_reply", how="close"),
    "create: reset before the reply": _create("lose_reply", how="reset"),
    "create: closed mid-body": _create("lose_reply", how="half_body"),
    "create: reply and callbacks lost": {**_create("lose_reply"), **LOST},
    "create: 429, then well": _create("throttle", n=2, retry_after=1),
    "create: 429 for ever": _create("throttle", n=None, retry_after=2),
    "create: 500, not created": _create("server_error", status=500, n=None),
    "create: 500, created": _create("server_error", status=500, created=True),
    "create: 503, not created": _create("server_error", status=503, n=None),
    "create: 503, created": _create("server_error", status=503, created=True),
    "create: HTML, not created": _create("html", n=None),
    "create: HTML, created": _create("html", status=502, created=True),
    "create: refused": _create("reject", code="008017099"),
    "poll: flaps": {**LOST, "poll": {"flap": FLAPS}},
    "poll: completed without a link": {"poll": {"completed_without_url": {"n": 3}}},
    "poll: unknown states": {"poll": {"unknown_status": {"n": 3}}},
    "end: fails": FAILS,
    "end: fails, callbacks lost": {**FAILS, **LOST},
    "end: never": {"outcome": {"never_finish": True}},
    "video: link expired": {"videos": {"expire_first": 3}},
    "video: truncated twice": _once("truncate", 2),
    "video: corrupted once": _once("corrupt"),
    "video: shorter than it was": _once("short"),
    "video: reset once": _once("reset"),
    "video: an error page once": _once("html_200"),
    "video: empty once": _once("zero_length"),
    "video: gone once": _once("status", status=404),
    "video: without length": {"videos": {"framing": "no_length", "size_bytes": 9_000_000}},
    "video: chunked": {"videos": {"framing": "chunked"}},
    "video: compressed": {"videos": {"framing": "gzip"}},
    "video: endless once": _once("endless"),
    "video: redirected inward once": _once("redirect", to="inward"),
    "video: three of them": {"videos": {"count": 3}},
    "file dropped": {},
    "file dropped: create closed before the reply": _create("lose_reply"),
    "event: create 429, then well": _create("throttle", n=1, retry_after=1),
    "event: callbacks lost": LOST,
}
"""Each fault of the provider's, alone, but those that depend on the deadline."""


def provider_faults(times: Times) -> dict[str, Script]:
    """Each fault of the provider's, alone."""
    late = times.deadline + 4
    return FAULTS | {
        "callbacks: past the deadline": {"callbacks": {"delay": late}},
        "create: reply lost, callback past the deadline": {**_create("lose_reply"), "callbacks": {"delay": late}},
        "end: after the deadline": {"outcome": {"finish_late": late}},
    }


FUNCTIONS = ("authorize_request", "submit_task", "receive_callback", "check_task", "deliver_videos", "publish_events",
             "find_overdue_tasks", "notify_client", "record_spending")  # fmt: skip
"""What the faults of Lambda are given to."""


def aws_faults() -> tuple[AwsFault, ...]:
    """Each fault of AWS's, alone."""

    def at(places: Sequence[str], how: str, share: float, **more: Any) -> tuple[Mapping[str, Any], ...]:
        return tuple({"at": place, "how": how, "share": share, **more} for place in places)

    everywhere = [f"{{{name}}}" for name in FUNCTIONS]
    brief = {"limit": 3, "within_seconds": 0.1}
    others = ("events", "sqs", "states")
    return (
        AwsFault("Lambda: throttles", at(everywhere, "throttle", 0.4, limit=4)),
        AwsFault("Lambda: time-outs", at(everywhere, "time_out", 0.6, **brief), harms_create=True),
        AwsFault("Lambda: functions killed", at(everywhere, "kill", 0.6, **brief), harms_create=True),
        AwsFault("stream: redelivered", at(["{publish_events}", "{record_spending}"], "redeliver", 0.6)),
        AwsFault(QUEUE, at(["{deliver_videos}", "{accept_request}", "{notify_client}"], "redeliver", 0.8)),
        AwsFault("DynamoDB: errors for seconds", at(["dynamodb"], "break", 0.5), harms_create=True),
        AwsFault("DynamoDB: throttles for seconds", at(["dynamodb"], "refuse", 0.5), harms_create=True),
        AwsFault("DynamoDB: replies lost", at(["dynamodb"], "lose_reply", 0.5), harms_create=True),
        AwsFault("S3: errors for seconds", at(["s3"], "break", 0.7)),
        AwsFault("S3: replies lost", at(["s3"], "lose_reply", 0.7)),
        AwsFault(
            "EventBridge, SQS, Step Functions: errors", at(others, "break", 0.35) + at(others, "lose_reply", 0.35)
        ),
    )


def _grouped(faults: Sequence[AwsFault]) -> tuple[AwsFault, ...]:
    """The same faults in two groups: those of Lambda and what feeds it, and those of the other services."""
    of_lambda = [fault for fault in faults if fault.orders[0]["at"].startswith("{")]
    of_services = [fault for fault in faults if fault not in of_lambda]
    return tuple(
        AwsFault(name, tuple(order for fault in group for order in fault.orders), harms_create=True)
        for name, group in (("Lambda and its sources: all of it", of_lambda), ("services: all of it", of_services))
    )


def rows_of(times: Times, *, cancels: bool = False) -> dict[str, tuple[Script, str | None]]:
    """Script and client's behaviour of each row but AWS's."""
    rows: dict[str, tuple[Script, str | None]] = {
        name: (script, None) for name, script in provider_faults(times).items() if times.whole or name not in LONG
    }
    rows |= {f"client: {how}": ({}, how) for how in BEHAVIOURS if times.whole or how != LATE}
    return rows | ({name: (script, "well") for name, script in CANCELS.items()} if cancels else {})


def plan_run(tasks: int, seed: int, times: Times, *, cancels: bool = False) -> tuple[Phase, ...]:
    """`tasks` tasks, at least one for each fault: the provider's first, then those of AWS one after another.

    A quarter of the tasks meet two or three of the provider's faults at once, AWS's faults meet tasks that are well and
    tasks that are not. `cancels` adds the tasks that their clients cancel. All tasks that meet AWS's faults have a
    client that is notified, and some of the others.
    """
    chance = random.Random(seed)  # noqa: S311 - makes scenarios, guards nothing
    rows = rows_of(times, cancels=cancels)
    outages = aws_faults() if times.whole else _grouped(aws_faults())
    each = max(1, round(tasks / (len(rows) + 2 * len(outages)) * 0.75))
    of_aws = max(2, 2 * each)
    clients = ["well", *(how for how in BEHAVIOURS if how != LATE)]
    first = [(name, script, client) for name, (script, client) in rows.items() for _ in range(each)]
    left = max(4, tasks - len(first) - of_aws * len(outages))
    first += [(TOGETHER, _combined(chance, times), chance.choice([None, *clients])) for _ in range(left)]
    chance.shuffle(first)
    drawn: list[tuple[AwsFault | None, list[tuple[str, Script, str | None]]]] = [(None, first)]
    for outage in outages:
        scripts = [_combined(chance, times) if number % 2 else {} for number in range(of_aws)]
        drawn.append((outage, [(outage.name, script, chance.choice(clients)) for script in scripts]))
    tags = (f"chaos-{number:05d}." for number in itertools.count(1))
    return tuple(
        Phase(tuple(Plan(row, next(tags), script, _entry(row, chance), client) for row, script, client in entries), aws)
        for aws, entries in drawn
    )


def _entry(row: str, chance: random.Random) -> str:
    """The entry point of a row's tasks: what its name says, any for what happens through all of them."""
    if row in (TOGETHER, QUEUE):
        return chance.choice(("http", "file", "event"))
    return next((entry for entry in ("file", "event") if row.startswith(entry)), "http")


def _combined(chance: random.Random, times: Times) -> Script:
    """Two or three faults of different groups in one script."""
    faults, script = provider_faults(times), Script()
    groups = list(zip(("create", "callbacks", "poll", "video"), COMBINED, strict=True))
    for group, names in chance.sample(groups, chance.choice((2, 2, 3))):
        script |= faults[f"{group}: {chance.choice(names)}"]
    return script
