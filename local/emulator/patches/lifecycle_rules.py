"""Stands in for what CloudFormation and S3 check of a bucket's lifecycle rules; MiniStack ignores them in a template.

CloudFormation refuses a rule without one of `ACTIONS` (the documentation of ``AWS::S3::Bucket Rule``;
aws-cloudformation/cloudformation-coverage-roadmap, issues 132 and 1124). S3 refuses two rules of one id, and a rule
that removes delete markers and expires objects (S3 API reference, `LifecycleExpiration`).
"""

from typing import Any

from ministack.services.cloudformation import provisioners

from local.emulator.settings import Settings

ACTIONS = (
    "ExpirationDate", "ExpirationInDays", "AbortIncompleteMultipartUpload", "Transition", "Transitions",
    "NoncurrentVersionExpirationInDays", "NoncurrentVersionTransition", "NoncurrentVersionTransitions",
    "NoncurrentVersionExpiration",
)  # fmt: skip


def apply(settings: Settings) -> None:
    handlers = provisioners._RESOURCE_HANDLERS["AWS::S3::Bucket"]
    create, update = handlers["create"], handlers["update"]

    def create_bucket(logical_id: str, properties: dict[str, Any], *rest: Any) -> Any:
        _check(properties)
        return create(logical_id, properties, *rest)

    def update_bucket(physical_id: str, old: dict[str, Any], new: dict[str, Any], *rest: Any) -> Any:
        _check(new)
        return update(physical_id, old, new, *rest)

    handlers.update(create=create_bucket, update=update_bucket)


def _check(properties: dict[str, Any]) -> None:
    rules = (properties.get("LifecycleConfiguration") or {}).get("Rules") or []
    if any(not rule.keys() & set(ACTIONS) for rule in rules):
        raise ValueError(f"At least one of [{','.join(ACTIONS)}] needs to be specified")
    ids = [rule["Id"] for rule in rules if "Id" in rule]
    if len(set(ids)) < len(ids):
        raise ValueError("Rule ID must be unique. Found same ID for more than one rule")
    if any(
        "ExpiredObjectDeleteMarker" in rule and rule.keys() & {"ExpirationDate", "ExpirationInDays"} for rule in rules
    ):
        raise ValueError("The XML you provided was not well-formed or did not validate against our published schema")
