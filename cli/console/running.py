"""`relay console`, from its start to Ctrl-C."""

from __future__ import annotations

import errno
import sys
import tempfile
import threading
import webbrowser
from pathlib import Path

import click

from cli.answer import RefusedError
from cli.command import Command, Relay
from cli.console.endpoints import Endpoints
from cli.console.server import Console


@click.command(cls=Command, examples=["console", "console --port 8600 --no-browser"])
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Where it listens on 127.0.0.1 (default: free).")
@click.option("--no-browser", is_flag=True, help="Only print the link.")
def console(relay: Relay, port: int, no_browser: bool) -> int:
    """Serve the operator's pages on this machine, with your AWS credentials, until Ctrl-C."""
    tool = click.get_current_context().find_root().command
    endpoints = Endpoints(tool if isinstance(tool, click.Group) else click.Group(), relay)
    try:
        server = Console(port, endpoints)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise RefusedError(f"port {port} is taken by another program: choose another --port") from error
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    with tempfile.TemporaryDirectory(prefix="relay-console-") as folder:
        try:
            link = server.link()
            relay.screen.line(f"The operator's console: {link}", {"link": link})
            relay.screen.remark("The link works once. Enter prints another one; Ctrl-C ends the console.")
            if not no_browser:
                open_link(link, Path(folder))
            for _ in sys.stdin if sys.stdin.isatty() else ():
                print(server.link(), flush=True)
            serving.join()
        except KeyboardInterrupt:
            relay.screen.remark("\nThe console has ended.")
        finally:
            server.shutdown()
            server.server_close()
    return 0


def open_link(link: str, folder: Path) -> None:
    """Open the link by a page that only its owner can read: other programs see a browser's command line."""
    page = folder / "console.html"
    page.touch(mode=0o600)
    page.write_text(f'<!doctype html><meta http-equiv="refresh" content="0;url={link}"><a href="{link}">Console</a>')
    webbrowser.open(page.as_uri())
