"""Takes out of the built layer what no function reaches. Run by build.sh, with any Python from 3.11 on.

    python prune.py FOLDER     # the folder the packages were installed into

What costs time at each cold start is botocore's data: it reads a service's whole model, with its documentation, when
the first client of that service is made, and the endpoints of all services with the first client of all. What is left
here is the operations named below; a test compares them with the calls in the code, and what is sent and read with
this data with what full data gives. The rest is weight.

Files are replaced, never written to: uv may have linked them to its cache.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

OPERATIONS: Mapping[str, frozenset[str]] = {
    "dynamodb": frozenset({"BatchGetItem", "GetItem", "PutItem", "Query", "TransactWriteItems", "UpdateItem"}),
    "events": frozenset({"PutEvents"}),
    "lambda": frozenset({"Invoke"}),
    "s3": frozenset(
        {
            "AbortMultipartUpload",
            "CompleteMultipartUpload",
            "CreateMultipartUpload",
            "DeleteObjects",
            "GetObject",
            "HeadObject",
            "ListObjectVersions",
            "ListObjectsV2",
            "PutObject",
            "UploadPart",
        }
    ),
    "secretsmanager": frozenset({"GetSecretValue"}),
    "sqs": frozenset({"ChangeMessageVisibility", "SendMessage"}),
    "stepfunctions": frozenset({"StartExecution"}),
}
"""What the functions call, by botocore's name of the service."""

CALLED_BY_BOTOCORE: Mapping[str, frozenset[str]] = {
    "dynamodb": frozenset({"DescribeEndpoints"}),  # endpoint discovery, where an account's configuration asks for it
    # a bucket's region after a redirect; the form of a presigned POST; sessions of directory buckets
    "s3": frozenset({"HeadBucket", "CreateBucket", "CreateSession"}),
}
"""What botocore itself calls, or takes the form of, on the way."""

FOR_EVERY_CLIENT = ("_retry", "partitions", "sdk-default-configuration")
OF_A_SERVICE = ("service-2", "service-2.sdk-extras", "endpoint-rule-set-1", "paginators-1", "paginators-1.sdk-extras")

UNUSED_FOLDERS = frozenset({"__pycache__", "bin", "examples", "sboms", "test", "tests"})
UNUSED_FILES = frozenset({".lock", "py.typed"})
UNUSED_ENDINGS = (".c", ".css", ".h", ".js", ".md", ".pyi", ".pyx", ".rst")
KEPT_OF_METADATA = frozenset({"METADATA", "licenses"})
LICENCES = ("LICENSE", "NOTICE")
"""Of a `.dist-info` folder: versions are read from it, and licences go with what they are for."""


def main() -> None:
    (folder,) = map(Path, sys.argv[1:])
    data = folder / "botocore" / "data"
    write_pruned(data, data.with_name("data.pruned"))
    shutil.rmtree(data)
    data.with_name("data.pruned").rename(data)
    # descriptions of boto3's resources, which nothing here uses
    shutil.rmtree(folder / "boto3" / "data", ignore_errors=True)
    for path in sorted(folder.rglob("*"), reverse=True):
        if not path.is_dir():
            if _is_unused(path.relative_to(folder)):
                path.unlink()
        elif path.name in UNUSED_FOLDERS:
            shutil.rmtree(path)
        elif not any(path.iterdir()):
            path.rmdir()


def write_pruned(data: Path, pruned: Path) -> None:
    """Write what `OPERATIONS` needs of botocore's folder `data` to the folder `pruned`.

    Raises `KeyError` for an operation that botocore does not have.
    """
    prefixes = frozenset(_prune_service(data, pruned, name) for name in OPERATIONS)
    for name in FOR_EVERY_CLIENT:
        _write(pruned / f"{name}.json", _without_documentation(_read(data / name)))
    _write(pruned / "endpoints.json", _prune_endpoints(_read(data / "endpoints"), prefixes))


def _prune_service(data: Path, pruned: Path, name: str) -> str:
    """Write what one service needs; its name in the endpoints."""
    operations = OPERATIONS[name] | CALLED_BY_BOTOCORE.get(name, frozenset())
    version = max(path.parent for path in (data / name).glob("*/service-2.json*"))
    target = pruned / name / version.name
    for kind in OF_A_SERVICE:
        content = _read(version / kind)
        if content is not None:
            if kind == "service-2":
                content = _prune_model(content, operations)
            elif kind == "paginators-1":
                known = content["pagination"]
                content = {**content, "pagination": {key: known[key] for key in known if key in operations}}
            elif kind == "paginators-1.sdk-extras":
                extras = content["merge"]["pagination"]
                content = {**content, "merge": {"pagination": {k: extras[k] for k in extras if k in operations}}}
            _write(target / f"{kind}.json", _without_documentation(content))
    prefix: str = _read(version / "service-2")["metadata"]["endpointPrefix"]
    return prefix


def _prune_model(model: dict[str, Any], operations: frozenset[str]) -> dict[str, Any]:
    """A service's model with these operations, the shapes they are made of, and every error.

    A service answers with errors that its model does not list for the operation, and each is a class of its own.
    """
    kept = {name: model["operations"][name] for name in sorted(operations)}
    shapes: dict[str, Any] = {}
    ahead = [*_shapes_named_in(kept), *(name for name, shape in model["shapes"].items() if shape.get("exception"))]
    while ahead:
        name = ahead.pop()
        if name not in shapes:
            shapes[name] = model["shapes"][name]
            ahead += _shapes_named_in(shapes[name])
    return {**model, "operations": kept, "shapes": {name: shapes[name] for name in sorted(shapes)}}


def _shapes_named_in(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("shape"), str):
            yield part["shape"]
        for value in part.values():
            yield from _shapes_named_in(value)
    elif isinstance(part, list):
        for value in part:
            yield from _shapes_named_in(value)


def _prune_endpoints(endpoints: dict[str, Any], prefixes: frozenset[str]) -> dict[str, Any]:
    """Every partition and region, with the services of these names."""
    return {
        **endpoints,
        "partitions": [
            {**partition, "services": {k: v for k, v in partition["services"].items() if k in prefixes}}
            for partition in endpoints["partitions"]
        ],
    }


def _without_documentation(part: Any) -> Any:
    """Without what only people read. botocore looks up the text of each client context parameter: it is left empty."""
    if isinstance(part, list):
        return [_without_documentation(value) for value in part]
    if not isinstance(part, dict):
        return part
    return {
        key: {name: {**_without_documentation(one), "documentation": ""} for name, one in value.items()}
        if key == "clientContextParams"
        else _without_documentation(value)
        for key, value in part.items()
        if not (key == "documentation" and isinstance(value, str))
    }


def _read(path: Path) -> Any:
    """A file of botocore's data, packed or not; None where there is none."""
    plain, packed = path.with_name(f"{path.name}.json"), path.with_name(f"{path.name}.json.gz")
    if plain.is_file():
        return json.loads(plain.read_bytes())
    return json.loads(gzip.decompress(packed.read_bytes())) if packed.is_file() else None


def _write(path: Path, content: Any) -> None:
    """Unpacked: reading it is quicker so, and the layer is packed as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")


def _is_unused(path: Path) -> bool:
    top, *inside = path.parts
    if top.endswith(".dist-info"):
        return inside[0] not in KEPT_OF_METADATA and not inside[0].startswith(LICENCES)
    return path.name in UNUSED_FILES or path.suffix in UNUSED_ENDINGS


if __name__ == "__main__":
    main()
