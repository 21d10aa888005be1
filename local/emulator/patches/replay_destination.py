"""Stands in for ``Destination.FilterArns`` of ``StartReplay``.

On AWS a replay reaches only the rules that it names, or every rule if it names none. MiniStack replays to every rule.
"""

from typing import Any

from ministack.services import eventbridge

from local.emulator.settings import Settings


def apply(settings: Settings) -> None:
    invoke = eventbridge._invoke_target

    def invoke_target(target: Any, event: dict[str, Any], rule: dict[str, Any], *rest: Any) -> None:
        if name := event.get("ReplayName"):
            wanted = eventbridge._replays[name]["Destination"].get("FilterArns")
            if wanted and rule["Arn"] not in wanted:
                return
        invoke(target, event, rule, *rest)

    eventbridge._invoke_target = invoke_target
