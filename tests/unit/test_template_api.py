"""The HTTP API: which routes there are, who may call them, and that each reaches its function."""

import json
import re
from typing import Any

import pytest

from tests.unit.template import FUNCTIONS, ROUTES, WITHOUT_A_KEY, get_att, of_type, properties

_found: dict[str, dict[str, Any]] = {
    route["Properties"]["RouteKey"]: route["Properties"] for route in of_type("AWS::ApiGatewayV2::Route").values()
}
_admitted = [permission["Properties"] for permission in of_type("AWS::Lambda::Permission").values()]


def test_routes_are_the_published_ones() -> None:
    assert set(_found) == set(ROUTES)


@pytest.mark.parametrize(("route", "folder"), ROUTES.items())
def test_route_reaches_its_function_which_admits_it_and_asks_for_a_key(route: str, folder: str) -> None:
    function = get_att(FUNCTIONS[folder], "Arn")
    integration = re.fullmatch(r"integrations/\$\{(\w+)\}", _found[route]["Target"]["Fn::Sub"])
    assert integration
    assert properties(integration[1])["IntegrationUri"] == function
    assert properties(integration[1])["PayloadFormatVersion"] == "2.0"
    (permission,) = (one for one in _admitted if one["FunctionName"] == function)
    assert permission["SourceArn"]["Fn::Sub"].endswith(":${Api}/*")
    asked = (_found[route]["AuthorizationType"], _found[route].get("AuthorizerId"))
    assert asked == (("NONE", None) if route in WITHOUT_A_KEY else ("CUSTOM", {"Ref": "ApiKeyAuthorizer"}))


def test_no_permission_is_left_over() -> None:
    assert len(_admitted) == len(set(ROUTES.values())) + 1  # and the authorizer's
    for permission in _admitted:
        assert permission["Principal"] == "apigateway.amazonaws.com"
        assert "${AWS::AccountId}:${Api}/" in permission["SourceArn"]["Fn::Sub"]


def test_revoked_key_is_dead_within_a_minute() -> None:
    authorizer = properties("ApiKeyAuthorizer")
    assert authorizer["AuthorizerResultTtlInSeconds"] <= 60
    # What the answer is cached under: without it one client's answer would serve another.
    assert authorizer["IdentitySource"] == ["$request.header.Authorization"]


def test_who_comes_without_a_key_is_held_to_a_lower_rate_than_clients() -> None:
    stage = of_type("AWS::ApiGatewayV2::Stage")["Stage"]
    limits = stage["Properties"]["RouteSettings"]
    usual = stage["Properties"]["DefaultRouteSettings"]["ThrottlingRateLimit"]
    assert set(limits) == WITHOUT_A_KEY
    assert all(limit["ThrottlingRateLimit"] < usual for limit in limits.values())
    # API Gateway refuses settings for a route that is not there yet.
    assert {properties(route)["RouteKey"] for route in stage["DependsOn"]} == set(limits)


def test_access_log_goes_to_one_group_and_holds_no_token() -> None:
    """`!GetAtt ApiLogs.Arn` ends in `:*`, of which `sam logs` without `--name` may make a log group called `*`."""
    log = properties("Stage")["AccessLogSettings"]
    assert log["DestinationArn"]["Fn::Sub"].endswith(":log-group:${ApiLogs}")
    assert set(json.loads(log["Format"])) >= {"request_id", "route", "status"}
    for secret in ("$context.path", "querystring", "$context.http", "header", "body"):
        assert secret not in log["Format"].lower()
