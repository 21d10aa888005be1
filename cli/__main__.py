"""Entry point of `relay`."""

import signal
import sys
from io import TextIOWrapper

for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="replace")  # a terminal that has no ● shows a ?
try:
    from cli.main import main  # takes a moment, in which Ctrl-C is no fault of ours

    status = main()
except KeyboardInterrupt:
    print("\nrelay: interrupted", file=sys.stderr)
    status = 128 + signal.SIGINT  # as shells have it
sys.exit(status)
