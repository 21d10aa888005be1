"""A running emulator as tests see it, and waiting for what it does in its own time."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

TIMEOUT_SECONDS = 60
"""Long enough for a machine that is busy with something else; only what never comes takes as long."""


@dataclass(frozen=True)
class Emulator:
    endpoint_url: str
    ca_bundle: str
    region: str
    work_dir: Path
    outputs: dict[str, str]

    def client(self, service: str, key_id: str = "test", key: str = "test", token: str | None = None) -> Any:
        """A client that tries once, by default with the emulator's own, unlimited credentials."""
        return boto3.client(  # type: ignore[call-overload]  # the name is not a literal here
            service,
            endpoint_url=self.endpoint_url,
            verify=self.ca_bundle,
            region_name=self.region,
            aws_access_key_id=key_id,
            aws_secret_access_key=key,
            aws_session_token=token,
            config=Config(retries={"total_max_attempts": 1}),
        )

    def invoke(self, **event: Any) -> tuple[Any, str | None]:
        """What the probe function answers, and the kind of its error."""
        reply = self.client("lambda").invoke(FunctionName=self.outputs["Probe"], Payload=json.dumps(event))
        return json.loads(reply["Payload"].read()), reply.get("FunctionError")

    def client_of_function(self, service: str) -> Any:
        environment = self.invoke()[0]["environment"]
        return self.client(
            service,
            environment["AWS_ACCESS_KEY_ID"],
            environment["AWS_SECRET_ACCESS_KEY"],
            environment["AWS_SESSION_TOKEN"],
        )


def eventually(probe: Callable[[], Any]) -> Any:
    """What `probe` returns once it is something."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not (seen := probe()):
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)
    return seen
