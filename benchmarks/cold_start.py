"""Start and memory of each function against `import boto3` and a naive function, and what a warm callback costs.

Each start is a fresh interpreter that has loaded Lambda's own runtime client; measured is what the function adds to
it, in CPU time, since other work on the machine must not count. The layers are the built ones, for this machine. The
variants take turns, a round at a time; a ratio is made within its round. Figures are of this machine: on Lambda they
scale with the memory a function has, ratios stay.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from local.programs import ROOT, program_environment, venv_program

ROUNDS = 9
INVOCATIONS = 300
TARGET_RATIO = 1.2
TARGETS = {"submit_task": 1.6}
TARGET_MEMORY_MB = 60.0
TARGET_CALLBACK_MS = 3.0
CALLBACK_BYTES = 2048
WHOLE = ("boto3", "botocore", "s3transfer", "jmespath", "python-dateutil", "six", "urllib3", "requests", "certifi",
         "idna", "charset-normalizer", "aws-lambda-powertools", "typing-extensions", "pydantic", "pydantic-core",
         "annotated-types", "typing-inspection")  # fmt: skip
"""What the baselines import: the packages as they are published."""

START = """
import json, sys, time
sys.path[:0] = {paths!r}
import awslambdaric.bootstrap
began = time.process_time()
import {module}
spent = time.process_time() - began
resident = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS"))
print(json.dumps([spent * 1000, resident / 1024]))
"""

WARM = """
import io, json, sys, time
sys.path[:0] = {paths!r}
import awslambdaric.bootstrap
import handler
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.httpsession import URLLib3Session
from vidu_relay.adapters import provider_gateway
from vidu_relay.outbound.exchange import Reply

ANSWERS = {answers!r}
ATTRIBUTES = {{"DynamoDB_20120810.PutItem", "DynamoDB_20120810.GetItem"}}
asked = []

class Raw(io.BytesIO):
    def stream(self, **options):
        yield self.read()

def send(self, request):
    target = request.headers["X-Amz-Target"]
    target = target.decode() if isinstance(target, bytes) else target
    asked.append(target)
    return AWSResponse(request.url, 200, HTTPHeaders(), Raw(ANSWERS[target]))

URLLib3Session.send = send
provider_gateway.exchange = lambda *arguments, **options: Reply(200, {{}}, {provider!r})

class Context:
    function_name = "benchmark"
    memory_limit_in_mb = 256
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:benchmark"
    aws_request_id = "00000000-0000-4000-8000-000000000000"
    def get_remaining_time_in_millis(self):
        return 10_000

event, spent, out = json.loads({event!r}), [], sys.stdout
sys.stdout = io.StringIO()
for number in range({invocations} + 20):
    asked.clear()
    began = time.process_time()
    answer = handler.handler(event, Context())
    spent.append((time.process_time() - began) * 1000)
    assert answer["statusCode"] == {status}, answer
sys.stdout = out
print(json.dumps([spent[20:], asked]))
"""


@dataclass(frozen=True)
class Row:
    """One figure: median, least and most, and what it should be."""

    what: str
    median: float
    least: float
    most: float
    unit: str
    target: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        return "reached" if self.median <= self.target else "missed"


def measure(rounds: int = ROUNDS) -> list[Row]:
    """Build the layers, measure, and give the rows: ratios first. About a minute."""
    with tempfile.TemporaryDirectory(prefix="relay-benchmark-") as temporary:
        folder = Path(temporary)
        layers, whole = _build(folder), _whole(folder)
        functions = sorted(path.parent.name for path in (ROOT / "functions").glob("*/handler.py"))
        environment = _environment(folder)
        no_bytecode = {**environment, "PYTHONPYCACHEPREFIX": str(folder / "none"), "PYTHONDONTWRITEBYTECODE": "1"}
        variants = {name: (_start([_function(name), layers], "handler"), environment) for name in functions}
        variants["import boto3"] = (_start([whole], "boto3"), environment)
        variants["naive"] = (_start([str(ROOT / "benchmarks"), whole], "naive"), no_bytecode)
        found: dict[str, list[list[float]]] = {name: [] for name in variants}
        for _ in range(rounds + 1):
            for name, (code, variables) in variants.items():
                found[name].append(_run(code, variables))
        samples = {name: values[1:] for name, values in found.items()}  # the first round only fills the file cache
        base = [cpu for cpu, _ in samples["import boto3"]]
        rows = [
            _row(f"cold init ÷ import boto3: {name}",
                 [cpu / divisor for (cpu, _), divisor in zip(samples[name], base, strict=True)], "×",
                 None if name == "naive" else TARGETS.get(name, TARGET_RATIO))
            for name in [*functions, "naive"]
        ]  # fmt: skip
        rows += [_row(f"cold init, CPU: {name}", [cpu for cpu, _ in samples[name]], "ms") for name in variants]
        rows += [
            _row(f"memory after init: {name}", [memory for _, memory in samples[name]], "MB",
                 TARGET_MEMORY_MB if name in functions else None)
            for name in variants
        ]  # fmt: skip
        rows.append(_warm_callback(layers, environment))
        return [*rows, _size("layers", Path(layers)), _size("the same packages, whole", Path(whole))]


def _build(folder: Path) -> str:
    """Both layers, built for this machine by their Makefiles; as in Lambda they are one folder."""
    path = os.pathsep.join([str(Path(venv_program("sam")).parent), os.environ["PATH"]])
    for layer, resource in (("dependencies", "DependenciesLayer"), ("shared", "SharedLayer")):
        source = shutil.copytree(ROOT / "layers" / layer, folder / layer)
        variables = [f"ARTIFACTS_DIR={folder / 'opt'}", "LAYER_TARGET=host", f"LAYER_PYTHON={venv_program('runtime')}"]
        command = ["make", "-s", f"build-{resource}", *variables]
        subprocess.run(command, cwd=source, env={**os.environ, "PATH": path}, check=True)  # noqa: S603 - our own
    return str(folder / "opt" / "python")


def _whole(folder: Path) -> str:
    """The packages of the development environment as they were published, with valid bytecode."""
    target = folder / "whole"
    for package in WHOLE:
        for file in importlib.metadata.distribution(package).files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(file.locate()), target / file)
    command = [venv_program("runtime"), "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(target)]
    subprocess.run(command, check=True)  # noqa: S603 - our own
    return str(target)


def _environment(folder: Path) -> dict[str, str]:
    """What Lambda and the template set, for every function at once."""
    from vidu_relay import settings

    names = {field.name for kind in settings.__all__ if kind.endswith("Settings")
             for field in fields(getattr(settings, kind))}  # fmt: skip
    return {
        **program_environment(folder),
        **{name.upper(): "1" for name in names},
        "PROVIDER_NAME": "gateway",
        "PROVIDER_BASE_URL": "https://provider.example.com/v1",
        "PUBLIC_BASE_URL": "https://relay.example.com",
        "CALLBACK_SIGNATURE": "off",
        **{name.upper(): "false" for name in ("off_peak_available", "probe_image_urls")},
        "DELIVERIES_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/1/deliveries",
        "AWS_LAMBDA_FUNCTION_NAME": "benchmark",
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "POWERTOOLS_SERVICE_NAME": "benchmark",
        "POWERTOOLS_METRICS_NAMESPACE": "ViduRelay",
    }


def _function(name: str) -> str:
    return str(ROOT / "functions" / name)


def _start(paths: Sequence[str], module: str) -> str:
    return START.format(paths=list(paths), module=module)


def _run(code: str, environment: dict[str, str]) -> Any:
    command = [venv_program("runtime"), "-c", code]
    result = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if result.returncode:
        raise RuntimeError(result.stderr)
    return json.loads(result.stdout)


def _warm_callback(layers: str, environment: dict[str, str]) -> Row:
    """A callback of 2 KB that moves a task on: read, read-back, conditional write.

    The network is stubbed, and nothing else: botocore's HTTP session, and the exchange with the provider, both of
    which answer at once. Parsing, signing, serializing, logging are as deployed.
    """
    event = json.loads((ROOT / "events" / "receive_callback__processing.json").read_text())
    body = json.loads(event["body"])
    event["body"] = json.dumps({**body, "payload": "x" * (CALLBACK_BYTES - len(json.dumps({**body, "payload": ""})))})
    image = json.loads((ROOT / "events" / "publish_events__generated.json").read_text())["Records"][0]["dynamodb"]
    from tests.unit.usecases.account import CALLBACK_SECRET

    def secret(content: object) -> bytes:
        return json.dumps({"SecretString": json.dumps(content)}).encode()

    answers = {
        "DynamoDB_20120810.GetItem": json.dumps({"Item": image["OldImage"]}).encode(),
        "DynamoDB_20120810.PutItem": b"{}",
        "secretsmanager.GetSecretValue": secret({**CALLBACK_SECRET, "api_key": "example-key" * 4}),
    }
    provider = json.dumps({"id": body["id"], "status": "processing", "created_at": body["created_at"]}).encode()
    code = WARM.format(
        paths=[_function("receive_callback"), layers],
        answers=answers,
        provider=provider,
        event=json.dumps(event),
        invocations=INVOCATIONS,
        status=200,
    )
    spent, asked = _run(code, environment)
    calls = ", ".join(re.sub(r".*\.", "", call) for call in asked)
    return _row("warm callback of 2 KB, CPU", spent, "ms", TARGET_CALLBACK_MS, f"network stubbed; {calls}, one read")


def _size(what: str, folder: Path) -> Row:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    archive = Path(shutil.make_archive(str(folder.parent / "packed"), "zip", folder))
    packed = archive.stat().st_size / 1e6
    archive.unlink()
    return Row(f"unpacked size: {what}", size, size, size, "MB", note=f"{packed:.1f} MB packed")


def _row(what: str, values: Sequence[float], unit: str, target: float | None = None, note: str = "") -> Row:
    return Row(what, statistics.median(values), min(values), max(values), unit, target, note)


def main() -> int:
    """Run the measurement and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    for row in measure(parser.parse_args().rounds):
        target = "" if row.target is None else f"target {row.target:g}: {row.verdict}"
        line = f"{row.what:<46} {row.median:8.2f} ({row.least:.2f} to {row.most:.2f}) {row.unit:<3} {target} {row.note}"
        sys.stdout.write(f"{line.rstrip()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
