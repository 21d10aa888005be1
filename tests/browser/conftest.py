"""A stack, the system's Chromium, and pages of the console in it that may show no fault.

Chromium comes with the system, never from Playwright's own download. Without one these tests are skipped.
"""

import shutil
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Route, expect, sync_playwright

from local.client import RelayClient
from local.stack import LocalStack, Stack
from tests.e2e.queues import forget_queues
from tests.unit.template import ROOT

PARAMETERS = {"FirstCheckSeconds": "2", "CheckIntervalSeconds": "1", "TrustedOrigins": "http://127.0.0.1:*"}
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
GET_ONE = "no Chromium on the PATH: install one (Debian: apt-get install chromium) to run the tests of the console"
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text()
MOST_BYTES = 200_000
TIMEOUT_MS = 60_000

OpenPage = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(GET_ONE)
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        # the sandbox cannot be set up by root, as which pipelines run; all pages are ours
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def stack(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    with LocalStack(folder, parameters=PARAMETERS, generation_seconds=0.5) as stack:
        yield stack


@pytest.fixture(scope="session")
def relay(stack: Stack) -> Iterator[RelayClient]:
    client = RelayClient(stack)
    yield client
    client.close()


@pytest.fixture(autouse=True)
def idle_queues(request: pytest.FixtureRequest) -> None:
    """No test's tasks wait because of an earlier test."""
    if "relay" in request.fixturenames:
        forget_queues(request.getfixturevalue("relay"))


@pytest.fixture
def open_page(browser: Browser, stack: Stack) -> Iterator[OpenPage]:
    """Opens the console in a tab, logged in unless `key` is None; no tab may log an error but those in `expected`."""
    faults: list[str] = []
    contexts: list[BrowserContext] = []

    def open_tab(
        place: str = "tasks",
        *,
        key: str | None = stack.api_key,
        context: BrowserContext | None = None,
        api: Callable[[Route], None] | None = None,
        expected: str = "",
        **options: Any,
    ) -> Page:
        if context is None:
            context = browser.new_context(ignore_https_errors=True, **{"viewport": WIDE, **options})
            contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(f"dialog: {dialog.message}"))
        page.on("console", lambda said: faults.extend(faults_in(said, expected)))
        if api:
            page.route("**/v1/{tasks,models,usage,estimates,uploads,webhooks}**", api)
        page.goto(f"{stack.api_url}/v1/console#/{place}")
        if key is not None:
            page.get_by_label("API key").fill(key)
            page.get_by_role("button", name="Log in").click()
            page.get_by_role("button", name="Log out").wait_for()
        return page

    yield open_tab
    for context in contexts:
        context.close()
    assert faults == []


def faults_in(said: ConsoleMessage, expected: str) -> list[str]:
    """The error or warning in a line of the browser's console, unless it has the expected text.

    A browser asks for the icon of a page without one by itself.
    """
    is_icon = said.location["url"].endswith("/favicon.ico")
    is_fault = said.type in ("error", "warning") and not is_icon and not (expected and expected in said.text)
    return [said.text] if is_fault else []


@pytest.fixture
def screenshot(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Page, str], None]:
    """Takes a picture for the documents; it is written there with `--screenshots`."""
    folder = ROOT / "docs" / "images" if request.config.getoption("--screenshots") else tmp_path

    def take(page: Page, name: str) -> None:
        path = folder / f"console-{name}.png"
        page.screenshot(path=path, animations="disabled")
        assert path.stat().st_size <= MOST_BYTES

    return take


def axe_faults(page: Page) -> list[str]:
    """What axe-core finds wrong on a page, each with the elements."""
    page.evaluate(AXE)
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [f"{one['id']}: {[node['html'] for node in one['nodes']]}" for one in found["violations"]]
