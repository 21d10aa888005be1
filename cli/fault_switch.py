"""The emulator's switch for faults (`local/emulator/faults.py`), worked by the operator."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

__all__ = ["FaultSwitch", "SwitchRefusedError"]


class SwitchRefusedError(Exception):
    """The emulator refuses an order. The message says why."""


class FaultSwitch:
    """Says what goes wrong in the emulated AWS, and reads what has."""

    def __init__(self, endpoint_url: str, ca_bundle: str, region: str) -> None:
        self._url, self._ca_bundle, self._region = f"{endpoint_url}/_faults", ca_bundle, region

    def order(self, faults: Sequence[Mapping[str, Any]], seed: int) -> None:
        """Have these faults happen from now on, and no others. Raises `SwitchRefusedError`."""
        self._call("PUT", {"seed": seed, "faults": list(faults)})

    def end(self) -> None:
        """End every fault."""
        self._call("DELETE")

    def active(self) -> list[dict[str, Any]]:
        """The faults ordered, and how often each was given (`given`, at most `limit`)."""
        active: list[dict[str, Any]] = self._call("GET")["active"]
        return active

    def given(self) -> list[dict[str, Any]]:
        """Every fault given so far: when (`time`), `at` what, `how`, in the course of `what`, to which `caller`."""
        given: list[dict[str, Any]] = self._call("GET")["given"]
        return given

    def _call(self, method: str, order: Mapping[str, Any] | None = None) -> dict[str, Any]:
        body = b"" if order is None else json.dumps(order).encode()
        request = AWSRequest(method, self._url, data=body)
        credentials = Credentials("test", "test")
        SigV4Auth(credentials, "faults", self._region).add_auth(request)
        with requests.Session() as session:
            session.trust_env = False
            session.verify = self._ca_bundle
            reply = session.request(method, self._url, data=body, headers=dict(request.headers), timeout=30)
        answer: dict[str, Any] = reply.json()
        if not reply.ok:
            raise SwitchRefusedError(answer["message"])
        return answer
