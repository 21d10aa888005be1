"""Stands in for the permission that EventBridge needs for a queue or a topic: the policy of the target allows it.

On AWS a target gets nothing unless its policy has a statement for ``events.amazonaws.com``; in the policy of a topic a
statement with a ``Condition`` does not count (EventBridge user guide, "Using resource-based policies"). MiniStack asks
no policy. What is refused is not put into the dead-letter queue of the rule here.
"""

import json
import logging
from typing import Any

from ministack.core import iam_evaluator, responses
from ministack.services import eventbridge, sns, sqs

from local.emulator.settings import Settings

SERVICE = "events.amazonaws.com"
log = logging.getLogger(__name__)


def apply(settings: Settings) -> None:
    invoke = eventbridge._invoke_target

    def invoke_target(target: dict[str, Any], event: Any, rule: dict[str, Any], *rest: Any) -> None:
        arn = str(target.get("Arn", ""))
        if (arn.startswith("arn:aws:sqs:") and not _queue_allows(arn, rule)) or (
            arn.startswith("arn:aws:sns:") and not _topic_allows(arn)
        ):
            log.warning("EventBridge: the policy of %s does not allow rule %s", arn, rule.get("Name"))
            return
        invoke(target, event, rule, *rest)

    eventbridge._invoke_target = invoke_target


def _queue_allows(arn: str, rule: dict[str, Any]) -> bool:
    return bool(sqs.queue_policy_allows(arn, SERVICE, rule["Arn"], responses.get_account_id()))


def _topic_allows(arn: str) -> bool:
    document = json.loads((sns.topic_policy_for_arn(arn) or ("", ""))[0] or "{}")
    statements = [
        statement
        for statement in document.get("Statement", [])
        if statement.get("Effect") == "Deny" or not statement.get("Condition")
    ]
    context = iam_evaluator.EvalContext(
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action="sns:Publish",
        resource_arn=arn,
        region=responses.get_region(),
    )
    policy = {**document, "Statement": statements}
    return bool(iam_evaluator.evaluate_resource_policy(policy, context, service=SERVICE).decision == "Allow")
