"""The console's server: closed to other sites, other programs and other files; nothing changes without confirmation."""

import http.client
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cli.command import Relay
from cli.console.endpoints import Endpoints
from cli.console.server import HEADERS, MAX_BODY_BYTES, Console
from cli.main import relay as tool
from tests.unit.cli.conftest import Deployment, deployment, stacks  # noqa: F401 - fixtures

DISABLE = "/api/commands/tenants/disable"


@dataclass
class Page:
    """What a page of the console can send; headers of None are left out."""

    console: Console
    token: str = ""

    def send(self, method: str, path: str, body: Any = None, **headers: str | None) -> tuple[int, Any, dict[str, str]]:
        """Status, body (the last line if it is JSON), headers."""
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        given: dict[str, str | None] = {
            "Host": self.console.origin.removeprefix("http://"),
            "Origin": self.console.origin if method == "POST" else None,
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json" if body is not None else None,
            "Content-Length": None if content is None else str(len(content)),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        connection = http.client.HTTPConnection("127.0.0.1", self.console.server_port, timeout=60)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in given.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(content)
        reply = connection.getresponse()
        text, known = reply.read(), dict(reply.getheaders())
        connection.close()
        plain = "json" not in known.get("Content-Type", "")
        return reply.status, text if plain else json.loads(text.splitlines()[-1]), known


@pytest.fixture
def page(deployment: Deployment) -> Iterator[Page]:  # noqa: F811 - the fixture
    relay = Relay()
    relay.options = {"local_file": deployment.file}
    with Console(0, Endpoints(tool, relay)) as console:
        thread = threading.Thread(target=console.serve_forever, daemon=True)
        thread.start()
        page = Page(console)
        page.token = page.send("POST", "/api/session", {"token": token_of(console)})[1]["token"]
        assert confirm(page, "/api/commands/tenants/create", tenant="acme")[0] == 200
        yield page
        console.shutdown()
        thread.join()


def token_of(console: Console) -> str:
    return console.link().partition("#")[2]


def confirm(page: Page, path: str, **values: Any) -> tuple[int, Any, dict[str, str]]:
    asked = page.send("POST", path, {"values": values})[1]
    return page.send("POST", path, {"values": values, "confirm": asked["confirm"]})


def disabled(page: Page) -> bool:
    (tenant,) = page.send("GET", "/api/commands/tenants/list")[1]["data"]["tenants"]
    return bool(tenant["disabled"])


def test_a_link_is_exchanged_once_and_only_the_last_one(page: Page) -> None:
    earlier, last = token_of(page.console), token_of(page.console)
    tokens: list[Any] = ["", None, 7, last[:-1], earlier]
    assert {page.send("POST", "/api/session", {"token": one})[0] for one in tokens} == {401}
    assert page.send("POST", "/api/session", {"token": last}, Authorization=None)[0] == 200
    assert page.send("POST", "/api/session", {"token": last})[0] == 401
    assert page.send("GET", "/api/about", Authorization=f"Bearer {last}")[0] == 401
    assert page.send("GET", "/api/about")[0] == 200  # the page that was open stays so


ELSEWHERE: list[dict[str, Any]] = [
    *({"Host": host} for host in (None, "", "127.0.0.1", "localhost:{}", "evil.example:{}", "127.0.0.1:{}.x")),
    *({"Origin": origin} for origin in ("null", "https://evil.example", "http://localhost:{}", "http://127.0.0.1")),
    *({"Sec_Fetch_Site": site} for site in ("cross-site", "same-site", "none")),
    *({"Authorization": value} for value in (None, "", "Bearer", "Bearer x", "Basic {token}", "{token}")),
]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_requests_from_elsewhere_are_refused(page: Page, method: str) -> None:
    confirmed = page.console.endpoints.command_line("tenants disable", {"tenant": "acme"})[1]
    body = {"values": {"tenant": "acme"}, "confirm": confirmed}
    request = ("GET", "/api/commands/tenants/list", None) if method == "GET" else ("POST", DISABLE, body)
    for headers in ELSEWHERE:
        given = {n: v and v.format(page.console.server_port, token=page.token) for n, v in headers.items()}
        wanted = 401 if "Authorization" in headers else 403
        assert page.send(*request, **given)[0] == wanted, given
        assert not disabled(page)
    assert page.send(*request, Sec_Fetch_Site="same-origin")[0] == 200
    assert disabled(page) == (method == "POST")


def test_nothing_changes_without_the_confirmation_of_its_own_command_line(page: Page) -> None:
    assert page.send("POST", DISABLE, {"values": {"tenant": "acme"}}, Origin=None)[0] == 403
    other = page.send("POST", "/api/commands/tenants/enable", {"values": {"tenant": "acme"}})[1]["confirm"]
    for given in (None, "", True, other, 7):
        status, answer, _ = page.send("POST", DISABLE, {"values": {"tenant": "acme"}, "confirm": given})
        assert (status, answer["command"].endswith("tenants disable acme"), "text" in answer) == (200, True, False)
    assert page.send("GET", f"{DISABLE}?tenant=acme")[0] == 404
    assert not disabled(page)
    assert "is disabled" in confirm(page, DISABLE, tenant="acme")[1]["text"]
    assert disabled(page)


def test_what_is_not_there_or_unreadable_is_refused(page: Page) -> None:
    nothing = (
        "/../server.py", "/%2e%2e/server.py", "/vendor/../../server.py", "//etc/passwd", "/index.html/", "/server.py",
        "/vendor/LICENSE-htm.txt", "/vendor/", "/api/commands/", "/api/commands/tail", "/api/commands/env", "/api",
    )  # fmt: skip
    cases: list[tuple[str, str, Any, int]] = [
        *(("GET", path, None, 404) for path in nothing),
        ("GET", "/api/commands/tenants/show", None, 400),
        ("GET", "/api/commands/tenants/show?tenant", None, 400),
        ("GET", "/api/commands/tenants/show?" + "&".join(["tenant=a"] * 30), None, 400),
        ("POST", "/api/commands/provider/set-key", {}, 404),
        ("POST", DISABLE, b"{", 400),
        ("POST", DISABLE, b"[" * 50_000, 400),
        ("POST", DISABLE, [], 400),
        ("POST", DISABLE, {"values": []}, 400),
        ("POST", DISABLE, b" " * (MAX_BODY_BYTES + 1), 413),
        ("PUT", "/", None, 501),
        ("OPTIONS", DISABLE, None, 501),
    ]
    for method, path, body, status in cases:
        assert page.send(method, path, body)[0] == status, path


def test_body_of_another_type_or_without_a_length_is_refused(page: Page) -> None:
    body = {"values": {"tenant": "acme"}}
    assert page.send("POST", DISABLE, body, Content_Type="text/plain")[0] == 415
    assert page.send("POST", DISABLE, body, Content_Length=None)[0] == 413


def test_refused_command_says_why_and_hostile_text_comes_as_it_is(page: Page) -> None:
    text = "<img src=x onerror=alert(1)>"
    status, answer, headers = confirm(page, "/api/commands/tenants/show", tenant=text)
    assert (status, text in answer["error"], headers["Content-Type"]) == (200, True, "application/x-ndjson")


def test_every_answer_forbids_what_the_pages_do_not_need(page: Page) -> None:
    assert "unsafe" not in HEADERS["Content-Security-Policy"]
    for path in ("/", "/app.js", "/vendor/htm-preact-3.1.1.js", "/api/about", "/nothing"):
        headers = page.send("GET", path)[2]
        assert headers.items() >= HEADERS.items()
        assert "Access-Control-Allow-Origin" not in headers


def test_it_listens_on_this_machine_alone(page: Page) -> None:
    assert page.console.server_address[0] == "127.0.0.1"
    assert page.console.link().startswith(f"http://127.0.0.1:{page.console.server_port}/#")
