"""Start the emulator: ``python -m local.emulator --work-dir DIR --function-python PYTHON [--port N]``.

Writes certificates and everything temporary below the work folder, listens on 127.0.0.1 only, and prints one line of
JSON on standard output when it answers: ``{"endpoint_url": …, "ca_bundle": …, "region": …}``. The log goes to
standard error. Ends on SIGTERM, with every function it started.
"""

import argparse
import asyncio
import importlib.metadata
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from local.emulator.certificate import Certificate, make_certificate
from local.emulator.settings import MINISTACK_VERSION, REGION, Settings

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]
PORT_TAKEN = 98
"""Exit status when another program listens on the port."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.emulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--function-python", type=Path, required=True)
    arguments = parser.parse_args()

    found = importlib.metadata.version("ministack")
    if found != MINISTACK_VERSION:
        print(
            f"The emulator is made for MiniStack {MINISTACK_VERSION}, not {found}: run `make setup`.", file=sys.stderr
        )
        return 1
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", arguments.port))
        listener.listen(128)
    except OSError as error:
        print(f"Cannot listen on 127.0.0.1:{arguments.port}: {error.strerror}.", file=sys.stderr)
        return PORT_TAKEN
    work_dir = arguments.work_dir.resolve()
    certificate = make_certificate(work_dir / "certificates")
    settings = Settings(
        port=listener.getsockname()[1],
        ca_bundle=certificate.ca_bundle,
        function_python=arguments.function_python.absolute(),
    )
    configure_ministack(settings, certificate, work_dir)
    asyncio.run(serve(settings, certificate, listener))
    return 0


def configure_ministack(settings: Settings, certificate: Certificate, work_dir: Path) -> None:
    """Set what MiniStack reads from the environment while it is imported."""
    temporary = work_dir / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = str(temporary)
    os.environ.update(
        GATEWAY_PORT=str(settings.port),
        BIND_HOST="127.0.0.1",
        USE_SSL="1",
        MINISTACK_SSL_CERT=str(certificate.chain),
        MINISTACK_SSL_KEY=str(certificate.key),
        AUTH="true",
        LAMBDA_EXECUTOR="local",
        IOT_MTLS_ENABLED="0",
        SFTP_ENABLED="0",
        # It would look for containers to clean up.
        DOCKER_HOST=f"unix://{work_dir / 'no-docker.sock'}",
        TMPDIR=str(temporary),
        AWS_ENDPOINT_URL=settings.endpoint_url,
        AWS_CA_BUNDLE=str(settings.ca_bundle),
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",  # noqa: S106 - the emulator's well-known credentials
        AWS_DEFAULT_REGION=REGION,
    )


async def serve(settings: Settings, certificate: Certificate, listener: socket.socket) -> None:
    """Answer on `listener` until SIGTERM or SIGINT; then end the functions' processes, and this one."""
    from hypercorn.asyncio import serve as serve_asgi
    from hypercorn.config import Config
    from ministack.app import app
    from ministack.core import lambda_runtime

    from local.emulator import patches
    from local.emulator.faults import Faults
    from local.emulator.meter import Meter

    patches.apply_all(settings)
    meter = Meter()
    meter.watch_functions()
    faults = Faults()
    faults.watch_functions()
    announced = _announced(meter.watch_calls(faults.watch_calls(app)), settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.certfile, config.keyfile = str(certificate.chain), str(certificate.key)
    config.keep_alive_timeout = 75
    config.loglevel = "WARNING"
    serving = asyncio.create_task(serve_asgi(announced, config, shutdown_trigger=asyncio.Event().wait))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    lambda_runtime.reset()
    if serving.done():
        serving.result()
    # An orderly end would wait for clients to close their connections; nothing here outlives the process anyway.
    os._exit(0)


def _announced(app: Application, settings: Settings) -> Application:
    """The application, which prints how to call it when it is ready."""
    ready = {"endpoint_url": settings.endpoint_url, "ca_bundle": str(settings.ca_bundle), "region": REGION}

    async def announced(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        async def announce(message: dict[str, Any]) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                print(json.dumps(ready), flush=True)

        await app(scope, receive, announce if scope["type"] == "lifespan" else send)

    return announced


if __name__ == "__main__":
    sys.exit(main())
