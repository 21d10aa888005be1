"""Stands in for three things about a secret in a template.

``Ref`` is its ARN on AWS, where MiniStack gives its name. ``ExcludePunctuation`` of a generated value holds; it is
ignored by MiniStack. And a secret without a value answers GetSecretValue with ``ResourceNotFoundException``
(``AWS::SecretsManager::Secret``, `SecretString`), where MiniStack has an empty text.
"""

import string
from typing import Any

from ministack.services import secretsmanager
from ministack.services.cloudformation import provisioners

from local.emulator.settings import Settings


def apply(settings: Settings) -> None:
    handlers = provisioners._RESOURCE_HANDLERS["AWS::SecretsManager::Secret"]
    create, update, delete = handlers["create"], handlers["update"], handlers["delete"]
    generate = provisioners._sm_secret_string

    def create_secret(logical_id: str, properties: dict[str, Any], stack_name: str) -> tuple[str, dict[str, Any]]:
        name, attributes = create(logical_id, properties, stack_name)
        if not properties.keys() & {"SecretString", "GenerateSecretString"}:
            secretsmanager._secrets[name]["Versions"].clear()
        return attributes["Arn"], attributes

    def update_secret(
        physical_id: str, old: dict[str, Any], new: dict[str, Any], stack_name: str, logical_id: str | None = None
    ) -> tuple[str, dict[str, Any]]:
        _, attributes = update(_name(physical_id), old, new, stack_name, logical_id)
        return attributes["Arn"], attributes

    def delete_secret(physical_id: str, properties: dict[str, Any]) -> None:
        delete(_name(physical_id), properties)

    def secret_string(properties: dict[str, Any]) -> Any:
        generated = properties.get("GenerateSecretString") or {}
        if str(generated.get("ExcludePunctuation")).lower() == "true":
            excluded = generated.get("ExcludeCharacters", "") + string.punctuation
            properties = {**properties, "GenerateSecretString": {**generated, "ExcludeCharacters": excluded}}
        return generate(properties)

    handlers.update(create=create_secret, update=update_secret, delete=delete_secret)
    provisioners._sm_secret_string = secret_string


def _name(arn: str) -> str:
    """MiniStack keeps secrets by name."""
    return str(next(name for name, secret in secretsmanager._secrets.items() if secret["ARN"] == arn))
