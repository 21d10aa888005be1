"""`python -m local.simulator`: the simulator as a process of its own.

The API key that it takes stands in the variable `SIMULATOR_API_KEY`: other users of the machine can read command lines.

Prints one JSON line with its addresses on stdout when it is ready, one line per request on stderr, and ends on SIGTERM
and SIGINT.
"""

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

from local.simulator.simulator import DEFAULT_GENERATION_SECONDS, Simulator


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal; 0."""
    parser = _parser()
    options = parser.parse_args(arguments)
    api_key = os.environ.get("SIMULATOR_API_KEY")
    if not api_key:
        parser.error("SIMULATOR_API_KEY is not set: the API key that the simulator takes")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with Simulator(
        port=options.port,
        api_keys=[api_key],
        generation_seconds=options.generation_seconds,
        ca_bundle=options.ca_bundle,
        off_peak_available=options.off_peak_available,
        unlisted_models=options.unlisted_models,
        log=_log,
    ) as simulator:
        addresses = {
            "url": simulator.url,
            "vidu_url": simulator.vidu_url,
            "origin": simulator.origin,
            "control_url": simulator.control_url,
        }
        sys.stdout.write(json.dumps(addresses) + "\n")
        sys.stdout.flush()
        ended.wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.simulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--ca-bundle", type=Path, help="PEM file to check callback receivers' certificates with")
    parser.add_argument("--generation-seconds", type=float, default=DEFAULT_GENERATION_SECONDS)
    parser.add_argument("--off-peak-available", action="store_true", help="take off-peak tasks")
    parser.add_argument("--unlisted-models", action="store_true", help="take the gateway's models at the upstream API")
    return parser


def _log(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
