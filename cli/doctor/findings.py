"""What a check gets, and what it finds."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

import requests
from botocore.exceptions import BotoCoreError, ClientError

from cli.answer import RefusedError
from cli.connection import Connection, ConnectionFailedError
from vidu_relay.domain.errors import ConfigurationError, ViduRelayError

TENANT = "relay-doctor"
"""The tenant that checks act as: its cap is 0, and its key lives as long as a check."""
EVIDENCE_SECONDS = 100.0
"""Until when, of the two minutes, a check waits for what must come."""
LOOK_SECONDS = 1.0
DENIED = re.compile(r"not authorized to perform: ([\w-]+:\w+)")
MISSING = re.compile(r"NotFound|NoSuch|NonExistent|DoesNotExist|404")
DENIALS = frozenset({"AccessDenied", "AccessDeniedException", "AuthorizationError", "Forbidden", "403"})


class State(StrEnum):
    """`not` needs a person, `unknown` could not be found out."""

    OK = "ok"
    NOT = "not"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check, and the remedy if it is not ok."""

    state: State
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Context:
    """The deployment that is checked, and how long that may take. Used by several threads at once."""

    connection: Connection
    again: Callable[..., str] = lambda *words: " ".join(("relay", *words))
    """The command line that runs another command on the same relay."""
    began: float = field(default_factory=time.monotonic)
    stopped: threading.Event = field(default_factory=threading.Event)
    """Set when findings no longer count: checks remove what they made, and end."""

    def client(self, service: str) -> Any:
        return self.connection.client(service)

    def output(self, name: str) -> str:
        return self.connection.output(name)

    def resource(self, name: str) -> str:
        return self.connection.resource(name)

    def function(self, name: str) -> dict[str, Any]:
        """The configuration of a function, by its name in the template."""
        found: dict[str, Any] = self.client("lambda").get_function_configuration(FunctionName=self.resource(name))
        return found

    @cached_property
    def submitting(self) -> Mapping[str, str]:
        """What the deployed function that submits tasks reads from its environment."""
        return self.connection.submitting

    def http(self, method: str, url: str, **arguments: Any) -> requests.Response:
        """One HTTP call, without redirects, and with no header that a `.netrc` would add."""
        with requests.Session() as session:
            session.trust_env = self.connection.endpoint_url is None
            given = {"timeout": (10, 35), "allow_redirects": False, "auth": lambda request: request, **arguments}
            return session.request(method, url, verify=self.connection.ca_bundle or True, **given)

    def comes(self, condition: Callable[[], bool], by: float = EVIDENCE_SECONDS) -> bool:
        """Whether the condition comes true by so many seconds after the beginning, asked about once a second."""
        while not (met := condition()) and time.monotonic() - self.began < by:
            if self.stopped.wait(LOOK_SECONDS):
                break
        return met


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the answer: its name, what is tried, and what tries it."""

    name: str
    tried: str
    run: Callable[[Context], Finding]


def fault_of(error: Exception) -> Finding:
    """The finding of a check that failed. It names a missing permission, and no address, which may be a link."""
    if isinstance(error, ClientError):
        fault = error.response.get("Error", {})
        if fault.get("Code") in DENIALS:
            named = DENIED.search(str(fault.get("Message", "")))
            action = named[1] if named else error.operation_name
            return Finding(State.UNKNOWN, f"your credentials may not do it: {action}", f"allow yourself {action}")
        if MISSING.search(str(fault.get("Code"))):
            return Finding(State.NOT, f"something is missing: {error}", "deploy again")
        return Finding(State.UNKNOWN, str(error), "repeat it")
    if isinstance(error, BotoCoreError | RefusedError | ConnectionFailedError | ViduRelayError):
        return Finding(State.UNKNOWN, str(error), "repeat it")
    return Finding(State.UNKNOWN, f"no answer ({type(error).__name__})", "repeat it")


def worst(findings: Sequence[Finding], ok: str = "") -> Finding:
    """The worst state of several findings with the texts of those that are not ok; `ok` or all texts if all are."""
    problems = [finding for finding in findings if finding.state is not State.OK]
    if not problems:
        return Finding(State.OK, ok or "; ".join(finding.found for finding in findings))
    state = State.NOT if any(problem.state is State.NOT for problem in problems) else State.UNKNOWN
    remedies = dict.fromkeys(problem.remedy for problem in problems)
    return Finding(state, "; ".join(problem.found for problem in problems), "; ".join(remedies))


def secret_fault(error: ConfigurationError, remedy: str) -> Finding:
    """What is wrong with a secret; unknown where it is only these credentials that may not read it."""
    cause = error.__cause__
    if isinstance(cause, ClientError) and cause.response["Error"]["Code"] in DENIALS:
        return fault_of(cause)
    return Finding(State.NOT, str(error), remedy)
