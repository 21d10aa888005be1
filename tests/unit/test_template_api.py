"""The HTTP API: which routes there are, who may call them, and that each reaches its function."""

import json
import re
from typing import Any

import pytest

from tests.unit.template import FUNCTIONS, ROUTES, get_att, of_type, properties

CALLBACKS = "POST /v1/callbacks/{task_id}"
DESCRIPTION = {"GET /v1/openapi.json", "GET /v1/docs"}

_found: dict[str, dict[str, Any]] = {
    route["Properties"]["RouteKey"]: route["Properties"] for route in of_type("AWS::ApiGatewayV2::Route").values()
}


def test_the_routes_are_the_published_ones() -> None:
    assert set(_found) == set(ROUTES)


@pytest.mark.parametrize(("route", "folder"), ROUTES.items())
def test_a_route_reaches_its_function_which_admits_it(route: str, folder: str) -> None:
    function = get_att(FUNCTIONS[folder], "Arn")
    integration = re.fullmatch(r"integrations/\$\{(\w+)\}", _found[route]["Target"]["Fn::Sub"])
    assert integration
    method, path = route.split(" ")
    admitted = "/*/" + method + re.sub(r"\{\w+\}", "*", path)  # the stage, then the path with its variables open

    permissions = [
        permission["Properties"]
        for permission in of_type("AWS::Lambda::Permission").values()
        if permission["Properties"]["FunctionName"] == function
    ]

    assert properties(integration[1])["IntegrationUri"] == function
    assert properties(integration[1])["PayloadFormatVersion"] == "2.0"
    assert [p for p in permissions if p["SourceArn"]["Fn::Sub"].endswith("${Api}" + admitted)]


def test_no_permission_is_left_over() -> None:
    permissions = of_type("AWS::Lambda::Permission").values()

    assert len(permissions) == len(ROUTES) + 1  # and the authorizer's
    for permission in permissions:
        assert permission["Properties"]["Principal"] == "apigateway.amazonaws.com"
        assert "${AWS::AccountId}:${Api}/" in permission["Properties"]["SourceArn"]["Fn::Sub"]


@pytest.mark.parametrize("route", ROUTES)
def test_only_callbacks_and_readers_of_the_description_come_in_without_a_key(route: str) -> None:
    if route in {CALLBACKS, *DESCRIPTION}:
        assert _found[route]["AuthorizationType"] == "NONE"
    else:
        assert _found[route]["AuthorizationType"] == "CUSTOM"
        assert _found[route]["AuthorizerId"] == {"Ref": "ApiKeyAuthorizer"}


def test_a_revoked_key_is_dead_within_a_minute() -> None:
    authorizer = properties("ApiKeyAuthorizer")

    assert authorizer["AuthorizerResultTtlInSeconds"] <= 60
    # What the answer is cached under: without it one client's answer would serve another.
    assert authorizer["IdentitySource"] == ["$request.header.Authorization"]


def test_who_comes_without_a_key_is_held_to_a_lower_rate_than_clients() -> None:
    stage = of_type("AWS::ApiGatewayV2::Stage")["Stage"]
    limits = stage["Properties"]["RouteSettings"]

    usual = stage["Properties"]["DefaultRouteSettings"]["ThrottlingRateLimit"]
    assert set(limits) == {route for route in _found if _found[route]["AuthorizationType"] == "NONE"}
    assert all(limit["ThrottlingRateLimit"] < usual for limit in limits.values())
    # API Gateway refuses settings for a route that is not there yet.
    assert {properties(route)["RouteKey"] for route in stage["DependsOn"]} == set(limits)


def test_the_access_log_goes_to_an_address_that_names_one_log_group() -> None:
    """`!GetAtt ApiLogs.Arn` ends in `:*`, of which `sam logs` without `--name` may make a log group called `*`."""
    destination = properties("Stage")["AccessLogSettings"]["DestinationArn"]

    assert destination["Fn::Sub"].endswith(":log-group:${ApiLogs}")


def test_the_access_log_holds_no_token() -> None:
    line = properties("Stage")["AccessLogSettings"]["Format"]

    assert set(json.loads(line)) >= {"request_id", "route", "status"}
    for secret in ("$context.path", "querystring", "$context.http", "header", "body"):
        assert secret not in line.lower()
