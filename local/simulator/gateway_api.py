"""The provider as its gateway shows it: create and poll under one base path, Bearer keys, the gateway's envelope."""

import time
from typing import Any
from urllib.parse import unquote

from typing_extensions import override

from local.simulator.errors import error_body
from local.simulator.gateway_bodies import gateway_body
from local.simulator.models import Model, at_gateway
from local.simulator.provider_api import ProviderApi
from local.simulator.scripts import ErrorForm, WithoutUrl
from local.simulator.server import Exchange
from local.simulator.tasks import State, Task
from local.simulator.validation import Fault

BASE_PATH = "/model/v1"
CREATE_PATH = f"{BASE_PATH}/generation"
POLL_PREFIX = f"{BASE_PATH}/generation/task/"


class GatewayApi(ProviderApi):
    """Answers the calls below `BASE_PATH`."""

    name = "gateway"
    scheme = "bearer"
    state_key = "status"

    @override
    def route(self, exchange: Exchange, key: str) -> None:
        if exchange.path == CREATE_PATH and exchange.method == "POST":
            self.create(exchange, key)
        elif exchange.path.startswith(POLL_PREFIX) and exchange.method == "GET":
            self.poll(exchange, key, unquote(exchange.path.removeprefix(POLL_PREFIX)))
        elif exchange.path == CREATE_PATH or exchange.path.startswith(POLL_PREFIX):
            self.send_error(exchange, 405, "method not allowed")
        else:
            self.send_error(exchange, 404, "not found")

    @override
    def params(self, parsed: object) -> dict[str, Any]:
        inputs = parsed.get("input") if isinstance(parsed, dict) else None
        first = inputs[0] if isinstance(inputs, list) and inputs else None
        params = first.get("params") if isinstance(first, dict) else None
        return params if isinstance(params, dict) else {}

    @override
    def model(self, exchange: Exchange, parsed: object) -> Model | None:
        return at_gateway(parsed.get("model")) if isinstance(parsed, dict) else None

    @override
    def shape_fault(self, parsed: object) -> str | None:
        if not isinstance(parsed, dict):
            return "body is not a JSON object"
        inputs = parsed.get("input")
        if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
            return "input must be an array of one object"
        return None if isinstance(inputs[0].get("params"), dict) else "input[0].params must be an object"

    @override
    def created_body(self, task: Task) -> dict[str, Any]:
        return self.body(task, task.created_as, self.present_links(task))

    @override
    def reply_without_id(self, model: Model) -> dict[str, Any]:
        return {"status": "pending", "model": model.name, "output": [], "created_at": int(time.time())}

    @override
    def body(
        self, task: Task, state: State, links: list[str], *, without_url: WithoutUrl | None = None
    ) -> dict[str, Any]:
        return gateway_body(task, state, links, without_url=without_url)

    @override
    def send_faults(self, exchange: Exchange, faults: list[Fault]) -> None:
        fault = next((fault for fault in faults if fault.code), faults[0])
        self.send_error(exchange, 400, fault.message, form="object" if fault.code else "flat", code=fault.code or "")

    @override
    def error_body(self, form: ErrorForm, status: int, code: str | int, message: str) -> tuple[str, bytes]:
        return error_body(form, status, code, message)
