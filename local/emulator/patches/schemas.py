"""EventBridge's schema registry, which MiniStack does not have: what `relay schemas` calls.

The limits are those of the EventBridge schema registry API reference. Each change of a schema is a version; the latest
is described.
"""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from ministack import app

from local.emulator.settings import Settings

PATH = re.compile(r"/v1/registries/name/([^/]+)(/schemas(?:/name/([^/]+))?)?")
REGISTRY_NAME = re.compile(r"[0-9A-Za-z_.@-]{1,64}")
SCHEMA_NAME = re.compile(r"[0-9A-Za-z_.@-]{1,385}")
TYPES = ("OpenApi3", "JSONSchemaDraft4")
CONTENT_LENGTH = 100_000

Reply = tuple[int, dict[str, Any]]

_registries: dict[str, dict[str, list[dict[str, str]]]] = {}
"""The versions of each schema, by registry and name."""


def apply(settings: Settings) -> None:
    async def handle(method: str, path: str, headers: Mapping[str, str], body: bytes, _: Any) -> Any:
        found = PATH.fullmatch(unquote(path))
        status, reply = _answer(method, found, json.loads(body or b"{}")) if found else _fault(404, "NotFound")
        fault = {"x-amzn-errortype": reply["Code"]} if status >= 400 else {}
        return status, {"Content-Type": "application/json", **fault}, json.dumps(reply).encode() if reply else b""

    app.SERVICE_HANDLERS["schemas"] = handle


def _answer(method: str, path: re.Match[str], body: dict[str, str]) -> Reply:
    registry, below, name = path.groups()
    if method == "POST" and below is None:
        return _create(_registries, registry, {}, REGISTRY_NAME.fullmatch(registry) is not None)
    schemas = _registries.get(registry)
    if schemas is None:
        return _fault(404, "NotFound")
    if name is not None:
        return _schema(method, schemas, name, body)
    if below is not None:
        return 200, {"Schemas": [{"SchemaName": name, "VersionCount": len(schemas[name])} for name in schemas]}
    return _look_or_delete(method, _registries, registry, {"RegistryName": registry})


def _schema(method: str, schemas: dict[str, list[dict[str, str]]], name: str, body: dict[str, str]) -> Reply:
    if method in ("POST", "PUT"):
        valid = SCHEMA_NAME.fullmatch(name) and body.get("Type") in TYPES and _is_json(body.get("Content", ""))
        if method == "POST":
            return _create(schemas, name, [body], bool(valid))
        if not valid:
            return _fault(400, "BadRequest")
        if name in schemas:
            schemas[name].append(body)
    versions = schemas.get(name, [{}])
    return _look_or_delete(method, schemas, name, {**versions[-1], "SchemaVersion": str(len(versions))})


def _create(kept: dict[str, Any], name: str, made: Any, valid: bool) -> Reply:
    if not valid:
        return _fault(400, "BadRequest")
    if name in kept:
        return _fault(409, "Conflict")
    kept[name] = made
    return 201, {}


def _look_or_delete(method: str, kept: dict[str, Any], name: str, described: dict[str, str]) -> Reply:
    if name not in kept:
        return _fault(404, "NotFound")
    if method != "DELETE":
        return 200, described
    del kept[name]
    return 204, {}


def _is_json(content: str) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return len(content) <= CONTENT_LENGTH


def _fault(status: int, code: str) -> Reply:
    return status, {"Code": f"{code}Exception", "Message": code}
