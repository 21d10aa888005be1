"""The tenant's console in a real browser: each page, each action, and what goes wrong around it."""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
import requests
from playwright.sync_api import Locator, Page, Route, expect

from local.client import RelayClient
from local.stack import Stack
from tests.browser.conftest import NARROW, WIDE, OpenPage, axe_faults
from tests.e2e.attempts import operate
from tests.e2e.tenants import client_of_new_tenant
from tests.unit.pictures import png

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script> ${7*7} {{7*7}} \u202ejavascript:alert(3)"
SHOWN = HOSTILE.replace("\u202e", "\ufffd")
MODEL = "viduq2_pro_fast_reference2video"
PLACES = ("tasks", "create", "usage", "webhooks")
NO_ANSWER = "net::ERR_"


class Hook(BaseHTTPRequestHandler):
    """A client's server that answers each webhook with `status` and `text`, and keeps its `webhook-id`."""

    url: str
    status = 204
    text = ""
    ids: ClassVar[list[str]]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.ids.append(self.headers["webhook-id"])
        body = self.text.encode()
        self.send_response(self.status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hook() -> Iterator[type[Hook]]:
    class Own(Hook):
        ids: ClassVar[list[str]] = []

    with ThreadingHTTPServer(("127.0.0.1", 0), Own) as server:
        Own.url = f"http://127.0.0.1:{server.server_port}/hook"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield Own
        server.shutdown()
        thread.join()


def submit(relay: RelayClient, prompt: str, script: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    if script:
        relay.script(prompt, script)
    subjects = [{"id": "fox", "images": [relay.image("fox.png")]}]
    return relay.submit({"model": MODEL, "subjects": subjects, "prompt": prompt, "duration": 1, **more})


def completed(relay: RelayClient, prompt: str, **more: Any) -> dict[str, Any]:
    return relay.wait(submit(relay, prompt, **more)["task_id"], "completed", meanwhile=relay.sweep)


def upload(relay: RelayClient) -> str:
    form, answer = send_form(relay)
    assert answer.ok
    return str(form["uri"])


def send_form(relay: RelayClient, **headers: str) -> tuple[dict[str, Any], requests.Response]:
    form = relay.call("POST", "/v1/uploads", json={"content_type": "image/png"}).json()
    sent = {"data": form["fields"], "files": {"file": png(width=200, height=200)}, "headers": headers}
    return form, requests.post(form["url"], verify=relay.stack.aws_ca_bundle, timeout=60, **sent)


def row(page: Page, text: str) -> Locator:
    """The newest task whose row has this text."""
    return page.locator("a.row", has_text=text).first


def drop(page: Page, selector: str, name: str, content: bytes) -> None:
    """Drag a file from the desktop onto an element."""
    page.evaluate(
        """([selector, name, bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], name, {type: 'image/png'}));
            const event = new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true});
            document.querySelector(selector).dispatchEvent(event);
        }""",
        [selector, name, list(content)],
    )


def test_key_opens_the_console_and_stays_in_its_tab(open_page: OpenPage, stack: Stack) -> None:
    page = open_page(key=None, expected="403")
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    page.get_by_label("API key").fill("A" * 43)
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("The relay refuses this key.")
    page.get_by_label("API key").fill(stack.api_key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Tasks", exact=True)).to_be_focused()
    page.reload()
    page.get_by_role("button", name="Log out").click()
    page.reload()
    expect(page.get_by_label("API key")).to_have_value("")
    assert [address for address in [*addresses, page.url] if stack.api_key in address] == []
    assert page.evaluate("() => localStorage.length + document.cookie.length") == 0


def test_list_shows_what_is_new_what_is_stuck_and_what_was_asked_for(
    open_page: OpenPage, relay: RelayClient, record_property: Callable[[str, object], None]
) -> None:
    submit(relay, "an old one of the list", external_id="order-17")
    stuck = submit(relay, "never copied", {"videos": {"fault": {"kind": "reset"}}})
    relay.wait(stuck["task_id"], "generated", meanwhile=relay.sweep)
    page = open_page()
    row(page, "an old one of the list").wait_for()
    expect(page.locator("section.stuck a.row", has_text="never copied")).to_contain_text("The copy of the video failed")
    submit(relay, "a new one of the list")
    expect(page.locator("section:not(.stuck) a.row").first).to_contain_text("a new one of the list")
    page.get_by_label("Your id").fill("order-17")
    page.keyboard.press("Enter")
    expect(page.locator("a.row")).to_have_count(1)
    assert page.url.endswith("#/tasks?external_id=order-17")
    page.get_by_role("link", name="Clear").click()
    page.get_by_label("State").select_option("failed")
    expect(page.get_by_text("No task fits")).to_be_visible()
    page.go_back()
    row(page, "a new one of the list").wait_for()
    page.reload()
    row(page, "a new one of the list").wait_for()
    shown = page.wait_for_function("() => performance.getEntriesByName('first-list')[0]?.startTime").json_value()
    record_property("explored", ("milliseconds from the load of the console to its first list", round(shown)))


def test_polls_cost_nothing_while_nothing_changes_and_stop_while_hidden(open_page: OpenPage) -> None:
    page = open_page()
    page.locator(".foot").wait_for()
    with page.expect_response(lambda one: "/v1/tasks?" in one.url and one.status == 304):
        pass
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(7000)
    assert asked == []
    with page.expect_request("**/v1/tasks?**"):
        page.evaluate("Object.defineProperty(document, 'hidden', {value: false, configurable: true})")
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_task_shows_its_life_its_video_and_its_own_images(open_page: OpenPage, relay: RelayClient) -> None:
    uri, foreign = upload(relay), relay.image("robot.jpg")
    subjects = [{"id": "own", "images": [uri]}, {"id": "foreign", "images": [foreign]}]
    task = completed(relay, "@own meets @foreign", subjects=subjects, labels={"team": "blue"})
    page = open_page(f"task/{task['task_id']}")
    expect(page.locator(".timeline li")).to_have_count(len(task["history"]))
    expect(page.locator(".pictures img")).to_have_count(1)
    page.wait_for_function("() => document.querySelector('.pictures img').naturalWidth === 200")
    assert foreign in page.locator(".pictures").nth(1).inner_text()
    for text in (task["videos"][0]["sha256"], '{"team":"blue"}', f"relay --api-url '{relay.stack.api_url}'"):
        expect(page.get_by_text(text).first).to_be_visible()
    assert page.locator(".amount").inner_text().startswith(f"${task['billing']['cost_usd']}")
    page.locator("video").wait_for()
    page.wait_for_function("() => document.querySelector('video').readyState >= 1")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == f"{task['task_id']}-1.mp4"
    assert hashlib.sha256(download.value.path().read_bytes()).hexdigest() == task["videos"][0]["sha256"]


def test_expired_link_is_renewed_where_the_player_stands(open_page: OpenPage, relay: RelayClient) -> None:
    completed(relay, "a link that ends", duration=4)
    ended: list[str] = []

    def end_the_first(route: Route) -> None:
        if ended:
            return route.continue_()
        ended.append(route.request.url)
        return route.fulfill(status=403)

    page = open_page(expected="403")
    page.route("**/videos/**", end_the_first)
    row(page, "a link that ends").click()
    page.locator("video").wait_for()
    page.wait_for_function("() => document.querySelector('video').readyState >= 1")
    assert len(ended) == 1
    page.evaluate("() => { window.player = document.querySelector('video'); player.currentTime = 2 }")
    page.wait_for_function("() => !player.seeking")
    page.evaluate("() => { player.onloadedmetadata = () => { window.loadedAgain = true } }")
    page.evaluate("() => { player.dispatchEvent(new Event('error')) }")
    page.wait_for_function("() => window.loadedAgain && player.currentTime === 2")
    assert page.evaluate("() => player.isConnected && player.error === null")


def test_hostile_text_stays_text(open_page: OpenPage, relay: RelayClient) -> None:
    refusal = {"create": {"reject": {"status": 400, "code": "<b>code</b>", "message": HOSTILE}}}
    task = submit(relay, f"refused {HOSTILE}", refusal, external_id="<b>1</b>", labels={"hostile": "<i>2</i>"})
    assert task["status"] == "failed"
    page = open_page()
    row(page, f"refused {HOSTILE}").click()
    expect(page.get_by_role("alert")).to_contain_text(HOSTILE)
    expect(page.locator(".prompt")).to_have_text(f"refused {HOSTILE}")
    assert page.locator("main img, main script, main b:text-is('code')").count() == 0


def test_task_is_canceled_and_its_content_deleted_after_a_question(open_page: OpenPage, relay: RelayClient) -> None:
    relay.script("waits for its cancel", {"create": {"throttle": {"n": None}}})
    task = submit(relay, "waits for its cancel")
    page = open_page(f"task/{task['task_id']}")
    expect(page.get_by_text("waits for its turn since")).to_contain_text("number 1 of your waiting tasks")
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_focused()
    assert relay.task(task["task_id"])["status"] == "accepted"
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel the task").click()
    page.locator(".facts .state.canceled").wait_for()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Delete the content").click()
    expect(page.get_by_text("Its content was deleted")).to_be_visible()
    assert relay.task(task["task_id"])["content_deleted_at"]


def test_webhook_attempts_are_shown_as_text_and_repeated_after_a_question(
    open_page: OpenPage, relay: RelayClient, hook: type[Hook]
) -> None:
    hook.status, hook.text = 410, HOSTILE
    task = completed(relay, "with a webhook", callback_url=hook.url)
    page = open_page(f"task/{task['task_id']}")
    end = page.locator(".subject", has=page.locator(".state.completed"))
    expect(end.locator(".attempts pre")).to_have_text(SHOWN)
    expect(end).to_contain_text("Given up")
    expect(end).to_contain_text("HTTP 410")
    name = f"{task['task_id']}:{task['version']}"
    end.get_by_role("button").click()
    page.get_by_role("button", name="Not now").click()
    hook.status, hook.text = 204, ""
    end.get_by_role("button").click()
    assert hook.ids.count(name) == 1
    page.get_by_role("button", name="Send it again").click()
    expect(page.get_by_text("is queued again")).to_be_visible()
    expect(end).to_contain_text("Delivered")
    expect(end.locator(".attempts li")).to_have_count(2)
    assert hook.ids.count(name) == 2


def test_address_is_tested_and_its_answer_shown(open_page: OpenPage, hook: type[Hook]) -> None:
    page = open_page("webhooks", expected="422")
    address, send = page.get_by_label("Address of your server"), page.get_by_role("button", name="Send a test message")
    address.fill(hook.url)
    send.click()
    expect(page.get_by_text("Your server took it.")).to_be_visible()
    hook.status, hook.text = 418, HOSTILE
    send.click()
    expect(page.get_by_text("Your server did not take it.")).to_be_visible()
    expect(page.locator(".subject pre")).to_have_text(SHOWN)
    expect(page.locator(".subject code")).to_have_text(hook.ids[-1])
    expect(page.locator(".command pre")).to_contain_text(f"webhooks test '{hook.url}'")
    address.fill("https://169.254.169.254/latest")
    send.click()
    expect(page.get_by_role("alert")).to_contain_text("The callback address cannot be used.")


def test_video_is_made_by_the_form_once_whatever_is_lost(open_page: OpenPage, relay: RelayClient) -> None:
    page = open_page("create", expected=NO_ANSWER)
    page.get_by_role("button", name="Make the video").click()
    expect(page.get_by_text("This is needed.")).to_be_visible()
    page.get_by_role("button", name="Add a subject").click()
    page.get_by_label("Name", exact=True).fill("fox")
    drop(page, ".drop", "tiny.png", png(width=20, height=20))
    expect(page.get_by_role("alert").first).to_contain_text("tiny.png has 20×20 pixels; each side needs 128.")
    drop(page, ".drop", "fox.png", png(width=200, height=200))
    page.locator(".pictures img").wait_for()
    page.get_by_label("Prompt").press_sequentially("a form for @f")
    page.get_by_role("option", name="@fox").wait_for()
    page.keyboard.press("Enter")
    page.keyboard.type("in the rain")
    page.get_by_label("Duration").fill("2")
    expect(page.locator(".sticky .amount")).to_be_visible()
    keys: list[str] = []

    def lose_the_answer(route: Route) -> None:
        if route.request.method != "POST":
            return route.continue_()
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) == 1:
            route.fetch()
            return route.abort()
        return route.continue_()

    page.route("**/v1/tasks", lose_the_answer)
    page.get_by_role("button", name="Make the video").click()
    expect(page.get_by_role("alert")).to_contain_text("No answer came.")
    page.reload()
    expect(page.get_by_label("Prompt")).to_have_value("a form for @fox in the rain")
    page.get_by_role("button", name="Make the video").click()
    page.locator(".timeline").wait_for()
    made = [
        one
        for one in relay.call("GET", "/v1/tasks").json()["tasks"]
        if "a form for" in one["request"].get("prompt", "")
    ]
    assert keys[0] == keys[1]
    assert [one["task_id"] for one in made] == [page.url.rpartition("/")[2]]
    assert made[0]["request"]["duration"] == 2
    assert list(made[0]["request"]) == ["model", "subjects", "prompt", "duration"]


def test_form_follows_the_model_and_shows_a_refusal_at_its_field(open_page: OpenPage, relay: RelayClient) -> None:
    page = open_page("create", expected="422")
    models = relay.call("GET", "/v1/models").json()["models"]
    expect(page.get_by_label("Model").locator("option")).to_have_count(len(models))
    for model in models:
        page.get_by_label("Model").select_option(model["id"])
        page.locator("details summary", has_text="More options").click()
        shown = {
            each.removeprefix("field-")
            for each in page.locator("[id^=field-]:not(div)").evaluate_all("all => all.map(one => one.id)")
        }
        wanted = set(model["request"]["properties"]) - {"model", "images", "subjects"}
        assert shown == wanted, model["id"]
        page.locator("details summary", has_text="More options").click()
    page.get_by_label("Model").select_option("viduq2_text2video")
    page.get_by_label("Prompt").fill("a refusal at its field")
    page.locator("details summary", has_text="More options").click()
    page.get_by_label("Callback url").fill("http://192.168.0.1/hook")
    page.locator("details summary", has_text="More options").click()
    expect(page.locator("#field-callback_url-hint .fault")).to_be_visible()
    expect(page.get_by_text("see the field")).to_be_visible()


def test_spend_is_what_the_api_says(open_page: OpenPage, relay: RelayClient) -> None:
    usage = relay.call("GET", "/v1/usage?group_by=model").json()
    page = open_page("usage")
    expect(page.locator(".meter .amount").first).to_have_text(str(usage["today"]["tasks"]))
    expect(page.locator(".meter .amount").nth(1)).to_have_text(f"${usage['today']['committed_usd']}")
    expect(page.locator(".models li")).to_have_count(len(usage["groups"]))
    page.get_by_text("As a table").click()
    assert page.locator("tbody tr").count() >= 1


def test_spend_of_more_tasks_than_one_answer_has_is_shown_for_fewer_days(open_page: OpenPage) -> None:
    week = (datetime.now(UTC) - timedelta(days=6)).date().isoformat()

    def refuse_long_periods(route: Route) -> None:
        if "/v1/usage" not in route.request.url or f"from={week}" in route.request.url:
            return route.continue_()
        return route.fulfill(status=422, json={"code": "period_too_large", "detail": "Too many tasks."})

    page = open_page("usage", api=refuse_long_periods, expected="422")
    expect(page.get_by_role("heading", name="Seven days", exact=True)).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_key_revoked_in_mid_session_ends_it_and_a_new_one_goes_on(
    open_page: OpenPage, relay: RelayClient, stack: Stack
) -> None:
    revoked = operate(relay, "keys", "create", "--tenant", stack.tenant_id)
    operate(relay, "keys", "revoke", "--tenant", stack.tenant_id, revoked["key_id"])
    sent = {"authorization": f"Bearer {revoked['api_key']}"}  # the answer for the page's own key is cached for a minute
    page = open_page("usage", expected="403")
    page.locator(".meters").wait_for()
    page.route("**/v1/tasks?**", lambda route: route.continue_(headers={**route.request.headers, **sent}))
    page.get_by_role("link", name="Tasks").click()
    expect(page.get_by_role("alert")).to_contain_text("unknown or revoked")
    page.unroute("**/v1/tasks?**")
    page.get_by_label("API key").fill(stack.api_key)
    page.keyboard.press("Enter")
    page.locator(".foot").wait_for()


@pytest.mark.parametrize("how", ["restart", "overload", "offline"])
def test_console_waits_for_a_relay_that_does_not_answer(open_page: OpenPage, relay: RelayClient, how: str) -> None:
    page = open_page(expected="Failed to load resource")
    page.locator(".foot").wait_for()
    if how == "offline":
        page.context.set_offline(offline=True)
    elif how == "restart":
        page.route("**/v1/tasks?**", lambda route: route.abort("connectionrefused"))
    else:
        page.route("**/v1/tasks?**", lambda route: route.fulfill(status=503, body=""))
    expect(page.get_by_text("The relay does not answer.")).to_be_visible()
    submit(relay, f"made while {how}")
    page.unroute("**/v1/tasks?**")
    page.context.set_offline(offline=False)
    row(page, f"made while {how}").wait_for()
    expect(page.get_by_text("The relay does not answer.")).to_have_count(0)


def fake_task(number: int, now: datetime) -> dict[str, Any]:
    at = (now - timedelta(seconds=1000 - number)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "task_id": f"t{number:025}", "status": "processing", "model": MODEL, "created_at": at, "updated_at": at,
        "error": None, "usage": None, "delivery": None, "request": {"prompt": f"number {number}"}, "videos": [],
        "billing": {"state": "reserved", "reserved_usd": "0.2", "cost_usd": None},
    }  # fmt: skip


def test_a_thousand_tasks_stay_complete_with_two_calls_a_round(open_page: OpenPage) -> None:
    now = datetime.now(UTC)
    tasks = [fake_task(number, now) for number in range(1000, 0, -1)]
    asked: list[str] = []
    held: list[Route] = []

    def hold_a_poll(route: Route) -> None:
        held.append(route)
        page.unroute("**/v1/tasks?**", hold_a_poll)

    def api(route: Route) -> None:
        query = dict(re.findall(r"(\w+)=([^&]+)", route.request.url))
        if "/v1/tasks?" not in route.request.url or query["limit"] == "1":
            return route.fallback()
        asked.append(route.request.url)
        after = query.get("cursor")
        start = next((at + 1 for at, one in enumerate(tasks) if one["task_id"] == after), 0)
        page = tasks[start : start + int(query["limit"])]
        following = page[-1]["task_id"] if start + len(page) < len(tasks) else None
        tag = f'"{hashlib.sha256(json.dumps([page, following]).encode()).hexdigest()}"'
        if route.request.headers.get("if-none-match") == tag:
            return route.fulfill(status=304, headers={"etag": tag})
        return route.fulfill(json={"tasks": page, "next_cursor": following}, headers={"etag": tag})

    page = open_page(api=api, expected="404")
    more = page.get_by_role("button", name="Load older tasks")
    expect(page.get_by_text("50 tasks loaded")).to_be_visible()
    with page.expect_request("**/v1/tasks?**"):
        page.route("**/v1/tasks?**", hold_a_poll)
    more.click()
    page.wait_for_timeout(500)
    held[0].fallback()
    expect(page.get_by_text("150 tasks loaded")).to_be_visible()
    while more.count():
        before = page.locator("a.row").count()
        more.click()
        page.wait_for_function("(before) => document.querySelectorAll('a.row').length > before", arg=before)
    expect(page.get_by_text("1000 tasks loaded")).to_be_visible()
    for batch in (30, 60):
        tasks[:0] = [fake_task(number, now) for number in range(len(tasks) + batch, len(tasks), -1)]
        row(page, f"number {len(tasks)}").wait_for()
    asked.clear()
    page.wait_for_timeout(11_000)
    assert len(asked) <= 6
    shown = [int(text.removeprefix("number ")) for text in page.locator("a.row b").all_inner_texts()]
    assert shown == sorted(shown, reverse=True)
    assert set(range(1, len(tasks) + 1)) - set(shown) == set()
    row(page, "number 500").click()
    page.get_by_role("alert").wait_for()
    page.go_back()
    expect(row(page, "number 500")).to_be_in_viewport()


def test_two_tabs_have_keys_of_their_own_and_show_the_same(open_page: OpenPage, relay: RelayClient) -> None:
    one = open_page()
    other = open_page(context=one.context)
    submit(relay, "seen in both tabs")
    row(one, "seen in both tabs").wait_for()
    row(other, "seen in both tabs").wait_for()
    one.get_by_role("button", name="Log out").click()
    other.reload()
    row(other, "seen in both tabs").click()
    other.locator(".timeline").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
def test_axe_finds_nothing_and_every_page_fits(
    open_page: OpenPage, relay: RelayClient, hook: type[Hook], viewport: dict[str, int], scheme: str
) -> None:
    task = completed(relay, "a task for axe", callback_url=hook.url)
    page = open_page(viewport=viewport, color_scheme=scheme, reduced_motion="reduce", bypass_csp=True)
    for place in (*PLACES, f"task/{task['task_id']}"):
        page.evaluate("(place) => { location.hash = `#/${place}` }", place)
        page.locator(".rows, .sticky, .meters, .timeline, #hook").first.wait_for()
        page.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true })")
        if place == "create":
            page.get_by_role("button", name="Add a subject").click()
            page.locator(".drop").wait_for()
        assert axe_faults(page) == [], place
        assert page.evaluate("() => document.documentElement.scrollWidth") <= viewport["width"], place
        moving = "() => document.getAnimations().filter((one) => one.playState === 'running').length"
        assert page.evaluate(moving) == 0
    page.get_by_role("button", name="Send again").last.click()
    assert axe_faults(page) == []
    page.get_by_role("button", name="Not now").click()
    page.get_by_role("button", name="Log out").click()
    assert axe_faults(page) == []
    page.get_by_role("link", name="The API’s page").click()
    page.get_by_text("States of a task").wait_for()
    page.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true })")
    assert axe_faults(page) == []
    assert page.evaluate("() => document.documentElement.scrollWidth") <= viewport["width"]
    assert page.locator("#submitTask details").inner_text().count("curl") == 1
    page.get_by_role("link", name="Console for browsers").click()
    page.get_by_label("API key").wait_for()


def test_keyboard_alone_reaches_a_task_and_back(open_page: OpenPage, relay: RelayClient) -> None:
    submit(relay, "reached by the keyboard")
    page = open_page()
    row(page, "reached by the keyboard").wait_for()
    for _ in range(60):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "() => [document.activeElement.textContent, getComputedStyle(document.activeElement).outlineStyle]"
        )
        assert focused[1] != "none", focused
        if "reached by the keyboard" in focused[0]:
            break
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_be_focused()
    expect(page.locator("h1")).to_contain_text("reached by the keyboard")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    row(page, "reached by the keyboard").wait_for()


def test_form_is_answered_for_the_consoles_origin_alone(relay: RelayClient, stack: Stack) -> None:
    own = stack.api_url.partition("/_aws")[0]
    for origin in (own, "https://evil.example"):
        _, answer = send_form(relay, origin=origin)
        assert answer.headers.get("access-control-allow-origin") == (own if origin == own else None)


def test_pictures_for_the_documents(
    open_page: OpenPage, relay: RelayClient, screenshot: Callable[[Page, str], None]
) -> None:
    owner = client_of_new_tenant(relay, "pictures")
    refused = {"create": {"reject": {"status": 400, "code": "TaskPromptPolicyViolation"}}}
    broken = submit(owner, "A paper boat on a quiet river", {"videos": {"fault": {"kind": "reset"}}})
    submit(owner, "A prompt that the provider refuses", refused)
    images = {"fox": relay.image("fox.png"), "robot": relay.image("robot.jpg")}
    subjects = [{"id": name, "images": [image]} for name, image in images.items()]
    wanted = {"subjects": subjects, "duration": 2, "seed": 1, "external_id": "order-4711"}
    completed(owner, "@fox and @robot eating hotpot together", **wanted)
    owner.wait(broken["task_id"], "generated", meanwhile=owner.sweep)
    submit(owner, "A lighthouse at dusk, slow pan", {"generation_seconds": 600})
    page = open_page(key=owner.key, viewport={"width": 1100, "height": 680})
    page.locator(".stuck .reason").wait_for()
    screenshot(page, "tasks")
    row(page, "eating hotpot").click()
    page.locator("video").wait_for()
    page.wait_for_function("() => document.querySelector('video').readyState >= 2")
    screenshot(page, "task")
    owner.close()
