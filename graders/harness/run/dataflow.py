"""Which cells of a notebook others depend on, told by the names that they assign, use and change.

Nothing is executed, so this is a guess that errs on one side: a cell whose absence might make a difference is needed.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from graders.harness.run.source import PYTHON_MAGICS, Code

_CHANGING = {
    "add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "reverse", "setdefault",
    "sort", "update",
}  # fmt: skip
"""Methods of Python's own containers that change them."""
_ACTING = {"chdir", "makedirs", "mkdir", "putenv", "use"}
"""What else of a module changes the whole process, beside ``set_...``."""
_OPAQUE = {"eval", "exec", "globals", "locals", "vars", "__import__", "setattr", "delattr"}
_PLAIN_CALLS = {
    "abs", "bool", "device", "float", "frozenset", "getattr", "int", "is_available", "join", "len", "max", "min", "Path",
    "PurePosixPath", "range", "round", "str", "sum", "tuple",
}  # fmt: skip
"""Calls of which something comes that cannot be changed."""
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass
class Flow:
    """What a cell does with the notebook's variables: those it ``binds``, for certain or perhaps; ``surely`` binds; uses; and
    changes ``in_place``. ``acts`` if it changes more than variables, ``opaque`` if anything may happen in it.
    """

    binds: set[str] = field(default_factory=set)
    surely: set[str] = field(default_factory=set)
    uses: set[str] = field(default_factory=set)
    in_place: set[str] = field(default_factory=set)
    paths: set[str] = field(default_factory=set)
    acts: bool = False
    opaque: bool = False

    @property
    def fills(self) -> set[str]:
        """The variables that are not the same after it."""
        return self.binds | self.in_place


@dataclass
class _Known:
    """What the whole notebook says of its names."""

    imported: set[str] = field(default_factory=set)
    behind: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """What a name's value uses when it is called."""
    changed_by: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """What it changes when it is called."""
    changing: set[str] = field(default_factory=set)
    """Functions that change what they are given."""
    aliases: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    fluid: set[str] = field(default_factory=set)
    """Names whose value can be changed by whoever has it."""


class Notebook:
    """The code cells of a notebook, with what each does in ``flows``."""

    def __init__(self, cells: Sequence[Code]) -> None:
        self._known = _Known()
        trees = [cell.tree for cell in cells]
        for tree in trees:
            with suppress(RecursionError):  # and then its flow is not known either
                self._learn(tree or ast.Module([], []))
        self.flows = [self._flow(cell) for cell in cells]

    def needed(self, wanted: Collection[int]) -> set[int]:
        """The cells without which those at the places ``wanted`` might come to something else; those before them alone."""
        opaque = [at for at in range(max(wanted, default=-1) + 1) if self.flows[at].opaque]
        if opaque:
            return {*range(max(wanted) + 1)}
        needed, live, paths = set[int](), set[str](), set[str]()
        for at in reversed(range(max(wanted, default=-1) + 1)):
            flow = self.flows[at]
            touched = flow.fills | (flow.uses & self._known.fluid)
            if at in wanted or flow.acts or touched & live or flow.paths & paths:
                needed.add(at)
                live = (live - flow.surely) | flow.uses | flow.in_place
                paths |= flow.paths
        return needed

    def _learn(self, tree: ast.Module) -> None:
        known = self._known
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                known.imported |= set(_imported(node))
        body = [*unwrapped(tree.body)]
        for statement in _statements(body):
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                known.behind[statement.name] |= uses(statement)
                known.changed_by[statement.name] |= changes(statement) | _globals(statement)
                arguments = {
                    a.arg
                    for f in ast.walk(statement)
                    if isinstance(f, _SCOPES)
                    for a in ast.walk(f.args)
                    if isinstance(a, ast.arg)
                }
                if changes(statement, inner=True) & arguments:
                    known.changing.add(statement.name)
            for target, value in _assigned(statement):
                if isinstance(value, ast.Lambda):
                    known.behind[target] |= uses(value)
                # What is made by one's own functions and classes may call them again
                known.behind[target] |= {
                    n.id for n in ast.walk(value) if isinstance(n, ast.Name) and known.behind.get(n.id)
                }
                if isinstance(value, ast.Name):
                    known.aliases[target].add(value.id)
        for statement in _statements(body):
            if not isinstance(
                statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom
            ):
                plain = {target for target, value in _assigned(statement) if self._plain(value)}
                known.fluid |= set(binds(statement)) - plain

    def _plain(self, value: ast.expr) -> bool:
        """Whether what comes of it cannot be changed, or is Python's own data, whose changes are seen."""
        match value:
            case ast.Constant() | ast.JoinedStr() | ast.Compare():
                return True
            case ast.Name(id=name):
                return name not in self._known.fluid
            case ast.Attribute():
                return _root(value) in self._known.imported
            case ast.IfExp(body=one, orelse=other) | ast.BinOp(left=one, right=other):
                return self._plain(one) and self._plain(other)
            case ast.UnaryOp(operand=one):
                return self._plain(one)
            case ast.BoolOp(values=values) | ast.List(elts=values) | ast.Tuple(elts=values) | ast.Set(elts=values):
                return all(map(self._plain, values))
            case ast.Dict(keys=keys, values=values):
                return all(self._plain(one) for one in (*keys, *values) if one)
            case ast.Call(func=function):
                return (
                    function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
                ) in _PLAIN_CALLS
        return False

    def _flow(self, cell: Code) -> Flow:
        flow = Flow()
        if cell.tree is None:
            flow.opaque = cell.fault is None and len(cell.text.splitlines()) > 1
            flow.acts = cell.fault is None
            return flow
        flow.acts = bool(cell.magic) and cell.magic not in PYTHON_MAGICS
        body = [*unwrapped(cell.tree.body)]
        try:
            flow.uses = _read(body, flow.surely, self._behind)
            for statement in body:
                self._add(flow, statement)
        except RecursionError:
            return Flow(acts=True, opaque=True)
        return flow

    def _add(self, flow: Flow, statement: ast.stmt) -> None:
        known = self._known
        flow.binds |= set(binds(statement))
        flow.in_place |= changes(statement)
        for node in _here(statement):
            if isinstance(node, ast.Call):
                self._call(flow, node)
            elif isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
                flow.opaque = True
        for node in ast.walk(statement):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and "/" in node.value
                and len(node.value) < 300
            ):
                flow.paths.add(node.value)
        if {"OUTPUT_DIR"} & flow.uses:  # where cells leave files for each other
            flow.paths.add("OUTPUT_DIR")
        flow.in_place |= {name for one in flow.in_place for name in known.aliases.get(one, ())}
        if any(root in known.imported for root in map(_root, _stored(statement)) if root):
            flow.acts = True

    def _call(self, flow: Flow, call: ast.Call) -> None:
        known, name = self._known, _called(call)
        root = _root(call.func)
        given = [
            _root(arg.value if isinstance(arg, ast.Starred) else arg)
            for arg in (*call.args, *(k.value for k in call.keywords))
        ]
        if name in _OPAQUE and isinstance(call.func, ast.Name):
            flow.opaque = True
        for one in self._behind({root} if root else set()):
            flow.in_place |= known.changed_by.get(one, set())
        if root in known.changing:
            flow.in_place |= {one for one in given if one}
        if root in known.imported and (name.startswith("set_") or name in _ACTING):
            flow.acts = True
        if isinstance(call.func, ast.Attribute) and _called(call.func.value) == "get_ipython":
            magic = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else ""
            flow.acts = True
            flow.opaque = flow.opaque or magic in ("run", "store", "cd", "load", "reset")

    def _behind(self, names: set[str]) -> set[str]:
        """The names, and all that is used when their values are called."""
        found, waiting = set[str](), list(names)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += self._known.behind.get(name, ())
        return found


def unwrapped(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements, with those that IPython is asked to run in place of the magic: `%time x = train()`."""
    for statement in body:
        call = statement.value if isinstance(statement, ast.Expr) else None
        if _called(call) == "run_line_magic":
            magic, line = (
                [one.value for one in getattr(call, "args", ()) if isinstance(one, ast.Constant)] + ["", ""]
            )[:2]
            if magic in PYTHON_MAGICS:
                with suppress(SyntaxError, ValueError, RecursionError, MemoryError):
                    yield from ast.parse(str(line)).body
                    continue
        yield statement


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """All statements of the notebook's own level, in blocks as well."""
    for statement in body:
        yield statement
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for name in ("body", "orelse", "finalbody"):
                yield from _statements(getattr(statement, name, ()))
            for handler in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
                yield from _statements(handler.body)


def _here(node: ast.AST) -> Iterator[ast.AST]:
    """The node and all in it that is done now, and not when a function is called."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        inner: list[ast.AST] = []
        for name, value in ast.iter_fields(node):
            if not (isinstance(node, _SCOPES) and name == "body"):
                inner += [
                    child for child in (value if isinstance(value, list) else [value]) if isinstance(child, ast.AST)
                ]
        waiting += reversed(inner)


def uses(node: ast.AST, deferred: bool = True) -> set[str]:
    """The names of the notebook that are used in it; not ``deferred``, without those used only when a function is called."""
    if isinstance(node, ast.Name):
        return {node.id} if not isinstance(node.ctx, ast.Store) else set()
    used = set[str]()
    for name, value in ast.iter_fields(node):
        if isinstance(node, _SCOPES) and name == "body" and not deferred:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                used |= uses(child, deferred)
    if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        used.add(node.target.id)
    if isinstance(node, _SCOPES):
        own = {argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)}
        stored = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        used -= own | (stored - _globals(node))
    elif isinstance(node, _COMPREHENSIONS):
        used -= {n.id for g in node.generators for n in ast.walk(g.target) if isinstance(n, ast.Name)}
    return used


def _globals(node: ast.AST) -> set[str]:
    return {name for one in ast.walk(node) if isinstance(one, ast.Global) for name in one.names}


def binds(statement: ast.stmt) -> Iterator[str]:
    """The names that it binds at the notebook's level."""
    for node in _here(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from _imported(node)


def _read(body: Sequence[ast.stmt], bound: set[str], behind: Callable[[set[str]], set[str]]) -> set[str]:
    """The names that statements use before they bind them, and those ``behind`` these. What they bind whatever happens is
    added to ``bound``.
    """
    used = set[str]()
    for statement in body:
        match statement:
            case ast.For(target=target) | ast.AsyncFor(target=target):  # nobody loops over nothing
                used |= behind(uses(statement.iter, deferred=False)) - bound
                bound |= {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}
                used |= _read([*statement.body, *statement.orelse], bound, behind)
            case ast.With() | ast.AsyncWith():
                for item in statement.items:
                    used |= behind(uses(item, deferred=False)) - bound
                    bound |= {n.id for n in ast.walk(item) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
                used |= _read(statement.body, bound, behind)
            case ast.If():
                used |= behind(uses(statement.test, deferred=False)) - bound
                one, other = set(bound), set(bound)
                used |= _read(statement.body, one, behind) | _read(statement.orelse, other, behind)
                bound |= one & other
            case ast.Try() | ast.While() | ast.AugAssign():
                used |= behind(uses(statement, deferred=False)) - bound
            case _:
                used |= behind(uses(statement, deferred=False)) - bound
                bound |= set(binds(statement))
    return used


def _assigned(statement: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    """Names with the expression that each is assigned."""
    if isinstance(statement, ast.Assign):
        for target in statement.targets:
            if isinstance(target, ast.Name):
                yield target.id, statement.value
            elif isinstance(target, ast.Tuple) and isinstance(statement.value, ast.Tuple):
                pairs = zip(target.elts, statement.value.elts, strict=False)
                yield from ((one.id, value) for one, value in pairs if isinstance(one, ast.Name))
    elif (
        isinstance(statement, ast.AnnAssign | ast.AugAssign)
        and isinstance(statement.target, ast.Name)
        and statement.value
    ):
        yield statement.target.id, statement.value


def _stored(node: ast.AST, inner: bool = False) -> Iterator[ast.expr]:
    """Attributes and items that it assigns or deletes; with those in functions, ``inner``."""
    for one in ast.walk(node) if inner else _here(node):
        if isinstance(one, ast.Attribute | ast.Subscript) and not isinstance(one.ctx, ast.Load):
            yield one


def changes(node: ast.AST, inner: bool | None = None) -> set[str]:
    """The names whose values it plainly changes in place: by an assignment to a part, `+=`, or a container's own methods."""
    inner = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) if inner is None else inner
    found = {_root(one) for one in _stored(node, inner)}
    for one in ast.walk(node) if inner else _here(node):
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute) and one.func.attr in _CHANGING:
            found.add(_root(one.func))
        elif isinstance(one, ast.AugAssign):
            found.add(_root(one.target))
    return {name for name in found if name}


def _root(node: ast.AST) -> str:
    """The name that an expression such as ``pipe.unet.to(...)`` or ``losses[4]`` begins with; "" if it begins with none."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call | ast.Await):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _called(node: ast.AST | None) -> str:
    """The last name of what is called."""
    function = node.func if isinstance(node, ast.Call) else None
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    return (alias.asname or alias.name.partition(".")[0] for alias in node.names if alias.name != "*")
