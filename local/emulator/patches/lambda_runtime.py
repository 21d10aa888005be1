"""Lambda's Python runtime: ``awslambdaric`` in a process of its own (Lambda developer guide, "Execution environment").

A function has only its own variables in its environment and its layers on the path; the class of an uncaught exception
is its ``errorType``; the process stays for the next invocation, after an exception too; one that dies in the middle of
its answer has given none. MiniStack feeds events to a worker script on the emulator's interpreter, calls every failure
``Runtime.HandlerError`` and ends the process, and takes half an answer for a whole one. Here Python functions take
MiniStack's way for custom runtimes, with ``awslambdaric`` as the custom runtime. As many start at a time as the machine
has processors, and the clock of a start runs from its turn: on Lambda each has a processor of its own. The log of an
invocation is all that it wrote; MiniStack waits some milliseconds for it.
"""

import hashlib
import io
import os
import threading
import time
import uuid
import zipfile
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from ministack.core import lambda_runtime
from ministack.services import lambda_svc

from local.emulator.function_output import FunctionOutput
from local.emulator.settings import Settings

BOOTSTRAP = '#!/bin/sh\nexec "$_LOCAL_FUNCTION_PYTHON" -m awslambdaric "$_HANDLER"\n'
TAKEN_FROM_THE_MACHINE = (
    "ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "all_proxy", "http_proxy", "https_proxy", "no_proxy",
    "PATH", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR",
)  # fmt: skip
"""How to reach the network from here. Not ``HOME``: no file of the user's decides what a function does."""

SET_BY_MINISTACK = (
    "AWS_ACCESS_KEY_ID", "AWS_DEFAULT_REGION", "AWS_DISABLE_HOST_PREFIX_INJECTION", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_RUNTIME_API", "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "_HANDLER",
)  # fmt: skip
STARTS = threading.BoundedSemaphore(os.cpu_count() or 1)
"""Fifty processes that start at once on two cores would each take longer than Lambda's 10 s, and all fail."""


class WholeAnswers:
    """Mixed into MiniStack's runtime interface: what a dying process had no time to send is no answer."""

    def _read_body(self) -> bytes:
        body: bytes = super()._read_body()  # type: ignore[misc]
        if len(body) < int(self.headers.get("Content-Length", 0)):  # type: ignore[attr-defined]
            raise ConnectionAbortedError("The function ended in the middle of its answer.")
        return body

    def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
        try:
            super().do_POST()  # type: ignore[misc]
        except ConnectionAbortedError:
            self.close_connection = True


class AwslambdaricWorker(lambda_runtime.ProvidedWorker):  # type: ignore[misc]  # MiniStack has no types
    """One execution environment of a Python function."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._output: FunctionOutput | None = None
        self._output_lock = threading.Lock()

    def _pump_output(self, stream: Any, log_queue: Any) -> None:
        self._output_of(stream, log_queue).pump()

    def _drain_stderr_bounded(self, *_: float, **__: float) -> str:
        """The log of an invocation: all of it was written before the answer."""
        process = self._proc
        if process is not None:
            self._output_of(process.stdout, self._stderr_queue).take()
        return str(self._drain_stderr())

    def _output_of(self, stream: Any, lines: Any) -> FunctionOutput:
        """The one of this process; made by the first that needs it, its thread or the log of an invocation."""
        with self._output_lock:
            if self._output is None or self._output.stream is not stream:
                self._output = FunctionOutput(stream, lines)
            return self._output

    def _build_handler_class(self, generation: int, pending: Any) -> Any:
        handler = super()._build_handler_class(generation, pending)
        # Headers and body go out in two writes: with Nagle's algorithm each invocation waits 40 ms for an ACK.
        return type("RuntimeInterface", (WholeAnswers, handler), {"disable_nagle_algorithm": True})

    def _spawn(self, init_timeout: float | None = None) -> None:
        bootstrap = Path(lambda_svc._provided_runtime_code_dir(self.code_zip)) / "bootstrap"
        with lambda_svc._provided_code_lock:
            if not bootstrap.exists():
                bootstrap.write_text(BOOTSTRAP)
                bootstrap.chmod(0o755)
        with STARTS:
            super()._spawn(init_timeout)


class Layers:
    """Layers unpacked, each content once."""

    def __init__(self) -> None:
        self._folders: dict[str, Path] = {}
        self._lock = threading.Lock()

    def folder(self, attachment: str | dict[str, Any]) -> Path | None:
        """Where the layer lies unpacked; None for a layer without content."""
        content = lambda_svc._resolve_layer_zip(attachment)
        if not content:
            return None
        digest = hashlib.sha256(content).hexdigest()
        with self._lock:
            if digest not in self._folders:
                folder = Path(gettempdir()) / "layers" / digest
                with zipfile.ZipFile(io.BytesIO(content)) as archive:
                    archive.extractall(folder)
                self._folders[digest] = folder
            return self._folders[digest]


def apply(settings: Settings) -> None:
    layers = Layers()
    custom_runtime_environment = lambda_svc._provided_worker_env
    warm_execution = lambda_svc._execute_function_warm
    worker_class_for = lambda_runtime._worker_class_for

    def environment(config: dict[str, Any], code_dir: str, port: int) -> dict[str, str]:
        variables: dict[str, str] = custom_runtime_environment(config, code_dir, port)
        if not _is_python(config):
            return variables
        own = lambda_svc._runtime_env_vars(config)
        kept = {
            name: value
            for name, value in variables.items()
            if name in own or name in SET_BY_MINISTACK or name in TAKEN_FROM_THE_MACHINE
        }
        return {**_lambda_variables(settings, config, code_dir, layers), **kept}

    def execute(function: dict[str, Any], event: Any, request_id: str) -> Any:
        if _is_python(function.get("config") or function):
            return lambda_svc._execute_function_provided_warm(function, event, request_id)
        return warm_execution(function, event, request_id)

    lambda_svc._provided_worker_env = environment
    lambda_svc._execute_function_warm = execute
    lambda_runtime._worker_class_for = lambda config: (
        AwslambdaricWorker if _is_python(config) else worker_class_for(config)
    )
    lambda_runtime._signal = _kill


def _kill(process: Any) -> None:
    """End a function's process as Lambda does: at once. On SIGTERM it goes on waiting for the next event."""
    if process is not None and process.poll() is None:
        process.kill()


def _is_python(config: dict[str, Any]) -> bool:
    return str(config.get("Runtime", "")).startswith("python")


def _lambda_variables(settings: Settings, config: dict[str, Any], code_dir: str, layers: Layers) -> dict[str, str]:
    """What Lambda defines for every function, beyond what MiniStack does for custom runtimes."""
    name, runtime, logging = config["FunctionName"], config["Runtime"], config.get("LoggingConfig") or {}
    search_path = [Path(code_dir)]
    for folder in filter(None, map(layers.folder, config.get("Layers") or [])):
        search_path += [folder / "python", folder / "python" / "lib" / runtime / "site-packages"]
    stream = f"{time.strftime('%Y/%m/%d', time.gmtime())}/[{config.get('Version', '$LATEST')}]{uuid.uuid4().hex}"
    variables = {
        "HOME": gettempdir(),
        "AWS_ENDPOINT_URL": settings.endpoint_url,
        "AWS_CA_BUNDLE": str(settings.ca_bundle),
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{runtime}",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": logging.get("LogGroup") or f"/aws/lambda/{name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": stream,
        "LAMBDA_TASK_ROOT": code_dir,
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "PYTHONPATH": os.pathsep.join(str(folder) for folder in search_path if folder.is_dir()),
        # The code is read-only on Lambda.
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "_LOCAL_FUNCTION_PYTHON": str(settings.function_python),
    }
    if logging.get("LogFormat"):
        variables["AWS_LAMBDA_LOG_FORMAT"] = "JSON" if logging["LogFormat"].upper() == "JSON" else "Text"
    if logging.get("ApplicationLogLevel"):
        variables["AWS_LAMBDA_LOG_LEVEL"] = logging["ApplicationLogLevel"]
    return variables
