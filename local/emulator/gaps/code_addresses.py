"""Stands in for the links to deployed code that `GetFunction` and `GetLayerVersion` give.

MiniStack's begin with ``http://localhost``, where it serves HTTPS only; here they are below its endpoint.
"""

from urllib.parse import urlsplit

from ministack.services import lambda_svc

from local.emulator.settings import Settings


def close(settings: Settings) -> None:
    of_function, of_layer = lambda_svc._presigned_code_url, lambda_svc._layer_content_url

    def below_endpoint(link: str) -> str:
        parts = urlsplit(link)
        return f"{settings.endpoint_url}{parts.path}" + (f"?{parts.query}" if parts.query else "")

    lambda_svc._presigned_code_url = lambda name: below_endpoint(of_function(name))
    lambda_svc._layer_content_url = lambda name, version: below_endpoint(of_layer(name, version))
