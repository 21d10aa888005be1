"""The operator's console in a real browser, on the local stack: its pages, changes that ask first, and recovery."""

import json
import os
import re
import subprocess
import sys
import uuid
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from cli.console.running import open_link
from cli.fault_switch import FaultSwitch
from local.client import RelayClient
from local.programs import ROOT
from local.stack import LocalStack, Stack
from tests.browser.conftest import NARROW, TIMEOUT_MS, WIDE, axe_faults, faults_in
from vidu_relay.domain.catalogue import DEFAULT_MODEL

PAGES = ("now", "tasks", "queue", "queues", "failures", "webhooks", "tenants", "tenant/demo", "prices", "usage",
         "doctor", "faults", "commands")  # fmt: skip
NO_TASK = "a" * 26
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
CLOSED = "ERR_CONNECTION_REFUSED"

Link = Callable[[], str]
Shot = Callable[[Page, str], None]


@contextmanager
def console(stack_file: Path) -> Iterator[Link]:
    """A console in a terminal, and what gives a link of its own from it, as Enter there does."""
    command = [sys.executable, "-m", "cli", "--local-file", stack_file.name, "console", "--no-browser"]
    leader, follower = os.openpty()
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'layers' / 'shared'}", "RELAY_PROGRAM": "cli/relay"}
    with subprocess.Popen(  # noqa: S603 - ours
        command, cwd=stack_file.parent, env=environment, stdin=follower, stdout=subprocess.PIPE, text=True
    ) as tool:
        output = tool.stdout
        assert output
        shown: list[str] = []

        def link() -> str:
            if shown:
                os.write(leader, b"\n")
            shown.append(output.readline())
            found = re.search(r"http://127\.0\.0\.1:\d+/#\S+", shown[-1])
            assert found
            return found[0]

        yield link
        tool.terminate()
    os.close(leader)
    os.close(follower)


@contextmanager
def opened(browser: Browser, link: str, expected: str = "", size: Any = WIDE) -> Iterator[Page]:
    """The console, opened by its link. At the end no page showed a fault but those in `expected`."""
    context, faults = browser.new_context(viewport=size, reduced_motion="reduce"), list[str]()
    context.set_default_timeout(TIMEOUT_MS)
    context.on("console", lambda said: faults.extend(faults_in(said, expected)))
    context.on("weberror", lambda error: faults.append(str(error.error)))
    context.on("dialog", lambda dialog: faults.append(f"dialog: {dialog.message}"))
    page = context.new_page()
    page.goto(link)
    page.get_by_text("Raised alarms").first.wait_for()
    yield page
    context.close()
    assert faults == []


@pytest.fixture(scope="module")
def links(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Link]:
    file = tmp_path_factory.mktemp("console") / "stack.json"
    stack.write(file)
    with console(file) as link:
        yield link


@pytest.fixture
def page(browser: Browser, links: Link) -> Iterator[Page]:
    with opened(browser, links()) as page:
        yield page


@pytest.fixture(scope="module")
def night(relay: RelayClient) -> str:
    """An alarm, a DLQ message, a failure and a task, with hostile text where others can put it; the task's id."""
    resources = relay.resources()
    relay.aws("s3").put_object(Bucket=resources["FailuresBucket"], Key=f"publish_events/{HOSTILE}", Body=b"{}")
    relay.aws("sqs").send_message(QueueUrl=resources["DeliveriesDeadLetters"], MessageBody=HOSTILE)
    alarm, reason = f"{relay.stack.stack_name}-deliveries-dead-letters", "1 datapoint was greater than the threshold"
    relay.aws("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason=reason)
    return submit(relay, f"A fox {HOSTILE}")


def submit(relay: RelayClient, prompt: str, script: Any = None) -> str:
    if script:
        relay.script(prompt, script)
    request = {"model": "viduq2_text2video", "prompt": prompt, "duration": 1}
    return str(relay.submit(request, uuid.uuid4().hex)["task_id"])


def go(page: Page, name: str) -> None:
    page.evaluate("hash => { location.hash = hash; }", f"#/{name}")
    page.locator("main h1").wait_for()
    expect(page.get_by_text("Reading…")).to_have_count(0)


def run(page: Page, button: Locator) -> str:
    """Press a button of the page and confirm it; the command line that was shown. Two clicks."""
    button.click()
    line = page.locator("dialog .command code").inner_text()
    page.get_by_role("button", name="Run it").click()
    page.get_by_role("button", name="Close").wait_for()
    return line


@pytest.mark.parametrize(
    ("size", "scheme"), [(WIDE, "light"), (NARROW, "light"), (NARROW, "dark")], ids=["wide", "narrow", "dark"]
)
def test_each_page_reads_its_commands_fits_and_is_accessible(
    page: Page, relay: RelayClient, night: str, size: Any, scheme: Any
) -> None:
    relay.wait(night, "completed", meanwhile=relay.sweep)
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=scheme)
    for name in (*PAGES, f"task/{night}", f"task/{NO_TASK}"):
        go(page, name)
        faults = [text.partition(":")[0] for text in page.locator(".fault").all_inner_texts()]
        assert faults == [f"there is no task {NO_TASK}"] * name.endswith(NO_TASK), name
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], name
        expect(page.locator("nav [aria-current]")).to_be_in_viewport()
        assert axe_faults(page) == [], name
    go(page, "prices")
    page.get_by_role("button", name="Set a price").click()
    assert axe_faults(page) == []


def test_a_link_works_once_and_a_reload_ends_the_page(page: Page, links: Link) -> None:
    assert "#/" not in page.url.partition("#")[2]
    link = links()
    other = page.context.new_page()
    other.goto(link)
    other.get_by_text("Raised alarms").first.wait_for()
    assert other.url == link.partition("#")[0]
    assert other.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    other.reload()
    other.get_by_text("This page needs a new link.").wait_for()
    assert axe_faults(other) == []


def test_link_opens_from_the_file_that_starts_the_browser(
    page: Page, links: Link, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: list[str] = []
    monkeypatch.setattr(webbrowser, "open", files.append)
    open_link(links(), tmp_path)
    assert (tmp_path / "console.html").stat().st_mode & 0o077 == 0
    other = page.context.new_page()
    other.goto(files[0])
    other.get_by_text("Raised alarms").first.wait_for()


def test_change_asks_first_shows_its_command_and_can_be_left_by_keyboard(page: Page) -> None:
    tenant = f"t{uuid.uuid4().hex[:8]}"
    go(page, "tenants")
    page.get_by_role("button", name="New tenant").click()
    page.get_by_label("tenant", exact=True).fill(tenant)
    page.keyboard.press("Enter")
    assert page.locator("dialog .command code").inner_text().endswith(f"tenants create {tenant}")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="New tenant")).to_be_focused()
    page.get_by_role("button", name="Reload All tenants").click()
    expect(page.get_by_role("link", name=tenant)).to_have_count(0)

    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.get_by_label("tenant", exact=True).fill(tenant)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Run it")).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_text(f"Tenant {tenant} created.").wait_for()
    page.keyboard.press("Enter")
    page.get_by_role("link", name=tenant).press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    assert run(page, page.get_by_role("button", name="Disable")).endswith(f"tenants disable {tenant}")
    page.get_by_role("button", name="Close").click()
    page.get_by_text("disabled", exact=True).wait_for()


def test_alarm_leads_to_its_queue_and_hostile_text_is_shown_as_text(page: Page, night: str) -> None:
    alarm = page.get_by_role("article").filter(has_text="deliveries-dead-letters")
    alarm.get_by_text("Delivery messages were received").wait_for()
    alarm.get_by_role("link", name="Open the DLQs").click()
    page.get_by_role("button", name="Peek").first.click()
    page.get_by_text(HOSTILE).wait_for()
    page.get_by_role("button", name="Redrive").first.click()
    page.get_by_label("--discard-unreadable").check()
    page.get_by_role("button", name="Show the command").click()
    page.get_by_role("button", name="Run it").click()
    page.get_by_text("1 discarded").wait_for()
    page.get_by_role("button", name="Close").click()
    for name in ("failures", f"task/{night}"):
        go(page, name)
        page.get_by_text(HOSTILE).wait_for()
        assert page.locator("main img, main script").count() == 0


@pytest.fixture
def no_sweep(relay: RelayClient) -> Iterator[None]:
    """Tasks stay overdue: the schedule of the sweep is disabled."""
    scheduler = relay.aws("scheduler")
    found = scheduler.get_schedule(Name=relay.resources()["SweepSchedule"])
    schedule = {name: found[name] for name in ("Name", "ScheduleExpression", "Target", "FlexibleTimeWindow")}
    scheduler.update_schedule(**schedule, State="DISABLED")
    yield
    scheduler.update_schedule(**schedule, State="ENABLED")


def test_stuck_task_is_on_the_first_page_and_fixed_in_three_clicks(
    page: Page, relay: RelayClient, night: str, no_sweep: None, screenshot: Shot
) -> None:
    task_id = submit(relay, f"A fox without a callback {uuid.uuid4().hex}", {"callbacks": {"drop": True}})
    row = page.get_by_role("row").filter(has_text=task_id[:10])
    page.get_by_text("1 datapoint").wait_for()
    row.get_by_text("check overdue for").wait_for()
    screenshot(page, "operator")
    assert run(page, row.get_by_role("button", name="Check now")).endswith(f" task check {task_id}")
    page.get_by_role("button", name="Close").click()
    relay.wait(task_id, "completed")
    expect(row).to_have_count(0)


def test_overdue_tasks_page_says_what_to_do(page: Page, relay: RelayClient, no_sweep: None) -> None:
    task_id = submit(relay, f"A fox without a callback {uuid.uuid4().hex}", {"callbacks": {"drop": True}})
    go(page, f"task/{task_id}")
    page.get_by_text("Its check is overdue for").wait_for()
    run(page, page.locator("button.main", has_text="Check now"))
    page.get_by_role("button", name="Close").click()
    page.locator("dd").get_by_text("completed").wait_for()
    expect(page.locator(".advice, button.main")).to_have_count(0)


ADVICE: list[tuple[dict[str, Any], str]] = [
    ({"waits_for_account_since": "2026-11-30T03:00:00Z"}, "The alarm is also raised if a secret is unusable"),
    ({"status": "submitting"}, "The reply to its create call is missing"),
    ({"delivery_error": {"code": HOSTILE, "message": HOSTILE}, "videos": []}, "Its video is not copied yet"),
]


@pytest.mark.parametrize(("found", "says"), ADVICE)
def test_page_of_a_task_says_why_it_waits(page: Page, night: str, found: dict[str, Any], says: str) -> None:
    def answer(route: Route) -> None:
        shown = route.fetch().json()
        route.fulfill(body=json.dumps({**shown, "data": {**shown["data"], **found}}) + "\n")

    page.route("**/api/commands/task/show?*", answer)
    go(page, f"task/{night}")
    page.get_by_text(says).wait_for()
    expect(page.locator("main img, main script")).to_have_count(0)


def test_slow_command_is_not_read_again_before_it_has_answered(page: Page) -> None:
    asked: list[str] = []
    page.clock.install()
    page.on("request", lambda request: asked.append(request.url))
    page.route("**/api/commands/task/list?*", lambda _: None)  # is never answered
    page.evaluate("location.hash = '#/faults'")
    page.get_by_role("heading", name="Sick CDN").wait_for()
    page.clock.run_for(20_000)
    with page.expect_response("**/api/commands/faults/list"):
        page.get_by_role("button", name="Reload Faults to inject").click()
    assert [url.endswith("/task/list?limit=10") for url in asked].count(True) == 1


def killed(relay: RelayClient) -> list[str]:
    stack = relay.stack
    return [one["how"] for one in FaultSwitch(stack.aws_endpoint_url, stack.aws_ca_bundle or "", stack.region).given()]


HAPPENED: dict[str, Callable[[Any, RelayClient], bool]] = {
    "lose callback": lambda seen, _: {one["kind"] for one in seen["callbacks"]} == {"dropped"},
    "lose reply": lambda seen, _: seen["creates"] == 1 and bool(seen["script"]["create"]["lose_reply"]),
    "kill function": lambda _, relay: killed(relay) == ["kill"],
    "break video": lambda seen, _: len(seen["downloads"]) > 1,
    "sick CDN": lambda seen, _: len(seen["downloads"]) > 3,
}


def test_tasks_wait_while_a_provider_is_paused_and_go_on_once_it_is_resumed(page: Page, relay: RelayClient) -> None:
    go(page, "queue")
    assert "queue pause gateway" in run(page, page.get_by_role("button", name="Pause", exact=True).first)
    picture = relay.image("fox.png")
    waiting = relay.submit({"model": DEFAULT_MODEL, "images": [picture], "prompt": "waits"})
    assert (waiting["status"], waiting["queue_position"]) == ("accepted", 1)
    page.get_by_role("button", name="Close").click()  # and the page is read again
    expect(page.get_by_role("row", name="gateway demo 1 100 %")).to_be_visible()
    assert "queue resume gateway" in run(page, page.get_by_role("button", name="Resume", exact=True).first)
    relay.wait(waiting["task_id"], "completed", meanwhile=relay.sweep)


@pytest.mark.parametrize("fault", HAPPENED)
def test_relay_recovers_from_each_fault_while_a_person_watches(page: Page, relay: RelayClient, fault: str) -> None:
    go(page, "faults")
    card = page.locator("article", has=page.get_by_role("heading", name=fault))
    assert " faults inject --submit " in run(page, card.get_by_role("button", name="Try it now"))
    found = re.search(r"task show ([a-z2-7]{26})", page.locator("dialog .answer").inner_text())
    assert found
    page.get_by_role("button", name="Close").click()
    go(page, f"task/{found[1]}")
    relay.wait(found[1], "completed", meanwhile=relay.sweep)
    page.locator("dd").get_by_text("completed").wait_for()
    (seen,) = relay.seen_by_provider(f"in the snow, {fault.lower().replace(' ', '-')} ")
    assert HAPPENED[fault](seen, relay)


@pytest.mark.parametrize(
    ("place", "button", "says"),
    [("usage", "Compare now", "vidu, 20"), ("failures", "Republish all", "1 left"), ("tenant/demo", "Show", "whsec_")],
)
def test_action_of_a_page_shows_its_answer(page: Page, night: str, place: str, button: str, says: str) -> None:
    go(page, place)
    run(page, page.get_by_role("button", name=button, exact=True))
    expect(page.locator("dialog .answer")).to_contain_text(says)


def test_doctor_shows_its_checks_as_they_come(page: Page) -> None:
    go(page, "doctor")
    page.get_by_role("button", name="Only some checks").click()
    for name in ("rules", "secrets"):
        page.get_by_label(name, exact=True).check()
    page.get_by_role("button", name="Show the command").click()
    page.get_by_role("button", name="Run it").click()
    page.get_by_role("button", name="Close").wait_for()
    assert [row.partition(" ")[0] for row in page.locator(".log li").all_inner_texts()][:2] == ["ok", "ok"]


def test_page_outlives_its_stack_and_says_when_its_console_has_ended(
    browser: Browser, stack: Stack, tmp_path: Path
) -> None:
    file = tmp_path / "stack.json"
    with ExitStack() as earlier, ExitStack() as terminal:
        earlier.enter_context(LocalStack(tmp_path / "earlier")).write(file)
        link = terminal.enter_context(console(file))
        with opened(browser, link(), CLOSED) as page:
            go(page, "tenants")
            reload = page.get_by_role("button", name="Reload All tenants")
            page.get_by_role("link", name="demo").wait_for()
            earlier.close()
            reload.click()
            page.get_by_role("alert").wait_for()
            stack.write(file)
            reload.click()
            expect(page.get_by_role("alert")).to_have_count(0)
            terminal.close()
            reload.click()
            page.get_by_text("The console does not answer").wait_for()
