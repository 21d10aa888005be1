"""What a tenant sees: its own tasks, whole, in stable pages."""

import base64
import hashlib
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.unit.pictures import data_uri, png
from tests.unit.usecases.scripted import mp4
from tests.unit.usecases.world import TENANT, World
from vidu_relay.domain.errors import InvalidCursorError, InvalidRequestError
from vidu_relay.domain.snapshot import ProgressState
from vidu_relay.http import json_response
from vidu_relay.usecases import read_tasks
from vidu_relay.usecases.read_tasks import TaskPage, list_tasks, read_task

PNG = data_uri(png(comment=500))


def read(world: World, task_id: str, tenant: str = TENANT) -> dict[str, Any] | None:
    return read_task(task_id, tenant, store=world.store, requests=world.requests, videos=world.videos)


def page(world: World, tenant: str = TENANT, **query: str) -> TaskPage:
    return list_tasks(tenant, query, store=world.store, videos=world.videos)


def ids(shown: TaskPage) -> list[str]:
    return [task["task_id"] for task in shown.tasks]


def submit_many(world: World, count: int, tenant: str = TENANT) -> list[str]:
    """So many tasks, a second apart; their ids, newest first."""
    made = []
    for number in range(count):
        made.append(world.submit(key=f"order-{number}", tenant=tenant).task_id)
        world.clock.advance(1)
    return made[::-1]


def walk(world: World, **query: str) -> list[list[str]]:
    """Every page from the first to the last."""
    pages, cursor = [], None
    while True:
        shown = page(world, **query, **({"cursor": cursor} if cursor else {}))
        pages.append(ids(shown))
        cursor = shown.next_cursor
        if cursor is None:
            return pages
        assert len(pages) < 50


def test_task_is_shown_to_its_tenant_and_to_nobody_else(world: World) -> None:
    task = world.submit()
    shown = read(world, task.task_id)
    assert shown is not None
    assert (shown["task_id"], shown["status"]) == (task.task_id, "submitted")
    assert read(world, task.task_id, "globex") is None


@pytest.mark.parametrize("task_id", ["", "a" * 26, "x", "../etc", "A" * 26, "a" * 2000, "\ud800"])
def test_id_that_names_no_task_of_ours_shows_nothing(world: World, task_id: str) -> None:
    world.submit()
    assert read(world, task_id) is None


def test_request_is_shown_whole_with_images_by_reference(world: World) -> None:
    payload, meta = "p" * 3000, json.dumps({"note": "m" * 300})
    task = world.submit(images=[PNG], payload=payload, meta_data=meta)
    shown = read(world, task.task_id)
    assert shown is not None
    assert (shown["request"]["payload"], shown["request"]["meta_data"]) == (payload, meta)
    assert shown["request"]["images"][0].startswith("ni:///sha-256;")
    assert "base64" not in json.dumps(shown)


def test_finished_video_is_linked_in_our_bucket_for_a_quarter_of_an_hour(world: World) -> None:
    task = world.submit()
    world.provider.finish("gen-1")
    world.ring(task.task_id, {"status": "completed"})
    waiting = read(world, task.task_id)
    assert waiting is not None
    assert "url" not in waiting["output"][0]["results"][0]  # the provider's own link is never shown
    world.run()
    shown = read(world, task.task_id)
    assert shown is not None
    (output,) = shown["output"]
    (result,) = output["results"]
    url = urlsplit(result["url"])
    assert world.account.videos in (url.hostname or "") + url.path
    assert url.path.endswith(shown["videos"][0]["key"])
    query = parse_qs(url.query)
    lifetime = int(query["X-Amz-Expires"][0]) if "X-Amz-Expires" in query else 0
    assert 0 <= lifetime <= 900
    assert "cdn.example.com" not in json.dumps(shown)
    assert shown["videos"][0]["size"] == len(world.source.video("https://cdn.example.com/gen-1.mp4"))


def test_several_videos_are_each_linked_in_order(world: World) -> None:
    world.submit()
    world.provider.finish("gen-1", "https://cdn.example.com/a.mp4", "https://cdn.example.com/b.mp4")
    world.source.files["https://cdn.example.com/b.mp4"] = mp4(b"b")
    world.ring(world.task_id(), {"status": "completed"})
    world.run()
    shown = read(world, world.task_id())
    assert shown is not None
    paths = [urlsplit(result["url"]).path for result in shown["output"][0]["results"]]
    assert [path[-5:] for path in paths] == ["1.mp4", "2.mp4"]


def test_list_is_newest_first_and_ones_own(world: World) -> None:
    made = submit_many(world, 3)
    submit_many(world, 2, tenant="globex")
    shown = page(world)
    assert ids(shown) == made
    assert shown.next_cursor is None
    assert page(world, "nobody") == TaskPage([], None)


def test_keys_of_a_tenant_are_not_in_its_list(world: World) -> None:
    world.account.clients["dynamodb"].put_item(
        TableName=world.account.table,
        Item={"pk": {"S": "key#1"}, "owner": {"S": f"keys#{TENANT}"}, "created_at": {"N": "1"}},
    )
    made = submit_many(world, 1)
    assert ids(page(world)) == made
    assert ids(page(world, f"keys#{TENANT}")) == []


@pytest.mark.parametrize("limit", ["1", "2", "3", "5", "100"])
def test_pages_cover_everything_once(world: World, limit: str) -> None:
    made = submit_many(world, 6)
    pages = walk(world, limit=limit)
    assert [task_id for shown in pages for task_id in shown] == made
    assert all(len(shown) <= int(limit) for shown in pages)


@pytest.mark.parametrize("limit", ["1", "2", "3", "6"])
def test_last_page_hands_out_no_cursor_even_if_it_is_full(world: World, limit: str) -> None:
    submit_many(world, 6)
    assert [len(shown) for shown in walk(world, limit=limit)] == [int(limit)] * (6 // int(limit))


def test_filtered_page_that_is_full_knows_whether_anything_is_left(world: World) -> None:
    """What is left need not match: then there is one more page, and it is empty."""
    world.provider.reply_state = ProgressState.FAILED
    submit_many(world, 2)
    world.provider.reply_state = ProgressState.PENDING
    newest = world.submit(key="newest").task_id
    assert walk(world, status="submitted", limit="1") == [[newest], []]
    assert len(walk(world, status="failed", limit="2")) == 1


def test_pages_cover_tasks_of_the_same_moment_once(world: World) -> None:
    made = {world.submit(key=f"order-{number}").task_id for number in range(5)}
    shown = [task_id for one in walk(world, limit="2") for task_id in one]
    assert len(shown) == 5
    assert set(shown) == made


def test_page_ends_before_the_task_that_would_not_fit_and_the_next_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = submit_many(world, 5)
    one = len(json.dumps(json.dumps(page(world, limit="1").tasks[0])))
    monkeypatch.setattr(read_tasks, "MAX_PAGE_BYTES", 2 * one + one // 2)
    assert walk(world) == [made[:2], made[2:4], made[4:]]
    assert walk(world, status="submitted") == [made[:2], made[2:4], made[4:]]
    monkeypatch.setattr(read_tasks, "MAX_PAGE_BYTES", 1)  # one that fits nowhere still comes, or no page would end
    assert walk(world, limit="3") == [[task_id] for task_id in made]


@pytest.mark.parametrize("letter", ["x", '"', "\\", "é", "🦊"])
def test_page_of_the_largest_tasks_is_an_answer_that_lambda_takes(world: World, letter: str) -> None:
    path = "x" if letter == "\\" else letter  # an address has no backslash
    url = "https://a.example/" + path * ((2048 - 18) // len(path.encode()))
    subjects = [{"id": f"{n}" + letter * 99, "images": [url], "voice_id": letter * 200} for n in range(7)]
    more = {"wm_url": url, "prompt": letter * 2000, "payload": letter * 256}
    for number in range(100):
        world.submit(key=f"order-{number}", images=None, subjects=subjects, **more)  # type: ignore[arg-type]
        world.clock.advance(1)
    shown = page(world, limit="100")
    answer = json_response(200, {"tasks": shown.tasks, "next_cursor": shown.next_cursor})
    assert len(json.dumps(answer, ensure_ascii=False).encode()) < 6_000_000
    assert sum(map(len, walk(world, limit="100"))) == 100


def test_new_tasks_do_not_shift_a_page(world: World) -> None:
    made = submit_many(world, 4)
    first = page(world, limit="2")
    world.clock.advance(60)
    world.submit(key="newcomer")
    assert first.next_cursor is not None
    assert ids(page(world, limit="2", cursor=first.next_cursor)) == made[2:]


def test_filter_shows_only_that_status(world: World) -> None:
    for number in range(9):
        world.provider.reply_state = ProgressState.FAILED if number % 3 == 0 else ProgressState.PENDING
        world.submit(key=f"order-{number}")
        world.clock.advance(1)
    failed = [world.task_id(f"order-{number}") for number in (6, 3, 0)]
    assert [task_id for one in walk(world, status="failed", limit="2") for task_id in one] == failed
    assert len(ids(page(world, status="submitted"))) == 6
    assert ids(page(world, status="completed")) == []


def test_filtered_page_reads_a_bounded_number_of_keys(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_tasks, "KEYS_PER_PAGE", 4)
    world.provider.reply_state = ProgressState.FAILED
    oldest = world.submit(key="failed").task_id
    world.provider.reply_state = ProgressState.PENDING
    world.clock.advance(1)
    submit_many(world, 9)
    pages = walk(world, status="failed")
    assert pages == [[], [], [oldest]]


@pytest.mark.parametrize("limit", ["0", "101", "-1", "ten", "1.5", "", " 5", "٣", "9" * 50])
def test_limit_outside_1_to_100_is_refused(world: World, limit: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        page(world, limit=limit)
    assert refused.value.code == "invalid_query"


@pytest.mark.parametrize("status", ["", "done", "Completed", "completed,failed", "x" * 5000])
def test_unknown_status_is_refused_and_not_an_empty_list(world: World, status: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        page(world, status=status)
    assert refused.value.code == "invalid_query"
    assert len(refused.value.detail) < 300


@pytest.mark.parametrize("name", ["stauts", "Status", "limit ", "", "page", "x" * 5000])
def test_misspelt_parameter_is_refused_and_not_the_unfiltered_list(world: World, name: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        page(world, **{"limit": "5", name: "failed"})
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
def test_cursor_that_is_not_ours_is_refused(world: World, cursor: str) -> None:
    submit_many(world, 2)
    with pytest.raises(InvalidCursorError):
        page(world, cursor=cursor)


def test_position_with_its_checksum_is_taken(world: World) -> None:
    """Else the positions above would be refused for their checksum alone."""
    submit_many(world, 2)
    assert page(world, cursor=summed("1." + "a" * 26)) == TaskPage([], None)


def test_cursor_that_was_bent_anywhere_is_refused(world: World) -> None:
    submit_many(world, 3)
    cursor = page(world, limit="1").next_cursor
    assert cursor is not None
    bent = {
        cursor[:at] + other + cursor[at + 1 :] for at in range(len(cursor)) for other in "AQ1z-" if cursor[at] != other
    }
    for tampered in (*bent, cursor[:-1], cursor + "A"):
        with pytest.raises(InvalidCursorError):
            page(world, cursor=tampered)
    assert page(world, cursor=cursor).tasks


def test_position_that_nobody_handed_out_is_refused(world: World) -> None:
    """What a cursor holds can be read; what it says of another moment or task is not one of ours."""
    newest, older, _ = submit_many(world, 3)
    cursor = page(world, limit="1").next_cursor
    assert cursor is not None
    plain = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    created_at = plain.partition(".")[0]
    for text in (plain.replace(newest, older), plain.replace(created_at, str(int(created_at) + 1))):
        assert text != plain
        with pytest.raises(InvalidCursorError):
            page(world, cursor=cursor_of(text))


def test_cursor_of_another_tenant_is_refused(world: World) -> None:
    submit_many(world, 3, tenant="globex")
    theirs = page(world, "globex", limit="1").next_cursor
    assert theirs is not None
    submit_many(world, 1)
    with pytest.raises(InvalidCursorError):
        page(world, cursor=theirs)
