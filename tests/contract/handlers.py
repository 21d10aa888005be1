"""The real functions in an account in memory, with the simulator as their provider: everything but AWS itself."""

import importlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from local.simulator import Simulator
from tests.functions.conftest import Context, environment, variables_of
from tests.unit.account import ENVIRONMENT, Account, mock_aws, new_account
from tests.unit.template import sample
from vidu_relay import aws
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.adapters.tenant_directory import TenantDirectory
from vidu_relay.domain.catalogue import DEFAULT_MODEL as MODEL
from vidu_relay.observability import metrics
from vidu_relay.outbound.address_guard import AddressGuard

NOWHERE = "http://127.0.0.1:9"
"""Where the simulator's callbacks would go; they are dropped, and sent by hand."""


@dataclass(frozen=True)
class Answer:
    """What a client gets."""

    status: int
    headers: dict[str, str]
    body: Any

    @property
    def places(self) -> list[str]:
        """Where a refused request is wrong."""
        return [fault["loc"] for fault in self.body.get("errors", [])]


class Handlers:
    """The functions a task passes through. Load each once: warm, as on Lambda."""

    def __init__(
        self, account: Account, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, **settings: str
    ) -> None:
        self.account = account
        self.simulator = simulator
        account.clients["secretsmanager"].put_secret_value(
            SecretId=account.provider_secret, SecretString=json.dumps({"api_key": simulator.api_key})
        )
        TenantDirectory(account.clients["dynamodb"], account.table).create_tenant("acme", 1)
        self._environment = {
            **environment(account),
            "PROVIDER_BASE_URL": simulator.url,
            "PUBLIC_BASE_URL": NOWHERE,
            "TRUSTED_ORIGINS": simulator.origin,
            **settings,
        }
        self._monkeypatch = monkeypatch
        self._loaded: dict[str, ModuleType] = {}

    def call(self, function: str, event: dict[str, Any]) -> Any:
        """Call a function; what it answers, as JSON carries it."""
        if function not in self._loaded:
            with self._monkeypatch.context() as own:
                for variable in variables_of(function):
                    own.setenv(variable, self._environment[variable])
                sys.modules.pop(f"functions.{function}.handler", None)
                module = self._loaded[function] = importlib.import_module(f"functions.{function}.handler")
            if function == "submit_task":  # no test asks the names of this machine's network
                guard = AddressGuard(resolve=lambda *_: ["93.184.216.34"])
                images = replace(module.deps.images, guard=guard)
                self._monkeypatch.setattr(module, "deps", replace(module.deps, images=images))
        return json.loads(json.dumps(self._loaded[function].handler(event, Context())))

    def submit(self, request: object, *, key: str | None = None, raw: str | None = None) -> Answer:
        """`POST /v1/tasks` with a request, or with this very body."""
        event = sample("submit_task__two_subjects")
        event["body"] = json.dumps(request) if raw is None else raw
        event["isBase64Encoded"] = False
        event["requestContext"]["authorizer"]["lambda"]["daily_cap"] = "1000000"
        event["headers"].pop("idempotency-key", None)
        if key is not None:
            event["headers"]["idempotency-key"] = key
        return _answer(self.call("submit_task", event))

    def read(self, task_id: str) -> dict[str, Any]:
        """`GET /v1/tasks/{task_id}`."""
        event = sample("read_tasks__one")
        event["pathParameters"] = {"task_id": task_id}
        answer = _answer(self.call("read_tasks", event))
        assert answer.status == 200, answer
        return dict(answer.body)

    def call_back(self, task_id: str) -> int:
        """The provider's callback about a task, with the token that the provider was given; the status it gets."""
        event = sample("receive_callback__success")
        (view,) = [view for view in self.simulator.tasks() if f"/{task_id}?" in view["callback_url"]]
        token = parse_qs(urlsplit(view["callback_url"]).query)["token"][0]
        event["pathParameters"] = {"task_id": task_id}
        event["queryStringParameters"] = {"token": token}
        return int(_answer(self.call("receive_callback", event)).status)

    def check(self, task_id: str) -> None:
        """What the execution does that was started for a task: a large create body is left to it."""
        task = TaskStore(self.account.clients["dynamodb"], self.account.table).get(task_id)
        assert task is not None
        self.call("check_task", {"task_id": task_id, "lease": task.lease})

    def deliver(self, task_id: str) -> None:
        """What the deliveries queue asks for."""
        event = sample("deliver_videos__generated")
        event["Records"][0]["body"] = json.dumps({"task_id": task_id})
        assert self.call("deliver_videos", event) == {"batchItemFailures": []}

    def request(self, **changes: Any) -> dict[str, Any]:
        """A good request; None takes a parameter away."""
        whole = {"model": MODEL, "images": [self.image("fox.png")], "prompt": "a fox", "duration": 1, **changes}
        return {name: value for name, value in whole.items() if value is not None}

    def image(self, name: str) -> str:
        """The address of one of the simulator's images."""
        return f"{self.simulator.origin}/images/{name}"

    def received(self) -> list[dict[str, Any]]:
        """The parameters of every task the simulator has, without the callback address."""
        found = [dict(view["request"]["params"]) for view in self.simulator.tasks()]
        for params in found:
            assert params.pop("callback_url").startswith(NOWHERE + "/v1/callbacks/")
        return found

    def reset(self) -> None:
        """Let the simulator forget everything; from then on it sends no callbacks."""
        self.simulator.reset()
        self.simulator.script({"callbacks": {"drop": True}})

    def creates(self) -> int:
        """How many create calls the simulator has had, whatever it answered."""
        return sum(request.get("call") == "create" for request in self.simulator.requests())


@contextmanager
def running() -> Iterator[Handlers]:
    """Handlers, a new account and a simulator that takes its time; off-peak mode is on offer."""
    with (
        pytest.MonkeyPatch.context() as patch,
        mock_aws(),
        Simulator(generation_seconds=3600, off_peak_available=True) as simulator,
    ):
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.setattr(metrics.provider, "namespace", "ViduRelay")
        patch.setattr(metrics.provider, "service", "vidu-relay")
        for cached in (aws.client, aws.upload_client, aws._session):
            cached.cache_clear()
        yield Handlers(new_account(), simulator, patch, OFF_PEAK_AVAILABLE="true")
        for cached in (aws.client, aws.upload_client, aws._session):
            cached.cache_clear()


def _answer(said: dict[str, Any]) -> Answer:
    return Answer(said["statusCode"], said["headers"], json.loads(said["body"]))
