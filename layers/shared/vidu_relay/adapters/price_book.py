"""Prices in the task table: the operator's list, and what the provider billed.

prices                       document: the list as JSON text (`domain.price_list`), at most 300 KB
                             version: 1, 2, 3 …, with each write one more; updated_at: ms
learned#<provider>#<model>   combinations: a map from `domain.price.combination` to {median, highest, tasks}, amounts as
                             decimal text
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from vidu_relay.domain.catalogue import Choice
from vidu_relay.domain.errors import PriceListChangedError, PriceListError
from vidu_relay.domain.money import read_money
from vidu_relay.domain.price import LearnedPrice, PriceBook
from vidu_relay.domain.price_list import read_list
from vidu_relay.observability import logger

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

__all__ = ["PriceBooks", "PriceLists", "StoredList"]

LIST_KEY = "prices"
MAX_LIST_BYTES = 300_000
MEMORY_SECONDS = 60
BATCH_GET_LIMIT = 100
FIRST_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class StoredList:
    """The operator's list and its version: 0 where none was ever written."""

    document: Mapping[str, Any]
    version: int


class PriceLists:
    """The operator's reads and writes of the list."""

    def __init__(self, client: DynamoDBClient, table_name: str) -> None:
        self._client = client
        self._table = table_name

    def read(self) -> StoredList:
        """The list as it stands (consistent read). Raises `PriceListError` if what is stored is not JSON."""
        item: Any = self._client.get_item(TableName=self._table, Key=_key(LIST_KEY), ConsistentRead=True).get("Item")
        if item is None:
            return StoredList({}, 0)
        return StoredList(_document(item), int(item["version"]["N"]))

    def write(self, document: Mapping[str, Any], *, seen: int, now: int) -> int:
        """Replace the list of version `seen`; the new version.

        Raises `PriceListError` for a malformed or too long list, `PriceListChangedError` if another one was written.
        """
        read_list(document)
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        if (size := len(text.encode())) > MAX_LIST_BYTES:
            raise PriceListError(f"the price list has {size} bytes; at most {MAX_LIST_BYTES} are stored")
        try:
            self._client.put_item(
                TableName=self._table,
                Item={
                    **_key(LIST_KEY),
                    "document": {"S": text},
                    "version": {"N": str(seen + 1)},
                    "updated_at": {"N": str(now)},
                },
                ConditionExpression="version = :seen OR (:seen = :none AND attribute_not_exists(pk))",
                ExpressionAttributeValues={":seen": {"N": str(seen)}, ":none": {"N": "0"}},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            raise PriceListChangedError from error
        return seen + 1


class PriceBooks:
    """The prices of models, kept for a minute. `assumed` is `PriceBook.assumed`."""

    def __init__(
        self,
        client: DynamoDBClient,
        table_name: str,
        assumed: Decimal,
        *,
        seconds: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._table = table_name
        self._assumed = assumed
        self._seconds = seconds
        self._sleep = sleep
        self._kept: dict[frozenset[tuple[str, str]], tuple[float, PriceBook]] = {}

    def read(self, *choices: Choice) -> PriceBook:
        """What is known of the prices of these models, at most a minute old.

        Lines of the list for these models that cannot be read are logged as an error, and then no line counts: the
        prices are unknown, never a guess.
        """
        wanted = frozenset((choice.provider, choice.model.id) for choice in choices)
        kept, now = self._kept.get(wanted), self._seconds()
        if kept is None or now - kept[0] >= MEMORY_SECONDS:
            kept = self._kept[wanted] = now, self._book(wanted)
        return kept[1]

    def _book(self, wanted: frozenset[tuple[str, str]]) -> PriceBook:
        keys = [LIST_KEY, *(f"learned#{provider}#{model}" for provider, model in sorted(wanted))]
        items = self._items(keys)
        learned = {
            name: price
            for key in keys[1:]
            for name, price in _learned(items.get(key, {}).get("combinations", {}).get("M", {}))
        }
        try:
            document = _document(items[LIST_KEY]) if LIST_KEY in items else {}
            models = {model for _, model in wanted}
            lines = [line for line in document.get("prices", []) if line.get("model") in models]
            entries, rates = read_list({**document, "prices": lines})
        except (PriceListError, AttributeError, TypeError) as error:
            logger.error("price_list_unreadable", reason=str(error))
            entries, rates = (), {}
        return PriceBook(self._assumed, entries, rates, learned)

    def _items(self, keys: list[str]) -> dict[str, dict[str, Any]]:
        """Items by key; those that DynamoDB leaves unprocessed are requested again after a pause that doubles."""
        left, pause = [_key(key) for key in keys], FIRST_PAUSE_SECONDS
        found: dict[str, dict[str, Any]] = {}
        while left:
            now, left = left[:BATCH_GET_LIMIT], left[BATCH_GET_LIMIT:]
            reply: Any = self._client.batch_get_item(RequestItems={self._table: {"Keys": now}})
            found.update({item["pk"]["S"]: item for item in reply["Responses"].get(self._table, [])})
            if self._table in reply["UnprocessedKeys"]:
                left = [*reply["UnprocessedKeys"][self._table]["Keys"], *left]
                self._sleep(pause)
                pause = min(2 * pause, 1.0)
        return found


def _key(pk: str) -> dict[str, Any]:
    return {"pk": {"S": pk}}


def _document(item: Mapping[str, Any]) -> dict[str, Any]:
    try:
        document = json.loads(item["document"]["S"])
    except (KeyError, ValueError) as error:
        raise PriceListError("the stored price list is not JSON: import it again") from error
    if not isinstance(document, dict):
        raise PriceListError("the stored price list is no object: import it again")
    return document


def _learned(combinations: Mapping[str, Any]) -> Iterator[tuple[str, LearnedPrice]]:
    for name, value in combinations.items():
        shown = value["M"]
        median, highest = read_money(shown["median"]["S"]), read_money(shown["highest"]["S"])
        if median is not None and highest is not None:
            yield name, LearnedPrice(median, highest, int(shown["tasks"]["N"]))
