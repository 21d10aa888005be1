"""A running emulator as tests see it, and waiting for what it does in its own time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

PATIENCE_SECONDS = 20


@dataclass(frozen=True)
class Emulator:
    endpoint_url: str
    ca_bundle: str
    region: str
    work_dir: Path
    outputs: dict[str, str]

    def client(self, service: str) -> Any:
        """A client with the emulator's own, unlimited credentials."""
        return self._client(service, boto3.Session("test", "test", region_name=self.region))

    def session_of(self, environment: dict[str, str]) -> Callable[[str], Any]:
        """Makes clients with the credentials in a function's environment."""
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        session = boto3.Session(*(environment[name] for name in names), region_name=self.region)
        return lambda service: self._client(service, session)

    def _client(self, service: str, session: boto3.Session) -> Any:
        return session.client(  # type: ignore[call-overload]  # the name is not a literal here
            service, endpoint_url=self.endpoint_url, verify=self.ca_bundle
        )


def eventually(look: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    """What `look` returns once it is something."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, "nothing to be seen in time"
        time.sleep(0.05)
    return seen
