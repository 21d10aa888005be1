"""What a tenant sees: its own tasks, whole, in stable pages."""

import base64
import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.simulation.simulation import MODEL, TENANT, Simulation
from tests.unit.builders import task_in
from tests.unit.pictures import data_uri, png
from vidu_relay.domain.errors import InvalidCursorError, InvalidRequestError
from vidu_relay.domain.identifiers import task_id_for_key
from vidu_relay.domain.snapshot import ProgressState
from vidu_relay.domain.states import Status
from vidu_relay.http import json_response
from vidu_relay.usecases import read_tasks
from vidu_relay.usecases.advise_retry import RecentTasks
from vidu_relay.usecases.read_tasks import TaskPage, list_tasks, read_task

PNG = data_uri(png(comment=500))


def read(sim: Simulation, task_id: str, tenant: str = TENANT) -> Any:
    recent, queue = RecentTasks(sim.store, sim.clock), sim.dispatch.queue
    shown = read_task(
        task_id, tenant, store=sim.store, requests=sim.requests, videos=sim.videos, queue=queue, recent=recent
    )
    return shown.task if shown else None


def page(sim: Simulation, tenant: str = TENANT, **query: str) -> TaskPage:
    return list_tasks(tenant, query, store=sim.store, videos=sim.videos)


def ids(shown: TaskPage) -> list[str]:
    return [task["task_id"] for task in shown.tasks]


def submit_many(sim: Simulation, count: int, tenant: str = TENANT) -> list[str]:
    """So many tasks, a second apart; their ids, newest first."""
    made = []
    for number in range(count):
        made.append(sim.submit(key=f"order-{number}", tenant=tenant).task_id)
        sim.clock.advance(1)
    return made[::-1]


def walk(sim: Simulation, **query: str) -> list[list[str]]:
    pages, cursor = [], None
    while True:
        shown = page(sim, **query, **({"cursor": cursor} if cursor else {}))
        pages.append(ids(shown))
        cursor = shown.next_cursor
        if cursor is None:
            return pages
        assert len(pages) < 50


def test_task_is_shown_to_its_tenant_and_to_no_other(sim: Simulation) -> None:
    task = sim.submit()
    shown = read(sim, task.task_id)
    assert shown is not None
    assert (shown["task_id"], shown["status"]) == (task.task_id, "submitted")
    assert read(sim, task.task_id, "globex") is None


@pytest.mark.parametrize("task_id", ["", "a" * 26, "x", "../etc", "A" * 26, "a" * 2000, "\ud800"])
def test_id_that_names_no_task_of_ours_shows_nothing(sim: Simulation, task_id: str) -> None:
    sim.submit()
    assert read(sim, task_id) is None


def test_request_is_shown_whole_with_images_by_reference(sim: Simulation) -> None:
    payload, meta = "p" * 3000, json.dumps({"note": "m" * 300})
    task = sim.submit(images=[PNG], payload=payload, meta_data=meta)
    shown = read(sim, task.task_id)
    assert shown is not None
    assert (shown["request"]["payload"], shown["request"]["meta_data"]) == (payload, meta)
    assert shown["request"]["images"][0].startswith("ni:///sha-256;")
    assert "base64" not in json.dumps(shown)


def test_finished_video_is_linked_in_our_bucket_for_a_quarter_of_an_hour(sim: Simulation) -> None:
    task = sim.submit()
    sim.provider.finish("gen-1")
    sim.call_back(task.task_id, {"status": "completed"})
    waiting = read(sim, task.task_id)
    assert waiting is not None
    assert "url" not in waiting["output"][0]["results"][0]  # the provider's own link is never shown
    sim.run()
    shown = read(sim, task.task_id)
    assert shown is not None
    (output,) = shown["output"]
    (result,) = output["results"]
    url = urlsplit(result["url"])
    assert sim.account.videos in (url.hostname or "") + url.path
    assert url.path.endswith(shown["videos"][0]["key"])
    query = parse_qs(url.query)
    lifetime = int(query["X-Amz-Expires"][0]) if "X-Amz-Expires" in query else 0
    assert 0 <= lifetime <= 900
    saved = urlsplit(result["download_url"])
    disposition = parse_qs(saved.query)["response-content-disposition"]
    assert (saved.path, disposition) == (url.path, [f'attachment; filename="{task.task_id}-1.mp4"'])
    assert "download_url" not in page(sim).tasks[0]["output"][0]["results"][0]
    assert "cdn.example.com" not in json.dumps(shown)
    assert shown["videos"][0]["size"] == len(sim.source.video("https://cdn.example.com/gen-1.mp4"))


def test_keys_of_a_tenant_are_not_in_its_list(sim: Simulation) -> None:
    sim.account.clients["dynamodb"].put_item(
        TableName=sim.account.table,
        Item={"pk": {"S": "key#1"}, "owner": {"S": f"keys#{TENANT}"}, "created_at": {"N": "1"}},
    )
    made = submit_many(sim, 1)
    assert ids(page(sim)) == made
    assert ids(page(sim, f"keys#{TENANT}")) == []


def test_filtered_page_that_is_full_knows_whether_anything_is_left(sim: Simulation) -> None:
    """What is left need not match: then there is one more page, and it is empty."""
    sim.provider.reply_state = ProgressState.FAILED
    submit_many(sim, 2)
    sim.provider.reply_state = ProgressState.PENDING
    newest = sim.submit(key="newest").task_id
    assert walk(sim, status="submitted", limit="1") == [[newest], []]
    assert len(walk(sim, status="failed", limit="2")) == 1


def test_page_ends_before_the_task_that_would_not_fit_and_the_next_goes_on(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = submit_many(sim, 5)
    one = len(json.dumps(json.dumps(page(sim, limit="1").tasks[0])))
    monkeypatch.setattr(read_tasks, "MAX_PAGE_BYTES", 2 * one + one // 2)
    assert walk(sim) == [made[:2], made[2:4], made[4:]]
    assert walk(sim, status="submitted") == [made[:2], made[2:4], made[4:]]
    monkeypatch.setattr(read_tasks, "MAX_PAGE_BYTES", 1)  # one that fits nowhere still comes, or no page would end
    assert walk(sim, limit="3") == [[task_id] for task_id in made]


@pytest.mark.parametrize("character", ["x", '"', "\\", "é", "🦊"])
def test_page_of_the_largest_tasks_is_an_answer_that_lambda_takes(sim: Simulation, character: str) -> None:
    path = "x" if character == "\\" else character  # an address has no backslash
    url = "https://a.example/" + path * ((2048 - 18) // len(path.encode()))
    subjects = [{"id": f"{n}" + character * 99, "images": [url], "voice_id": character * 200} for n in range(7)]
    more = {"wm_url": url, "prompt": character * 2000, "payload": character * 256}
    for number in range(100):
        sim.submit(key=f"order-{number}", images=None, subjects=subjects, **more)  # type: ignore[arg-type]
        sim.clock.advance(1)
    shown = page(sim, limit="100")
    answer = json_response(200, {"tasks": shown.tasks, "next_cursor": shown.next_cursor})
    assert len(json.dumps(answer, ensure_ascii=False).encode()) < 6_000_000
    assert sum(map(len, walk(sim, limit="100"))) == 100


def test_filtered_page_reads_a_bounded_number_of_keys(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_tasks, "KEYS_PER_PAGE", 4)
    sim.provider.reply_state = ProgressState.FAILED
    oldest = sim.submit(key="failed").task_id
    sim.provider.reply_state = ProgressState.PENDING
    sim.clock.advance(1)
    submit_many(sim, 9)
    pages = walk(sim, status="failed")
    assert pages == [[], [], [oldest]]


@pytest.mark.parametrize("limit", ["0", "101", "-1", "ten", "1.5", "", " 5", "٣", "9" * 50])
def test_limit_outside_1_to_100_is_refused(sim: Simulation, limit: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        page(sim, limit=limit)
    assert refused.value.code == "invalid_query"


@pytest.mark.parametrize("status", ["", "done", "Completed", "completed,failed", "x" * 5000])
def test_unknown_status_is_refused_and_not_an_empty_list(sim: Simulation, status: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        page(sim, status=status)
    assert refused.value.code == "invalid_query"
    assert len(refused.value.detail) < 300


@pytest.mark.parametrize("name", ["stauts", "Status", "limit ", "", "page", "x" * 5000])
def test_misspelt_parameter_is_refused_and_not_the_unfiltered_list(sim: Simulation, name: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        page(sim, **{"limit": "5", name: "failed"})
    assert refused.value.code == "invalid_query"
    names = "status, model, batch_id, created_from, created_to, external_id, limit, cursor"
    assert refused.value.detail.endswith(f"known are: {names}.")
    assert len(refused.value.detail) < 300


def cursor_of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def summed(position: str, filters: str = "") -> str:
    """A cursor for any position, with the checksum that it should have."""
    digest = hashlib.sha256(f"{TENANT}\0{filters}{position}".encode()).hexdigest()
    return cursor_of(f"{position}.{digest[:16]}")


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "not-a-cursor",
        "%%%",
        "é",
        "\ud800",
        summed("1.x"),
        summed("x." + "a" * 26),
        summed("1." + "a" * 26) + "=",
        summed("01." + "a" * 26),
        summed("1_0." + "a" * 26),
        summed(" 1." + "a" * 26),
        summed("1"),
        cursor_of("1." + "a" * 26),  # without a checksum
        summed("9" * 5000 + "." + "a" * 26),
        summed("9" * 50 + "." + "a" * 26),  # DynamoDB takes no number of more than 38 digits
        summed(f"{10**14}." + "a" * 26),
        summed("-1." + "a" * 26),
    ],
)
def test_cursor_that_was_made_up_is_refused(sim: Simulation, cursor: str) -> None:
    submit_many(sim, 2)
    with pytest.raises(InvalidCursorError):
        page(sim, cursor=cursor)


def test_cursor_changed_anywhere_is_refused(sim: Simulation) -> None:
    submit_many(sim, 3)
    cursor = page(sim, limit="1").next_cursor
    assert cursor is not None
    bent = {
        cursor[:at] + other + cursor[at + 1 :] for at in range(len(cursor)) for other in "AQ1z-" if cursor[at] != other
    }
    for tampered in (*bent, cursor[:-1], cursor + "A"):
        with pytest.raises(InvalidCursorError):
            page(sim, cursor=tampered)
    assert page(sim, cursor=cursor).tasks


def test_cursor_of_another_tenant_is_refused(sim: Simulation) -> None:
    submit_many(sim, 3, tenant="globex")
    theirs = page(sim, "globex", limit="1").next_cursor
    assert theirs is not None
    submit_many(sim, 1)
    with pytest.raises(InvalidCursorError):
        page(sim, cursor=theirs)


def test_position_with_its_checksum_is_taken(sim: Simulation) -> None:
    """Else the positions above would be refused for their checksum alone."""
    submit_many(sim, 2)
    assert page(sim, cursor=summed("1." + "a" * 26)) == TaskPage([], None)


# --- filters

DAYS = {"2027-01-14T23:59:59.999Z": "a", "2027-01-15T00:00:00Z": "b", "2027-01-15T12:00:00.5Z": "c", "2027-01-16": "d"}
"""When tasks are created, and their names below; the models of b and d are others."""
BATCH_ID = "b" * 27
"""The batch of a and d."""


@pytest.fixture
def days(sim: Simulation) -> dict[str, str]:
    """Names of the tasks by their ids."""
    names = {}
    for moment, name in DAYS.items():
        at = datetime.fromisoformat(moment)
        created_at = int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
        model = MODEL if name in "ac" else "viduq2_text2video"
        status = Status.FAILED if name == "a" else Status.SUBMITTED
        task_id = task_id_for_key(TENANT, name)
        task = replace(task_in(status), task_id=task_id, tenant_id=TENANT, revision=0, created_at=created_at)
        batch_id = BATCH_ID if name in "ad" else None
        sim.store.create(replace(task, request={**task.request, "model": model}, batch_id=batch_id))
        names[task_id] = name
    return names


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"created_from": "2027-01-15"}, "dcb"),
        ({"created_to": "2027-01-15"}, "cba"),
        ({"created_from": "2027-01-15", "created_to": "2027-01-15"}, "cb"),
        ({"created_from": "2027-01-15T00:00:00Z", "created_to": "2027-01-15T12:00:00.5Z"}, "b"),
        ({"created_from": "2027-01-15T12:00:00.500Z"}, "dc"),
        ({"created_from": "2027-01-15T12:00:00.5000001Z"}, "dc"),
        ({"created_from": "2027-01-15T12:00:00.501Z"}, "d"),
        ({"created_from": "2027-01-15t13:00:00.5+01:00", "created_to": "2027-01-15T23:00:00-02:00"}, "dc"),
        ({"created_from": "0001-01-01", "created_to": "9999-12-31"}, "dcba"),
        ({"model": MODEL}, "ca"),
        ({"model": MODEL, "status": "submitted"}, "c"),
        ({"batch_id": BATCH_ID}, "da"),
        ({"batch_id": BATCH_ID, "model": MODEL}, "a"),
        ({"model": "viduq2_text2video", "created_to": "2027-01-15"}, "b"),
        ({"model": MODEL, "status": "failed", "created_from": "2027-01-15"}, ""),
    ],
)
@pytest.mark.parametrize("limit", ["1", "100"])
def test_filters_together_show_what_fits_them_all_on_however_many_pages(
    sim: Simulation, days: dict[str, str], query: dict[str, str], found: str, limit: str
) -> None:
    pages = walk(sim, **query, limit=limit)
    assert "".join(days[task_id] for one in pages for task_id in one) == found
    assert limit == "1" or len(pages) == 1


@pytest.mark.parametrize(
    ("code", "query"),
    [
        *(
            ("invalid_date", {name: text})
            for name in ("created_from", "created_to")
            for text in ("", "yesterday", "2027-02-30", "2027-1-5", "20270115", "2027-01-15T12:00:00", "1800000000")
        ),
        *(
            ("invalid_date", {"created_from": text})
            for text in ("2027-01-15 12:00:00Z", "2027-01-15T12:00:00 01:00", "2027-01-15T24:01:00Z", "٢٠٢٧-01-15")
        ),
        ("invalid_date", {"created_from": "2027-01-16", "created_to": "2027-01-15"}),
        ("invalid_date", {"created_from": "2027-01-15T12:00:00Z", "created_to": "2027-01-15T12:00:00Z"}),
        ("invalid_date", {"created_to": "1969-12-31"}),
        *(("invalid_query", {"model": text}) for text in ("", "veo3", MODEL.upper(), "x" * 5000)),
        *(("invalid_query", {"batch_id": text}) for text in ("", BATCH_ID[1:], BATCH_ID + "\n")),
        *(("invalid_query", {"external_id": text}) for text in ("", "x" * 129, "a\nb", "\ud800")),
        ("invalid_query", {"external_id": "order-1", "limit": "1"}),
    ],
)
def test_filter_that_cannot_be_meant_is_refused_and_the_answer_says_what_to_change(
    sim: Simulation, code: str, query: dict[str, str]
) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        page(sim, **query)
    assert refused.value.code == code
    assert 30 < len(refused.value.detail) < 300
    assert not sim.effects.names, "nothing is read"


def test_cursor_goes_on_in_its_own_filters_only(sim: Simulation, days: dict[str, str]) -> None:
    mine = {"model": MODEL, "created_from": "2027-01-01"}
    cursor = page(sim, **mine, limit="1").next_cursor
    assert cursor
    assert len(page(sim, **mine, limit="100", cursor=cursor).tasks) == 1
    for other in ({}, {"model": MODEL}, {**mine, "created_from": "2027-01-02"}, {**mine, "status": "failed"}):
        with pytest.raises(InvalidCursorError):
            page(sim, **other, cursor=cursor)
    outside = summed(f"1.{'a' * 26}", "created_from=2027-01-15\0")
    with pytest.raises(InvalidCursorError):  # DynamoDB takes no start outside the range
        page(sim, created_from="2027-01-15", cursor=outside)


def test_task_is_found_by_its_external_id_by_its_tenant_only(sim: Simulation) -> None:
    mine = sim.submit(key=None, external_id="Auftrag/4711 ä", labels={"team": "blue"})
    submit_many(sim, 2)
    found = page(sim, external_id="Auftrag/4711 ä")
    assert (ids(found), found.next_cursor) == ([mine.task_id], None)
    assert (found.tasks[0]["external_id"], found.tasks[0]["labels"]) == ("Auftrag/4711 ä", {"team": "blue"})
    for tenant, external_id in (("globex", "Auftrag/4711 ä"), (TENANT, "auftrag/4711 ä"), (TENANT, "x")):
        assert page(sim, tenant, external_id=external_id) == TaskPage([], None)


def test_tag_of_a_page_is_of_its_tasks_and_their_revisions(sim: Simulation) -> None:
    first, second = submit_many(sim, 2)
    whole, part = page(sim), page(sim, limit="1")
    again = list_tasks(TENANT, {}, store=sim.store, videos=sim.videos, known=[whole.tag])
    assert (again.unchanged, again.tasks, again.tag) == (True, [], whole.tag)
    task = sim.store.get(second)
    assert task
    sim.store.save(task)
    assert page(sim).tag not in (whole.tag, part.tag)
    assert page(sim, limit="1").tag == part.tag
    assert first in ids(part)


def test_task_links_its_own_images_and_no_others(sim: Simulation) -> None:
    inbox = sim.requests.bucket
    own = [f"s3://{inbox}/{folder}/{TENANT}/fox.png" for folder in ("uploads", "requests")]
    others = [f"s3://{inbox}/uploads/globex/fox.png", "s3://their-bucket/fox.png", "https://cdn.example.com/fox.png"]
    task = replace(task_in(Status.COMPLETED), tenant_id=TENANT)
    request = {**task.request, "images": [*own, *others]}
    request.pop("subjects", None)
    sim.store.create(replace(task, request=request, revision=0))
    shown = read(sim, task.task_id)
    assert list(shown["image_links"]) == own
    assert all(
        urlsplit(link).path.endswith(name.partition(f"{inbox}/")[2]) for name, link in shown["image_links"].items()
    )
