"""Stands in for details of the event an HTTP API gives to a function (payload format 2.0).

On AWS cookies stand under ``cookies`` and not among the headers, ``requestContext`` has ``domainPrefix``, and
``pathParameters`` is left out where the route has none. Where MiniStack fills in a domain that does not resolve,
``domainName`` is the address that does.
"""

from typing import Any

from ministack.services import lambda_svc

from local.emulator.settings import Settings


def apply(settings: Settings) -> None:
    execute = lambda_svc._execute_function_with_config_scope

    def execute_with_details(function: dict[str, Any], event: Any) -> Any:
        context = event.get("requestContext") if isinstance(event, dict) else None
        if isinstance(context, dict) and event.get("version") == "2.0" and "http" in context:
            if cookies := event["headers"].pop("cookie", None):
                event["cookies"] = [cookie.strip() for cookie in cookies.split(";")]
            context["domainPrefix"] = context["apiId"]
            context["domainName"] = f"127.0.0.1:{settings.port}"
            if not event.get("pathParameters"):
                event.pop("pathParameters", None)
        return execute(function, event)

    lambda_svc._execute_function_with_config_scope = execute_with_details
