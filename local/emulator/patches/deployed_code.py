"""Stands in for the way to deployed code, which `GetFunction` and `GetLayerVersion` show, and for who may go it.

MiniStack's links begin with ``http://localhost``, where it serves HTTPS only; here they are below its endpoint. And it
asks for `lambda:ListLayers` where AWS asks for `lambda:GetLayerVersion`, and for nothing where AWS asks for
`lambda:GetAccountSettings`.
"""

from urllib.parse import urlsplit

from ministack.core import iam_actions
from ministack.services import lambda_svc

from local.emulator.settings import Settings


def apply(settings: Settings) -> None:
    of_function, of_layer = lambda_svc._presigned_code_url, lambda_svc._layer_content_url
    action_of = iam_actions._lambda_action

    def below_endpoint(link: str) -> str:
        parts = urlsplit(link)
        return f"{settings.endpoint_url}{parts.path}" + (f"?{parts.query}" if parts.query else "")

    def lambda_action(method: str, path: str) -> str | None:
        if method == "GET" and "/layers/" in path and "/versions/" in path:
            return "GetLayerVersion"
        if method == "GET" and path.rstrip("/").endswith("/account-settings"):
            return "GetAccountSettings"
        action: str | None = action_of(method, path)
        return action

    lambda_svc._presigned_code_url = lambda name: below_endpoint(of_function(name))
    lambda_svc._layer_content_url = lambda name, version: below_endpoint(of_layer(name, version))
    iam_actions._lambda_action = lambda_action
