"""The price list and learned prices in the table: what is read, for how long it is kept, who may overwrite it."""

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.adapters.conftest import TABLE
from vidu_relay.adapters.price_book import MAX_LIST_BYTES, PriceBooks, PriceLists, StoredList
from vidu_relay.domain.catalogue import DEFAULT_MODEL, Choice, Offering
from vidu_relay.domain.errors import PriceListChangedError, PriceListError
from vidu_relay.domain.price import LearnedPrice

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TURBO = "viduq3_turbo_text2video"
LINE = {"model": TURBO, "credits": "11", "per": "second", "since": "2026-01-01"}
LIST = {"credit_usd": {"vidu": "0.005"}, "prices": [LINE]}
NAME = f"vidu|{TURBO}|duration=5"


class Seconds:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def choice(model: str = TURBO, provider: str = "vidu") -> Choice:
    found = Offering((provider,)).find(model)
    assert found
    return found


@pytest.fixture
def lists(dynamodb: "DynamoDBClient") -> PriceLists:
    return PriceLists(dynamodb, TABLE)


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def books(dynamodb: "DynamoDBClient", seconds: Seconds) -> PriceBooks:
    return PriceBooks(dynamodb, TABLE, Decimal(2), seconds=seconds, sleep=lambda _: None)


def store(dynamodb: "DynamoDBClient", document: str) -> None:
    dynamodb.put_item(TableName=TABLE, Item={"pk": {"S": "prices"}, "document": {"S": document}, "version": {"N": "1"}})


def learn(dynamodb: "DynamoDBClient", model: str = TURBO, **amounts: str) -> None:
    price: Any = {"M": {name: {"S": amount} for name, amount in amounts.items()} | {"tasks": {"N": "3"}}}
    combinations: Any = {"M": {f"vidu|{model}|duration=5": price}}
    dynamodb.put_item(TableName=TABLE, Item={"pk": {"S": f"learned#vidu#{model}"}, "combinations": combinations})


def test_list_is_written_once_for_each_version(lists: PriceLists) -> None:
    assert lists.read() == StoredList({}, 0)
    with pytest.raises(PriceListChangedError):
        lists.write(LIST, seen=3, now=1)
    assert lists.write(LIST, seen=0, now=1) == 1
    for late in (0, 7):
        with pytest.raises(PriceListChangedError):
            lists.write({}, seen=late, now=2)
    assert lists.read() == StoredList(LIST, 1)
    assert lists.write({}, seen=1, now=3) == 2


@pytest.mark.parametrize("document", [{"prices": [LINE | {"credits": "-1"}]}, {"prices": [LINE | {"note": "é" * 200}]}])
def test_malformed_or_too_long_list_is_not_written(lists: PriceLists, document: dict[str, Any]) -> None:
    if document["prices"][0].get("note"):
        count = MAX_LIST_BYTES // 400
        document = {"prices": [document["prices"][0] | {"since": f"{2000 + n}-01-01"} for n in range(count)]}
    with pytest.raises(PriceListError):
        lists.write(document, seen=0, now=1)
    assert lists.read().version == 0


def test_book_has_the_lines_and_bills_of_the_models_asked_for(
    lists: PriceLists, books: PriceBooks, dynamodb: "DynamoDBClient"
) -> None:
    other = {**LINE, "model": "viduq1_text2video"}
    lists.write({**LIST, "prices": [LINE, other]}, seen=0, now=1)
    learn(dynamodb, median="0.2", highest="0.30")
    learn(dynamodb, "viduq1_text2video", median="1", highest="NaN")
    book = books.read(choice())
    assert ([entry.model for entry in book.entries], book.credit_usd) == ([TURBO], {"vidu": Decimal("0.005")})
    assert book.learned == {NAME: LearnedPrice(Decimal("0.2"), Decimal("0.3"), 3)}
    assert book.assumed == 2
    both = books.read(choice(), choice("viduq1_text2video"))
    assert (len(both.entries), both.learned) == (2, book.learned)


def test_book_is_kept_for_a_minute(
    lists: PriceLists, books: PriceBooks, seconds: Seconds, dynamodb: "DynamoDBClient"
) -> None:
    asked: list[str] = []
    dynamodb.meta.events.register("before-call.dynamodb.BatchGetItem", lambda **_: asked.append("read"))
    assert books.read(choice()).entries == ()
    lists.write(LIST, seen=0, now=1)
    seconds.now = 59.9
    assert (books.read(choice()).entries, asked) == ((), ["read"])
    books.read(choice(DEFAULT_MODEL, "gateway"))
    seconds.now = 60
    assert (len(books.read(choice()).entries), asked) == (1, ["read"] * 3)


@pytest.mark.parametrize(
    "document", ["{", "[]", json.dumps({"prices": [LINE, LINE | {"per": "month"}]}), json.dumps({"prices": ["x"]}),
                 json.dumps({**LIST, "currency": "EUR"})],
)  # fmt: skip
def test_unreadable_list_makes_prices_unknown_and_stops_nothing(
    books: PriceBooks, dynamodb: "DynamoDBClient", document: str
) -> None:
    store(dynamodb, document)
    assert (books.read(choice()).entries, books.read(choice()).credit_usd) == ((), {})


def test_line_of_another_model_that_is_gone_matters_to_no_other(books: PriceBooks, dynamodb: "DynamoDBClient") -> None:
    store(dynamodb, json.dumps({"prices": [LINE, LINE | {"model": "a_model_of_before"}]}))
    assert len(books.read(choice()).entries) == 1


def test_what_dynamodb_leaves_unprocessed_is_read_again(books: PriceBooks, dynamodb: "DynamoDBClient") -> None:
    learn(dynamodb, median="0.2", highest="0.3")
    whole, left = books._client.batch_get_item, [1]

    def some(RequestItems: Any) -> Any:  # noqa: N803 - boto3's name
        if left.pop() if left else 0:
            return {"Responses": {}, "UnprocessedKeys": RequestItems}
        return whole(RequestItems=RequestItems)

    books._client = type("Client", (), {"batch_get_item": staticmethod(some)})()
    assert books.read(choice()).learned
