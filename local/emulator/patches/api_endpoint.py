"""Stands in for the address of an HTTP API.

On AWS ``ApiEndpoint`` is ``https://<id>.execute-api.<region>.amazonaws.com``, and whoever is told it can call it.
MiniStack hands out ``<id>.execute-api.localhost``, which few machines resolve and which has no certificate. Here it is
MiniStack's path form of the same thing, so that a template which builds URLs from ``ApiEndpoint`` works unchanged.
"""

from typing import Any

from ministack.services import apigateway
from ministack.services.cloudformation import provisioners

from local.emulator.settings import Settings


def apply(settings: Settings) -> None:
    handlers = provisioners._RESOURCE_HANDLERS["AWS::ApiGatewayV2::Api"]
    create = handlers["create"]

    def create_api(logical_id: str, properties: dict[str, Any], stack_name: str) -> tuple[str, dict[str, Any]]:
        api_id, attributes = create(logical_id, properties, stack_name)
        endpoint = f"{settings.endpoint_url}/_aws/execute-api/{api_id}/$default"
        apigateway._apis[api_id]["apiEndpoint"] = endpoint
        return api_id, {**attributes, "ApiEndpoint": endpoint}

    handlers["create"] = create_api
