"""Start and memory of each function against `import boto3` and a naive function, and the CPU time of warm invocations.

Each start is a fresh interpreter that has loaded Lambda's own runtime client; measured is what the function adds to
it, in CPU time, since other work on the machine must not count. The layers are the built ones, for this machine. The
variants take turns, a round at a time, each right behind a start of the baseline that it is divided by. Figures are of
this machine: on Lambda they scale with the memory a function has, ratios stay.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.rows import Row, row, table
from local.programs import ROOT, program_environment, venv_program
from tests.unit.account import CALLBACK_SECRET
from tests.unit.template import sample

FUNCTIONS = ROOT / "functions"
ROUNDS = 9
INVOCATIONS = 300
TARGET_RATIO = 1.2
Start = tuple[float, float]
"""Milliseconds of CPU, and megabytes of resident memory."""
TARGETS = {"submit_task": 1.6}
TARGET_MEMORY_MB = 60.0
TARGET_CALLBACK_MS = 3.0
BODY_BYTES = 2048
WHOLE = ("boto3", "botocore", "s3transfer", "jmespath", "python-dateutil", "six", "urllib3", "requests", "certifi",
         "idna", "charset-normalizer", "aws-lambda-powertools", "typing-extensions", "pydantic", "pydantic-core",
         "annotated-types", "typing-inspection")  # fmt: skip
"""What the baselines import: the packages as they are published."""

START = """
import json, sys, time
sys.path[:0] = {paths!r}
import awslambdaric.bootstrap
began = time.process_time()
{statement}
spent = time.process_time() - began
resident = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS"))
print(json.dumps([spent * 1000, resident / 1024]))
"""

FLOOR = (
    "import gc; gc.disable(); import boto3; from aws_lambda_powertools import Logger, Metrics;"
    " Logger(); Metrics(); session = boto3.Session(); session.client('dynamodb')"
)
CALLS = (
    "; session.client('secretsmanager'); import certifi, requests, ssl;"
    " ssl.create_default_context(cafile=certifi.where())"
)
FLOORS = {
    "the libraries alone: boto3 with a DynamoDB client, Powertools": FLOOR,
    "the libraries alone: these, requests, a Secrets Manager client, a TLS context": FLOOR + CALLS,
    "the libraries alone: all these and pydantic": FLOOR + CALLS + "; from pydantic import BaseModel",
}
"""The least that a function with these libraries can start in: no line of the relay's, from the relay's own layers."""

WARM = """
import io, json, sys, time
sys.path[:0] = {paths!r}
import awslambdaric.bootstrap
import handler
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.httpsession import URLLib3Session
from vidu_relay.outbound import provider_calls
from vidu_relay.outbound.exchange import Reply

ANSWERS = {answers!r}
asked = []

class Raw(io.BytesIO):
    def stream(self, **options):
        yield self.read()

def send(self, request):
    target = request.headers["X-Amz-Target"]
    target = target.decode() if isinstance(target, bytes) else target
    asked.append(target)
    # the provider refused nothing lately: it has no item
    answer = b"{{}}" if b'"pause#' in request.body else ANSWERS[target]
    return AWSResponse(request.url, 200, HTTPHeaders(), Raw(answer))

URLLib3Session.send = send
provider_calls.exchange = lambda *arguments, **options: Reply(200, {{}}, {provider!r})

class Context:
    function_name = "benchmark"
    memory_limit_in_mb = 256
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:benchmark"
    aws_request_id = "00000000-0000-4000-8000-000000000000"
    def get_remaining_time_in_millis(self):
        return 29_000

event, spent = json.loads({event!r}), []
for number in range({invocations} + 20):
    asked.clear()
    began = time.process_time()
    answer = handler.handler(event, Context())
    spent.append((time.process_time() - began) * 1000)
    assert answer["statusCode"] == {status}, answer
print(json.dumps([spent[20:], asked]))
"""


def measure(rounds: int = ROUNDS, say: Callable[[str], None] = lambda _: None) -> list[Row]:
    """Build the layers, measure, and give the rows: ratios first. About two minutes."""
    say("building both layers and starting every function")
    with tempfile.TemporaryDirectory(prefix="relay-benchmark-") as temporary:
        folder = Path(temporary)
        layers, whole, plain = _build(folder), _whole(folder, "whole"), _whole(folder, "plain")
        _compile(whole)
        shutil.copy(ROOT / "benchmarks" / "naive.py", plain)
        functions = sorted(path.parent.name for path in FUNCTIONS.glob("*/handler.py"))
        environment = _environment(folder)
        variants = {
            name: START.format(paths=[str(FUNCTIONS / name), layers], statement="import handler") for name in functions
        }
        variants |= {name: START.format(paths=[layers], statement=floor) for name, floor in FLOORS.items()}
        variants |= {"naive": START.format(paths=[plain], statement="import naive")}
        base = START.format(paths=[whole], statement="import boto3")
        # each start right behind one of the baseline: the machine is not the same a second later
        pairs: dict[str, list[tuple[Start, Start]]] = {name: [] for name in variants}
        for _ in range(rounds + 1):
            for name, code in variants.items():
                pairs[name].append((_run(base, environment), _run(code, environment)))
        pairs = {name: values[1:] for name, values in pairs.items()}  # the first round only fills the file cache
        samples = {name: [start for _, start in values] for name, values in pairs.items()}
        samples["import boto3"] = [start for values in pairs.values() for start, _ in values]
        limits = {name: TARGETS.get(name, TARGET_RATIO) for name in functions}
        memory_limits = dict.fromkeys(functions, TARGET_MEMORY_MB)
        rows = []
        for name, values in pairs.items():
            ratios = [cpu / divisor for (divisor, _), (cpu, _) in values]
            rows.append(row(f"cold init ÷ import boto3: {name}", ratios, "×", at_most=limits.get(name)))
        for name, starts in samples.items():
            memory = [memory for _, memory in starts]
            rows.append(row(f"memory after init: {name}", memory, "MB", at_most=memory_limits.get(name)))
        rows += _warm(layers, environment)
        rows += [row(f"cold init, CPU: {name}", [cpu for cpu, _ in starts], "ms") for name, starts in samples.items()]
        return [*rows, _size("layers", Path(layers)), _size("the packages, whole", Path(whole))]


def report(rows: Sequence[Row]) -> list[str]:
    """The section of `RESULTS.md`."""
    return [
        "CPU time in a fresh interpreter that has loaded Lambda's runtime client, both layers built for this machine;",
        "the variants take turns, each divided by a start of the baseline just before it. The naive function imports",
        "all libraries and makes all clients, without valid bytecode; *the libraries alone* are those of the layers,",
        "without the relay's code. Warm invocations have a stubbed network and nothing else.",
        "",
        *table(rows),
    ]


def _build(folder: Path) -> str:
    """Both layers, built for this machine by their Makefiles; as in Lambda they are one folder."""
    path = os.pathsep.join([str(Path(venv_program("sam")).parent), os.environ["PATH"]])
    for layer, resource in (("dependencies", "DependenciesLayer"), ("shared", "SharedLayer")):
        source = shutil.copytree(ROOT / "layers" / layer, folder / layer)
        variables = [f"ARTIFACTS_DIR={folder / 'opt'}", "LAYER_TARGET=host", f"LAYER_PYTHON={venv_program('runtime')}"]
        command = ["make", "-s", f"build-{resource}", *variables]
        subprocess.run(command, cwd=source, env={**os.environ, "PATH": path}, check=True)  # noqa: S603 - our own
    return str(folder / "opt" / "python")


def _whole(folder: Path, name: str) -> str:
    """The packages of the development environment as they were published, without bytecode."""
    target = folder / name
    for package in WHOLE:
        for file in importlib.metadata.distribution(package).files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(file.locate()), target / file)
    return str(target)


def _compile(folder: str) -> None:
    command = [venv_program("runtime"), "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", folder]
    subprocess.run(command, check=True)  # noqa: S603 - our own


def _environment(folder: Path) -> dict[str, str]:
    """What Lambda and the template set, for every function at once."""
    from vidu_relay import settings

    classes = [getattr(settings, name) for name in settings.__all__ if name.endswith("Settings")]
    names = {name for settings_class in classes for name in settings.variables(settings_class)}
    return {
        **program_environment(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        **dict.fromkeys(names, "1"),
        "PROVIDER_NAME": "gateway",
        "PROVIDER_BASE_URL": "https://provider.example.com/v1",
        "PUBLIC_BASE_URL": "https://relay.example.com",
        "CALLBACK_SIGNATURE": "off",
        "TRUSTED_ORIGINS": "",
        "VIDEO_HOSTS": "",
        "OFFERED_MODELS": "",
        **{name.upper(): "false" for name in ("allow_unlisted_models", "off_peak_available", "probe_image_urls")},
        "DELIVERIES_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/1/deliveries",
        "AWS_LAMBDA_FUNCTION_NAME": "benchmark",
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "POWERTOOLS_SERVICE_NAME": "benchmark",
        "POWERTOOLS_METRICS_NAMESPACE": "ViduRelay",
    }


def _run(code: str, environment: dict[str, str]) -> Any:
    command = [venv_program("runtime"), "-c", code]
    result = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if result.returncode:
        raise RuntimeError(result.stderr)
    return json.loads(result.stdout.splitlines()[-1])  # before it come the function's own log lines


_DYNAMODB = "DynamoDB_20120810"
Case = tuple[str, str, dict[str, Any], dict[str, Any], int, float | None]
"""What is measured, its function, event, AWS's answers by operation, the status it answers with, and its target."""


def _cases() -> list[Case]:
    """A callback of 2 KB that moves a task on, a submission, and the reading of a completed task."""
    callback, submission = sample("receive_callback__processing"), sample("submit_task__two_subjects")
    body = json.loads(callback["body"])
    callback["body"] = json.dumps({**body, "payload": "x" * (BODY_BYTES - len(json.dumps({**body, "payload": ""})))})
    request = json.loads(submission["body"])
    for subject in request["subjects"]:  # an image in the request would be stored: another call, seldom made
        subject["images"] = ["https://images.example.com/one.png"]
    submission["body"] = json.dumps(request)
    images = [record["dynamodb"].get("NewImage", {}) for record in sample("publish_events__whole_life")["Records"]]
    completed = next(image for image in images if image.get("status") == {"S": "completed"})
    completed.pop("request_key", None)  # a request that is kept whole in S3 is another call, seldom made
    submitted = sample("publish_events__generated")["Records"][0]["dynamodb"]["OldImage"]
    tenant = {"pk": {"S": "tenant#demo"}, "owner": {"S": "#tenants"}, "created_at": {"N": "1"}}
    get, count = f"{_DYNAMODB}.GetItem", {f"{_DYNAMODB}.UpdateItem": {"Attributes": {"accepted": {"N": "1"}}}}
    return [
        ("a callback of 2 KB", "receive_callback", callback, {get: {"Item": submitted}}, 200, TARGET_CALLBACK_MS),
        ("a submission", "submit_task", submission, {**count, get: {"Item": tenant}}, 202, None),
        ("reading a completed task", "read_tasks", sample("read_tasks__one"), {get: {"Item": completed}}, 200, None),
    ]


def _warm(layers: str, environment: dict[str, str]) -> list[Row]:
    """CPU of warm invocations.

    The network is stubbed, and nothing else: botocore's HTTP session, and the exchange with the provider, both of
    which answer at once. Parsing, signing, serializing, logging are as deployed.
    """
    secret = json.dumps({**CALLBACK_SECRET, "api_key": "example-key" * 4})
    common = {"secretsmanager.GetSecretValue": {"SecretString": secret}}
    common |= {f"{_DYNAMODB}.PutItem": {}, f"{_DYNAMODB}.TransactWriteItems": {}}
    body = json.loads(sample("receive_callback__processing")["body"])
    provider = {"id": body["id"], "status": "processing", "created_at": body["created_at"]}
    rows = []
    for what, function, event, answers, status, target in _cases():
        code = WARM.format(
            paths=[str(FUNCTIONS / function), layers],
            answers={name: json.dumps(answer).encode() for name, answer in {**common, **answers}.items()},
            provider=json.dumps(provider).encode(),
            event=json.dumps(event),
            invocations=INVOCATIONS,
            status=status,
        )
        spent, asked = _run(code, environment)
        calls = ", ".join(call.rpartition(".")[2] for call in asked)
        rows.append(row(f"warm CPU, {what}", spent, "ms", at_most=target, note=calls))
    return rows


def _size(what: str, folder: Path) -> Row:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    archive = Path(shutil.make_archive(str(folder.parent / "packed"), "zip", folder))
    packed = archive.stat().st_size / 1e6
    archive.unlink()
    return row(f"unpacked size: {what}", [size], "MB", note=f"{packed:.1f} MB packed")
