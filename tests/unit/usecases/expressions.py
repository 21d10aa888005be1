"""DynamoDB's condition and update expressions over plain items, as far as the relay uses them.

An expression with anything else in it is refused by name: nothing is guessed.
"""

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["holds", "updated"]

Item = Mapping[str, Mapping[str, Any]]

_TOKEN = re.compile(r"\s*(<=|>=|<>|[=<>(),+-]|[:#]?[A-Za-z_][A-Za-z0-9_]*)")
_COMPARISONS = frozenset({"=", "<>", "<", "<=", ">", ">="})


class _Reader:
    """Recursive descent over one expression."""

    def __init__(self, text: str, item: Item, names: Mapping[str, str], values: Item) -> None:
        self.tokens = _tokens(text)
        self.item, self.names, self.values = item, names, values
        self.at = 0

    @property
    def next(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, *expected: str) -> str:
        token = self.next
        if not token or (expected and token not in expected):
            raise NotImplementedError(f"expression: {expected or 'more'} expected, {token!r} found in {self.tokens}")
        self.at += 1
        return token

    def condition(self) -> bool:
        result = self.conjunction()
        while self.next.upper() == "OR":
            self.take()
            right = self.conjunction()
            result = result or right
        return result

    def conjunction(self) -> bool:
        result = self.term()
        while self.next.upper() == "AND":
            self.take()
            right = self.term()
            result = result and right
        return result

    def term(self) -> bool:
        if self.next == "(":
            self.take()
            result = self.condition()
            self.take(")")
            return result
        if self.next.upper() == "NOT":
            self.take()
            return not self.term()
        if self.next in ("attribute_exists", "attribute_not_exists"):
            wanted = self.take() == "attribute_exists"
            self.take("(")
            name = self.name(self.take())
            self.take(")")
            return (name in self.item) is wanted
        left = self.operand()
        comparison = self.take(*_COMPARISONS)
        return _compare(left, comparison, self.operand())

    def operand(self) -> Mapping[str, Any] | None:
        """A value, an attribute, or either of them under `if_not_exists`."""
        token = self.take()
        if token == "if_not_exists":
            self.take("(")
            name = self.name(self.take())
            self.take(",")
            instead = self.operand()
            self.take(")")
            return self.item.get(name, instead)
        return self.values[token] if token.startswith(":") else self.item.get(self.name(token))

    def name(self, token: str) -> str:
        return self.names[token] if token.startswith("#") else token


def _tokens(text: str) -> list[str]:
    found, end = [], 0
    while text[end:].strip():
        match = _TOKEN.match(text, end)
        if match is None:
            raise NotImplementedError(f"expression: {text[end:]!r} is not understood")
        found.append(match[1])
        end = match.end()
    return found


def _plain(value: Mapping[str, Any]) -> Any:
    ((kind, content),) = value.items()
    return (kind, int(content) if kind == "N" else content)


def _compare(left: Mapping[str, Any] | None, comparison: str, right: Mapping[str, Any] | None) -> bool:
    if left is None or right is None:
        return comparison == "<>"
    (kind, a), (other, b) = _plain(left), _plain(right)
    if comparison in ("=", "<>"):
        return ((kind, a) == (other, b)) is (comparison == "=")
    if kind != other:
        return False
    return bool({"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[comparison])


def holds(condition: str, item: Item, names: Mapping[str, str], values: Item) -> bool:
    """Whether a condition holds of an item; of no item, give an empty one."""
    reader = _Reader(condition, item, names, values)
    result = reader.condition()
    if reader.next:
        raise NotImplementedError(f"expression: {reader.next!r} is not understood in {condition!r}")
    return result


def updated(update: str, item: Item, names: Mapping[str, str], values: Item) -> dict[str, Any]:
    """The item after an update: `SET`, `ADD` of numbers and `REMOVE`."""
    reader, after = _Reader(update, item, names, values), dict(item)
    while reader.next:
        clause = reader.take().upper()
        if clause not in ("SET", "ADD", "REMOVE"):
            raise NotImplementedError(f"expression: {clause} is not understood in {update!r}")
        while True:
            name = reader.name(reader.take())
            if clause == "SET":
                reader.take("=")
                value = reader.operand()
                assert value is not None
                after[name] = value
            elif clause == "ADD":
                step = reader.values[reader.take()]
                after[name] = {"N": str(int(item.get(name, {"N": "0"})["N"]) + int(step["N"]))}
            else:
                after.pop(name, None)
            if reader.next != ",":
                break
            reader.take()
    return after
