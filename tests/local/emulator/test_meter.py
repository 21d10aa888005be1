"""The emulator's meter: what a bill would count is counted, by who did it."""

import json
from typing import Any

import requests

from tests.local.probe import Emulator


def reading(emulator: Emulator, method: str = "GET") -> dict[str, Any]:
    reply = requests.request(method, f"{emulator.endpoint_url}/_meter", verify=str(emulator.ca_bundle), timeout=10)
    found: dict[str, Any] = reply.json()
    return found


def calls(emulator: Emulator, service: str, operation: str) -> int:
    found = reading(emulator)["calls"]
    return sum(call["count"] for call in found if (call["service"], call["operation"]) == (service, operation))


def test_calls_are_counted_by_service_and_operation(emulator: Emulator) -> None:
    dynamodb, s3 = emulator.client("dynamodb"), emulator.client("s3")
    tables = calls(emulator, "dynamodb", "ListTables")
    puts = calls(emulator, "s3", "PUT")
    for _ in range(3):
        dynamodb.list_tables()
    s3.put_object(Bucket=emulator.outputs["Failures"], Key="metered", Body=b"x")

    assert calls(emulator, "dynamodb", "ListTables") == tables + 3
    assert calls(emulator, "s3", "PUT") == puts + 1
    s3.delete_object(Bucket=emulator.outputs["Failures"], Key="metered")  # other tests read what is there


def test_a_caller_is_named_by_its_arn(emulator: Emulator) -> None:
    emulator.client("dynamodb").list_tables()
    callers = {call["caller"] for call in reading(emulator)["calls"] if call["operation"] == "ListTables"}

    assert callers == {"arn:aws:iam::000000000000:root"}


def test_invocations_are_counted_with_their_log_and_their_cpu(emulator: Emulator) -> None:
    name = emulator.outputs["Probe"]

    def counted() -> dict[str, Any]:
        found: dict[str, Any] = reading(emulator)["functions"].get(name, {"invocations": 0, "timed": 0, "log_bytes": 0})
        return found

    invoke = {"FunctionName": name, "Payload": json.dumps({"do": "metric"})}
    emulator.client("lambda").invoke(**invoke)
    before = counted()
    for _ in range(2):
        emulator.client("lambda").invoke(**invoke)
    after = counted()

    assert after["invocations"] == before["invocations"] + 2
    assert after["log_bytes"] > before["log_bytes"]
    assert after["timed"] >= 1, "a warm process tells its CPU time"
    assert after["cpu_seconds"] > 0


def test_a_reset_begins_at_nought(emulator: Emulator) -> None:
    emulator.client("dynamodb").list_tables()
    reading(emulator, "DELETE")

    assert calls(emulator, "dynamodb", "ListTables") == 0
