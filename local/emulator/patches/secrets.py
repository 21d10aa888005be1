"""Secrets in a template (``AWS::SecretsManager::Secret``): reference, generated value, and none.

``Ref`` is the ARN, where MiniStack gives the name. ``ExcludePunctuation`` holds, which MiniStack ignores. A secret
without a value answers GetSecretValue with ``ResourceNotFoundException``, where MiniStack has an empty text.
"""

import string
from typing import Any

from ministack.services import secretsmanager
from ministack.services.cloudformation import provisioners

from local.emulator.patches import replaces
from local.emulator.settings import Settings


def apply(settings: Settings) -> None:
    handlers = provisioners._RESOURCE_HANDLERS["AWS::SecretsManager::Secret"]

    @replaces(handlers, "create")
    def create(original: Any, logical_id: str, properties: dict[str, Any], *rest: Any) -> Any:
        name, attributes = original(logical_id, properties, *rest)
        if not properties.keys() & {"SecretString", "GenerateSecretString"}:
            secretsmanager._secrets[name]["Versions"].clear()
        return attributes["Arn"], attributes

    @replaces(handlers, "update")
    def update(original: Any, arn: str, *rest: Any) -> Any:
        _, attributes = original(_name(arn), *rest)
        return attributes["Arn"], attributes

    @replaces(handlers, "delete")
    def delete(original: Any, arn: str, properties: dict[str, Any]) -> None:
        original(_name(arn), properties)

    @replaces(provisioners, "_sm_secret_string")
    def secret_string(original: Any, properties: dict[str, Any]) -> Any:
        generated = properties.get("GenerateSecretString") or {}
        if str(generated.get("ExcludePunctuation")).lower() == "true":
            excluded = generated.get("ExcludeCharacters", "") + string.punctuation
            properties = {**properties, "GenerateSecretString": {**generated, "ExcludeCharacters": excluded}}
        return original(properties)


def _name(arn: str) -> str:
    """MiniStack keeps secrets by name."""
    return str(next(name for name, secret in secretsmanager._secrets.items() if secret["ARN"] == arn))
