"""Makes AWS misbehave on request: calls of functions fail, functions are throttled or die, batches come twice.

`PUT /_faults` with ``{"seed": 7, "faults": [{"at": "dynamodb", "how": "lose_reply", "share": 0.2, "limit": 5}]}`` says
what goes wrong from now on, in place of what did; `GET /_faults` lists what has gone wrong so far, `DELETE /_faults`
ends it. All three take a request signed with the operator's credentials. Calls of the operator never fail.

- Calls that functions make, `at` a service: `refuse` (throttled) and `break` (an error of the service) before anything
  happened, `lose_reply` (the same error, after everything happened).
- Invocations, `at` a function's name: `throttle`, `time_out` and `kill`, both at a random moment within the first
  `within_seconds`.
- Batches, `at` a function's name: `redeliver`, as a source does that got no success. A stream's batch goes
  through the stream's own way of trying again; a queue's messages come twice at the same time.
"""

import contextvars
import json
import random
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from ministack.core import lambda_runtime
from ministack.core.iam_evaluator import request_caller_arn
from ministack.core.router import detect_service
from ministack.core.sigv4 import header_signature_failure, parse_header_signature
from ministack.services import lambda_svc

from local.emulator.meter import operation_name, parsed_headers, parsed_query
from local.emulator.patches.streams import USER_AGENT

PATH = "/_faults"
OPERATOR = "test"
"""Access key and secret of the operator: the emulator's well-known ones."""

CALLS = frozenset({"refuse", "break", "lose_reply"})
INVOCATIONS = frozenset({"throttle", "time_out", "kill"})
REDELIVERY = "redeliver"
SERVICES = frozenset({"dynamodb", "events", "s3", "secretsmanager", "sqs", "states"})
DEFAULT_WITHIN_SECONDS = 0.3

REFUSALS = {
    "dynamodb": (400, "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"),
    "events": (400, "ThrottlingException"),
    "s3": (503, "SlowDown"),
    "secretsmanager": (400, "ThrottlingException"),
    "sqs": (400, "com.amazonaws.sqs#RequestThrottled"),
    "states": (400, "ThrottlingException"),
}
"""How each service says "too many requests"."""

FAILURES = {
    "dynamodb": (500, "com.amazonaws.dynamodb.v20120810#InternalServerError"),
    "events": (500, "InternalException"),
    "s3": (500, "InternalError"),
    "secretsmanager": (500, "InternalServiceError"),
    "sqs": (503, "ServiceUnavailable"),
    "states": (500, "InternalFailure"),
}
"""How each service says that it failed."""

LOST_SUCCESS = {"body": {"errorMessage": "lost", "errorType": "Runtime.Unknown"}, "error": True, "log": ""}
"""The end of an invocation whose success got lost on the way to Lambda."""

Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


class BadOrderError(ValueError):
    """An order for faults that cannot be carried out. The message says what to change."""


@dataclass
class Fault:
    """One thing that goes wrong: in a `share` of the cases, at most `limit` times (None: without end)."""

    at: str
    how: str
    share: float = 1.0
    limit: int | None = None
    operation: str | None = None
    """Of calls: only operations whose name begins like this."""
    within_seconds: float = DEFAULT_WITHIN_SECONDS
    given: int = field(default=0, init=False)


class Faults:
    """What goes wrong at present, and what has. `watch_calls` and `watch_functions` put it in MiniStack's way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chance = random.Random(0)  # noqa: S311 - chooses faults, protects nothing
        self._faults: list[Fault] = []
        self._record: list[dict[str, Any]] = []

    def order(self, body: bytes) -> None:
        """Put these faults in place of those there are. Raises `BadOrderError`."""
        faults, seed = _read_order(body)
        with self._lock:
            self._faults, self._chance = faults, random.Random(seed)  # noqa: S311 - as above

    def reading(self) -> dict[str, Any]:
        """`active`: the faults ordered, and how often each was given; `given`: every single one since the start."""
        with self._lock:
            return {"active": [asdict(fault) for fault in self._faults], "given": list(self._record)}

    def watch_calls(self, app: Application) -> Application:
        """The application, with calls of functions failing as ordered."""

        async def faulty(scope: dict[str, Any], receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
            elif scope["path"] == PATH:
                await self._control(scope, receive, send)
            elif (met := self._meets(scope)) is None:
                await app(scope, receive, send)
            else:
                fault, service = met
                if fault.how == "lose_reply":
                    await app(scope, receive, _discard)
                else:
                    await _body(receive)
                await _answer(send, *_failure(service, refused=fault.how == "refuse"))

        return faulty

    def watch_functions(self) -> None:
        """Have invocations and batches meet what is ordered, from now on."""
        execute_warm, execute = lambda_svc._execute_function_provided_warm, lambda_svc._execute_function
        invoke = lambda_runtime.ProvidedWorker.invoke

        def throttled(function: dict[str, Any], event: Any, request_id: str) -> Any:
            name = _function_name(function)
            if self._take(name, {"throttle"}, f"invocation {request_id}"):
                return _too_many_requests(name)
            return execute_warm(function, event, request_id)

        def cut_short(worker: Any, event: Any, request_id: str, **more: Any) -> Any:
            fault = self._take(worker.func_name, {"time_out", "kill"}, f"invocation {request_id}", sure=False)
            if fault is None:
                return invoke(worker, event, request_id, **more)
            return self._cut_short(fault, worker, request_id, lambda: invoke(worker, event, request_id, **more))

        def repeated(function: dict[str, Any], event: Any) -> Any:
            sources = {str(record.get("eventSource")) for record in _records(event)}
            if not sources or not self._take(_function_name(function), {REDELIVERY}, f"batch of {sorted(sources)}"):
                return execute(function, event)
            if "aws:sqs" in sources:
                return _twice_at_once(lambda: execute(function, event))
            result = execute(function, event)
            return result if result.get("error") else {**LOST_SUCCESS}

        lambda_svc._execute_function_provided_warm = throttled
        lambda_svc._execute_function = repeated
        lambda_runtime.ProvidedWorker.invoke = cut_short

    def _cut_short(self, fault: Fault, worker: Any, request_id: str, invoke: Callable[[], Any]) -> Any:
        """Run an invocation whose process dies at a random moment, unless it has ended before."""
        with self._lock:
            moment = self._chance.uniform(0, fault.within_seconds)
        over, killed = threading.Event(), threading.Event()

        def kill() -> None:
            wait = moment
            while not over.wait(wait):
                wait = 0.002
                if worker._current_request_id == request_id:  # begun: neither idle nor still starting
                    killed.set()
                    worker._proc.kill()
                    return

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            result = invoke()
        finally:
            over.set()
            killer.join()
            with self._lock:
                if killed.is_set():
                    self._record.append(_entry(fault, f"invocation {request_id} after {moment:.3f} s"))
                else:
                    fault.given -= 1  # it was quicker
        if killed.is_set() and fault.how == "time_out" and result.get("status") == "error":
            return {**result, **_timed_out(worker.config.get("Timeout", 3))}
        return result

    def _meets(self, scope: dict[str, Any]) -> tuple[Fault, str] | None:
        """The fault that this call meets, and its service."""
        with self._lock:
            if not any(fault.how in CALLS for fault in self._faults):
                return None
        headers, query = parsed_headers(scope), parsed_query(scope)
        caller = request_caller_arn(headers, query)
        if ":assumed-role/" not in caller or USER_AGENT in headers.get("user-agent", ""):
            return None
        service = detect_service(scope["method"], scope["path"], headers, query)
        operation = operation_name(service, scope["method"], scope["path"], headers, query)
        fault = self._take(service, CALLS, operation, caller=caller)
        return (fault, service) if fault else None

    def _take(
        self, at: str, hows: frozenset[str] | set[str], what: str, *, caller: str = "", sure: bool = True
    ) -> Fault | None:
        """The first fault that is to be given here now, counted; `sure` ones are recorded at once."""
        with self._lock:
            for fault in self._faults:
                fits = fault.at == at and fault.how in hows and what.startswith(fault.operation or "")
                left = fault.limit is None or fault.given < fault.limit
                if fits and left and self._chance.random() < fault.share:
                    fault.given += 1
                    if sure:
                        self._record.append(_entry(fault, what, caller))
                    return fault
        return None

    async def _control(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        body = await _body(receive)
        if not _is_operators(scope, body):
            await _answer(send, 403, {"message": "Sign the request with the operator's credentials."})
        elif scope["method"] == "GET":
            await _answer(send, 200, self.reading())
        elif scope["method"] == "DELETE":
            self.order(b'{"seed": 0, "faults": []}')
            await _answer(send, 200, self.reading())
        elif scope["method"] == "PUT":
            try:
                self.order(body)
            except BadOrderError as error:
                await _answer(send, 400, {"message": str(error)})
            else:
                await _answer(send, 200, self.reading())
        else:
            await _answer(send, 405, {"message": "GET, PUT or DELETE."})


def _read_order(body: bytes) -> tuple[list[Fault], int]:
    try:
        order = json.loads(body)
        seed, faults = int(order["seed"]), [Fault(**entry) for entry in order["faults"]]
    except (ValueError, KeyError, TypeError) as error:
        raise BadOrderError(f'It takes {{"seed": NUMBER, "faults": [{{"at", "how", …}}]}}: {error}') from error
    for fault in faults:
        if fault.how not in CALLS | INVOCATIONS | {REDELIVERY}:
            raise BadOrderError(f"There is no fault {fault.how!r}.")
        if fault.how in CALLS and fault.at not in SERVICES:
            raise BadOrderError(f"{fault.how!r} takes one of the services {', '.join(sorted(SERVICES))}.")
        if not 0 < fault.share <= 1:
            raise BadOrderError("A share is above 0 and at most 1.")
    return faults, seed


def _entry(fault: Fault, what: str, caller: str = "") -> dict[str, Any]:
    return {"time": time.time(), "at": fault.at, "how": fault.how, "what": what, "caller": caller}


def _is_operators(scope: dict[str, Any], body: bytes) -> bool:
    headers = parsed_headers(scope)
    signature = parse_header_signature(headers)
    if isinstance(signature, tuple) or signature.access_key_id != OPERATOR:
        return False
    return header_signature_failure(signature, OPERATOR, scope["method"], PATH, {}, headers, body) is None


def _function_name(function: dict[str, Any]) -> str:
    return str((function.get("config") or function).get("FunctionName", ""))


def _records(event: Any) -> list[dict[str, Any]]:
    records = event.get("Records") if isinstance(event, dict) else None
    return records if isinstance(records, list) else []


def _twice_at_once(execute: Callable[[], Any]) -> Any:
    """What the second of two simultaneous invocations gives; both have ended then."""
    first = threading.Thread(target=contextvars.copy_context().run, args=(execute,))
    first.start()
    result = execute()
    first.join()
    return result


def _too_many_requests(name: str) -> dict[str, Any]:
    result: dict[str, Any] = lambda_svc._throttle_response(
        reason_code="ConcurrentInvocationLimitExceeded", msg=f"Rate Exceeded: {name}"
    )
    # what Step Functions calls it
    return {**result, "body": {**result["body"], "errorType": "Lambda.TooManyRequestsException"}}


def _timed_out(seconds: float) -> dict[str, Any]:
    message = f"Task timed out after {seconds}.00 seconds"
    return {"error": message, "error_payload": {"errorMessage": message, "errorType": "Sandbox.Timedout"}}


def _failure(service: str, *, refused: bool) -> tuple[int, dict[str, Any] | str]:
    status, code = (REFUSALS if refused else FAILURES)[service]
    if service == "s3":
        return status, f"<Error><Code>{code}</Code><Message>ordered</Message></Error>"
    return status, {"__type": code, "message": "ordered"}


async def _discard(message: Message) -> None:
    """Lose a reply."""


async def _body(receive: Receive) -> bytes:
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def _answer(send: Send, status: int, content: dict[str, Any] | str) -> None:
    kind = b"application/xml" if isinstance(content, str) else b"application/json"
    body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
