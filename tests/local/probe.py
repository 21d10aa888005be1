"""A running emulator as tests see it, and waiting for what it does in its own time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

PATIENCE_SECONDS = 60
"""Long enough for a machine that is busy with something else; only what never comes takes as long."""


@dataclass(frozen=True)
class Emulator:
    endpoint_url: str
    ca_bundle: str
    region: str
    work_dir: Path
    outputs: dict[str, str]

    def client(self, service: str) -> Any:
        """A client with the emulator's own, unlimited credentials."""
        return self._client(service, self._session("test", "test", None))

    def session_of(self, environment: dict[str, str]) -> Callable[[str], Any]:
        """Makes clients with the credentials in a function's environment."""
        key_id, key = environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]
        session = self._session(key_id, key, environment["AWS_SESSION_TOKEN"])
        return lambda service: self._client(service, session)

    def _session(self, key_id: str, key: str, token: str | None) -> boto3.Session:
        return boto3.Session(
            aws_access_key_id=key_id, aws_secret_access_key=key, aws_session_token=token, region_name=self.region
        )

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
