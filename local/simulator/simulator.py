"""The simulator put together: one object that serves all API flavours from one port."""

import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from local.simulator import control as control_calls
from local.simulator import gateway_api, images, video_api, vidu_api
from local.simulator.callback_bodies import Named
from local.simulator.callbacks import CallbackSender, CallbackSettings
from local.simulator.clock import Timer
from local.simulator.control import BadRequestError, Control
from local.simulator.errors import send_error
from local.simulator.gateway_api import GatewayApi
from local.simulator.image_reader import ImageReader
from local.simulator.provider_api import Account
from local.simulator.script_book import ScriptBook
from local.simulator.server import Exchange, HttpServer
from local.simulator.tasks import State, Task, TaskBook
from local.simulator.validation import Rules
from local.simulator.video_api import VideoApi
from local.simulator.vidu_api import ViduApi

DEFAULT_GENERATION_SECONDS = 6.0


class SimulatorFaultError(Exception):
    """The simulator itself broke while it ran: what it showed was not a script's doing, results are void."""


def _no_log(line: str) -> None:
    """Drop the line."""


class Simulator:
    """The provider on `127.0.0.1`: serves from construction until `close` (or the end of the `with` block).

    Parameters
    ----------
    port:
        0 for a free one.
    api_keys:
        Keys it takes; none given: it makes one up, see `api_key`.
    generation_seconds:
        From create to the end of a task, unless its script says otherwise; the first fifth of it `pending`.
    ca_bundle:
        PEM file with the certificates that callback receivers' TLS certificates must descend from.
    callback_retry_seconds, callback_timeout_seconds:
        Pause between attempts of a callback, and how long one may take.
    off_peak_available:
        Whether off-peak tasks are taken where the provider's page says "temporarily unavailable".
    unlisted_models:
        Whether the upstream API takes the gateway's models, which its pages do not list, by the gateway's names.
    log:
        Gets one line per request: method, path without query, status, time. Never a key or a signature.

    Example
    -------
    >>> with Simulator(generation_seconds=0) as provider:
    ...     script_id = provider.script({"outcome": {"fail": {"code": "008017095"}}}, prompt_contains="storm")
    """

    def __init__(
        self,
        port: int = 0,
        api_keys: Sequence[str] = (),
        generation_seconds: float = DEFAULT_GENERATION_SECONDS,
        ca_bundle: Path | str | None = None,
        *,
        callback_retry_seconds: float = 2.0,
        callback_timeout_seconds: float = 10.0,
        off_peak_available: bool = False,
        unlisted_models: bool = False,
        log: Callable[[str], None] = _no_log,
    ) -> None:
        self.api_keys = tuple(api_keys) or (secrets.token_hex(16),)
        self._faults: list[BaseException] = []
        self._scripts = ScriptBook()
        settings = CallbackSettings(
            Path(ca_bundle) if ca_bundle else None, callback_retry_seconds, callback_timeout_seconds
        )
        self._timer = Timer(self._faults.append)
        try:
            self._server = HttpServer(port, self._route, log, self._faults.append)
        except OSError:
            self._timer.close()
            raise
        self._studio = ThreadPoolExecutor(1, thread_name_prefix="simulator-studio")
        self._book = TaskBook(self._timer, self._announce)
        self._videos = VideoApi(self._book, self.origin)
        self._callbacks = CallbackSender(settings, self._timer, self._links, self._other, self._faults.append)
        account = Account(self.api_keys, Rules(off_peak_available, unlisted_models), generation_seconds)
        reader = ImageReader(settings.ca_bundle)
        self._gateway = GatewayApi(account, self._book, self._scripts, self._videos, reader)
        self._vidu = ViduApi(account, self._book, self._scripts, self._videos, reader)
        self._control = Control(self._book, self._scripts, self.reset, reader)

    @property
    def origin(self) -> str:
        """Scheme, host and port: links to videos and images begin with it."""
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def url(self) -> str:
        """Base of the gateway's calls: create is `{url}/generation`."""
        return self.origin + gateway_api.BASE_PATH

    @property
    def vidu_url(self) -> str:
        """Base of the upstream API's calls: create is `{vidu_url}/ent/v2/` and the kind of video."""
        return self.origin

    @property
    def control_url(self) -> str:
        """Base of the control calls."""
        return self.origin + control_calls.PREFIX

    @property
    def api_key(self) -> str:
        """The first of the keys it takes."""
        return self.api_keys[0]

    def script(self, script: dict[str, Any] | None = None, *, times: int | None = None, **match: str) -> str:
        """Have the next matching creates (`times` of them, None: all) run under `script`; returns the script's id.

        `match`: `prompt_contains`, `payload_contains`, `callback_url_contains`. The first script added that matches
        wins. Raises `BadRequestError` for what is not a script.
        """
        return self._control.add_script({"match": match, "times": times, "script": script or {}})

    def tasks(self) -> list[dict[str, Any]]:
        """All tasks with everything that was seen of them, oldest first (as `GET /_simulator/tasks/{id}`)."""
        views = (self._control.task(short["id"]) for short in self._control.tasks())
        return [view for view in views if view is not None]

    def task(self, task_id: str) -> dict[str, Any]:
        """One task with everything that was seen of it. Raises `KeyError`."""
        view = self._control.task(task_id)
        if view is None:
            raise KeyError(task_id)
        return view

    def patch(self, task_id: str, patch: dict[str, Any]) -> None:
        """Merge `patch` into a live task's script. Raises `KeyError`, or `BadRequestError` for what is not a script."""
        task = self._book.get(task_id)
        if task is None:
            raise KeyError(task_id)
        self._control.patch_task(task, patch)

    def video(self, task_id: str, number: int = 0) -> bytes:
        """The true bytes of a task's video, whatever its script does to downloads. Raises `KeyError`."""
        task = self._book.get(task_id)
        if task is None:
            raise KeyError(task_id)
        file = self._book.video(task, number)
        return b"".join(file.read(0, file.size))

    def requests(self) -> list[dict[str, Any]]:
        """Every request so far: when, method, path, status, and what it was (`call`, `task`, `script`, `fault`)."""
        return self._server.requests()

    def buy_credits(self, bought: int) -> None:
        """Let each account of the upstream API have bought this many credits."""
        self._vidu.bought = bought

    def reset(self) -> None:
        """Forget tasks, scripts and requests."""
        self._timer.clear()
        self._scripts.clear()
        self._book.clear()
        self._server.forget_requests()

    def close(self) -> None:
        """Stop: sockets closed, threads joined. Raises `SimulatorFaultError` if the simulator itself broke."""
        self._server.stop()
        self._timer.close()
        self._callbacks.close()
        self._studio.shutdown(cancel_futures=True)
        if self._faults:
            raise SimulatorFaultError(repr(self._faults)) from self._faults[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _route(self, exchange: Exchange) -> None:
        path = exchange.path
        if path.startswith(gateway_api.BASE_PATH + "/"):
            self._gateway.serve(exchange)
        elif path.startswith(vidu_api.BASE_PATH + "/"):
            self._vidu.serve(exchange)
        elif path.startswith(control_calls.PREFIX + "/"):
            self._control.serve(exchange, self._server)
        elif exchange.method == "GET" and path.startswith(video_api.PREFIX):
            self._videos.serve(exchange)
        elif exchange.method == "GET" and path.startswith(images.PREFIX):
            images.serve_image(exchange)
        else:
            send_error(exchange, 404, "not found")

    def _announce(self, task: Task, state: State) -> None:
        if state in ("processing", "succeeded"):
            self._studio.submit(self._prepare, task)
        self._callbacks.announce(task, state)

    def _prepare(self, task: Task) -> None:
        """Make the videos while the task is "generated", so that its first download is not slower than others."""
        try:
            for number in range(task.script.videos.count):
                self._book.video(task, number)
        except Exception as error:  # noqa: BLE001 - the pool would hide it; `close` raises it
            self._faults.append(error)

    def _links(self, task: Task) -> list[str]:
        return self._videos.links(task, counted=False)

    def _other(self, task: Task) -> Named | None:
        others = [other for other in self._book.all() if other.id != task.id]
        return Named(others[-1].id, others[-1].remote_id) if others else None


__all__ = ["BadRequestError", "Simulator", "SimulatorFaultError"]
