"""CloudFormation refuses a parameter that the template does not have (CreateStack). MiniStack ignores it."""

from typing import Any

from ministack.services.cloudformation import handlers

from local.emulator.patches import replaces
from local.emulator.settings import Settings


def apply(settings: Settings) -> None:
    @replaces(handlers, "_resolve_parameters")
    def resolve(original: Any, template: dict[str, Any], provided: list[dict[str, Any]], *previous: Any) -> Any:
        known = template.get("Parameters", {})
        if unknown := sorted(parameter["Key"] for parameter in provided if parameter["Key"] not in known):
            raise ValueError(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
        return original(template, provided, *previous)
