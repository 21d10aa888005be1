"""Run a command that must not outlive its starter: ``python -I -S tether.py COMMAND…``.

The command gets a process group of its own. When this process's standard input closes, as it does when its starter ends
for any reason, or a signal arrives, the command gets SIGTERM, and after `GRACE_SECONDS` its whole group is killed. What
the command leaves running in its group ends with it. The exit status is the command's.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading

GRACE_SECONDS = 4


def main(command: list[str]) -> int:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603 - our own commands
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: threading.Thread(target=end, args=(process,)).start())
    threading.Thread(target=end_with_input, args=(process,), daemon=True).start()
    status = process.wait()
    kill_group(process)
    return status if status >= 0 else 128 - status


def end_with_input(process: subprocess.Popen[bytes]) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        kill_group(process)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
