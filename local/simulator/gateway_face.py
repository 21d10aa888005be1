"""The provider as its gateway shows it: create and poll under one base path, Bearer keys, the gateway's envelope."""

import hmac
import json
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from local.simulator.errors import send_error
from local.simulator.gateway_bodies import gateway_body
from local.simulator.image_reader import ImageReader
from local.simulator.script_book import Binding, ScriptBook
from local.simulator.scripts import Flap, HtmlAnswer
from local.simulator.server import Exchange
from local.simulator.tasks import Received, Task, TaskBook
from local.simulator.validation import MAX_BODY_BYTES, MODEL, Rules, validate
from local.simulator.video_face import VideoFace

BASE_PATH = "/model/v1"
CREATE_PATH = f"{BASE_PATH}/generation"
POLL_PREFIX = f"{BASE_PATH}/generation/task/"


@dataclass(frozen=True)
class Account:
    """Who may call, what the account allows, and how long a task takes unless its script says otherwise."""

    api_keys: Collection[str]
    rules: Rules
    generation_seconds: float


class GatewayFace:
    """Answers the calls below `BASE_PATH`."""

    def __init__(
        self, account: Account, book: TaskBook, scripts: ScriptBook, videos: VideoFace, images: ImageReader
    ) -> None:
        self._account = account
        self._images = images
        self._book = book
        self._scripts = scripts
        self._videos = videos

    def serve(self, exchange: Exchange) -> None:
        """Authenticate, then create or poll."""
        key = self._key(exchange)
        if key is None:
            send_error(exchange, 401, "Invalid API key", form="envelope", code=40101)
        elif exchange.path == CREATE_PATH and exchange.method == "POST":
            self._create(exchange, key)
        elif exchange.path.startswith(POLL_PREFIX) and exchange.method == "GET":
            self._poll(exchange, key)
        elif exchange.path == CREATE_PATH or exchange.path.startswith(POLL_PREFIX):
            send_error(exchange, 405, "method not allowed")
        else:
            send_error(exchange, 404, "not found")

    def _key(self, exchange: Exchange) -> str | None:
        scheme, _, given = exchange.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        given_bytes = given.strip().encode()
        return next((key for key in self._account.api_keys if hmac.compare_digest(key.encode(), given_bytes)), None)

    # Create

    def _create(self, exchange: Exchange, key: str) -> None:
        exchange.note["call"] = "create"
        body = exchange.body()
        if len(body) > MAX_BODY_BYTES:
            send_error(exchange, 413, "request body cannot exceed 20MB")
            return
        parsed = _parse(body)
        params = _params(parsed)
        binding = self._scripts.bind(params, body)
        headers = {name: value for name, value in exchange.headers.items() if name.lower() != "authorization"}
        received = Received(body, headers, params, binding.identity)
        exchange.note |= {"identity": binding.identity, "script": binding.script_id}
        if self._refuse(exchange, parsed, params):
            self._scripts.release(binding)
            return
        if self._create_fault(exchange, key, received, binding):
            return
        self._scripts.release(binding)
        create = binding.script.create
        if create.reject is not None:
            exchange.note["fault"] = "reject"
            reject = create.reject
            send_error(exchange, reject.status, reject.message, form=reject.form, code=reject.code)
            return
        if create.fetch_images and (bad := next((i for i in self._images.read(params) if i["fault"]), None)):
            exchange.note["fault"] = "image"
            send_error(exchange, 400, f"{bad['location']}: {bad['fault']}", form="object", code="ImageDownloadFailure")
            return
        if create.reply_without_id:
            exchange.note["fault"] = "reply_without_id"
            exchange.send_json(200, {"status": "pending", "model": MODEL, "output": [], "created_at": int(time.time())})
            return
        task = self._new_task(exchange, key, received, binding)
        exchange.send_json(200, self._body(task))

    def _refuse(self, exchange: Exchange, parsed: object, params: dict[str, Any]) -> bool:
        shape = _shape_fault(parsed)
        if shape is not None:
            send_error(exchange, 400, shape)
            return True
        faults = validate(params, self._account.rules)
        if not faults:
            return False
        fault = next((fault for fault in faults if fault.code), faults[0])
        exchange.note["faults"] = [fault.message for fault in faults]
        send_error(exchange, 400, fault.message, form="object" if fault.code else "flat", code=fault.code or "")
        return True

    def _create_fault(self, exchange: Exchange, key: str, received: Received, binding: Binding) -> bool:
        """Give the next unused fault of the script, if any; True if it was the answer."""
        create = binding.script.create
        if (throttle := create.throttle) and binding.take("throttle", throttle.n):
            exchange.note["fault"] = "throttle"
            headers = {} if throttle.retry_after is None else {"Retry-After": str(throttle.retry_after)}
            send_error(exchange, 429, "Too many requests", form="envelope", code=42901, headers=headers)
        elif (error := create.server_error) and binding.take("server_error", error.n):
            exchange.note["fault"] = "server_error"
            if error.created:
                self._new_task(exchange, key, received, binding)
            send_error(exchange, error.status, "server error", form=error.form, code=error.status)
        elif (hang := create.hang) and binding.take("hang", hang.n):
            exchange.note["fault"] = "hang"
            task = self._new_task(exchange, key, received, binding) if hang.created else None
            exchange.pause(hang.seconds)
            if task is None:
                send_error(exchange, 504, "Gateway Time-out", form="html")
            else:
                exchange.send_json(200, self._body(task))
        elif (lose := create.lose_reply) and binding.take("lose_reply", lose.n):
            exchange.note["fault"] = "lose_reply"
            task = self._new_task(exchange, key, received, binding)
            _break_off(exchange, lose.how, self._body(task))
        elif (html := create.html) and binding.take("html", html.n):
            exchange.note["fault"] = "html"
            if html.created:
                self._new_task(exchange, key, received, binding)
            _send_html(exchange, html)
        else:
            return False
        return True

    def _new_task(self, exchange: Exchange, key: str, received: Received, binding: Binding) -> Task:
        task = self._book.create(key, received, binding.script, binding.script_id, self._account.generation_seconds)
        exchange.note["task"] = task.id
        return task

    # Poll

    def _poll(self, exchange: Exchange, key: str) -> None:
        exchange.note["call"] = "poll"
        task = self._book.get(unquote(exchange.path.removeprefix(POLL_PREFIX)))
        if task is None or task.api_key != key:
            send_error(exchange, 404, "task not found")
            return
        exchange.note["task"] = task.id
        entry: dict[str, Any] = {"at": time.time(), "said": None, "http_status": None, "fault": None, "ended_at": None}
        task.polls.append(entry)
        try:
            entry["said"] = self._poll_reply(exchange, task)
        finally:
            entry.update(http_status=exchange.status, fault=exchange.note.get("fault"), ended_at=time.time())

    def _poll_reply(self, exchange: Exchange, task: Task) -> str | None:
        """Answer the poll; the status it carried, None for an answer without one."""
        script = task.script.poll
        polled = len(task.polls) - 1
        for number, flap in enumerate(script.flaps):
            if polled >= flap.after and task.take(f"poll.flap{number}", flap.n):
                exchange.note["fault"] = f"poll {flap.kind}"
                return self._flap(exchange, task, flap)
        state = task.state
        without = script.completed_without_url if state == "succeeded" else None
        if without is not None and not task.take("poll.without_url", without.n):
            without = None
        if without is not None:
            exchange.note["fault"] = "poll without url"
        links = self._videos.links(task, counted=True) if state == "succeeded" and without is None else []
        body = gateway_body(task, state, links, without_url=without)
        if (unknown := script.unknown_status) and task.take("poll.unknown_status", unknown.n):
            exchange.note["fault"] = "poll unknown status"
            body = gateway_body(task, "processing", []) | {"status": unknown.value}
        exchange.send_json(200, body)
        return str(body["status"])

    def _flap(self, exchange: Exchange, task: Task, flap: Flap) -> str | None:
        match flap.kind:
            case "status":
                send_error(exchange, flap.status, "temporarily out of order")
            case "html":
                send_error(exchange, 200, "Please wait", form="html")
            case "hang":
                exchange.pause(flap.seconds)
                body = self._body(task)
                exchange.send_json(200, body)
                return str(body["status"])
            case "close" | "reset" | "half_body":
                _break_off(exchange, flap.kind, self._body(task))
        return None

    def _body(self, task: Task) -> dict[str, Any]:
        state = task.state
        return gateway_body(task, state, self._videos.links(task, counted=False) if state == "succeeded" else [])


def _parse(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _params(parsed: object) -> dict[str, Any]:
    """The parameters, however wrong the rest may be: a script is chosen by them before they are checked."""
    inputs = parsed.get("input") if isinstance(parsed, dict) else None
    first = inputs[0] if isinstance(inputs, list) and inputs else None
    params = first.get("params") if isinstance(first, dict) else None
    return params if isinstance(params, dict) else {}


def _shape_fault(parsed: object) -> str | None:
    if not isinstance(parsed, dict):
        return "body is not a JSON object"
    if parsed.get("model") != MODEL:
        return "model not found"
    inputs = parsed.get("input")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        return "input must be an array of one object"
    return None if isinstance(inputs[0].get("params"), dict) else "input[0].params must be an object"


def _send_html(exchange: Exchange, html: HtmlAnswer) -> None:
    send_error(exchange, html.status, "Checking your browser", form="html")


def _break_off(exchange: Exchange, how: str, body: dict[str, Any]) -> None:
    if how == "reset":
        exchange.reset()
    if how == "half_body":
        data = json.dumps(body).encode()
        exchange.start(
            200, {"Content-Type": "application/json", "Content-Length": str(len(data))}, first=data[: len(data) // 2]
        )
    exchange.drop()
