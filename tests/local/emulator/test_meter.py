"""The emulator's meter: what a bill would count is counted, by who did it."""

from typing import Any

import requests

from tests.local.probe import Emulator

ROOT_USER = "arn:aws:iam::000000000000:root"
NONE = {"invocations": 0, "timed": 0, "log_bytes": 0, "cpu_seconds": 0.0}


def reading(emulator: Emulator, method: str = "GET") -> dict[str, Any]:
    reply = requests.request(method, f"{emulator.endpoint_url}/_meter", verify=str(emulator.ca_bundle), timeout=30)
    found: dict[str, Any] = reply.json()
    return found


def calls(emulator: Emulator, service: str, operation: str) -> dict[str, int]:
    found = reading(emulator)["calls"]
    return {c["caller"]: c["count"] for c in found if (c["service"], c["operation"]) == (service, operation)}


def test_calls_are_counted_by_caller_service_and_operation_until_a_reset(emulator: Emulator) -> None:
    reading(emulator, "DELETE")
    for _ in range(3):
        emulator.client("dynamodb").list_tables()
    s3, key = emulator.client("s3"), {"Bucket": emulator.outputs["Failures"], "Key": "metered"}
    s3.put_object(**key, Body=b"x")
    s3.delete_object(**key)

    assert calls(emulator, "dynamodb", "ListTables") == {ROOT_USER: 3}
    assert calls(emulator, "s3", "PUT") == {ROOT_USER: 1}
    reading(emulator, "DELETE")
    assert calls(emulator, "dynamodb", "ListTables") == {}


def test_invocations_are_counted_with_their_log_and_their_cpu(emulator: Emulator) -> None:
    emulator.invoke(do="metric")
    before = reading(emulator)["functions"].get(emulator.outputs["Probe"], NONE)
    for _ in range(2):
        emulator.invoke(do="metric")
    after = reading(emulator)["functions"][emulator.outputs["Probe"]]

    assert after["invocations"] == before["invocations"] + 2
    assert after["log_bytes"] > before["log_bytes"]
    assert after["timed"] > before["timed"], "the CPU time of a warm process can be read"
    assert after["cpu_seconds"] > before["cpu_seconds"]
