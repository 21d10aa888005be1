"""``make local``: the stack in the foreground, until Ctrl-C or SIGTERM."""

import argparse
import os
import shlex
import sys
import time
from pathlib import Path

from local.errors import LocalStackError
from local.programs import ROOT
from local.signals import StopRequestedError, stop_on_signals
from local.stack import DEFAULT_PORT, LocalStack, Stack, origin_of
from local.stack_file import STACK_FILE, described, show_a_running_stack

PROVIDER_KEY_VARIABLE = "PROVIDER_API_KEY"
WATCH_SECONDS = 0.5
THIS_MACHINE = [f"{scheme}://{host}:*" for scheme in ("http", "https") for host in ("127.0.0.1", "localhost")]
"""Origins that clients of this stack may name, in a `callback_url` or for an image."""


def main() -> int:
    arguments = _parser().parse_args()
    work_dir = ROOT / ".local" / str(arguments.port)
    trusted = [*filter(None, [arguments.parameters.get("TrustedOrigins")]), *THIS_MACHINE]
    stack = LocalStack(
        work_dir,
        port=arguments.port,
        provider_url=arguments.provider_url,
        provider_key=os.environ.get(PROVIDER_KEY_VARIABLE) if arguments.provider_url else None,
        parameters={**arguments.parameters, "TrustedOrigins": ",".join(trusted)},
        progress=_say,
    )
    try:
        with stop_on_signals():
            show_a_running_stack()
            _serve(stack, work_dir, simulated=not arguments.provider_url)
    except StopRequestedError:
        _say("Stopped.")
    except LocalStackError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


def _serve(stack: LocalStack, work_dir: Path, *, simulated: bool) -> None:
    """Run the stack until something ends it."""
    restarted = stack.logs.is_dir()
    with stack as description, described(description, work_dir):
        try:
            _introduce(stack, description, simulated=simulated)
            if restarted:
                _say("It starts empty: address, API key and webhook secret are new, earlier tasks and videos are gone.")
            _say("Ready. Ctrl-C stops it.")
            while True:
                time.sleep(WATCH_SECONDS)
                stack.check()
        finally:
            _say("Stopping.")


def _introduce(stack: LocalStack, description: Stack, *, simulated: bool) -> None:
    image = f"{origin_of(description.provider_url)}/images/fox.png" if simulated else "fox.png"
    rows = {
        "API": shlex.quote(description.api_url),  # it has a `$`
        "API's page": shlex.quote(f"{description.api_url}/v1/docs"),
        "Console": shlex.quote(description.console_url),
        "API key": description.api_key,
        "Provider": description.provider_url,
        "AWS": f"{description.aws_endpoint_url} (certificate authority: {description.aws_ca_bundle})",
        "Everything": STACK_FILE,
        "Logs": stack.logs,
        "Operator": "cli/relay --local console",
        "Webhooks": "a callback_url may name any port of this machine: http://127.0.0.1:8000/",
        "Try it": f"cli/relay --local submit --prompt 'a fox in the snow' --image {image} --watch",
    }
    for name, value in rows.items():
        print(f"  {name:<11} {value}")


def _say(line: str) -> None:
    print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("--port", type=_port, default=DEFAULT_PORT, help=f"where AWS answers (default {DEFAULT_PORT})")
    parser.add_argument(
        "--provider-url",
        type=_provider_url,
        default=None,
        help=f"base address of a provider in the simulator's place; its key is read from {PROVIDER_KEY_VARIABLE}",
    )
    parser.add_argument("--parameters", type=_parameters, default={}, help='template parameters: "Name=value …"')
    return parser


def _port(text: str) -> int:
    number = int(text) if text else DEFAULT_PORT
    if not 0 < number < 65536:
        raise argparse.ArgumentTypeError(f"{text} is not a port")
    return number


def _provider_url(text: str) -> str | None:
    return text.rstrip("/") or None


def _parameters(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split()]
    if wrong := [name for name, equals, _ in pairs if not (name and equals)]:
        raise argparse.ArgumentTypeError(f"{wrong[0]!r} is not of the form Name=value")
    return {name: value for name, _, value in pairs}


if __name__ == "__main__":
    sys.exit(main())
