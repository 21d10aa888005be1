"""Bodies that are hard to read, and the peak memory of a `submit_task` function that reads one.

`PYTHONPATH=.:layers/shared python -m tests.functions.memory_of_bodies` prints a line for each.
"""

import os
import subprocess
import sys
from collections.abc import Callable

from tests.functions.conftest import settings_of
from tests.unit.account import ENVIRONMENT
from tests.unit.template import ROOT

__all__ = ["BODIES", "peak_megabytes"]

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
    module.parse_request(module.read_json_body(event), off_peak_available=True)
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


def _full(before: str, unit: str, after: str = "") -> Callable[[], str]:
    """A body of just under 4 MB that is filled with one part, over and over."""
    times = (SIZE - len((before + after).encode())) // len(unit.encode())
    return lambda: before + unit * times + after


def _unknown_names() -> str:
    return GOOD[:-1] + "".join(f',"{number}":0' for number in range(SIZE // 11)) + "}"


PROMPT = GOOD[:-3]
PAYLOAD = GOOD[:-1] + ', "payload": "'

BODIES: dict[str, Callable[[], str]] = {
    "two bytes": lambda: "{}",
    "lists in model": _full('{"model": [', "[],", "0]}"),
    "objects in model": _full('{"model": [', '{"":0},', "0]}"),
    "objects of two in model": _full('{"model": [', '{"":0,"":0},', "0]}"),
    "nested lists in model": _full('{"model": [', "[" * 100 + "]" * 100 + ",", "0]}"),
    "nested lists to the end": _full("", "["),
    "nested objects to the end": _full("", '{"":'),
    "one prompt": _full(PROMPT, "x", '"}'),
    "escapes in a prompt": _full(PROMPT, "\\u0041", '"}'),
    "escaped quotes in a prompt": _full(PROMPT, '\\"', '"}'),
    "emoji in a prompt": _full(PROMPT, "🦊", '"}'),
    "strings": _full("[", '"a",', "0]"),
    "digits in seed": _full(GOOD[:-1] + ', "seed": ', "9", "}"),
    "numbers": _full("[", "1,", "1]"),
    "numbers without commas": _full("", "1" * 39 + " "),
    "unknown names": _unknown_names,
    "one unknown name": _full(GOOD[:-1] + ', "', "n", '": 0}'),
    "one unknown value": _full(GOOD[:-1] + ', "n": "', "v", '"}'),
    "too long a payload": _full(PAYLOAD, "x", '"}'),
    "the longest payload": lambda: PAYLOAD + "🦊" * 1_048_500 + '"}',
    "one image": _full(
        '{"model": "viduq2_pro_fast_reference2video", "prompt": "x", "images": ["data:image/png;base64,', "A" * 4, '"]}'
    ),
    "white space": _full(GOOD[:-1], " ", "}"),
    "backslashes": _full('"', "\\"),
}
"""What each body is made of, and what makes it. All but the first have 4 MB."""


def peak_megabytes(body: str) -> tuple[int, str]:
    """The peak resident memory in MB of a new process that starts the function and reads a body; how that ended."""
    variables = {setting.upper(): "1" for setting in settings_of("submit_task")._fields}
    variables |= {"PROVIDER_NAME": "gateway", "OFF_PEAK_AVAILABLE": "false", "PROBE_IMAGE_URLS": "true"}
    variables |= {"TRUSTED_ORIGINS": "", **ENVIRONMENT}
    code = MEASURE.format(
        shared=str(ROOT / "layers" / "shared"), handler=str(ROOT / "functions" / "submit_task" / "handler.py")
    )
    result = subprocess.run(  # noqa: S603 - our own interpreter, our own code
        [sys.executable, "-c", code],
        env={**variables, "AWS_LAMBDA_FUNCTION_NAME": "submit_task", "PATH": os.environ["PATH"]},
        cwd="/",
        input=body.encode(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr.decode()
    peak, ended = result.stdout.decode().split(" ", 1)
    return int(peak), ended.strip()


if __name__ == "__main__":
    for name, made in BODIES.items():
        print(name, *peak_megabytes(made()), sep=" | ")  # noqa: T201
