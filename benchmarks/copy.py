"""The copy of a video, from a TLS source to an S3-shaped TLS sink: the relay's own code beside what else could be used.

Sizes are 10 MB, 100 MB and 1 GB, made while they are sent. Each copy is a process of its own; the ways take turns, so
that what else the machine does meets all of them. Ratios are of pairs in the same round, shown as median (min to max).
The baseline is `copy_loop.c`: TLS read, SHA-256, TLS write, in one loop.

Ways in Python copy a small video first, as a warm function has: imports and first calls are cold start and measured
there. Memory is what the resident set grew at most over the state before both copies. Of programs that are started for
each copy, all of their time is counted.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.copy_servers import run_server, serve_sink, serve_source, sink_requests
from benchmarks.rows import Row, matrix, row, table
from local.emulator.certificate import Certificate, make_certificate

__all__ = ["Result", "measure", "report", "rows"]

MB = 1_000_000
SIZES = {"10 MB": 10 * MB, "100 MB": 100 * MB, "1 GB": 1000 * MB}
ROUNDS = {"10 MB": 9, "100 MB": 7, "1 GB": 3}
AWS_CLI = "curl | aws s3 cp -"
C_LOOP, KNOWN, UNKNOWN = "C loop", "relay, known length", "relay, unknown length"
ORDER = (C_LOOP, KNOWN, UNKNOWN)
"""What stands first in the tables."""


@dataclass(frozen=True, slots=True)
class Result:
    """One copy. `memory_mb` is known of ways in Python only."""

    way: str
    size: str
    seconds: float
    cpu_seconds: float
    requests: int
    memory_mb: float | None = None


@dataclass(frozen=True, slots=True)
class _Bench:
    source: int
    sink: int
    certificate: Certificate
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        ca_bundle = str(self.certificate.ca_bundle)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return kept | {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL_S3": f"https://127.0.0.1:{self.sink}",
            "AWS_CA_BUNDLE": ca_bundle,
            "SSL_CERT_FILE": ca_bundle,
            "NO_PROXY": "*",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), "layers/shared"]),
        }

    @property
    def curl(self) -> str:
        return f"curl --silent --fail --noproxy '*' --cacert {self.certificate.ca_bundle}"

    def url(self, size: int, *, is_open: bool = False) -> str:
        return f"https://127.0.0.1:{self.source}/{size}{'/open' if is_open else ''}"


Way = Callable[[_Bench, int], tuple[float, float, float | None]]


def measure(
    sizes: Sequence[str] = tuple(SIZES), say: Callable[[str], None] = lambda _: None
) -> tuple[list[Result], list[str]]:
    """Run every way that this machine has: the results, and what is left out and why."""
    left_out: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        certificate = make_certificate(folder)
        ways = dict(_ways(folder, left_out))
        with run_server(serve_source, certificate) as source, run_server(serve_sink, certificate) as sink:
            bench = _Bench(source, sink, certificate, folder)
            return [result for size in sizes for result in _rounds(bench, ways, size, say)], left_out


def _rounds(bench: _Bench, ways: Mapping[str, Way], size: str, say: Callable[[str], None]) -> Iterator[Result]:
    for number in range(ROUNDS[size]):
        say(f"{size}, round {number + 1} of {ROUNDS[size]}")
        order = [(way, copy) for way, copy in ways.items() if not (way == AWS_CLI and size == "1 GB")]
        for way, copy in order if number % 2 == 0 else order[::-1]:
            sink_requests(bench.sink, str(bench.certificate.ca_bundle))
            elapsed, cpu, memory = copy(bench, SIZES[size])
            asked = sink_requests(bench.sink, str(bench.certificate.ca_bundle))
            yield Result(way, size, elapsed, cpu, asked, memory)


def rows(results: Sequence[Result]) -> list[Row]:
    """What has a target: the relay's own ways. Ratios to the C loop first, then memory and requests."""
    found: list[Row] = []
    for size in _sizes(results):
        by_way = _by_way(results, size)
        if {C_LOOP, KNOWN} <= by_way.keys():
            cpu, speed = _ratios(by_way, KNOWN)
            found.append(row(f"{size}, {KNOWN}: CPU ÷ C loop", cpu, "×", at_most=1.25))
            found.append(row(f"{size}, {KNOWN}: throughput ÷ C loop", speed, "×", at_least=0.9))
    for size in _sizes(results):
        by_way = _by_way(results, size)
        for way in (KNOWN, UNKNOWN):
            memory = [result.memory_mb for result in by_way.get(way, []) if result.memory_mb is not None]
            if memory:
                found.append(row(f"{size}, {way}: memory above base", memory, "MB", at_most=8))
        if KNOWN in by_way:
            found.append(row(f"{size}, {KNOWN}: S3 requests", [one.requests for one in by_way[KNOWN]], at_most=1))
    return found


def report(results: Sequence[Result], left_out: Sequence[str] = ()) -> list[str]:
    """The section of `RESULTS.md`: what has a target, then every way beside the others."""
    lines = [
        "From a TLS source to an S3-shaped TLS sink on this machine; each copy a process of its own, the ways take",
        "turns. Ratios are of pairs in the same round. Ways in Python have copied a small video before, programs are",
        "counted from their start.",
        "",
        *table(rows(results)),
    ]
    columns = ["CPU ÷ C loop", "throughput ÷ C loop", "MB/s", "CPU s/GB", "memory above base, MB", "S3 requests"]
    for size in _sizes(results):
        by_way = _by_way(results, size)
        lines += ["", *matrix(size, columns, ((way, _cells(by_way, way)) for way in by_way))]
    return [*lines, *(f"\n{text}." for text in left_out)]


def _cells(by_way: Mapping[str, Sequence[Result]], way: str) -> list[Row | None]:
    mine = by_way[way]
    gigabytes = SIZES[mine[0].size] / 1e9
    memory = [result.memory_mb for result in mine if result.memory_mb is not None]
    ratios = _ratios(by_way, way) if C_LOOP in by_way else None
    return [
        row("", ratios[0]) if ratios else None,
        row("", ratios[1]) if ratios else None,
        row("", [1000 * gigabytes / one.seconds for one in mine]),
        row("", [one.cpu_seconds / gigabytes for one in mine]),
        row("", memory) if memory else None,
        row("", [one.requests for one in mine]),
    ]


def _ratios(by_way: Mapping[str, Sequence[Result]], way: str) -> tuple[list[float], list[float]]:
    """CPU and throughput over those of the C loop, round by round."""
    pairs = list(zip(by_way[way], by_way[C_LOOP], strict=True))
    cpu = [one.cpu_seconds / other.cpu_seconds for one, other in pairs]
    return cpu, [other.seconds / one.seconds for one, other in pairs]


def _sizes(results: Sequence[Result]) -> list[str]:
    return list(dict.fromkeys(result.size for result in results))


def _by_way(results: Sequence[Result], size: str) -> dict[str, list[Result]]:
    """Results of a size by way, each in the order of the rounds."""
    found: dict[str, list[Result]] = {way: [] for way in ORDER}
    for result in results:
        if result.size == size:
            found.setdefault(result.way, []).append(result)
    return {way: mine for way, mine in found.items() if mine}


def _ways(folder: Path, left_out: list[str]) -> Iterator[tuple[str, Way]]:
    if _compile(folder):
        yield C_LOOP, _c_loop
    else:
        left_out.append("left out: the C loop and all ratios (no gcc with the headers of OpenSSL)")
    yield KNOWN, lambda bench, size: _python(bench, "known", size)
    yield UNKNOWN, lambda bench, size: _python(bench, "unknown", size)
    yield "upload_fileobj", lambda bench, size: _python(bench, "upload_fileobj", size)
    for name, programs, way in (
        ("curl | curl -T", ("curl",), _curl),
        (AWS_CLI, ("curl", "aws"), _aws),
        ("rclone copyurl", ("rclone",), _rclone),
    ):
        if all(map(shutil.which, programs)):
            yield name, way
            if name == AWS_CLI:
                left_out.append(f"left out at 1 GB: {AWS_CLI} (about ten seconds of CPU for each copy)")
        else:
            left_out.append(f"left out: {name} (not installed)")


def _compile(folder: Path) -> bool:
    gcc = shutil.which("gcc")
    if gcc is None:
        return False
    source = Path(__file__).with_name("copy_loop.c")
    command = [gcc, "-O2", "-o", str(folder / "copy_loop"), str(source), "-lssl", "-lcrypto"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0  # noqa: S603 - our own source


def _c_loop(bench: _Bench, size: int) -> tuple[float, float, float | None]:
    numbers = [bench.source, bench.sink, size]
    command = [str(bench.folder / "copy_loop"), *map(str, numbers), str(bench.certificate.ca_bundle)]
    elapsed, cpu = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()  # noqa: S603
    return float(elapsed), float(cpu), None


def _python(bench: _Bench, way: str, size: int) -> tuple[float, float, float | None]:
    command = [sys.executable, "-m", "benchmarks.copy_one", way, bench.url(size, is_open=way == "unknown")]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=bench.environment)  # noqa: S603
    elapsed, cpu, memory = json.loads(done.stdout)
    return elapsed, cpu, memory


def _shell(bench: _Bench, command: str) -> tuple[float, float, float | None]:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(  # noqa: S603 - numbers and paths of our own
        ["/bin/sh", "-c", command], check=True, stdout=subprocess.DEVNULL, env=bench.environment
    )
    elapsed, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return elapsed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, None


def _curl(bench: _Bench, size: int) -> tuple[float, float, float | None]:
    return _shell(bench, f"{bench.curl} {bench.url(size)} | {bench.curl} -T - https://127.0.0.1:{bench.sink}/b/k")


def _aws(bench: _Bench, size: int) -> tuple[float, float, float | None]:
    return _shell(bench, f"{bench.curl} {bench.url(size)} | aws s3 cp - s3://b/k --quiet --expected-size {size}")


def _rclone(bench: _Bench, size: int) -> tuple[float, float, float | None]:
    remote = f":s3,provider=Other,env_auth=true,endpoint='https://127.0.0.1:{bench.sink}':b/k"
    return _shell(bench, f'rclone --ca-cert {bench.certificate.ca_bundle} copyurl {bench.url(size)} "{remote}"')
