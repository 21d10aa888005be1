"""Entry point of `relay`."""

import signal
import sys
from io import TextIOWrapper


def run() -> None:
    """Run the command of the command line, and exit with its status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no ● shows a ?
    try:
        from cli.main import main  # takes a moment, in which Ctrl-C must not print a traceback

        status = main()
    except KeyboardInterrupt:
        print("\nrelay: interrupted", file=sys.stderr)
        status = 128 + signal.SIGINT  # as shells have it
    sys.exit(status)


if __name__ == "__main__":
    run()
