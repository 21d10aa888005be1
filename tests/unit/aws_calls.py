"""Which AWS operations each function can call, read from its code: handler → use cases → adapters → boto3 clients.

Types come from annotations and constructors, as strict mypy demands them anyway. Whatever is named counts as called. A
receiver of unknown type is passed over: then an operation is missing here, and the test that compares with
the granted actions fails.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.unit.template import ROOT

LAYER = ROOT / "layers" / "shared"
NAMED_BY_ARGUMENT = {"get_paginator", "generate_presigned_url"}
"""Methods of a client whose first argument names the operation."""


@dataclass(frozen=True)
class Client:
    """A boto3 client, by the name of its service in boto3's types."""

    service: str


@dataclass(frozen=True)
class Module:
    name: str


@dataclass(frozen=True)
class Class:
    module: str
    name: str


@dataclass(frozen=True)
class Instance:
    of: Class


@dataclass(frozen=True)
class Function:
    module: str
    name: str
    owner: Class | None = None


Type = Client | Module | Class | Instance | Function | None
Names = dict[str, Type]
Definition = ast.FunctionDef | ast.AsyncFunctionDef


def operations(folder: str) -> set[tuple[str, str]]:
    """Service and client method (`("dynamodb", "get_item")`) of each operation a function's code can call."""
    return _Walk().run(f"functions.{folder}.handler")


@cache
def _tree(module: str) -> ast.Module | None:
    path = Path(*module.split("."))
    base = ROOT if module.startswith("functions.") else LAYER
    for candidate in (base / path.with_suffix(".py"), base / path / "__init__.py"):
        if candidate.is_file():
            return ast.parse(candidate.read_text())
    return None


def _named(body: list[ast.stmt], name: str) -> ast.stmt | None:
    return next((one for one in body if isinstance(one, ast.ClassDef | Definition) and one.name == name), None)


@cache
def _imports(module: str) -> Names:
    tree = _tree(module)
    found: Names = {}
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                found[alias.asname or alias.name] = _imported(node.module, alias.name)
    return found


def _imported(module: str, name: str) -> Type:
    if module.startswith("mypy_boto3_") and name.endswith("Client"):
        return Client(module.removeprefix("mypy_boto3_"))
    if not module.startswith("vidu_relay"):
        return None
    return Module(f"{module}.{name}") if _tree(f"{module}.{name}") else _symbol(module, name)


@cache
def _symbol(module: str, name: str) -> Type:
    """What a name at the top of a module stands for."""
    tree = _tree(module)
    if tree is None:
        return None
    match _named(tree.body, name):
        case ast.ClassDef():
            return Class(module, name)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return Function(module, name)
    if name in _imports(module):
        return _imports(module)[name]
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == name for t in statement.targets
        ):
            return _type(statement.value, {}, module)
    return None


def _definition(of: Class) -> ast.ClassDef:
    tree = _tree(of.module)
    assert tree
    found = _named(tree.body, of.name)
    assert isinstance(found, ast.ClassDef)
    return found


def _is_protocol(of: Class) -> bool:
    return any(isinstance(base, ast.Name) and base.id == "Protocol" for base in _definition(of).bases)


def _annotated(annotation: ast.expr | None, module: str) -> Type:
    """An instance of the annotated class; of a union, of the first that is known."""
    match annotation:
        case ast.Constant(value=str(text)):
            return _annotated(ast.parse(text, mode="eval").body, module)
        case ast.BinOp(left=left, right=right):
            return _annotated(left, module) or _annotated(right, module)
        case ast.Name(id=name):
            known = _symbol(module, name)
            return Instance(known) if isinstance(known, Class) else known if isinstance(known, Client) else None
    return None


def _parameters(function: Definition | ast.Lambda, module: str, owner: Class | None = None) -> Names:
    arguments = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    names = {argument.arg: _annotated(argument.annotation, module) for argument in arguments}
    if owner and "self" in names:
        names["self"] = Instance(owner)
    return names


@cache
def _member(of: Class, name: str) -> Type:
    """What an attribute of an instance is: a method, a field, or what `__init__` sets."""
    body = _definition(of).body
    for statement in body:
        if isinstance(statement, Definition) and statement.name == name:
            is_property = any(isinstance(one, ast.Name) and one.id == "property" for one in statement.decorator_list)
            return _annotated(statement.returns, of.module) if is_property else Function(of.module, name, of)
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and statement.target.id == name
        ):
            return _annotated(statement.annotation, of.module)
    start = _named(body, "__init__")
    if not isinstance(start, Definition):
        return None
    names = _parameters(start, of.module, of)
    for node in ast.walk(start):
        match node:
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=attribute)]) if attribute == name:
                return _type(node.value, names, of.module)
    return None


def _type(expression: ast.expr, names: Names, module: str) -> Type:
    match expression:
        case ast.Name(id=name):
            return names[name] if name in names else _symbol(module, name)
        case ast.Attribute(value=value, attr=attribute):
            match _type(value, names, module):
                case Module(name):
                    return _symbol(name, attribute)
                case Instance(of):
                    return _member(of, attribute)
        case ast.Call(func=called):
            match _type(called, names, module):
                case Class() as made:
                    return Instance(made)
                case Function() as function:
                    return _annotated(_code(function).returns, function.module)
        case ast.NamedExpr(value=value):
            return _type(value, names, module)
    return None


def _code(function: Function) -> Definition:
    tree = _tree(function.module)
    assert tree
    found = _named(_definition(function.owner).body if function.owner else tree.body, function.name)
    assert isinstance(found, Definition)
    return found


class _Walk:
    """Follows everything that is named, from a handler on, until nothing new comes up."""

    def __init__(self) -> None:
        self._reached: set[Function | Class] = set()
        self._ahead: list[Function | Class] = []
        self._open: set[tuple[Class, str]] = set()
        """Methods of protocols: whichever class has them may be meant."""
        self._found: set[tuple[str, str]] = set()

    def run(self, module: str) -> set[tuple[str, str]]:
        tree = _tree(module)
        assert tree
        self._read(tree, {}, module)
        while self._ahead:
            reached = self._ahead.pop()
            if isinstance(reached, Class):
                self._make(reached)
            else:
                code = _code(reached)
                self._read(code, _parameters(code, reached.module, reached.owner), reached.module)
            for made in [one for one in self._reached if isinstance(one, Class)]:
                for _, name in list(self._open):
                    if isinstance(_named(_definition(made).body, name), Definition):
                        self._reach(Function(made.module, name, made))
        return self._found

    def _make(self, made: Class) -> None:
        """Python itself calls the methods with special names."""
        for statement in _definition(made).body:
            if isinstance(statement, Definition) and statement.name.startswith("__"):
                self._reach(Function(made.module, statement.name, made))

    def _reach(self, one: Function | Class) -> None:
        if isinstance(one, Function) and one.owner and _is_protocol(one.owner):
            self._open.add((one.owner, one.name))
        elif one not in self._reached:
            self._reached.add(one)
            self._ahead.append(one)

    def _read(self, code: ast.AST, names: Names, module: str) -> None:
        names = {**names, **dict(_locals(code, names, module))}
        for node in ast.walk(code):
            if isinstance(node, ast.Call):
                self._read_call(node, names, module)
            if isinstance(node, ast.Name | ast.Attribute):
                named = _type(node, names, module)
                if isinstance(named, Function | Class):
                    self._reach(named)
            if isinstance(node, ast.Attribute):
                client = _type(node.value, names, module)
                if isinstance(client, Client) and node.attr not in NAMED_BY_ARGUMENT:
                    self._found.add((client.service, node.attr))

    def _read_call(self, call: ast.Call, names: Names, module: str) -> None:
        match call:
            case ast.Call(func=ast.Attribute(value=value, attr=method), args=[ast.Constant(value=str(operation)), *_]):
                client = _type(value, names, module)
                if isinstance(client, Client) and method in NAMED_BY_ARGUMENT:
                    self._found.add((client.service, operation))


def _locals(code: ast.AST, names: Names, module: str) -> Iterator[tuple[str, Type]]:
    """The names that a piece of code binds, nested functions included."""
    known = dict(names)
    for node in ast.walk(code):
        bound: Names = {}
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda() if node is not code:
                bound = _parameters(node, module)
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.NamedExpr(target=ast.Name(id=name), value=value)
            ):
                bound = {name: _type(value, known, module)}
        known.update(bound)
        yield from bound.items()
