"""What a tenant sees: its own tasks, whole, in stable pages."""

import base64
import hashlib
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.simulation.simulation import TENANT, Simulation
from tests.unit.pictures import data_uri, png
from vidu_relay.domain.errors import InvalidCursorError, InvalidRequestError
from vidu_relay.domain.snapshot import ProgressState
from vidu_relay.http import json_response
from vidu_relay.usecases import read_tasks
from vidu_relay.usecases.read_tasks import TaskPage, list_tasks, read_task

PNG = data_uri(png(comment=500))


def read(sim: Simulation, task_id: str, tenant: str = TENANT) -> Any:
    return read_task(task_id, tenant, store=sim.store, requests=sim.requests, videos=sim.videos)


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
    assert refused.value.detail.endswith("known are: status, limit, cursor.")
    assert len(refused.value.detail) < 300


def cursor_of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def summed(position: str) -> str:
    """A cursor for any position, with the checksum that it should have."""
    digest = hashlib.sha256(f"{TENANT}\0{position}".encode()).hexdigest()
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
