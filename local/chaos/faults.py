"""The rows of the campaign: every fault by its name, and which tasks meet which.

A provider's fault is a script for the simulator (`local/simulator/scripts.py`), a fault of AWS an order for the
emulator (`local/emulator/faults.py`). Everything is drawn from one seed.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local.stack import TENANT

__all__ = [
    "MAX_VIDEO_BYTES",
    "AwsFault",
    "Phase",
    "Plan",
    "Times",
    "aws_faults",
    "cancel_faults",
    "client_faults",
    "plan_campaign",
    "provider_faults",
    "takes_long",
]

Script = dict[str, Any]

QUEUE = "queue: redelivered"
TOGETHER = "two or three of these at once"
HEALTHY = "no fault"
GUEST = "guest"
"""The campaign's second tenant."""
MAX_VIDEO_BYTES = 10_000_000
"""`MaxVideoBytes`: beyond S3's part size, so that an endless video may break off with a part uploaded already."""


@dataclass(frozen=True)
class Times:
    """How quickly things go in a campaign, in seconds."""

    deadline: int
    """`TaskDeadlineSeconds`."""
    hold: float
    """How long a fault of AWS lasts."""
    hand: float
    """How old an unsettled task is when the operator begins to look at it."""
    patience: float
    """When, after the last submit, whatever is not settled is wrong."""
    whole: bool = True
    """The whole campaign: AWS's faults one by one, and the provider's that take long. Else AWS's in two groups."""
    generation: float = 2.0
    first_check: int = 2
    check_interval: int = 1


@dataclass(frozen=True)
class AwsFault:
    """What goes wrong in AWS while some tasks are on their way.

    `orders` are for the emulator; in a name, `{submit_task}` stands for that function's. `harms_create` says that it
    may keep a create call's outcome from being recorded: such a task is settled only once its attempt must be over.
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
    door: str = "http"
    """How it comes in: `http`, `file` (dropped into the inbox) or `event`."""
    client: str | None = None
    """How its client's backend behaves (`local/chaos/clients.py`); None if it gives no `callback_url`."""
    tenant: str = TENANT

    @property
    def hook(self) -> str:
        """The path of its client's backend."""
        return f"/hooks/{self.tag}"

    @property
    def called_off(self) -> bool:
        """Whether its client calls it off at once."""
        return self.row.startswith("cancel")


@dataclass(frozen=True)
class Phase:
    """Tasks that are submitted together, and what is wrong with AWS meanwhile."""

    plans: tuple[Plan, ...]
    aws: AwsFault | None = None


def cancel_faults() -> dict[str, Script]:
    """Tasks that their client calls off as soon as they are taken: for the provider that can."""
    return {
        "cancel": {},
        "cancel: at any time": {"cancel": {"anytime": True}},
        "cancel: refused": {"cancel": {"never": True}},
        "cancel: reply lost": {"cancel": {"anytime": True, "lose_reply": {}}},
        "cancel: 500, carried out": {"cancel": {"server_error": {"created": True}}},
        "cancel: shown late": {"cancel": {"anytime": True, "shown_after": 2}},
        "cancel: after 429": {"create": {"throttle": {"n": 1, "retry_after": 3}}, "cancel": {"anytime": True}},
    }


def client_faults() -> dict[str, str]:
    """Each way in which a client's backend behaves, alone: mood by row."""
    return {
        "client: answers": "well",
        "client: slow": "slow",
        "client: too late once": "late once",
        "client: 500 twice": "500 twice",
        "client: 410": "410",
        "client: redirects once": "redirects once",
        "client: closes once": "closes once",
        "client: floods once": "floods once",
        "client: garbage once": "garbage once",
    }


LATE = "late once"
"""Takes long: it is left alone for half a minute after."""


def provider_faults(times: Times) -> dict[str, Script]:
    """Each fault of the provider's, alone."""
    past_deadline = times.deadline + 4
    return {
        HEALTHY: {},
        "callbacks: all lost": {"callbacks": {"drop": True}},
        "callbacks: the end lost": {"callbacks": {"drop": ["success", "failed"]}},
        "callbacks: duplicated": {"callbacks": {"duplicate": 4}},
        "callbacks: past the deadline": {"callbacks": {"delay": past_deadline}},
        "callbacks: reordered": {"callbacks": {"reorder": True, "duplicate": 1}},
        "callbacks: forged": {
            "callbacks": {
                "forge": [
                    {"kind": "wrong_state", "claim": "success", "on": "created"},
                    {"kind": "wrong_state", "claim": "failed", "on": "processing"},
                    {"kind": "other_task", "on": "processing"},
                    {"kind": "nonsense", "on": "processing", "n": 3},
                    {"kind": "wrong_state", "claim": "success", "on": "processing", "wrong_token": True},
                ]
            }
        },
        "create: hangs, created": {"create": {"hang": {"seconds": 20, "created": True}}},
        "create: hangs, not created": {"create": {"hang": {"seconds": 20}}},
        "create: closed before the reply": {"create": {"lose_reply": {"how": "close"}}},
        "create: reset before the reply": {"create": {"lose_reply": {"how": "reset"}}},
        "create: closed mid-body": {"create": {"lose_reply": {"how": "half_body"}}},
        "create: reply and callbacks lost": {"create": {"lose_reply": {}}, "callbacks": {"drop": True}},
        "create: reply lost, callback past the deadline": {
            "create": {"lose_reply": {}},
            "callbacks": {"delay": past_deadline},
        },
        "create: 429, then well": {"create": {"throttle": {"n": 2, "retry_after": 1}}},
        "create: 429 for ever": {"create": {"throttle": {"n": None, "retry_after": 2}}},
        "create: 500, not created": {"create": {"server_error": {"status": 500, "n": None}}},
        "create: 500, created": {"create": {"server_error": {"status": 500, "created": True}}},
        "create: 503, not created": {"create": {"server_error": {"status": 503, "n": None}}},
        "create: 503, created": {"create": {"server_error": {"status": 503, "created": True}}},
        "create: HTML, not created": {"create": {"html": {"n": None}}},
        "create: HTML, created": {"create": {"html": {"status": 502, "created": True}}},
        "create: refused": {"create": {"reject": {"code": "008017099"}}},
        "poll: flaps": {
            "callbacks": {"drop": True},
            "poll": {
                "flap": [
                    {"kind": "status", "n": 1},
                    {"kind": "reset", "n": 1, "after": 1},
                    {"kind": "html", "n": 1, "after": 1},
                    {"kind": "half_body", "n": 1, "after": 2},
                ]
            },
        },
        "poll: completed without a link": {"poll": {"completed_without_url": {"n": 3}}},
        "poll: unknown states": {"poll": {"unknown_status": {"n": 3}}},
        "end: fails": {"outcome": {"fail": {"code": "008017095"}}},
        "end: fails, callbacks lost": {"outcome": {"fail": {"code": "008017095"}}, "callbacks": {"drop": True}},
        "end: never": {"outcome": {"never_finish": True}},
        "end: after the deadline": {"outcome": {"finish_late": past_deadline}},
        "link: expires before the copy": {"videos": {"expire_first": 3}},
        "video: truncated twice": {"videos": {"fault": {"kind": "truncate", "times": 2}}},
        "video: truncated always": {"videos": {"fault": {"kind": "truncate"}}},
        "video: corrupted once": {"videos": {"fault": {"kind": "corrupt", "times": 1}}},
        "video: corrupted always": {"videos": {"fault": {"kind": "corrupt"}}},
        "video: shorter than it was": {"videos": {"fault": {"kind": "short", "times": 1}}},
        "video: reset once": {"videos": {"fault": {"kind": "reset", "times": 1}}},
        "video: an error page once": {"videos": {"fault": {"kind": "html_200", "times": 1}}},
        "video: empty once": {"videos": {"fault": {"kind": "zero_length", "times": 1}}},
        "video: gone once": {"videos": {"fault": {"kind": "status", "status": 404, "times": 1}}},
        "video: without length": {"videos": {"framing": "no_length", "size_bytes": 9_000_000}},
        "video: chunked": {"videos": {"framing": "chunked"}},
        "video: compressed": {"videos": {"framing": "gzip"}},
        "video: endless once": {"videos": {"fault": {"kind": "endless", "times": 1}}},
        "video: endless always": {"videos": {"fault": {"kind": "endless"}}},
        "video: redirected inward once": {"videos": {"fault": {"kind": "redirect", "to": "inward", "times": 1}}},
        "video: redirected inward always": {"videos": {"fault": {"kind": "redirect", "to": "inward"}}},
        "video: larger than allowed": {"videos": {"size_bytes": MAX_VIDEO_BYTES + 1}},
        "video: three of them": {"videos": {"count": 3}},
        "file dropped": {},
        "file dropped: create closed before the reply": {"create": {"lose_reply": {}}},
        "event: create 429, then well": {"create": {"throttle": {"n": 1, "retry_after": 1}}},
        "event: callbacks lost": {"callbacks": {"drop": True}},
    }


def _door(row: str, chance: random.Random) -> str:
    """The door that a row's tasks come through: what its name says, any for what happens through all of them."""
    if row in (TOGETHER, QUEUE):
        return chance.choice(("http", "file", "event"))
    return next((door for door in ("file", "event") if row.startswith(door)), "http")


def _parts() -> tuple[dict[str, Script], ...]:
    """What is combined: at most one of each group, none of which forbids another."""
    return (
        {
            "lost": {"create": {"lose_reply": {"how": "reset"}}},
            "half": {"create": {"lose_reply": {"how": "half_body"}}},
            "500": {"create": {"server_error": {"status": 500, "created": True}}},
            "503": {"create": {"server_error": {"status": 503, "created": True}}},
            "429": {"create": {"throttle": {"n": 1, "retry_after": 1}}},
            "html": {"create": {"html": {"status": 200, "created": True}}},
        },
        {
            "lost": {"callbacks": {"drop": True}},
            "duplicated": {"callbacks": {"duplicate": 3}},
            "reordered": {"callbacks": {"reorder": True}},
            "delayed": {"callbacks": {"delay": 4}},
            # no forger here names another task: where the create is lost too, nothing that the provider shows tells two
            # lost tasks of one minute apart (docs/security.md, known risks)
            "forged": {
                "callbacks": {
                    "forge": [
                        {"kind": "wrong_state", "claim": "failed", "on": "created"},
                        {"kind": "wrong_state", "claim": "success", "on": "processing", "wrong_token": True},
                        {"kind": "nonsense", "n": 5},
                    ]
                }
            },
        },
        {
            "flaps": {"poll": {"flap": [{"kind": "status", "n": 2}]}},
            "no link": {"poll": {"completed_without_url": {"n": 2, "how": "null_url"}}},
            "unknown": {"poll": {"unknown_status": {"n": 2}}},
        },
        {
            "expired": {"videos": {"expire_first": 2}},
            "expired, truncated": {"videos": {"expire_first": 1, "fault": {"kind": "truncate", "times": 2}}},
            "corrupted": {"videos": {"fault": {"kind": "corrupt", "times": 1}}},
            "no length": {"videos": {"framing": "no_length"}},
            "inward": {"videos": {"fault": {"kind": "redirect", "to": "inward", "times": 1}}},
            "two": {"videos": {"count": 2}},
        },
    )


def aws_faults() -> tuple[AwsFault, ...]:
    """Each fault of AWS's, alone."""

    def everywhere(how: str, **more: Any) -> tuple[Mapping[str, Any], ...]:
        names = (
            "authorize_request", "submit_task", "receive_callback", "check_task", "deliver_videos", "publish_events",
            "find_overdue_tasks", "notify_client",
        )  # fmt: skip
        return tuple({"at": f"{{{name}}}", "how": how, **more} for name in names)

    return (
        AwsFault("Lambda: throttles", everywhere("throttle", share=0.4, limit=4)),
        AwsFault(
            "Lambda: time-outs", everywhere("time_out", share=0.6, limit=3, within_seconds=0.1), harms_create=True
        ),
        AwsFault(
            "Lambda: functions killed", everywhere("kill", share=0.6, limit=3, within_seconds=0.1), harms_create=True
        ),
        AwsFault("stream: redelivered", ({"at": "{publish_events}", "how": "redeliver", "share": 0.6},)),
        AwsFault(
            QUEUE,
            tuple(
                {"at": at, "how": "redeliver", "share": 0.8}
                for at in ("{deliver_videos}", "{accept_request}", "{notify_client}")
            ),
        ),
        AwsFault(
            "DynamoDB: errors for seconds", ({"at": "dynamodb", "how": "break", "share": 0.5},), harms_create=True
        ),
        AwsFault("DynamoDB: throttles for seconds", ({"at": "dynamodb", "how": "refuse", "share": 0.5},), True),
        AwsFault("DynamoDB: replies lost", ({"at": "dynamodb", "how": "lose_reply", "share": 0.5},), True),
        AwsFault("S3: errors for seconds", ({"at": "s3", "how": "break", "share": 0.7},)),
        AwsFault("S3: replies lost", ({"at": "s3", "how": "lose_reply", "share": 0.7},)),
        AwsFault(
            "EventBridge, SQS, Step Functions: errors",
            tuple(
                {"at": service, "how": how, "share": 0.35}
                for service in ("events", "sqs", "states")
                for how in ("break", "lose_reply")
            ),
        ),
    )


def takes_long(script: Script) -> bool:
    """Whether a task under this script takes long though everything else is well: it hangs, or is tried to the end."""
    create, fault = script.get("create", {}), script.get("videos", {}).get("fault", {})
    return (
        "hang" in create
        or create.get("throttle", {}).get("n", 1) is None
        or (bool(fault) and fault.get("times") is None)
        or script.get("videos", {}).get("size_bytes", 0) > MAX_VIDEO_BYTES
    )


def _grouped(faults: Sequence[AwsFault]) -> tuple[AwsFault, ...]:
    """The same faults in two groups: those of Lambda and what feeds it, and those of the other services."""
    of_lambda = [fault for fault in faults if any(order["at"].startswith("{") for order in fault.orders)]
    of_services = [fault for fault in faults if fault not in of_lambda]
    return tuple(
        AwsFault(name, tuple(order for fault in group for order in fault.orders), harms_create=True)
        for name, group in (("Lambda and its sources: all of it", of_lambda), ("services: all of it", of_services))
    )


def plan_campaign(tasks: int, seed: int, times: Times, *, cancels: bool = False) -> tuple[Phase, ...]:
    """`tasks` tasks, at least one for each fault: the provider's first, then those of AWS one after another.

    A quarter of the tasks meet two or three of the provider's faults at once, AWS's faults meet tasks that are well and
    tasks that are not. `cancels` adds the tasks that their clients call off. What has a client is told by webhook: the
    rows of `client_faults`, all tasks that meet AWS's faults, and some of the others; some are another tenant's.
    """
    chance = random.Random(seed)  # noqa: S311 - makes a story, guards nothing
    rows = {name: script for name, script in provider_faults(times).items() if times.whole or not takes_long(script)}
    rows |= cancel_faults() if cancels else {}
    moods = {row: mood for row, mood in client_faults().items() if times.whole or mood != LATE}
    rows |= {row: {} for row in moods}
    worlds = aws_faults() if times.whole else _grouped(aws_faults())
    each = max(1, round(tasks / (len(rows) + 2 * len(worlds)) * 0.75))
    of_aws = max(2, 2 * each)
    alone = [(name, script) for name, script in rows.items() for _ in range(each)]
    left = max(4, tasks - len(alone) - of_aws * len(worlds))
    together = [(TOGETHER, _combined(chance)) for _ in range(left)]
    first = alone + together
    chance.shuffle(first)
    drawn: list[tuple[AwsFault | None, Sequence[tuple[str, Script]]]] = [(None, first)]
    for world in worlds:
        scripts = [{} if number % 2 == 0 else _combined(chance) for number in range(of_aws)]
        drawn.append((world, [(world.name, script) for script in scripts]))
    draw = random.Random(f"{seed} clients")  # noqa: S311 - as above; apart, so that what else is drawn stays as it was
    phases, number = [], 0
    for aws, entries in drawn:
        plans = []
        for row, script in entries:
            number += 1
            door, mood = _door(row, chance), moods.get(row) or _mood(row, draw, met=aws is not None)
            guest = mood is not None and door == "http" and draw.random() < 0.3
            plans.append(Plan(row, f"chaos-{number:05d}.", script, door, mood, GUEST if guest else TENANT))
        phases.append(Phase(tuple(plans), aws))
    return tuple(phases)


def _mood(row: str, draw: random.Random, *, met: bool) -> str | None:
    """How the client of a task behaves whose row does not say it. `met`: a fault of AWS's meets it."""
    moods = [mood for mood in client_faults().values() if mood != LATE]
    if met:
        return draw.choice(["well", *moods])
    if row == TOGETHER:
        return draw.choice([None, "well", *moods])
    return "well" if row.startswith("cancel") else None


def _combined(chance: random.Random) -> Script:
    """Two or three faults of different groups in one script."""
    script: Script = {}
    for group in chance.sample(_parts(), chance.choice((2, 2, 3))):
        script |= chance.choice(list(group.values()))
    return script
