"""Stands in for CloudFormation's refusal of a parameter that the template does not have, which MiniStack ignores."""

from typing import Any

from ministack.services.cloudformation import handlers

from local.emulator.settings import Settings


def apply(settings: Settings) -> None:
    resolve = handlers._resolve_parameters

    def resolve_known(template: dict[str, Any], provided: list[dict[str, Any]], *previous: Any) -> Any:
        known = template.get("Parameters", {})
        if unknown := sorted(parameter["Key"] for parameter in provided if parameter["Key"] not in known):
            raise ValueError(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
        return resolve(template, provided, *previous)

    handlers._resolve_parameters = resolve_known
