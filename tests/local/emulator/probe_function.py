"""The code of the probe functions: standard library only, it is deployed without any layer of ours."""

import http.client
import json
import os
import sys
import time
from pathlib import Path
from typing import Any


class OutOfLuckError(Exception):
    """What a caller of the probe can ask for."""


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Carry out ``do`` and report on the process that did it."""
    asked = json.loads(event["body"]) if "body" in event and not event["isBase64Encoded"] else event
    match asked.get("do"):
        case "raise":
            raise OutOfLuckError("asked for")
        case "wait":
            time.sleep(asked["seconds"])
        case "wait for":
            Path(asked["began"]).touch()
            while not Path(asked["end"]).exists():
                time.sleep(0.05)
        case "die answering":
            runtime = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
            runtime.putrequest("POST", f"/2018-06-01/runtime/invocation/{context.aws_request_id}/response")
            runtime.putheader("Content-Length", "100")
            runtime.endheaders(b'{"statusCode": 202, ')
            os._exit(1)
        case "metric":
            metric = {"Namespace": "Probe", "Dimensions": [["service"]], "Metrics": [{"Name": "Seen", "Unit": "Count"}]}
            print(json.dumps({"_aws": {"CloudWatchMetrics": [metric]}, "service": "probe", "Seen": 3}))  # noqa: T201
    import layered  # type: ignore[import-not-found]  # comes with the layer

    return {
        "event": {name: value for name, value in event.items() if name != "body"},
        "environment": dict(os.environ),
        "pid": os.getpid(),
        "prefix": sys.prefix,
        "layer": layered.WORD,
    }


def consume(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Fail on records whose key says so: by an error, or by reporting them."""
    keys = {record["dynamodb"]["SequenceNumber"]: record["dynamodb"]["Keys"]["pk"]["S"] for record in event["Records"]}
    print(json.dumps({"batch": list(keys.values())}))  # noqa: T201 - read back from the log by the tests
    if any(key.startswith("poison") for key in keys.values()):
        raise OutOfLuckError("poison")
    reported = [number for number, key in keys.items() if key.startswith("reported")]
    return {"batchItemFailures": [{"itemIdentifier": number} for number in reported]}
