"""What both API flavours have in common: who may call, which script holds, and every way an answer can go wrong."""

import hmac
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

from local.simulator.errors import send_error
from local.simulator.image_reader import ImageReader
from local.simulator.models import Model
from local.simulator.script_book import Binding, ScriptBook
from local.simulator.scripts import ErrorForm, Flap, WithoutUrl
from local.simulator.server import Exchange
from local.simulator.tasks import ApiFlavour, Received, State, Task, TaskBook
from local.simulator.validation import MAX_BODY_BYTES, Fault, Rules, validate
from local.simulator.video_api import VideoApi


@dataclass(frozen=True)
class Account:
    """Who may call, what the account allows, and how long a task takes unless its script says otherwise."""

    api_keys: Collection[str]
    rules: Rules
    generation_seconds: float


class ProviderApi(ABC):
    """One API of the provider. A flavour says under which paths it answers, and in which words."""

    name: ClassVar[ApiFlavour]
    scheme: ClassVar[str]
    state_key: ClassVar[str]

    def __init__(
        self, account: Account, book: TaskBook, scripts: ScriptBook, videos: VideoApi, images: ImageReader
    ) -> None:
        self._account = account
        self._images = images
        self._book = book
        self._scripts = scripts
        self._videos = videos

    def serve(self, exchange: Exchange) -> None:
        """Authenticate, then answer the call."""
        key = self._key(exchange)
        if key is None:
            self.send_error(exchange, 401, "Invalid API key", form="envelope", code=40101)
        else:
            self.route(exchange, key)

    # What each API flavour words its own way

    @abstractmethod
    def route(self, exchange: Exchange, key: str) -> None:
        """Find the call by method and path."""

    @abstractmethod
    def params(self, parsed: object) -> dict[str, Any]:
        """The parameters, however wrong the rest may be: a script is chosen by them before they are checked."""

    @abstractmethod
    def model(self, exchange: Exchange, parsed: object) -> Model | None:
        """The model that is asked for; None if this API has no such model."""

    @abstractmethod
    def shape_fault(self, parsed: object) -> str | None:
        """What is wrong with a create call's body around its parameters and the model."""

    @abstractmethod
    def created_body(self, task: Task) -> dict[str, Any]:
        """The reply to the create call."""

    @abstractmethod
    def reply_without_id(self, model: Model) -> dict[str, Any]:
        """The reply to a create call that created nothing and says so by leaving out the id."""

    @abstractmethod
    def body(
        self, task: Task, state: State, links: list[str], *, without_url: WithoutUrl | None = None
    ) -> dict[str, Any]:
        """The reply to a poll."""

    @abstractmethod
    def send_faults(self, exchange: Exchange, faults: list[Fault]) -> None:
        """Refuse parameters."""

    @abstractmethod
    def error_body(self, form: ErrorForm, status: int, code: str | int, message: str) -> tuple[str, bytes]:
        """Content type and bytes of an error."""

    def send_error(
        self,
        exchange: Exchange,
        status: int,
        message: str,
        *,
        form: ErrorForm = "flat",
        code: str | int = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        """Answer with an error, in the API flavour's words for the wanted form."""
        content_type, body = self.error_body(form, status, code, message)
        exchange.send(status, body, {"Content-Type": content_type} | (headers or {}))

    # Create

    def create(self, exchange: Exchange, key: str) -> None:
        """The create call, as its script wants it."""
        exchange.note["call"] = "create"
        body = exchange.body()
        if len(body) > MAX_BODY_BYTES:
            self.send_error(exchange, 413, "request body cannot exceed 20MB")
            return
        parsed = _parse(body)
        params = self.params(parsed)
        binding = self._scripts.bind(params, body)
        exchange.note |= {"identity": binding.identity, "script": binding.script_id, "prompt": params.get("prompt")}
        model = self._accepted(exchange, parsed, params)
        if model is None:
            self._scripts.release(binding)
            return
        headers = {name: value for name, value in exchange.headers.items() if name.lower() != "authorization"}
        received = Received(body, headers, params, binding.identity, model)
        if self._create_fault(exchange, key, received, binding):
            return
        self._scripts.release(binding)
        create = binding.script.create
        if create.reject is not None:
            exchange.note["fault"] = "reject"
            reject = create.reject
            self.send_error(exchange, reject.status, reject.message, form=reject.form, code=reject.code)
            return
        if create.fetch_images and (bad := next((i for i in self._images.read(params, model) if i["fault"]), None)):
            exchange.note["fault"] = "image"
            message = f"{bad['location']}: {bad['fault']}"
            self.send_error(exchange, 400, message, form="object", code="ImageDownloadFailure")
            return
        if create.reply_without_id:
            exchange.note["fault"] = "reply_without_id"
            exchange.send_json(200, self.reply_without_id(model))
            return
        task = self._new_task(exchange, key, received, binding)
        exchange.send_json(200, self.created_body(task))

    def _key(self, exchange: Exchange) -> str | None:
        scheme, _, given = exchange.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != self.scheme:
            return None
        given_bytes = given.strip().encode()
        return next((key for key in self._account.api_keys if hmac.compare_digest(key.encode(), given_bytes)), None)

    def _accepted(self, exchange: Exchange, parsed: object, params: dict[str, Any]) -> Model | None:
        """The model, if it is asked for as it must be; None after answering what is wrong."""
        shape, model = self.shape_fault(parsed), self.model(exchange, parsed)
        if shape is not None or model is None:
            self.send_error(exchange, 400, shape or "model not found")
            return None
        faults = validate(params, model, self._account.rules)
        if not faults:
            return model
        exchange.note["faults"] = [fault.message for fault in faults]
        self.send_faults(exchange, faults)
        return None

    def _create_fault(self, exchange: Exchange, key: str, received: Received, binding: Binding) -> bool:
        """Give the next unused fault of the script, if any; True if it was the answer."""
        create = binding.script.create
        if (throttle := create.throttle) and binding.take("throttle", throttle.n):
            exchange.note["fault"] = "throttle"
            headers = {} if throttle.retry_after is None else {"Retry-After": str(throttle.retry_after)}
            self.send_error(exchange, 429, "Too many requests", form="envelope", code=42901, headers=headers)
        elif (error := create.server_error) and binding.take("server_error", error.n):
            exchange.note["fault"] = "server_error"
            if error.created:
                self._new_task(exchange, key, received, binding)
            self.send_error(exchange, error.status, "server error", form=error.form, code=error.status)
        elif (hang := create.hang) and binding.take("hang", hang.n):
            exchange.note["fault"] = "hang"
            task = self._new_task(exchange, key, received, binding) if hang.created else None
            exchange.pause(hang.seconds)
            if task is None:
                self.send_error(exchange, 504, "Gateway Time-out", form="html")
            else:
                exchange.send_json(200, self.created_body(task))
        elif (lose := create.lose_reply) and binding.take("lose_reply", lose.n):
            exchange.note["fault"] = "lose_reply"
            task = self._new_task(exchange, key, received, binding)
            break_off(exchange, lose.how, self.created_body(task))
        elif (html := create.html) and binding.take("html", html.n):
            exchange.note["fault"] = "html"
            if html.created:
                self._new_task(exchange, key, received, binding)
            send_error(exchange, html.status, "Checking your browser", form="html")
        else:
            return False
        return True

    def _new_task(self, exchange: Exchange, key: str, received: Received, binding: Binding) -> Task:
        task = self._book.create(
            key, received, binding.script, binding.script_id, self._account.generation_seconds, self.name
        )
        exchange.note["task"] = task.id
        return task

    # Poll

    def poll(self, exchange: Exchange, key: str, task_id: str) -> None:
        """The poll call, as the task's script wants it."""
        exchange.note["call"] = "poll"
        task = self.find(exchange, key, task_id)
        if task is None:
            return
        entry: dict[str, Any] = {"at": time.time(), "said": None, "http_status": None, "fault": None, "ended_at": None}
        task.polls.append(entry)
        try:
            entry["said"] = self._poll_reply(exchange, task)
        finally:
            entry.update(http_status=exchange.status, fault=exchange.note.get("fault"), ended_at=time.time())

    def find(self, exchange: Exchange, key: str, task_id: str) -> Task | None:
        """The key's own task; None after answering that there is none."""
        task = self._book.get(task_id)
        if task is None or task.api_key != key or task.flavour != self.name:
            self.send_error(exchange, 404, "task not found")
            return None
        exchange.note["task"] = task.id
        return task

    def _poll_reply(self, exchange: Exchange, task: Task) -> str | None:
        """Answer the poll; the status it carried, None for an answer without one."""
        script = task.script.poll
        polled = len(task.polls) - 1
        for number, flap in enumerate(script.flaps):
            if polled >= flap.after and task.take(f"poll.flap{number}", flap.n):
                exchange.note["fault"] = f"poll {flap.kind}"
                return self._flap(exchange, task, flap)
        state = task.shown_state()
        without = script.completed_without_url if state == "succeeded" else None
        if without is not None and not task.take("poll.without_url", without.n):
            without = None
        if without is not None:
            exchange.note["fault"] = "poll without url"
        links = self._videos.links(task, counted=True) if state == "succeeded" and without is None else []
        body = self.body(task, state, links, without_url=without)
        if (unknown := script.unknown_status) and task.take("poll.unknown_status", unknown.n):
            exchange.note["fault"] = "poll unknown status"
            body = self.body(task, "processing", []) | {self.state_key: unknown.value}
        exchange.send_json(200, body)
        return str(body[self.state_key])

    def _flap(self, exchange: Exchange, task: Task, flap: Flap) -> str | None:
        match flap.kind:
            case "status":
                self.send_error(exchange, flap.status, "temporarily out of order")
            case "html":
                send_error(exchange, 200, "Please wait", form="html")
            case "hang":
                exchange.pause(flap.seconds)
                body = self._present_body(task)
                exchange.send_json(200, body)
                return str(body[self.state_key])
            case "close" | "reset" | "half_body":
                break_off(exchange, flap.kind, self._present_body(task))
        return None

    def _present_body(self, task: Task) -> dict[str, Any]:
        return self.body(task, task.state, self.present_links(task))

    def present_links(self, task: Task) -> list[str]:
        """The links of a task that is done."""
        return self._videos.links(task, counted=False) if task.state == "succeeded" else []


def _parse(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return None


def break_off(exchange: Exchange, how: str, body: dict[str, Any]) -> NoReturn:
    """End the exchange without a whole answer."""
    if how == "reset":
        exchange.reset()
    if how == "half_body":
        data = json.dumps(body).encode()
        exchange.start(
            200, {"Content-Type": "application/json", "Content-Length": str(len(data))}, first=data[: len(data) // 2]
        )
    exchange.drop()
