"""What OpenAPI operations take in the path, the query and headers."""

from __future__ import annotations

from local.description.json_schema import Schema, schema_of
from local.description.schemas import TASK_ID_SCHEMA
from vidu_relay.domain import batch_documents
from vidu_relay.domain.client_fields import client_field_schemas
from vidu_relay.domain.states import Status
from vidu_relay.domain.task_query import DEFAULT_LIMIT, MAX_LIMIT
from vidu_relay.usecases.submit_task import MAX_KEY_CHARACTERS

__all__ = ["BATCH_ID", "LIST_PARAMETERS", "SUBMIT_PARAMETERS", "TASK_ID", "VERSION"]

TASK_ID: Schema = {"name": "task_id", "in": "path", "required": True, "schema": TASK_ID_SCHEMA}
BATCH_ID: Schema = {**TASK_ID, "name": "batch_id", "schema": schema_of(batch_documents.BatchId)}
VERSION: Schema = {**TASK_ID, "name": "version", "schema": {"type": "integer", "format": "int64", "minimum": 1}}

SUBMIT_PARAMETERS: list[Schema] = [
    {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Yours to choose, for each task you want. The same key with the same request gives the "
        "same task, without a second call to the provider. The same parameters in another order are the "
        "same request; a default that is written out is another one.",
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_KEY_CHARACTERS,
            "pattern": "^[ -~]+$",
        },
        "example": "order-4711",
    },
    {
        "name": "Max-Cost-USD",
        "in": "header",
        "description": "Refuse the request if it reserves more than so many US dollars. An unknown price "
        "counts with what is reserved for it.",
        "schema": {"type": "string", "pattern": "^[0-9]{1,9}([.][0-9]{1,9})?$"},
        "example": "0.25",
    },
]
LIST_PARAMETERS: list[Schema] = [
    {
        "name": "status",
        "in": "query",
        "description": "Only tasks that are in this state when the page is read.",
        "schema": {"type": "string", "enum": [status.value for status in Status]},
    },
    {
        "name": "model",
        "in": "query",
        "description": "Only tasks of this model.",
        "schema": {"type": "string"},
    },
    {**BATCH_ID, "in": "query", "required": False, "description": "Only tasks of this batch."},
    *(
        {
            "name": name,
            "in": "query",
            "description": f"{meaning} RFC 3339, or a date: the whole day in UTC.",
            "schema": {"type": "string"},
        }
        for name, meaning in (
            ("created_from", "Only tasks created at this moment or later."),
            ("created_to", "Only tasks created before this moment."),
        )
    ),
    {
        "name": "external_id",
        "in": "query",
        "description": "The one task with this `external_id`, as it is now; without any other parameter.",
        "schema": client_field_schemas()["external_id"],
    },
    {
        "name": "limit",
        "in": "query",
        "description": "Tasks of a page.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    },
    {
        "name": "cursor",
        "in": "query",
        "description": "`next_cursor` of the page before, with the same filters.",
        "schema": {"type": "string"},
    },
]
