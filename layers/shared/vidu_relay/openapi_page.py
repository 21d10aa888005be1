"""The OpenAPI document as one page: no scripts, nothing loaded from elsewhere, readable without a browser's help."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

__all__ = ["CONTENT_SECURITY_POLICY", "OPENAPI", "render"]

OPENAPI = Path(__file__).with_name("openapi.json")
"""The document. `make schemas` writes it, which a test checks."""

STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--accent:#2f5fc4}
@media(prefers-color-scheme:dark){:root{--accent:#8ab4ff}}
*{box-sizing:border-box}html{background:Canvas;color:CanvasText}
body{margin:0 auto;max-width:64rem;padding:2rem 1.25rem 6rem;font:16px/1.55 system-ui,sans-serif}
h1{margin:0 0 .25rem;font-size:2rem}h2{margin:3rem 0 .5rem;font-size:1.4rem}
h3{margin:0;font-size:1.05rem;font-weight:600}
nav{display:flex;flex-wrap:wrap;gap:.25rem 1rem;margin:1rem 0}a{color:var(--accent)}
code,pre{font:.875em/1.5 ui-monospace,monospace}code{background:var(--soft);border-radius:4px;padding:.1em .3em}
pre{background:var(--soft);border-radius:8px;overflow:auto;padding:1rem}pre code{background:none;padding:0}
article{border:1px solid var(--line);border-radius:10px;margin:1rem 0;padding:1rem 1.25rem}
.route{font:1rem ui-monospace,monospace;margin:0 0 .4rem;overflow-wrap:anywhere}
.method{color:var(--accent);font-weight:700}
.open{border:1px solid var(--line);border-radius:99px;float:right;font-size:.75rem;padding:.05rem .6rem}
table{border-collapse:collapse;margin:.75rem 0;width:100%}
th,td{border-top:1px solid var(--line);padding:.4rem .6rem .4rem 0;text-align:left;vertical-align:top}
th{font-size:.8rem;font-weight:600;opacity:.7}td:first-child{white-space:nowrap}
td td:first-child{white-space:normal}.limit{opacity:.75;font-size:.875rem}
summary{cursor:pointer;font-weight:600}p{margin:.4rem 0}
td>p:first-child{margin-top:0}td>p:last-child{margin-bottom:0}
@media(max-width:40rem){td:first-child{white-space:normal}
table,tbody,tr,td{display:block}th{display:none}td{border:0;overflow-wrap:anywhere;padding:.1rem 0}
td:empty{display:none}td:first-child{border-top:1px solid var(--line);padding-top:.5rem}
td:last-child{padding-bottom:.5rem}}
"""

_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Lets a browser apply the page's own style and do nothing else."""

LIMITS = {
    "minimum": "from {}",
    "maximum": "to {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {}",
    "maxItems": "at most {}",
    "pattern": "pattern `{}`",
    "format": "{}",
    "default": "default `{}`",
}


def render(document: Mapping[str, Any]) -> str:
    """The page of an OpenAPI document as `describe` makes it."""
    info = document["info"]
    schemas = document["components"]["schemas"]
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{escape(info['title'])} API</title><style>{STYLE}</style></head><body><main>",
        f"<h1>{escape(info['title'])} API</h1>{_text(info['description'])}",
        f"<p>At <code>{escape(_server(document))}</code></p>",
        '<p><a href="openapi.json">OpenAPI document</a> · <a href="console">Console for browsers</a></p>',
        "<nav>",
        _link("states", "States"),
        *(_link(tag["name"], tag["name"]) for tag in document["tags"]),
        _link("webhooks", "Calls to your server"),
        _link("schemas", "Schemas"),
        "</nav>",
        "<h2>Keys</h2>",
        *(
            _text(f"`Authorization: Bearer <key>`. {scheme['description']}")
            for scheme in document["components"]["securitySchemes"].values()
        ),
        '<h2 id="states">States of a task</h2><table>',
        *(f"<tr><td><code>{escape(name)}</code></td><td>{_text(text)}</td></tr>" for name, text in _states(document)),
        "</table>",
    ]
    for tag in document["tags"]:
        parts += [f'<h2 id="{escape(tag["name"])}">{escape(tag["name"])}</h2>', _text(tag["description"])]
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if tag["name"] in operation["tags"]:
                    parts += _operation(method, path, operation, _example(method, path, operation, schemas))
    parts.append('<h2 id="webhooks">Calls to your server</h2>')
    for operations in document["webhooks"].values():
        for method, operation in operations.items():
            parts += _operation(method, "your callback_url", operation)
    parts.append('<h2 id="schemas">Schemas</h2>')
    for name, schema in schemas.items():
        parts.append(f'<article id="schema-{escape(name)}"><h3>{escape(name)}</h3>')
        parts += _schema(schema)
        parts.append("</article>")
    return "".join([*parts, "</main></body></html>\n"])


def _states(document: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    states: Mapping[str, str] = document["x-states"]
    return states.items()


def _example(method: str, path: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    """A call for a shell that has `$API` and `$KEY`: parameters and body by their examples."""
    if "Provider" in operation["tags"]:
        return ""
    headers = [] if operation.get("security") == [] else ['-H "Authorization: Bearer $KEY"']
    for parameter in operation.get("parameters", ()):
        name, examples = parameter["name"], parameter["schema"].get("examples")
        if parameter["in"] == "path" and examples:
            path = path.replace(f"{{{name}}}", examples[0])
        elif parameter["in"] == "header":
            headers.append(f"-H '{name}: {parameter['example']}'")
    for kind, body in operation.get("requestBody", {}).get("content", {}).items():
        named = schemas[body["schema"]["$ref"].rpartition("/")[2]]
        data = json.dumps(named["examples"][0], indent=2, ensure_ascii=False)
        headers += [f"-H 'Content-Type: {kind}'", f"-d '{data}'"]
    verb = "" if method == "get" else f"-X {method.upper()} "
    return " \\\n  ".join([f'curl -sS {verb}"$API{path}"', *headers])


def _operation(method: str, path: str, operation: Mapping[str, Any], example: str = "") -> Iterator[str]:
    yield f'<article id="{escape(operation["operationId"])}">'
    if operation.get("security") == [] and path.startswith("/"):
        yield '<span class="open">no key</span>'
    yield f'<p class="route"><span class="method">{method.upper()}</span> {escape(path)}</p>'
    yield f"<h3>{escape(operation['summary'])}</h3>{_text(operation.get('description', ''))}"
    if operation.get("parameters"):
        yield "<table><tr><th>parameter</th><th>in</th><th>meaning</th></tr>"
        for parameter in operation["parameters"]:
            required = "" if parameter.get("required") else "optional"
            yield (
                f"<tr><td><code>{escape(parameter['name'])}</code></td><td>{escape(parameter['in'])}</td>"
                f"<td>{_text(parameter.get('description', ''))}{_limits(parameter['schema'], required)}</td></tr>"
            )
        yield "</table>"
    for kind, body in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<p>Body: {escape(kind)}, {_type(body['schema'])}</p>"
    yield "<table><tr><th>status</th><th>body</th><th>meaning</th></tr>"
    for status, answer in operation["responses"].items():
        bodies = "<br>".join(_type(body["schema"]) for body in answer.get("content", {}).values())
        headers = "".join(
            f'<p class="limit"><code>{escape(name)}</code>: {_inline(header["description"])}</p>'
            for name, header in answer.get("headers", {}).items()
        )
        yield f"<tr><td>{escape(status)}</td><td>{bodies}</td><td>{_text(answer['description'])}{headers}</td></tr>"
    yield "</table>"
    if example:
        yield f"<details><summary>Example</summary><pre tabindex='0'><code>{escape(example)}</code></pre></details>"
    yield "</article>"


def _schema(schema: Mapping[str, Any]) -> Iterator[str]:
    yield _text(schema.get("description", ""))
    if schema.get("properties"):
        yield from _properties(schema)
    else:
        yield f"<p>{_type(schema)}</p>{_limits(schema)}"
    for example in schema.get("examples", ()):
        shown = escape(json.dumps(example, indent=2, ensure_ascii=False))
        yield f"<details><summary>Example</summary><pre tabindex='0'><code>{shown}</code></pre></details>"


def _properties(schema: Mapping[str, Any]) -> Iterator[str]:
    yield "<table><tr><th>field</th><th>type</th><th>meaning</th></tr>"
    for name, property_ in schema["properties"].items():
        optional = "" if name in schema.get("required", ()) else "optional"
        inner = "".join(_properties(part)) if (part := _inner(property_)) else ""
        yield (
            f"<tr><td><code>{escape(name)}</code></td><td>{_type(property_)}</td>"
            f"<td>{_text(property_.get('description', ''))}{_limits(property_, optional)}"
            f"{f'<details><summary>Fields</summary>{inner}</details>' if inner else ''}</td></tr>"
        )
    yield "</table>"


def _inner(schema: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The object inside a property whose fields are shown with it."""
    for part in (schema, *schema.get("anyOf", ())):
        if part.get("properties"):
            found: Mapping[str, Any] = part
            return found
        if "items" in part and (inner := _inner(part["items"])):
            return inner
    return None


def _type(schema: Mapping[str, Any]) -> str:
    """The type in words, as HTML; a named schema is linked."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _link(f"schema-{name}", name)
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            kinds = [_type(part) for part in schema[several] if several != "allOf" or "$ref" in part]
            return " or ".join(kinds)
    if "const" in schema:
        return f"<code>{escape(json.dumps(schema['const']))}</code>"
    if "enum" in schema:
        return " ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if "items" in schema:
        return f"list of {_type(schema['items'])}"
    return escape(schema.get("type", "anything"))


def _limits(schema: Mapping[str, Any], *first: str) -> str:
    said = [escape(text) for text in first if text]
    for part in (schema, *schema.get("anyOf", ())):
        for name, words in LIMITS.items():
            if name in part:
                value = part[name]
                said.append(_inline(words.format(value if isinstance(value, str) else json.dumps(value))))
    return f'<p class="limit">{" · ".join(said)}</p>' if said else ""


def _server(document: Mapping[str, Any]) -> str:
    server = document["servers"][0]
    return str(server["url"].format(**{name: one["default"] for name, one in server.get("variables", {}).items()}))


def _link(anchor: str, text: str) -> str:
    return f'<a href="#{escape(anchor)}">{escape(text)}</a>'


def _text(text: str) -> str:
    return f"<p>{_inline(text)}</p>" if text else ""


def _inline(text: str) -> str:
    """Text with `code` in backticks, as HTML."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
