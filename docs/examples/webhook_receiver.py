"""Receives webhooks: `WEBHOOK_SECRET=whsec_… python3 webhook_receiver.py 8000`. Needs the standard library alone.

`relay webhooks secret TENANT` shows the secret (https://www.standardwebhooks.com). What was not signed with it, or long
ago, is answered 400. The task's latest version is kept in memory here: keep it in a table.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOLERANCE_SECONDS = 300
latest: dict[str, int] = {}


def is_signed(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether the relay signed these bytes in the last five minutes; names in lower case, the body as it came."""
    moment = headers.get("webhook-timestamp", "")
    if not moment.isdecimal() or abs(time.time() - int(moment)) > TOLERANCE_SECONDS:
        return False
    content = f"{headers.get('webhook-id', '')}.{moment}.".encode() + body
    digest = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), content, hashlib.sha256).digest()
    expected = b"v1," + base64.b64encode(digest)
    given = headers.get("webhook-signature", "").encode().split(b" ")  # two for a day after a rotation
    return any(hmac.compare_digest(expected, one) for one in given)


def receive(secret: str, headers: Mapping[str, str], body: bytes) -> int:
    """Take one POST; the status to answer with. A repeated or overtaken notification changes nothing."""
    if not is_signed(secret, headers, body):
        return 400
    task = json.loads(body)
    if task.get("type") == "webhook.test":
        print("a test message", flush=True)
    elif task["version"] > latest.get(task["task_id"], 0):
        latest[task["task_id"]] = task["version"]
        print(task["task_id"], task["status"], flush=True)
    return 204


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.send_response(receive(os.environ["WEBHOOK_SECRET"], headers, body))
        self.end_headers()


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
