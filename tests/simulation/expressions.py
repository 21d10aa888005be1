"""DynamoDB's condition and update expressions over plain items, as far as the relay uses them.

An expression with anything else in it raises `NotImplementedError`: nothing is guessed.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from types import CodeType
from typing import Any

Item = Mapping[str, Mapping[str, Any]]

_TOKEN = re.compile(
    r"\s*(?:(?P<word>AND|OR|NOT)\b"
    r"|(?P<call>attribute_exists|attribute_not_exists|begins_with|if_not_exists|list_append|size)\b"
    r"|(?P<name>[:#]?[A-Za-z_]\w*)|(?P<sign><=|>=|<>|[=<>(),]))"
)
_CLAUSE = re.compile(r"(SET|ADD|REMOVE|DELETE)\s+(.*?)\s*(?=\b(?:SET|ADD|REMOVE|DELETE)\b|$)")
_PART = re.compile(r",\s*(?![^(]*\))")
_BETWEEN = re.compile(r"(\w+) BETWEEN (:\w+) AND (:\w+)")
_SIGNS = {"=": "==", "<>": "!="}


class _Operand:
    """An attribute in a comparison; one that is absent differs from every other."""

    def __init__(self, attribute: Mapping[str, Any] | None) -> None:
        self.attribute = attribute

    def _compare(self, other: object, compare: Callable[[Any, Any], bool]) -> bool:
        if not isinstance(other, _Operand) or self.attribute is None or other.attribute is None:
            return False
        ((kind, a),), ((other_kind, b),) = self.attribute.items(), other.attribute.items()
        return kind == other_kind and compare(*((Decimal(a), Decimal(b)) if kind == "N" else (a, b)))

    def __eq__(self, other: object) -> bool:
        return self._compare(other, operator.eq)

    def __lt__(self, other: object) -> bool:
        return self._compare(other, operator.lt)

    def __le__(self, other: object) -> bool:
        return self._compare(other, operator.le)

    def __gt__(self, other: object) -> bool:
        return self._compare(other, operator.gt)

    def __ge__(self, other: object) -> bool:
        return self._compare(other, operator.ge)

    __hash__ = None  # type: ignore[assignment]


@cache
def _compiled(expression: str) -> CodeType:
    """The expression as Python: both languages give comparisons, NOT, AND and OR the same precedence."""
    expression = _BETWEEN.sub(r"\2 <= \1 AND \1 <= \3", expression)
    source, end = "", 0
    while expression[end:].strip():
        found = _TOKEN.match(expression, end)
        if found is None:
            raise NotImplementedError(f"expression: {expression[end:]!r} is not understood")
        text, end = found.group().strip(), found.end()
        if found["name"]:
            source += f" operand({text!r})"
        else:
            source += " " + (_SIGNS.get(text, text) if found["sign"] else text.lower())
    try:
        return compile(source.strip(), expression, "eval")
    except SyntaxError as error:
        raise NotImplementedError(f"expression: {expression!r} is not understood") from error


def _evaluate(expression: str, item: Item, names: Mapping[str, str], values: Item) -> Any:
    def operand(token: str) -> _Operand:
        return _Operand(values[token] if token.startswith(":") else item.get(names.get(token, token)))

    given = {
        "operand": operand,
        "begins_with": lambda one, start: one.attribute["S"].startswith(start.attribute["S"]),
        "attribute_exists": lambda one: one.attribute is not None,
        "attribute_not_exists": lambda one: one.attribute is None,
        "if_not_exists": lambda one, other: other if one.attribute is None else one,
        "list_append": lambda one, other: _Operand({"L": one.attribute["L"] + other.attribute["L"]}),
        "size": lambda one: _Operand({"N": str(len(one.attribute["L"]))}),
    }
    try:
        return eval(_compiled(expression), {"__builtins__": {}, **given})  # noqa: S307 - made of the tokens above
    except TypeError as error:
        raise NotImplementedError(f"expression: {expression!r} is not understood") from error


def holds(condition: str, item: Item, names: Mapping[str, str], values: Item) -> bool:
    """Whether a condition holds of an item; of no item, give an empty one."""
    return bool(_evaluate(condition, item, names, values))


def updated(update: str, item: Item, names: Mapping[str, str], values: Item) -> dict[str, Any]:
    """The item after an update: `SET`, `REMOVE`, `ADD` and `DELETE` of numbers and sets of strings."""
    after = dict(item)
    if _CLAUSE.sub("", update).strip():
        raise NotImplementedError(f"expression: {update!r} is not understood")
    for clause, text in _CLAUSE.findall(update):
        for part in _PART.split(text):
            token, _, rest = part.partition("=" if clause == "SET" else " ")
            name = names.get(token.strip(), token.strip())
            if clause == "SET":
                after[name] = _evaluate(rest, item, names, values).attribute
            elif "[" in name:
                raise NotImplementedError(f"expression: {update!r} is not understood")
            elif clause == "REMOVE":
                after.pop(name, None)
            else:
                after[name] = _changed(clause, item.get(name), values[rest.strip()])
    return {name: value for name, value in after.items() if value != {"SS": []}}


def _changed(clause: str, current: Mapping[str, Any] | None, by: Mapping[str, Any]) -> dict[str, Any]:
    if "N" in by:
        return {"N": str(Decimal((current or {"N": "0"})["N"]) + Decimal(by["N"]))}
    before = set((current or {"SS": []})["SS"])
    return {"SS": sorted(before | set(by["SS"]) if clause == "ADD" else before - set(by["SS"]))}
