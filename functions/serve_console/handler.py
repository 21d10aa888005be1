"""`GET /v1/console` → the tenant's console; `GET /v1/console/{file+}` → its files, which are the same for all.

A file's address holds the digest of all files: a browser keeps files for a year and never mixes two versions of them.
The pages call the API with the key that the client typed in; this function knows no key and calls nothing.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidu_relay.http import entity_tags, header, problem
from vidu_relay.observability import observed
from vidu_relay.settings import ServeConsoleSettings, load

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

PAGE = "console.html"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

settings = load(ServeConsoleSettings)
static = Path(__file__).with_name("static")
files = {
    path.relative_to(static).as_posix(): path.read_bytes() for path in sorted(static.rglob("*")) if path.suffix in TYPES
}
digest = hashlib.sha256(b"".join(name.encode() + content for name, content in files.items())).hexdigest()[:16]
files[PAGE] = files[PAGE].replace(b"{digest}", digest.encode())
compressed = {name: base64.b64encode(gzip.compress(content, mtime=0)).decode() for name, content in files.items()}
s3 = f"{settings.inbox_origin} {settings.videos_origin}"
protection = {
    "content-security-policy": (
        f"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' {s3}; img-src 'self' blob: {s3}; "
        f"media-src {s3}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    version, _, name = (event.get("pathParameters") or {}).get("file", f"{digest}/{PAGE}").partition("/")
    if version != digest or name not in files:
        return problem(404, "file_not_found", "There is no such file: load the console again.")
    kept = "no-cache" if name == PAGE else "public, max-age=31536000, immutable"
    tag = f'"{digest}"'
    headers = {**protection, "cache-control": kept, "etag": tag, "vary": "accept-encoding"}
    if tag in entity_tags(event):
        return {"statusCode": 304, "headers": headers, "body": ""}
    headers["content-type"] = TYPES[Path(name).suffix]
    if "gzip" in (header(event, "accept-encoding") or ""):
        headers["content-encoding"] = "gzip"
        return {"statusCode": 200, "headers": headers, "body": compressed[name], "isBase64Encoded": True}
    return {"statusCode": 200, "headers": headers, "body": files[name].decode()}
