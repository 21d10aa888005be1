"""The provider's upstream API: flat parameters, Token keys, errors with a reason, and a cancel call."""

import json
import time
from typing import Any
from urllib.parse import unquote

from typing_extensions import override

from local.simulator.errors import error_body
from local.simulator.models import Model, at_vidu
from local.simulator.provider_api import ProviderApi, break_off
from local.simulator.scripts import ErrorForm, WithoutUrl
from local.simulator.server import Exchange
from local.simulator.tasks import State, Task
from local.simulator.validation import Fault
from local.simulator.vidu_bodies import created_body, vidu_body
from local.simulator.vidu_books import balance_body, list_body

BASE_PATH = "/ent/v2"
KINDS = ("text2video", "img2video", "start-end2video", "reference2video")
CREATE_PATHS = {f"{BASE_PATH}/{kind}": kind for kind in KINDS}
LIST_PATH, CREDITS_PATH = f"{BASE_PATH}/tasks", f"{BASE_PATH}/credits"
TASKS_PREFIX = f"{LIST_PATH}/"
POLL_SUFFIX = "/creations"
CANCEL_SUFFIX = "/cancel"

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "TaskNotFound",
    409: "Conflict",
    429: "TooManyRequests",
}
_FROM_A_PROXY: tuple[ErrorForm, ...] = ("html", "text", "empty")


class ViduApi(ProviderApi):
    """Answers the calls below `BASE_PATH`."""

    name = "vidu"
    scheme = "token"
    state_key = "state"
    bought = 100_000
    """Credits of each account."""

    @override
    def route(self, exchange: Exchange, key: str) -> None:
        path, method = exchange.path, exchange.method
        task_id, slash, call = path.removeprefix(TASKS_PREFIX).rpartition("/")
        if path in (LIST_PATH, CREDITS_PATH) and method == "GET":
            self._show_books(exchange, key)
        elif path in CREATE_PATHS and method == "POST":
            self.create(exchange, key)
        elif path.startswith(TASKS_PREFIX) and slash + call == POLL_SUFFIX and method == "GET":
            self.poll(exchange, key, unquote(task_id))
        elif path.startswith(TASKS_PREFIX) and slash + call == CANCEL_SUFFIX and method == "POST":
            self.cancel(exchange, key, unquote(task_id))
        else:
            self.send_error(exchange, 404, "not found", code="NotFound")

    def _show_books(self, exchange: Exchange, key: str) -> None:
        """The account's tasks or its credits."""
        tasks = [task for task in self._book.all() if task.flavour == self.name and task.api_key == key]
        for task in tasks:
            self._book.advance(task)
        if exchange.path == CREDITS_PATH:
            exchange.send_json(200, balance_body(tasks, self.bought))
            return
        try:
            exchange.send_json(200, list_body(tasks, exchange.query, time.time()))
        except ValueError as error:
            self.send_error(exchange, 400, str(error), code="FieldInvalid")

    def cancel(self, exchange: Exchange, key: str, task_id: str) -> None:
        """Call a task off: while it waits, an off-peak task until it is over, or as the script says."""
        exchange.note["call"] = "cancel"
        exchange.body()
        task = self.find(exchange, key, task_id)
        if task is None:
            return
        entry: dict[str, Any] = {"at": time.time(), "state": task.state, "http_status": None, "ended_at": None}
        task.cancels.append(entry)
        try:
            self._cancel(exchange, task)
        finally:
            entry.update(http_status=exchange.status, ended_at=time.time())

    def _cancel(self, exchange: Exchange, task: Task) -> None:
        script = task.script.cancel
        if (error := script.server_error) and task.take("cancel.server_error", error.n):
            exchange.note["fault"] = "cancel server_error"
            if error.created:
                self._book.cancel(task)
            self.send_error(exchange, error.status, "server error", form=error.form, code=error.status)
        elif script.never or not self._book.cancel(task):
            word = "scheduled" if task.state in ("pending", "processing") else task.state
            self.send_error(exchange, 400, f"task state is {word}, can not cancel")
        elif (lose := script.lose_reply) and task.take("cancel.lose_reply", lose.n):
            exchange.note["fault"] = "cancel lose_reply"
            break_off(exchange, lose.how, {})
        else:
            exchange.send_json(200, {})

    @override
    def params(self, parsed: object) -> dict[str, Any]:
        return {name: value for name, value in parsed.items() if name != "model"} if isinstance(parsed, dict) else {}

    @override
    def model(self, exchange: Exchange, parsed: object) -> Model | None:
        name = parsed.get("model") if isinstance(parsed, dict) else None
        return at_vidu(CREATE_PATHS[exchange.path], name, unlisted=self._account.rules.unlisted_models)

    @override
    def shape_fault(self, parsed: object) -> str | None:
        return None if isinstance(parsed, dict) else "body is not a JSON object"

    @override
    def created_body(self, task: Task) -> dict[str, Any]:
        return created_body(task)

    @override
    def reply_without_id(self, model: Model) -> dict[str, Any]:
        return {"state": "created", "model": model.name}

    @override
    def body(
        self, task: Task, state: State, links: list[str], *, without_url: WithoutUrl | None = None
    ) -> dict[str, Any]:
        return vidu_body(task, state, links, without_url=without_url)

    @override
    def send_faults(self, exchange: Exchange, faults: list[Fault]) -> None:
        fault = next((fault for fault in faults if fault.code), faults[0])
        self.send_error(exchange, 400, fault.message, code=fault.reason)

    @override
    def error_body(self, form: ErrorForm, status: int, code: str | int, message: str) -> tuple[str, bytes]:
        """The API's own form, with `code` as its reason where it is a word; a proxy's forms as they are."""
        if form in _FROM_A_PROXY:
            return error_body(form, status, code, message)
        word = str(code)
        reason = word if word and not word.isdecimal() else _REASONS.get(status, "InternalError")
        trace = {"trace_id": f"{time.time_ns():x}"}
        body = {"code": status, "reason": reason, "message": message, "metadata": trace}
        return "application/json", json.dumps(body).encode()
