"""The operator's console in a real browser, on the local stack: its pages, changes that ask first, and recovery.

Needs Playwright's package and the system's Chromium; each test says so where one is missing.
"""

import os
import re
import shutil
import subprocess
import sys
import uuid
import webbrowser
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from cli.console.running import open_link
from cli.fault_switch import FaultSwitch
from local.client import RelayClient
from local.programs import ROOT
from local.stack import LocalStack
from vidu_relay.domain.catalogue import DEFAULT_MODEL

sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")

Page = Any
PAGES = ("now", "tasks", "queue", "queues", "failures", "webhooks", "tenants", "tenant/demo", "prices", "usage",
         "doctor", "faults", "commands")  # fmt: skip
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayClient]:
    parameters = {"FirstCheckSeconds": "2", "CheckIntervalSeconds": "1"}
    folder = tmp_path_factory.mktemp("stack")
    with LocalStack(folder, parameters=parameters, generation_seconds=1) as stack:
        stack.write(folder / "stack.json")
        client = RelayClient(stack)
        yield client
        client.close()


@pytest.fixture(scope="module")
def links(relay: RelayClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """What gives a link of its own from a console in a terminal, as Enter there does."""
    file = relay.stack.aws_ca_bundle
    assert file
    stack_file = Path(file).parents[2] / "stack.json"
    command = [sys.executable, "-m", "cli", "--local-file", str(stack_file), "console", "--no-browser"]
    leader, follower = os.openpty()
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'layers' / 'shared'}", "RELAY_PROGRAM": "cli/relay"}
    with subprocess.Popen(  # noqa: S603 - ours
        command, cwd=ROOT, env=environment, stdin=follower, stdout=subprocess.PIPE, text=True
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        sync_api.expect.set_options(timeout=60_000)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, links: Callable[[], str]) -> Iterator[Page]:
    """The console, opened by a link of its own. At the end nothing was wrong on the browser's console."""
    context = browser.new_context(viewport={"width": 1280, "height": 850}, reduced_motion="reduce")
    context.set_default_timeout(60_000)
    page, faults = context.new_page(), list[str]()
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: faults.append(f"dialog {dialog.message}"))
    page.goto(links())
    page.get_by_text("Raised alarms").first.wait_for()
    yield page
    context.close()
    assert faults == []


def go(page: Page, name: str) -> None:
    page.evaluate("hash => { location.hash = hash; }", f"#/{name}")
    page.locator("main h1").wait_for()


def run(page: Page, button: Any) -> str:
    """Press a button of the page and confirm it; the command line that was shown."""
    button.click()
    line = str(page.locator("dialog .command code").inner_text())
    page.get_by_role("button", name="Run it").click()
    page.get_by_role("button", name="Close").wait_for()
    return line


def test_each_page_reads_its_commands_and_fits_a_phone(page: Page) -> None:
    for name in PAGES:
        go(page, name)
        sync_api.expect(page.get_by_text("Reading…")).to_have_count(0)
        assert page.locator(".fault").count() == 0, name
        for width, scheme in ((1280, "light"), (360, "dark")):
            page.set_viewport_size({"width": width, "height": 780})
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name


def test_axe_finds_nothing(page: Page, relay: RelayClient) -> None:
    axe = files(pytest.importorskip("axe_playwright_python", reason="no axe-core: it comes with requirements/dev.txt"))
    page.evaluate(axe.joinpath("axe.min.js").read_text())
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for name in (*PAGES, f"task/{'a' * 26}"):
            go(page, name)
            sync_api.expect(page.get_by_text("Reading…")).to_have_count(0)
            found = page.evaluate("axe.run()")["violations"]
            assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == [], name
    go(page, "prices")
    page.get_by_role("button", name="Set a price").click()
    assert page.evaluate("axe.run()")["violations"] == []


def test_a_link_works_once_and_a_reload_ends_the_page(page: Page, links: Callable[[], str]) -> None:
    assert "#/" not in page.url.partition("#")[2]
    link = links()
    other = page.context.new_page()
    other.goto(link)
    other.get_by_text("Raised alarms").first.wait_for()
    assert other.url == link.partition("#")[0]
    assert other.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    other.reload()
    other.get_by_text("This page needs a new link.").wait_for()
    other.close()


def test_link_opens_from_the_file_that_starts_the_browser(
    page: Page, links: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    open_link(links(), tmp_path)
    assert (tmp_path / "console.html").stat().st_mode & 0o077 == 0
    other = page.context.new_page()
    other.goto(opened[0])
    other.get_by_text("Raised alarms").first.wait_for()
    other.close()


def test_change_asks_first_shows_its_command_and_can_be_left_by_keyboard(page: Page, relay: RelayClient) -> None:
    tenant = f"t{uuid.uuid4().hex[:8]}"
    go(page, "tenants")
    page.get_by_role("button", name="New tenant").click()
    page.get_by_label("tenant", exact=True).fill(tenant)
    page.keyboard.press("Enter")
    assert page.locator("dialog .command code").inner_text().endswith(f"tenants create {tenant}")
    page.keyboard.press("Escape")
    sync_api.expect(page.get_by_role("dialog")).to_have_count(0)
    sync_api.expect(page.get_by_role("button", name="New tenant")).to_be_focused()
    page.get_by_role("button", name="Reload All tenants").click()
    sync_api.expect(page.get_by_role("link", name=tenant)).to_have_count(0)

    page.get_by_role("button", name="New tenant").click()
    page.get_by_label("tenant", exact=True).fill(tenant)
    page.keyboard.press("Enter")
    sync_api.expect(page.get_by_role("button", name="Run it")).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_text(f"Tenant {tenant} created.").wait_for()
    page.keyboard.press("Enter")
    page.get_by_role("link", name=tenant).click()
    assert run(page, page.get_by_role("button", name="Disable")).endswith(f"tenants disable {tenant}")
    page.get_by_role("button", name="Close").click()
    page.get_by_text("disabled", exact=True).wait_for()


def test_hostile_text_is_shown_as_text(page: Page, relay: RelayClient) -> None:
    sqs, queue = relay.aws("sqs"), relay.resources()["DeliveriesDeadLetters"]
    sqs.send_message(QueueUrl=queue, MessageBody=HOSTILE)
    go(page, "queues")
    page.get_by_role("button", name="Peek").first.click()
    page.get_by_text(HOSTILE).wait_for()
    page.get_by_role("heading", name="Deliveries dead letters").wait_for()
    page.get_by_role("button", name="Redrive").first.click()
    page.get_by_label("--discard-unreadable").check()
    page.get_by_role("button", name="Show the command").click()
    page.get_by_role("button", name="Run it").click()
    page.get_by_text("1 discarded").wait_for()
    page.get_by_role("button", name="Close").click()
    assert page.locator("main img, main script").count() == 0


def test_refused_command_says_why(page: Page) -> None:
    go(page, f"task/{'a' * 26}")
    page.get_by_text(f"there is no task {'a' * 26}").wait_for()


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
    sync_api.expect(page.get_by_role("row", name="gateway demo 1 100 %")).to_be_visible()
    assert "queue resume gateway" in run(page, page.get_by_role("button", name="Resume", exact=True).first)
    relay.wait(waiting["task_id"], "completed", meanwhile=relay.sweep)


@pytest.mark.parametrize("fault", HAPPENED)
def test_relay_recovers_from_each_fault_while_a_person_watches(page: Page, relay: RelayClient, fault: str) -> None:
    go(page, "faults")
    card = page.locator("article", has=page.get_by_role("heading", name=fault))
    assert " faults inject --submit " in run(page, card.get_by_role("button", name="Try it with a task"))
    found = re.search(r"task show ([a-z2-7]{26})", page.locator("dialog .answer").inner_text())
    assert found
    page.get_by_role("button", name="Close").click()
    go(page, f"task/{found[1]}")
    relay.wait(found[1], "completed", meanwhile=relay.sweep)
    page.locator("dd").get_by_text("completed").wait_for()
    (seen,) = relay.seen_by_provider(f"in the snow, {fault.lower().replace(' ', '-')} ")
    assert HAPPENED[fault](seen, relay)


def test_doctor_shows_its_checks_as_they_come(page: Page) -> None:
    go(page, "doctor")
    page.get_by_role("button", name="Only some checks").click()
    page.get_by_role("textbox").fill("alarms\nsecrets")
    page.get_by_role("button", name="Show the command").click()
    page.get_by_role("button", name="Run it").click()
    page.get_by_role("button", name="Close").wait_for()
    assert [row.partition(" ")[0] for row in page.locator(".log li").all_inner_texts()][:2] == ["ok", "ok"]
