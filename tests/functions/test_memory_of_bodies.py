"""No body takes more memory than a few times its own size: a function that runs out of it answers no request."""

import os
import subprocess
import sys

import pytest

from tests.functions.conftest import process_environment
from tests.unit.template import ROOT

MOST_MEGABYTES = 160
"""A function has 384 MB. Measured: 61 MB for the start alone and 81 MB with the hardest body."""

MEASURE = """
import importlib.util, pathlib, sys, time
sys.path[:0] = [{shared!r}]
spec = importlib.util.spec_from_file_location("handler", {handler!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
from vidu_relay.domain.errors import InvalidRequestError
event = {{"body": sys.stdin.buffer.read().decode()}}
began = time.perf_counter()
try:
    module.parse_request(module.read_json_body(event), module.deps.offering)
    outcome = "accepted"
except InvalidRequestError as error:
    outcome = error.code
seconds = time.perf_counter() - began
status = pathlib.Path("/proc/self/status").read_text()
(peak,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
print(int(peak) // 1024, f"MB, {{seconds:.2f}} s: {{outcome}}")
"""

SIZE = 4 * 1024 * 1024
GOOD = '{"model": "viduq2_pro_fast_reference2video", "images": ["https://a.example/b.png"], "prompt": "x"}'
PARTS: dict[str, tuple[str, str, str]] = {
    "lists in model": ('{"model": [', "[],", "0]}"),
    "nested lists in model": ('{"model": [', "[" * 100 + "]" * 100 + ",", "0]}"),
    "escapes in a prompt": (GOOD[:-3], "\\u0041", '"}'),
    "emoji in a prompt": (GOOD[:-3], "🦊", '"}'),
    "digits in seed": (GOOD[:-1] + ', "seed": ', "9", "}"),
    "one unknown name": (GOOD[:-1] + ', "', "n", '": 0}'),
    "one image": (f'{GOOD[:-3]}", "images": ["data:image/png;base64,', "AAAA", '"]}'),
}
"""What stands before, again and again, and after: a body of just under 4 MB."""


def body(name: str) -> str:
    if name == "unknown names":
        return GOOD[:-1] + "".join(f',"{number}":0' for number in range(SIZE // 11)) + "}"
    if name == "the longest payload":
        return GOOD[:-1] + ', "payload": "' + "🦊" * 1_048_500 + '"}'
    before, unit, after = PARTS[name]
    return before + unit * ((SIZE - len((before + after).encode())) // len(unit.encode())) + after


def peak_megabytes(body: str) -> tuple[int, str]:
    """The peak resident memory in MB of a new process that starts the function and reads a body; how that ended."""
    code = MEASURE.format(
        shared=str(ROOT / "layers" / "shared"), handler=str(ROOT / "functions" / "submit_task" / "handler.py")
    )
    env = {**process_environment("submit_task"), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, env=env, cwd="/", input=body.encode(), capture_output=True, check=False)  # noqa: S603 - ours
    assert result.returncode == 0, result.stderr.decode()
    peak, ended = result.stdout.decode().split(" ", 1)
    return int(peak), ended.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("name", [*PARTS, "unknown names", "the longest payload"])
def test_peak_memory_of_a_body_of_4_mb_is_bounded(name: str) -> None:
    peak, outcome = peak_megabytes(body(name))
    assert 20 < peak < MOST_MEGABYTES, outcome
