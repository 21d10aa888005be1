"""The campaign's judge: what is right passes, and every kind of wrong that it looks for is found."""

from dataclasses import replace
from typing import Any

import pytest

from local.chaos.faults import Plan, Times
from local.chaos.verdict import End, Evidence, Submitted, judge, judge_stack, possible_ends

TIMES = Times(deadline=60, hold=1, hand=1, patience=1)
ID = "t1"
KEY = f"videos/demo/2026/01/01/{ID}/1.mp4"
STATES = ("submitted", "processing", "generated", "completed")
EVENTS = (
    "VideoTaskAccepted",
    "VideoTaskSubmitted",
    "VideoTaskProcessing",
    "VideoTaskGenerated",
    "VideoTaskCompleted",
)
CALL = {"at": 1000.1, "fault": None, "task": "r1"}
KILL = {"time": 1001.0, "at": "stack-SubmitTask-1", "how": "kill", "what": "", "caller": ""}
LOST = End("expired", "submission_unconfirmed")
LATE = End("expired", "deadline_exceeded")


FIRST = 1_767_225_600
"""The version of the acceptance: the second of creation."""


def submitted(script: dict[str, Any] | None = None, refused: int = 0) -> Submitted:
    return Submitted(Plan("row", "chaos-1.", script or {}), ID, 1000.0, refused)


def made(*answers: int | None, polls: tuple[tuple[float, str], ...] = (), sha256: str = "aa") -> dict[str, Any]:
    """A task of the provider's whose callbacks were answered like this."""
    return {
        "callbacks": [{"kind": "true", "http_status": answer} for answer in answers],
        "polls": [{"at": at, "said": said, "http_status": 200} for at, said in polls],
        "videos": [{"size": 3, "sha256": sha256}],
    }


def event(version: int, kind: str) -> dict[str, Any]:
    task = {"task_id": ID, "version": version}
    return {"detail-type": kind, "detail": {"event_id": f"{ID}:{version}", "task": task}}


def healthy(**changed: Any) -> Evidence:
    """Of one task that went well, but for what is changed."""
    history = [{"at": f"2026-01-01T00:00:0{n}.000Z", "status": s} for n, s in enumerate(("accepted", *STATES))]
    shown = {"task_id": ID, "status": "completed", "version": FIRST + 4, "error": None, "history": history}
    evidence = Evidence(
        records={ID: {"status": "completed", "version": FIRST + 4, "due_at": None, "remote_id": "r1"}},
        shown={ID: {**shown, "videos": [{"key": KEY, "size": 3, "sha256": "aa"}]}},
        events={ID: [event(version, kind) for version, kind in enumerate(EVENTS, FIRST)]},
        creates={ID: [CALL]},
        remote={ID: [made(200)]},
        objects={KEY: (3, "aa")},
        given=[],
        places_taken=1,
        open_uploads=[],
        dead_letters=[],
        unrouted_events=0,
        unpublished=0,
    )
    return replace(evidence, **changed)


def failed(**changed: Any) -> Evidence:
    """Of one task that the provider refused."""
    history = [{"at": "2026-01-01T00:00:00.000Z", "status": status} for status in ("accepted", "failed")]
    shown = {
        "task_id": ID,
        "status": "failed",
        "version": FIRST + 1,
        "error": {"code": "x"},
        "history": history,
        "videos": [],
    }
    evidence = healthy(
        records={ID: {"status": "failed", "version": FIRST + 1, "due_at": None, "remote_id": None}},
        shown={ID: shown},
        events={ID: [event(FIRST, "VideoTaskAccepted"), event(FIRST + 1, "VideoTaskFailed")]},
        creates={ID: [{"at": 1000.1, "fault": "reject"}]},
        remote={},
        objects={},
    )
    return replace(evidence, **changed)


def test_a_task_that_went_well_is_right() -> None:
    judgement = judge(submitted(), healthy(), TIMES)

    assert (judgement.problems, judgement.extra_creates, judgement.settled) == ([], 0, True)
    assert judgement.seconds == 4
    assert judge_stack([submitted()], healthy()) == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    (
        ({"remote": {ID: [made(200), made(200)]}}, "created 2 times"),
        ({"creates": {ID: [{**CALL, "fault": "server_error"}, CALL]}}, "asked again after"),
        ({"objects": {}}, "stored [None]"),
        ({"objects": {KEY: (3, "bb")}}, "bb"),
        ({"objects": {KEY: (2, "aa")}}, "(2, 'aa')"),
        ({"objects": {KEY: (3, "aa"), KEY.replace("1.mp4", "2.mp4"): (1, "cc")}}, "stored"),
        ({"remote": {ID: [made(200, sha256="bb")]}}, "served"),
        ({"remote": {}}, "served []"),
        (
            {"events": {ID: [event(v, k) for v, k in enumerate(EVENTS[:4], FIRST)]}},
            f"events of the versions {list(range(FIRST, FIRST + 4))}",
        ),
        (
            {"events": {ID: [event(v, k) for v, k in enumerate((*EVENTS[:4], "VideoTaskFailed"), FIRST)]}},
            "VideoTaskFailed",
        ),
        (
            {"events": {ID: [event(v, k) for v, k in enumerate((*EVENTS, EVENTS[4]), FIRST)]}},
            str(list(range(FIRST, FIRST + 6))),
        ),
        (
            {"records": {ID: {"status": "completed", "version": FIRST + 4, "due_at": 7, "remote_id": "r1"}}},
            "still due",
        ),
        (
            {"records": {ID: {"status": "generated", "version": FIRST + 3, "due_at": None, "remote_id": "r1"}}},
            "the API shows completed, the table has generated",
        ),
        ({"records": {}}, "the task is gone"),
        ({"shown": {}}, "the task is gone"),
    ),
)
def test_what_is_wrong_with_a_task_is_found(wrong: dict[str, Any], words: str) -> None:
    assert words in "; ".join(judge(submitted(), healthy(**wrong), TIMES).problems)


def test_an_event_that_comes_twice_is_right_and_one_of_another_kind_is_not() -> None:
    events = [event(version, kind) for version, kind in enumerate(EVENTS, FIRST)]

    assert judge(submitted(), healthy(events={ID: [*events, events[2]]}), TIMES).problems == []
    assert judge(submitted(), healthy(events={ID: [*events, event(FIRST + 2, EVENTS[3])]}), TIMES).problems


def test_a_video_that_is_never_any_better_leaves_its_task_generated_with_the_reason_and_a_notice() -> None:
    script = {"videos": {"fault": {"kind": "truncate"}}}
    states = [*STATES[:3], "generated"]
    history = [{"at": f"2026-01-01T00:00:0{n}.000Z", "status": s} for n, s in enumerate(("accepted", *states))]
    history[-1]["source"] = "delivery_delayed"
    kinds = [*EVENTS[:4], "VideoTaskDeliveryDelayed"]
    delivery = {"attempts": 5, "last_error": {"code": "truncated", "message": ""}}
    shown = {"task_id": ID, "status": "generated", "version": FIRST + 4, "error": None, "history": history}
    evidence = healthy(
        records={ID: {"status": "generated", "version": FIRST + 4, "due_at": 7, "remote_id": "r1"}},
        shown={ID: {**shown, "delivery": delivery, "videos": []}},
        events={ID: [event(version, kind) for version, kind in enumerate(kinds, FIRST)]},
        objects={},
    )

    assert judge(submitted(script), evidence, TIMES).problems == []
    assert judge(submitted(), evidence, TIMES).problems, "a good video is copied"
    quiet = [event(version, kind) for version, kind in enumerate(EVENTS[:4], FIRST)]
    assert judge(submitted(script), replace(evidence, events={ID: quiet}), TIMES).problems


def test_a_refused_task_must_fail_and_leave_nothing_in_the_bucket() -> None:
    script = {"create": {"reject": {"code": "x"}}}

    assert judge(submitted(script), failed(), TIMES).problems == []
    assert "1 objects" in judge(submitted(script), failed(objects={KEY: (3, "aa")}), TIMES).problems[0]
    assert (
        "the model says failed (y)"
        in judge(submitted({"create": {"reject": {"code": "y"}}}), failed(), TIMES).problems[0]
    )


@pytest.mark.parametrize(
    ("wrong", "words"),
    (
        ({"places_taken": 0}, "0 places of the day"),
        ({"places_taken": 2}, "2 places of the day"),
        ({"open_uploads": ["k"]}, "1 uploads are open"),
        ({"dead_letters": ["m"]}, "1 dead letters: m"),
        ({"unrouted_events": 1}, "not routed"),
        ({"unpublished": 1}, "not published"),
        ({"records": {"stranger": {}}}, "nobody submitted: stranger"),
        ({"remote": {"stranger": []}}, "nobody submitted: stranger"),
        ({"events": {"": []}}, "nobody submitted"),
    ),
)
def test_what_is_wrong_with_the_stack_is_found(wrong: dict[str, Any], words: str) -> None:
    assert words in "; ".join(judge_stack([submitted()], healthy(**wrong)))


def test_places_may_stay_taken_only_where_something_went_wrong_around_them() -> None:
    lost = {"time": 1.0, "at": "dynamodb", "how": "lose_reply", "what": "UpdateItem"}

    assert judge_stack([submitted(refused=1)], healthy(places_taken=2)) == []
    assert judge_stack([submitted()], healthy(places_taken=2, given=[lost])) == []
    assert judge_stack([submitted()], healthy(places_taken=3, given=[lost]))


@pytest.mark.parametrize(
    ("script", "creates", "remote", "ends"),
    (
        ({}, [CALL], [made()], {End("completed")}),
        ({"create": {"throttle": {}}}, [{**CALL, "fault": "throttle", "task": None}], [], {LATE}),
        ({"create": {"server_error": {}}}, [{**CALL, "fault": "server_error", "task": None}], [], {LOST}),
        ({"create": {"lose_reply": {}}}, [{**CALL, "fault": "lose_reply"}], [made()], {LOST}),
        ({"create": {"lose_reply": {}}}, [{**CALL, "fault": "lose_reply"}], [made(403, None, 429, 500)], {LOST}),
        ({"create": {"lose_reply": {}}}, [{**CALL, "fault": "lose_reply"}], [made(503, 200)], {End("completed")}),
        (
            {"create": {"lose_reply": {}}},
            [{**CALL, "fault": "lose_reply"}],
            [made(503)],
            {LOST, End("completed")},
        ),
        ({"create": {"hang": {"seconds": 20}}}, [{**CALL, "fault": "hang"}], [made()], {LOST}),
        ({"create": {"hang": {"seconds": 5}}}, [{**CALL, "fault": "hang"}], [made()], {End("completed")}),
        ({"outcome": {"never_finish": True}}, [CALL], [made()], {LATE}),
        ({"outcome": {"fail": {"code": "7"}}}, [CALL], [made(polls=((1005.0, "failed"),))], {End("failed", "7")}),
        ({"outcome": {"fail": {"code": "7"}}}, [CALL], [made(polls=((1070.0, "failed"),))], {End("failed", "7"), LATE}),
        ({"outcome": {"fail": {"code": "7"}}}, [CALL], [made(polls=((1005.0, "processing"),))], {LATE}),
        ({"videos": {"fault": {"kind": "truncate"}}}, [CALL], [made()], {End("generated", "truncated")}),
        ({"videos": {"fault": {"kind": "truncate", "times": 2}}}, [CALL], [made()], {End("completed")}),
        ({}, [CALL], [made() | {"state": "canceled"}], {End("canceled")}),
        ({}, [], [], set()),
    ),
)
def test_the_end_follows_from_the_script_and_what_the_provider_saw(
    script: dict[str, Any], creates: list[dict[str, Any]], remote: list[dict[str, Any]], ends: set[End]
) -> None:
    assert possible_ends(submitted(script), creates, remote, [], TIMES) == ends


def test_a_task_called_off_before_it_was_created_is_canceled_and_nothing_else() -> None:
    throttled = [{**CALL, "fault": "throttle", "task": None}]

    assert possible_ends(replace(submitted(), called_off=202), throttled, [], [], TIMES) == {End("canceled")}
    assert possible_ends(replace(submitted(), called_off=409), throttled, [], [], TIMES) == {LATE}


def test_a_kill_around_the_create_call_and_nothing_else_leaves_two_ends_open() -> None:
    long_ago = {**KILL, "time": 10.0}
    harmless = {**KILL, "how": "throttle"}
    of_a_reader = {**KILL, "at": "stack-ReadTasks-1"}
    of_s3 = {"time": 1001.0, "at": "s3", "how": "break", "what": "PUT", "caller": "assumed-role/stack-SubmitTaskRole-1"}
    of_table = {**of_s3, "at": "dynamodb"}

    assert possible_ends(submitted(), [CALL], [made()], [KILL], TIMES) == {End("completed"), LOST}
    assert possible_ends(submitted(), [CALL], [made()], [long_ago, harmless, of_a_reader, of_s3], TIMES) == {
        End("completed")
    }
    assert possible_ends(submitted(), [CALL], [made()], [of_table], TIMES) == {End("completed"), LOST}
    assert possible_ends(submitted(), [CALL], [made(200)], [KILL], TIMES) == {End("completed")}, "the callback told"
    assert possible_ends(submitted(), [], [], [KILL], TIMES) == {LOST}
