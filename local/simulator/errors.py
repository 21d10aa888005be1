"""HTTP errors in every body form that clients of the gateway have met."""

import json
from typing import Any

from local.simulator.scripts import ErrorForm
from local.simulator.server import Exchange

_HTML = "<html><head><title>{status}</title></head><body><center><h1>{status} {message}</h1></center></body></html>"


def error_body(form: ErrorForm, status: int, code: str | int, message: str) -> tuple[str, bytes]:
    """Content type and bytes of an error."""
    match form:
        case "html":
            return "text/html", _HTML.format(status=status, message=message).encode()
        case "text":
            return "text/plain", message.encode()
        case "empty":
            return "text/plain", b""
        case "envelope":
            number = int(code) if str(code).isdecimal() else status * 100 + 1
            return _json({"status": {"code": status, "message": message, "error_code": number}, "data": None})
        case "flat":
            return _json({"message": message})
        case "string":
            return _json({"error": message})
        case "object":
            return _json({"error": {"code": code, "message": message}})


def _json(value: dict[str, Any]) -> tuple[str, bytes]:
    return "application/json", json.dumps(value).encode()


def send_error(
    exchange: Exchange,
    status: int,
    message: str,
    *,
    form: ErrorForm = "flat",
    code: str | int = "",
    headers: dict[str, str] | None = None,
) -> None:
    """Answer with an error of the wanted form; `code` shows where the form has room for it."""
    content_type, body = error_body(form, status, code, message)
    exchange.send(status, body, {"Content-Type": content_type} | (headers or {}))
