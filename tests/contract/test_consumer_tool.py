"""The clients' commands against a relay that disconnects, refuses and lies: by address and key alone."""

import hashlib
import io
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli.api import KEY_VARIABLE
from cli.command import INTERRUPTED
from cli.main import main
from cli.watching import EXIT_STATUS, PACE, Pace
from local.simulator.images import image
from tests.contract.socket_server import free_port
from tests.documents import ROOT
from vidu_relay.domain.catalogue import Model, Offering, models
from vidu_relay.domain.model_schema import describe_models
from vidu_relay.domain.states import Status

KEY = "key-of-acme_0123456789"
TASK_ID = "a" * 26
VIDEO = bytes(range(256)) * 2000
AT = "2026-11-23T02:01:12.000Z"

ROUTES = ("/v1/tasks", "/v1/tasks/", "/v1/estimates", "/video", "/form")
ESTIMATE = {
    "model": "m",
    "provider": "vidu",
    "off_peak": False,
    "usd": "0.275",
    "reserved_usd": "0.275",
    "basis": "list",
    "request": {"path": "/ent/v2/text2video", "body": {"prompt": "a fox"}},
}

Body = dict[str, Any]
Answer = Callable[[BaseHTTPRequestHandler], None]
Run = Callable[..., tuple[int, str, str]]


class Relay:
    """A relay with one task; the next answers of a route can be put in front of its own."""

    def __init__(self) -> None:
        self.history = ["submitting", "submitted", "generated", "completed"]
        self.error: Body | None = None
        self.sha256 = hashlib.sha256(VIDEO).hexdigest()
        self.submitted: list[tuple[str, Body]] = []
        self.uploads: list[bytes] = []
        self.reads = 0
        self.ranges: list[str | None] = []
        self.next: dict[str, list[Answer]] = {route: [] for route in ROUTES}
        self.keys: set[str | None] = set()
        self.asked: list[str] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def task(self) -> Body:
        status = self.history[-1]
        done = status == "completed"
        link = f"{self.url}/video?signature={self.reads}"
        video = {"bucket": "videos", "key": "1.mp4", "size": len(VIDEO), "sha256": self.sha256}
        return {
            "task_id": TASK_ID,
            "status": status,
            "version": len(self.history),
            "created_at": AT,
            "updated_at": AT,
            "error": self.error,
            "usage": None,
            "output": [{"results": [{"type": "video", "url": link}]}] if done else [],
            "videos": [video] if done else [],
            "history": [{"at": AT, "status": one, "source": "callback"} for one in self.history],
        }

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        relay = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                pass

            def do_CONNECT(self) -> None:
                relay.asked.append(self.path)
                say(self, 502)

            def do_POST(self) -> None:
                relay.asked.append(self.path)
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/form":
                    relay.uploads.append(body)
                    return relay._answer(self, "/form", says(204))
                relay.keys.add(self.headers["Authorization"])
                if self.path == "/v1/uploads":
                    uri = f"s3://inbox/uploads/acme/{len(relay.uploads)}.png"
                    return say(self, 201, {"url": f"{relay.url}/form", "fields": {"key": "k"}, "uri": uri})
                if self.path == "/v1/estimates":
                    return relay._answer(self, "/v1/estimates", lambda handler: say(handler, 200, ESTIMATE))
                if self.path != "/v1/tasks":
                    return relay._answer(self, "/v1/tasks/", lambda handler: say(handler, 202, relay.task()))
                relay.submitted.append((self.headers["Idempotency-Key"], json.loads(body)))
                return relay._answer(self, "/v1/tasks", lambda handler: say(handler, 202, relay.task()))

            do_DELETE = relay._delete  # noqa: N815 - the base class's name

            def do_GET(self) -> None:
                if self.path.startswith("/video"):
                    assert "Authorization" not in self.headers
                    relay.ranges.append(self.headers["Range"])
                    return relay._answer(self, "/video", send_video)
                relay.keys.add(self.headers["Authorization"])
                relay.asked.append(self.path)
                relay.reads += 1
                if self.path == "/v1/models":
                    return say(self, 200, {"models": describe_models(Offering(("gateway",)))})
                if not self.path.startswith("/v1/tasks/"):
                    return say(self, 200, {"tasks": [relay.task()], "next_cursor": "c+1"})
                return relay._answer(self, "/v1/tasks/", lambda handler: say(handler, 200, relay.task()))

        return Handler

    @property
    def _delete(self) -> Answer:
        def delete(handler: BaseHTTPRequestHandler) -> None:
            self.asked.append(handler.path)
            self._answer(handler, "/v1/tasks/", says(204))

        return delete

    def _answer(self, handler: BaseHTTPRequestHandler, route: str, usual: Answer) -> None:
        planned = self.next[route]
        (planned.pop(0) if planned else usual)(handler)


def say(handler: BaseHTTPRequestHandler, status: int, body: object = None, **headers: str) -> None:
    content = json.dumps(body).encode() if body is not None else b""
    handler.send_response(status)
    for name, value in {**headers, "Content-Length": str(len(content))}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(content)


def says(status: int, body: object = None, **headers: str) -> Answer:
    return lambda handler: say(handler, status, body, **headers)


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    handler.connection.close()


def send_video(handler: BaseHTTPRequestHandler, content: bytes = VIDEO, until: int | None = None) -> None:
    """The bytes that are asked for, cut off at `until`."""
    start = int((handler.headers["Range"] or "bytes=0-").removeprefix("bytes=").rstrip("-"))
    handler.send_response(206 if start else 200)
    handler.send_header("Content-Length", str(len(content) - start))
    handler.end_headers()
    handler.wfile.write(content[start:until])
    handler.close_connection = True


@pytest.fixture
def relay(monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    monkeypatch.setattr("cli.watching.PACE", Pace(0.001, 0.01, 0.01))
    monkeypatch.setattr("cli.submission.FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr("cli.download.FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    relay = Relay()
    thread = threading.Thread(target=relay.server.serve_forever, args=(0.01,))
    thread.start()
    yield relay
    relay.server.shutdown()
    relay.server.server_close()
    thread.join()


@pytest.fixture
def run(relay: Relay, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command by address and key: exit status, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(["--api-url", relay.url, *arguments])
        output = capsys.readouterr()
        return status, output.out, output.err

    return run


def data(out: str) -> list[Body]:
    return [json.loads(line) for line in out.splitlines()]


def test_lost_submission_is_repeated_under_the_same_key(relay: Relay, run: Run) -> None:
    relay.next["/v1/tasks"] = [hangs_up, says(503), says(429, {"message": "Too Many Requests"})]
    status, out, error = run("--json", "submit", "--prompt", "a fox", "--image", "https://example.com/fox.png")
    assert status == 0, error
    assert len(relay.submitted) == 4
    assert len({json.dumps(one) for one in relay.submitted}) == 1
    assert data(out)[0]["idempotency_key"] == relay.submitted[0][0]


def test_submission_without_an_answer_names_the_command_that_repeats_it_safely(
    relay: Relay, run: Run, tmp_path: Path
) -> None:
    relay.next["/v1/tasks"] = [hangs_up] * 4
    file = tmp_path / "fox.png"
    file.write_bytes(image("fox", "png"))
    options = ("--subject", f"fox={file}", "--prompt=-5 °C, @fox's snow", "--duration", "2", "--audio")
    status, _, error = run("submit", *options)
    assert status == 1
    again = error.splitlines()[-1].strip()
    words = shlex.split(again)
    assert words[:3] == ["relay", "--api-url", relay.url]
    assert str(file) not in again
    assert main(words[1:]) == 0
    assert len({json.dumps(one) for one in relay.submitted}) == 1
    assert len(relay.uploads) == 1


def test_options_become_the_request_and_files_are_uploaded_first(relay: Relay, run: Run, tmp_path: Path) -> None:
    fox = tmp_path / "a fox.png"
    fox.write_bytes(image("fox", "png"))
    status, _, error = run(
        "submit", "--prompt", "@a @b", "--subject", f"a={fox},https://example.com/a.webp", "--subject", "b=s3://x/b.png",
        "--seed", "0", "--off-peak", "--resolution", "1080p", "--idempotency-key", "k1",
        "--external-id", "order 1", "--priority", "-2", "--label", "team=blue", "--label", "note=a=b",
    )  # fmt: skip
    assert status == 0, error
    ((key, request),) = relay.submitted
    assert key == "k1"
    assert request == {
        "model": "viduq2_pro_fast_reference2video",
        "subjects": [
            {"id": "a", "images": ["s3://inbox/uploads/acme/0.png", "https://example.com/a.webp"]},
            {"id": "b", "images": ["s3://x/b.png"]},
        ],
        "prompt": "@a @b",
        "resolution": "1080p",
        "seed": 0,
        "off_peak": True,
        "external_id": "order 1",
        "priority": -2,
        "labels": {"team": "blue", "note": "a=b"},
    }
    assert image("fox", "png") in relay.uploads[0]
    assert relay.keys == {f"Bearer {KEY}"}


def test_another_model_has_options_of_its_own_and_is_repeated_with_them(relay: Relay, run: Run) -> None:
    model = "viduq3_turbo_text2video"
    relay.next["/v1/tasks"] = [hangs_up] * 4
    status, _, error = run("submit", f"--model={model}", "--prompt", "a fox", "--no-audio", "--aspect-ratio=4:3")
    assert (status, main(shlex.split(error.splitlines()[-1])[1:])) == (1, 0)
    asked = {"model": model, "prompt": "a fox", "audio": False, "aspect_ratio": "4:3"}
    assert [request for _, request in relay.submitted] == [asked] * 5


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--model", "viduq2_text2vide"), "did you mean viduq2_text2video? The models are viduq2_pro_fast_reference2"),
        (("--model", "viduq2_text2video", "--prompt", "x", "--image", "https://a/b.png"), "No such option '--image'"),
        (("--model",), "there is no model ''"),
    ],
)
def test_option_that_a_model_does_not_have_is_wrong_usage(
    relay: Relay, run: Run, arguments: tuple[str, ...], says: str
) -> None:
    status, out, error = run("submit", *arguments)
    assert (status, out, says in error, relay.submitted) == (2, "", True, []), error


@pytest.mark.parametrize("model", models().values(), ids=list(models()))
def test_help_shows_what_a_model_takes_at_each_provider(
    model: Model, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", "--help", "--model", model.id]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for offer in model.offers.values():
        for name, spec in offer.parameters.items():
            option = name.removesuffix("s") if name in ("images", "subjects") else name.replace("_", "-")
            assert f" --{option} " in shown
            limits = [*spec.choices, *([spec.most] if name == "duration" and spec.most else [])]
            assert not [limit for limit in limits if str(limit) not in shown]


def test_models_are_those_of_the_relay_or_without_one_those_of_the_catalogue(
    relay: Relay, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = run("models")
    offered = Offering(("gateway",)).model_ids()
    assert (status, [line.split()[0] for line in out.splitlines()]) == (0, ["MODEL", *offered])
    assert out.splitlines()[1].split() == [
        offered[0],
        "reference2video",
        "gateway",
        "1",
        "to",
        "8",
        "720p,",
        "1080p",
        "page",
    ]
    assert main(["models"]) == 0
    rows = [tuple(line.split()[0:3:2]) for line in capsys.readouterr().out.splitlines()[1:]]
    assert sorted(rows) == sorted((one.id, provider) for one in models().values() for provider in one.offers)


def test_one_model_is_shown_with_parameters_and_rules_and_an_unknown_one_with_what_there_is(run: Run) -> None:
    status, out, _ = run("models", "vidu20_img2video")
    assert status == 0
    assert "duration            integer  4, 8                        4         seconds\n" in out
    assert "- duration 8 has resolution 720p only\n" in out
    (shown,) = json.loads(run("--json", "models", "vidu20_img2video")[1])["models"]
    assert shown["request"]["properties"]["duration"]["enum"] == [4, 8]
    status, out, error = run("models", "viduq1_img2video")
    assert (status, out) == (1, "")
    assert "there is no model 'viduq1_img2video': did you mean vidu20_img2video? The models are viduq2_pro" in error


def test_upload_without_an_answer_is_repeated_and_a_refused_one_is_reported(
    relay: Relay, run: Run, tmp_path: Path
) -> None:
    fox = tmp_path / "fox.png"
    fox.write_bytes(image("fox", "png"))
    relay.next["/form"] = [hangs_up, says(503)]
    assert run("submit", "--prompt", "x", "--image", str(fox))[0] == 0
    assert (len(relay.uploads), len(relay.submitted)) == (3, 1)

    relay.next["/form"] = [says(403)]
    status, _, error = run("submit", "--prompt", "x", "--image", str(fox))
    assert (status, "the upload was refused" in error, len(relay.submitted)) == (1, True, 1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "give a FILE"),
        (("--prompt", "x"), "either --image or --subject"),
        (("--prompt", "x", "--image", "https://a/b", "--subject", "a=https://a/b"), "either --image or --subject"),
        (("--prompt", "x", "--subject", "https://a/b.png"), "must be ID=IMAGE"),
        (("--prompt", "x", "--image", "missing.png"), "cannot read the image 'missing.png'"),
        (("--prompt", "x", "--image", "README.md"), "no png, jpeg or webp"),
        *((("--prompt", "x", "--image", "https://a/b", "--label", label), "must be KEY=TEXT") for label in ("a", "=b")),
        (("missing.json",), "cannot read missing.json"),
        (("README.md",), "is not JSON"),
        (("request.json", "--prompt", "x"), "put --prompt into it"),
        (("request.json", "--label", "a=b"), "put --label into it"),
        *(
            (("docs/openapi.json", "--idempotency-key", key), "an idempotency key has 1 to 255")
            for key in ("", "заказ", " order", "order\n", "k" * 256)
        ),
    ],
)
def test_invalid_request_is_refused_before_anything_is_sent(
    relay: Relay, run: Run, arguments: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    status, out, error = run("submit", *arguments)
    assert (status, out, says in error) == (1, "", True), error
    assert (relay.submitted, relay.uploads) == ([], [])


def test_refusal_shows_every_fault_and_is_not_repeated(relay: Relay, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = [{"loc": "duration", "msg": "must be 1 to 8\x1b[2J"}, {"loc": "seed", "msg": "must be a number"}]
    relay.next["/v1/tasks"] = [says(422, {"code": "validation_error", "detail": "Not valid.", "errors": faults})]
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b'{"duration": 99}')))
    status, _, error = run("submit", "-")
    assert status == 1
    assert "HTTP 422, validation_error" in error
    assert "  duration: must be 1 to 8?[2J\n  seed: must be a number" in error
    assert [request for _, request in relay.submitted] == [{"duration": 99}]


def test_dry_run_shows_what_would_be_sent_and_paid_and_submits_nothing(relay: Relay, run: Run) -> None:
    options = ("submit", "--prompt", "a fox", "--image", "https://a/b.png", "--dry-run")
    relay.next["/v1/estimates"] = [hangs_up]
    status, out, error = run(*options)
    assert (status, relay.submitted, relay.asked) == (0, [], ["/v1/estimates"] * 2)
    assert out.startswith(
        'vidu would be sent /ent/v2/text2video {\n "prompt": "a fox"\n}\nfor 0.275 USD, by the price list.'
    )
    assert data(run("--json", *options)[1]) == [ESTIMATE]
    unknown = {**ESTIMATE, "usd": None, "basis": "unknown", "reserved_usd": "1"}
    relay.next["/v1/estimates"] = [lambda handler: say(handler, 200, unknown)]
    assert "for an unknown price. A budget counts 1 USD" in run(*options)[1]
    relay.next["/v1/estimates"] = [says(429, {"code": "hourly_limit_reached", "detail": "Later."})]
    assert "hourly_limit_reached: Later." in run(*options)[2]
    assert main(shlex.split(error.splitlines()[-1])[1:]) == 0
    assert [request["prompt"] for _, request in relay.submitted] == ["a fox"]


@pytest.mark.parametrize(("status", "code"), [(429, "daily_cap_reached"), (503, "not_configured")])
def test_refusal_with_a_code_is_shown_and_not_repeated(relay: Relay, run: Run, status: int, code: str) -> None:
    relay.next["/v1/tasks"] = [says(status, {"code": code, "detail": "Later."}, Retry_After="3600")]
    exit_status, _, error = run("submit", "--prompt", "x", "--image", "https://a/b.png")
    assert (exit_status, f"{code}: Later." in error, len(relay.submitted)) == (1, True, 1)


def test_tasks_are_listed_by_page_without_links(relay: Relay, run: Run) -> None:
    status, out, _ = run("list", "--status", "completed", "--limit", "1")
    assert status == 0
    assert out.splitlines()[1].split() == [TASK_ID, "completed", AT]
    words = shlex.split(out.splitlines()[-1])
    assert words == [
        "relay",
        "--api-url",
        relay.url,
        *["list", "--status", "completed", "--limit", "1", "--cursor", "c+1"],
    ]
    assert main([*words[1:], "--json"]) == 0
    assert relay.asked == ["/v1/tasks?status=completed&limit=1", "/v1/tasks?status=completed&limit=1&cursor=c%2B1"]
    days = ("--from", "2026-11-01", "--to", "2026-11-30T00:00:00+01:00")
    words = shlex.split(run("list", *days, "--model", "m")[1].splitlines()[-1])
    assert words[3:] == ["list", *days, "--model", "m", "--cursor", "c+1"]
    run("list", "--external-id", "a&b")
    between = "created_from=2026-11-01&created_to=2026-11-30T00%3A00%3A00%2B01%3A00&model=m"
    assert relay.asked[2:] == [f"/v1/tasks?{between}", "/v1/tasks?external_id=a%26b"]
    page = data(run("--json", "list")[1])[0]
    assert (page["next_cursor"], page["tasks"][0]["task_id"], "output" in page["tasks"][0]) == ("c+1", TASK_ID, False)


def test_task_is_canceled_or_the_refusal_is_shown(relay: Relay, run: Run) -> None:
    relay.history = ["canceled"]
    assert run("cancel", TASK_ID)[:2] == (0, f"Task {TASK_ID} is canceled.\n")
    assert relay.asked == [f"/v1/tasks/{TASK_ID}/cancel"]
    relay.history = ["submitted"]
    assert f"relay --api-url {relay.url} watch {TASK_ID}" in run("cancel", TASK_ID)[1]
    for code, http_status in (("cancel_not_supported", 409), ("cancel_unconfirmed", 503)):
        relay.next["/v1/tasks/"] = [says(http_status, {"code": code, "detail": "No."})]
        assert run("cancel", TASK_ID) == (1, "", f"relay: {TASK_ID}: HTTP {http_status}, {code}: No.\n")


def test_attempts_of_webhooks_are_shown_without_control_characters_and_repeated(relay: Relay, run: Run) -> None:
    attempt = {"at": AT, "status": 503, "fault": None, "latency_ms": 12, "answer": "busy\x1b[2J"}
    silent = {**attempt, "status": None, "fault": "timeout", "answer": ""}
    one = {"version": 7, "status": "completed", "state": "retrying", "next_try_at": AT, "attempts": [attempt, silent]}
    relay.next["/v1/tasks/"] = [says(200, {"notifications": [one]}), says(200, {"notifications": []})]
    status, out, _ = run("webhooks", "attempts", TASK_ID)
    assert (status, out.splitlines()[0]) == (0, f"Version 7, completed: retrying, not before {AT}")
    assert [line.split()[1:] for line in out.splitlines()[2:]] == [["HTTP", "503", "12", "busy?[2J"], ["timeout", "12"]]
    assert run("webhooks", "attempts", TASK_ID)[1] == "No webhook of this task was attempted.\n"

    refused = says(429, {"code": "hourly_limit_reached", "detail": "Used up."}, Retry_After="60")
    relay.next["/v1/tasks/"] = [says(202, {"webhook_id": f"{TASK_ID}:7"}), refused]
    assert f"webhooks attempts {TASK_ID}" in run("webhooks", "replay", TASK_ID, "7")[1]
    assert run("webhooks", "replay", TASK_ID, "7")[::2] == (
        1,
        f"relay: {TASK_ID}: HTTP 429, hourly_limit_reached: Used up.\n",
    )
    assert relay.asked[-2:] == [f"/v1/tasks/{TASK_ID}/notifications/7/replay"] * 2

    relay.next["/v1/tasks/"] = [says(200, {**attempt, "webhook_id": "test:1"})]
    assert run("webhooks", "test", "https://example.com/hook")[:2] == (0, "HTTP 503 after 12 ms: busy?[2J\n")
    assert relay.asked[-1] == "/v1/webhooks/test"


def test_tasks_are_deleted_each_for_itself_and_only_if_asked_for(relay: Relay, run: Run) -> None:
    status, out, error = run("delete", TASK_ID)
    assert (status, out, relay.asked) == (1, "", [])
    assert f"relay --api-url {relay.url} delete {TASK_ID} --yes" in error
    other = "b" * 26
    relay.next["/v1/tasks/"] = [says(503, {"code": "deletion_incomplete", "detail": "Again."}), says(502)]
    assert run("delete", TASK_ID, other, "--yes") == (
        1,
        "",
        f"relay: {TASK_ID}: HTTP 503, deletion_incomplete: Again.\nrelay: {other}: HTTP 502\n",
    )
    relay.next["/v1/tasks/"] = [says(409, {"code": "task_not_settled", "detail": "Wait."})]
    status, out, error = run("--json", "delete", TASK_ID, other, "--yes")
    assert (status, json.loads(out), "task_not_settled" in error) == (1, {"task_id": other, "deleted": True}, True)
    assert run("delete", TASK_ID, TASK_ID, "--yes")[:2] == (0, f"The content of task {TASK_ID} is deleted.\n")
    assert relay.asked == [f"/v1/tasks/{task_id}" for task_id in (TASK_ID, other, TASK_ID, other, TASK_ID)]


def test_proxy_of_the_environment_is_used_for_an_address_and_not_for_this_machine(
    relay: Relay, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for case in (str.lower, str.upper):
        monkeypatch.delenv(case("no_proxy"), raising=False)
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(case(name), relay.url)
    assert main(["--api-url", "https://relay.example", "get", TASK_ID]) == 1
    assert relay.asked == ["relay.example:443"]
    file, port = tmp_path / "stack.json", free_port()
    stack = {"region": "us-east-1", "stack_name": "s", "table": "t", "aws_ca_bundle": None, "api_key": KEY}
    file.write_text(
        json.dumps(stack | {"api_url": f"http://127.0.0.1:{port}", "aws_endpoint_url": f"http://127.0.0.1:{port}"})
    )
    for command in (["queues", "list"], ["list"]):
        assert main(["--local-file", str(file), *command]) == 1
    assert (relay.asked, "roxy" in capsys.readouterr().err) == (["relay.example:443"], False)


def test_key_is_read_from_a_file_and_printed_nowhere(
    relay: Relay, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(KEY_VARIABLE)
    assert main(["--api-url", relay.url, "watch", TASK_ID]) == 1
    assert "seen by every program" in capsys.readouterr().err
    file = tmp_path / "key"
    file.write_text("of-a-file\n")
    relay.next["/v1/tasks/"] = [says(403, {"message": "Forbidden"})]
    assert main(["--api-url", relay.url, "--api-key-file", str(file), "watch", TASK_ID]) == 1
    error = capsys.readouterr().err
    assert "the API key is not accepted" in error
    assert "of-a-file" not in error
    assert relay.keys == {"Bearer of-a-file"}


def test_entry_in_netrc_is_ignored(relay: Relay, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert run("get", TASK_ID, "-o", str(tmp_path / "v.mp4"))[0] == 0
    assert relay.keys == {f"Bearer {KEY}"}


@pytest.mark.parametrize("url", ["http://example.com", "ftp://example.com", "example.com", "https://a:b@example.com"])
def test_key_is_sent_to_no_address_that_others_could_read(
    url: str, relay: Relay, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--api-url", url, "watch", TASK_ID]) == 1
    assert "address" in capsys.readouterr().err


def test_server_that_is_no_relay_is_reported(relay: Relay, run: Run) -> None:
    for answer in (
        says(200, []),
        says(200, {"task_id": TASK_ID}),
        says(302, None, Location="https://elsewhere.example.com"),
    ):
        relay.next["/v1/tasks/"] = [answer]
        status, _, error = run("watch", TASK_ID)
        assert (status, "check the address" in error) == (1, True)


def test_watching_survives_outages_and_shows_each_change_once(relay: Relay, run: Run) -> None:
    whole = relay.history
    relay.history = whole[:1]

    def settle(handler: BaseHTTPRequestHandler) -> None:
        relay.history = whole
        say(handler, 200, relay.task())

    usual = says(200, relay.task(), Retry_After="0")
    relay.next["/v1/tasks/"] = [usual, hangs_up, says(503), says(429, None, Retry_After="0"), usual, usual, settle]
    status, out, error = run("--json", "watch", TASK_ID)
    assert status == 0
    assert [line["status"] for line in data(out)] == [*whole, "completed"]
    assert error.count("gives no answer") == error.count("answers again") == 1
    assert "signature" not in out


def test_watching_waits_as_the_relay_advises(relay: Relay, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("cli.watching.PACE", PACE)
    monkeypatch.setattr("cli.watching.time", SimpleNamespace(monotonic=lambda: 0.0, sleep=waits.append))
    open_ = relay.task() | {"status": "submitted"}
    relay.next["/v1/tasks/"] = [
        says(200, open_, Retry_After="40"),
        says(200, open_, Retry_After="7200"),
        says(200, open_),
    ]
    assert run("watch", TASK_ID)[0] == 0
    assert waits == [0, 40, PACE.longest, PACE.shortest]


@pytest.mark.parametrize("status", [Status.FAILED, Status.EXPIRED, Status.CANCELED])
def test_end_of_a_task_is_the_exit_status(relay: Relay, run: Run, status: Status) -> None:
    relay.history = ["submitting", status.value]
    relay.error = {"code": "some_code", "message": "so\x1b]0;it\x07 was"}
    code, out, _ = run("watch", TASK_ID)
    assert code == EXIT_STATUS[status]
    assert f"{TASK_ID} is {status}: some_code: so?]0;it? was" in out


def test_unknown_task_ends_the_watching(relay: Relay, run: Run) -> None:
    other = "b" * 26
    relay.history = ["submitting"]
    relay.next["/v1/tasks/"] = [
        lambda handler: say(handler, 200, relay.task()),
        says(404, {"code": "task_not_found", "detail": "No such task."}),
    ]
    status, _, error = run("watch", TASK_ID, other)
    assert (status, error) == (1, f"relay: {other}: HTTP 404, task_not_found: No such task.\n")
    status, _, error = run("watch", "../tasks")
    assert (status, "a task id has 26" in error) == (1, True)


def test_unchanged_task_is_read_ever_more_seldom() -> None:
    waits = [PACE.until_next(quiet) for quiet in (0, 5, 60, 300, 3600, 10**6)]
    assert waits == sorted(waits)
    assert (waits[0], waits[2], waits[-1]) == (PACE.shortest, 6, PACE.longest)
    assert (PACE.until_next(60, 30), PACE.until_next(600, 30), PACE.until_next(0, 3600)) == (30, 60, PACE.longest)
    assert all(0 < PACE.after_failures(number) <= PACE.longest_outage for number in range(1, 2000))


def test_ctrl_c_ends_the_watching_with_the_command_that_resumes_it(relay: Relay) -> None:
    relay.history = ["submitting"]
    process = tool(relay, "watch", TASK_ID)
    assert process.stdout
    assert TASK_ID.encode() in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == INTERRUPTED
    assert error.decode().splitlines()[-1].split() == ["relay", "--api-url", relay.url, "watch", TASK_ID]


def tool(
    relay: Relay, *arguments: str, environment: dict[str, str] | None = None, **streams: Any
) -> subprocess.Popen[bytes]:
    """The tool as a process of its own, without AWS credentials."""
    command = [sys.executable, "-m", "cli", "--api-url", relay.url, *arguments]
    paths = os.pathsep.join(str(path) for path in (ROOT, ROOT / "layers" / "shared"))
    usual = {"PATH": "/usr/bin:/bin", "PYTHONPATH": paths, KEY_VARIABLE: KEY, "TERM": "xterm"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.Popen(  # noqa: S603 - ours
        command,
        cwd=ROOT,
        env={**usual, **(environment or {})},
        preexec_fn=heeds_ctrl_c,  # noqa: PLW1509 - no threads here yet
        **streams,
    )


def heeds_ctrl_c() -> None:
    """A shell starts background programs with SIGINT ignored, and their children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_interrupted_download_resumes_with_a_fresh_link(relay: Relay, run: Run, tmp_path: Path) -> None:
    relay.next["/video"] = [
        says(403),  # the link has expired
        lambda handler: send_video(handler, until=100_000),
        says(503),
        lambda handler: send_video(handler, until=300_000),
    ]
    target = tmp_path / "fox.mp4"
    status, out, error = run("--json", "get", TASK_ID, "-o", str(target))
    assert status == 0, error
    assert target.read_bytes() == VIDEO
    assert relay.ranges[:2] == [None, None]
    assert relay.ranges[-1] is not None
    assert data(out)[0]["videos"][0]["sha256"] == relay.sha256
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("content", [bytes(len(VIDEO)), VIDEO + b"!", VIDEO[:-1]], ids=["other", "longer", "shorter"])
def test_wrong_video_is_refused_and_nothing_is_left(relay: Relay, run: Run, tmp_path: Path, content: bytes) -> None:
    def wrong(handler: BaseHTTPRequestHandler) -> None:
        start = int((handler.headers["Range"] or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if start >= len(content):
            return say(handler, 416)
        return send_video(handler, content)

    relay.next["/video"] = [wrong] * 20
    status, _, error = run("get", TASK_ID, "-o", str(tmp_path))
    assert (status, list(tmp_path.iterdir())) == (1, [])
    assert "not the video that was recorded" in error or "cannot be fetched" in error


def test_server_that_ignores_ranges_is_read_from_the_start(relay: Relay, run: Run, tmp_path: Path) -> None:
    relay.next["/video"] = [
        lambda handler: send_video(handler, until=100_000),
        send_all,
    ]
    assert run("get", TASK_ID, "-o", str(tmp_path))[0] == 0
    assert (tmp_path / f"{TASK_ID}.mp4").read_bytes() == VIDEO


def send_all(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(VIDEO)))
    handler.end_headers()
    handler.wfile.write(VIDEO)


def test_file_of_another_content_is_kept_unless_forced(relay: Relay, run: Run, tmp_path: Path) -> None:
    target = tmp_path / "fox.mp4"
    target.write_bytes(b"mine")
    status, _, error = run("get", TASK_ID, "-o", str(target))
    assert (status, "--force" in error, target.read_bytes()) == (1, True, b"mine")
    assert run("get", TASK_ID, "-o", str(target), "--force")[0] == 0
    assert target.read_bytes() == VIDEO
    asked = len(relay.ranges)
    status, out, _ = run("get", TASK_ID, "-o", str(target))
    assert (status, "Exists already" in out, len(relay.ranges)) == (0, True, asked)


def test_file_that_is_created_meanwhile_is_kept(relay: Relay, run: Run, tmp_path: Path) -> None:
    target = tmp_path / "fox.mp4"

    def overtaken(handler: BaseHTTPRequestHandler) -> None:
        target.write_bytes(b"mine")
        send_video(handler)

    relay.next["/video"] = [overtaken]
    status, _, error = run("get", TASK_ID, "-o", str(target))
    assert (status, "meanwhile" in error, target.read_bytes()) == (1, True, b"mine")
    assert list(tmp_path.iterdir()) == [target]


def test_ctrl_c_leaves_no_partial_video(relay: Relay, tmp_path: Path) -> None:
    reached, ended = threading.Event(), threading.Event()

    def stalls(handler: BaseHTTPRequestHandler) -> None:
        send_video(handler, until=200_000)
        handler.wfile.flush()
        reached.set()
        ended.wait(30)

    relay.next["/video"] = [stalls]
    process = tool(relay, "get", TASK_ID, "-o", str(tmp_path))
    assert reached.wait(30)
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    ended.set()
    assert (process.returncode, list(tmp_path.iterdir())) == (INTERRUPTED, [])
    assert b"Traceback" not in error


def test_folder_is_made_and_a_failure_is_reported(relay: Relay, run: Run, tmp_path: Path) -> None:
    assert run("get", TASK_ID, "-o", f"{tmp_path}/a/b/")[0] == 0
    assert (tmp_path / "a" / "b" / f"{TASK_ID}.mp4").read_bytes() == VIDEO
    status, _, error = run("get", TASK_ID, "-o", str(tmp_path / "missing" / "fox.mp4"))
    assert (status, "cannot write" in error) == (1, True)


def test_task_that_is_not_completed_has_nothing_to_get(relay: Relay, run: Run, tmp_path: Path) -> None:
    relay.history = ["submitting"]
    status, _, error = run("get", TASK_ID, "-o", str(tmp_path))
    assert (status, f"relay --api-url {relay.url} watch {TASK_ID}" in error) == (1, True)


@pytest.mark.parametrize("command", ["watch", "get"])
def test_bars_are_drawn_on_a_terminal_and_never_into_a_pipe(relay: Relay, command: str, tmp_path: Path) -> None:
    arguments = (command, TASK_ID, *(("-o", str(tmp_path)) if command == "get" else ()))
    piped, _ = tool(relay, *arguments).communicate(timeout=30)
    assert "━".encode() not in piped
    assert b"\x1b" not in piped
    for file in tmp_path.iterdir():
        file.unlink()

    seen = on_terminal(relay, *arguments)
    assert "━" in seen
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
    assert ("● completed" if command == "watch" else "Saved:") in plain
    for file in tmp_path.iterdir():
        file.unlink()
    assert "━" not in on_terminal(relay, "--json", *arguments)


def on_terminal(relay: Relay, *arguments: str) -> str:
    ours, theirs = pty.openpty()
    process = tool(relay, *arguments, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # Linux says so when the other side is closed
            break
        if not chunk:
            break
        seen += chunk
    os.close(ours)
    assert process.wait(30) == 0, seen
    return seen.decode()


def test_closed_pipe_prints_no_traceback(relay: Relay) -> None:
    with tool(relay, "watch", TASK_ID) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        error = process.stderr.read()
        assert process.wait(30) == 1
    assert b"Traceback" not in error
    assert b"Exception ignored" not in error


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is Linux's")
@pytest.mark.parametrize("command", ["watch", "get"])
def test_output_that_cannot_be_written_is_reported(relay: Relay, command: str, tmp_path: Path) -> None:
    arguments = (command, TASK_ID, *(("-o", str(tmp_path / "v.mp4")) if command == "get" else ()))
    with Path("/dev/full").open("w") as full, tool(relay, *arguments, stdout=full) as process:
        assert process.stderr
        error = process.stderr.read().decode()
        assert process.wait(30) == 1
    assert error == "relay: No space left on device\n"


def test_terminal_without_our_characters_shows_others(relay: Relay) -> None:
    with tool(relay, "watch", TASK_ID, environment={"PYTHONIOENCODING": "latin-1"}) as process:
        out, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (0, b"")
    assert b"? completed" in out


def test_ctrl_c_during_the_start_prints_no_traceback(relay: Relay, tmp_path: Path) -> None:
    # what is loaded first interrupts, as a person can who is quicker than that
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt\n")
    with tool(relay, "watch", TASK_ID, environment={"PYTHONPATH": f"{tmp_path}:{ROOT}"}) as process:
        _, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (INTERRUPTED, b"\nrelay: interrupted\n")


@pytest.mark.parametrize(("command", "remarks"), [("get", 0), ("watch", 1)])
def test_address_that_never_answers_is_not_tried_for_ever(
    relay: Relay, run: Run, command: str, remarks: int, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert main(["--api-url", url, command, TASK_ID]) == 1
    reason = f"{url} gives no answer (no connection (Connection refused))"
    assert capsys.readouterr().err == f"{reason}; trying again\n" * remarks + f"relay: {reason}: try again\n"


@pytest.mark.parametrize(("lost", "status"), [(2, 0), (3, 1)])
def test_first_answer_may_take_two_tries_more(relay: Relay, run: Run, lost: int, status: int) -> None:
    relay.next["/v1/tasks/"] = [hangs_up] * lost
    assert run("watch", TASK_ID)[0] == status
