"""The control calls under `/_simulator/`: scripts in, observations out. JSON both ways, no key (loopback only)."""

import base64
import json
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from local.simulator.errors import send_error
from local.simulator.gateway_bodies import COST
from local.simulator.image_reader import ImageReader
from local.simulator.script_book import ScriptBook
from local.simulator.scripts import ScriptRequest, patched
from local.simulator.server import Exchange, HttpServer
from local.simulator.tasks import Task, TaskBook
from local.simulator.vidu_bodies import credits_of

PREFIX = "/_simulator"


class BadRequestError(ValueError):
    """A control call that cannot be carried out; the text says why."""


class Control:
    """What may be asked of a running simulator, by method for tests and by HTTP for everybody else. Thread-safe."""

    def __init__(self, book: TaskBook, scripts: ScriptBook, reset: Callable[[], None], images: ImageReader) -> None:
        self._images = images
        self._book = book
        self._scripts = scripts
        self._reset = reset

    def add_script(self, request: dict[str, Any]) -> str:
        """Add `{"match", "times", "script"}`, return its id. Raises `BadRequestError` naming every wrong field."""
        try:
            return self._scripts.add(ScriptRequest.model_validate(request))
        except ValidationError as error:
            raise BadRequestError(_explained(error)) from error

    def patch_task(self, task: Task, patch: dict[str, Any]) -> None:
        """Merge `patch` into the live task's script. Raises `BadRequestError` naming every wrong field."""
        try:
            script = patched(task.script, patch)
        except ValidationError as error:
            raise BadRequestError(_explained(error)) from error
        self._book.rescript(task, script, restarted=set(patch))

    def tasks(self) -> list[dict[str, Any]]:
        """All tasks in short, oldest first."""
        tasks = self._book.all()
        creates: dict[str, int] = {}
        for task in tasks:
            creates[task.received.identity] = creates.get(task.received.identity, 0) + 1
            self._book.advance(task)
        return [_short_view(task, creates[task.received.identity]) for task in tasks]

    def task(self, task_id: str) -> dict[str, Any] | None:
        """One task with all that was seen of it, None if there is none. Reads its videos once for their digests.

        Polls and downloads are listed when they arrive and completed right after their answer: `ended_at` is None until
        then, so a client may see its own last one still open.
        """
        task = self._book.get(task_id)
        if task is None:
            return None
        creates = sum(1 for other in self._book.all() if other.received.identity == task.received.identity)
        numbers = range(task.script.videos.count)
        files = [self._book.video(task, number) for number in numbers] if task.state == "succeeded" else []
        return _short_view(task, creates) | {
            "request": _request_view(task),
            "script": task.script.model_dump(exclude_defaults=True),
            "history": list(task.history),
            "polls": list(task.polls),
            "callbacks": list(task.callbacks),
            "downloads": list(task.downloads),
            "cancels": list(task.cancels),
            "bill": _bill(task),
            "videos": [{"size": file.size, "sha256": file.sha256} for file in files],
        }

    def images(self, task: Task) -> list[dict[str, Any]]:
        """The task's reference images as they can be read now: see `ImageReader.read`."""
        return self._images.read(task.params, task.model)

    def serve(self, exchange: Exchange, server: HttpServer) -> None:
        """Answer one control call."""
        parts = [part for part in exchange.path.removeprefix(PREFIX).split("/") if part]
        try:
            match exchange.method, *parts:
                case "POST", "scripts":
                    exchange.send_json(201, {"id": self.add_script(_object(exchange))})
                case "GET", "scripts":
                    exchange.send_json(200, self._scripts.view())
                case "DELETE", "scripts", str(script_id) if self._scripts.remove(script_id):
                    exchange.send(204, b"")
                case "GET", "tasks":
                    exchange.send_json(200, self.tasks())
                case "GET", "tasks", str(task_id) if view := self.task(task_id):
                    exchange.send_json(200, view)
                case "GET", "tasks", str(task_id), "images" if task := self._book.get(task_id):
                    exchange.send_json(200, self.images(task))
                case "PATCH", "tasks", str(task_id) if task := self._book.get(task_id):
                    self.patch_task(task, _object(exchange))
                    exchange.send_json(200, self.task(task_id))
                case "GET", "requests":
                    exchange.send_json(200, server.requests())
                case "POST", "reset":
                    self._reset()
                    exchange.send(204, b"")
                case _:
                    send_error(exchange, 404, "no such control call, script or task")
        except BadRequestError as error:
            send_error(exchange, 400, str(error))


def _explained(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, item['loc'])) or 'body'}: {item['msg']}" for item in error.errors())


def _object(exchange: Exchange) -> dict[str, Any]:
    try:
        value = json.loads(exchange.body() or b"{}")
    except ValueError as error:
        raise BadRequestError(f"body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadRequestError("body must be a JSON object")
    return value


def _short_view(task: Task, creates: int) -> dict[str, Any]:
    return {
        "id": task.id,
        "remote_id": task.remote_id,
        "state": task.state,
        "script_id": task.script_id,
        "created_at": task.created_at,
        "prompt": task.params.get("prompt"),
        "callback_url": task.params.get("callback_url"),
        "creates": creates,
        "poll_count": len(task.polls),
        "callback_count": len(task.callbacks),
        "download_count": len(task.downloads),
    }


def _bill(task: Task) -> dict[str, str] | None:
    """What the task costs, by unit (`usd` or `credits`); None where the replies of its API flavour do not state it."""
    if task.flavour == "gateway":
        return {"usd": COST} if task.state == "succeeded" and task.script.reply.usage else None
    credits_by_state = {"succeeded": credits_of(task), "failed": 0}
    return {"credits": str(credits_by_state[task.state])} if task.state in credits_by_state else None


def _request_view(task: Task) -> dict[str, Any]:
    received = task.received
    view: dict[str, Any] = {"headers": received.headers, "params": received.params}
    try:
        return view | {"body": received.body.decode()}
    except UnicodeDecodeError:
        return view | {"body_base64": base64.b64encode(received.body).decode()}
