"""A rubric as its source has it: read without importing it, which takes the seconds that its libraries take."""

from __future__ import annotations

import ast
import importlib.util
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

UNKNOWN: Any = type("Unknown", (), {"__repr__": lambda self: "unknown"})()
"""What cannot be told without running the code."""
_MARKS = ("points", "needs", "sees", "practice")
_FIELDS = ("name", "title", "hand_in", "parameters", "others", "checked_again", "seeds", "carried", "shapes")
"""What an exercise is made of, in the order of :class:`graders.harness.lesson.Exercise`."""
_REQUIRED = 4
_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.BitOr: operator.or_,
}


class NoSource(Exception):
    """A module that is not there, or cannot be parsed; says why."""


@dataclass(frozen=True)
class Check:
    """A check: its marks, each with what it was given, the first line of its docstring, and the fixtures that it asks for."""

    name: str
    title: str
    marks: Mapping[str, list[tuple[Any, ...]]]
    fixtures: tuple[str, ...]

    def named(self, mark: str) -> list[str]:
        """The checks that all marks of a kind name."""
        return [name for given in self.marks.get(mark, ()) for name in given if name is not UNKNOWN]


class Source:
    """The source of a module. Raises :class:`NoSource`."""

    def __init__(self, module: str, known: dict[str, Source]) -> None:
        self.module = module
        self._known = known
        try:
            found = importlib.util.find_spec(module)
        except Exception as error:  # the package that it is in is imported, and may do anything
            raise NoSource(f"it cannot be found ({type(error).__name__}: {error})") from error
        if found is None or not found.origin or not found.origin.endswith(".py"):
            raise NoSource("there is no such module")
        self.path = Path(found.origin)
        try:
            self.tree = ast.parse(self.path.read_bytes())
        except (OSError, SyntaxError, ValueError) as error:
            raise NoSource(f"it cannot be read ({error})") from error
        self._package = module if found.submodule_search_locations else module.rpartition(".")[0]
        self._assigned: dict[str, ast.expr] = {}
        self._imported: dict[str, tuple[str, str]] = {}
        self._functions: dict[str, ast.FunctionDef] = {}
        for statement in self.tree.body:
            self._learn(statement)

    def _learn(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Assign):
            self._assigned |= {one.id: statement.value for one in statement.targets if isinstance(one, ast.Name)}
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            self._assigned[statement.target.id] = statement.value
        elif isinstance(statement, ast.ImportFrom):
            place = "." * statement.level + (statement.module or "")
            home = importlib.util.resolve_name(place, self._package) if statement.level else place
            self._imported |= {alias.asname or alias.name: (home, alias.name) for alias in statement.names}
        elif isinstance(statement, ast.Import):
            self._imported |= {alias.asname: (alias.name, "") for alias in statement.names if alias.asname}
        elif isinstance(statement, ast.FunctionDef):
            self._functions[statement.name] = statement

    def _beside(self, module: str) -> Source | None:
        """The source of another module of the same package; None for what is not the lesson's own."""
        if module.partition(".")[0] != self.module.partition(".")[0]:
            return None
        if module not in self._known:
            try:
                self._known[module] = Source(module, self._known)
            except NoSource:
                return None
        return self._known[module]

    def _found(self, name: str) -> tuple[Source, ast.expr] | None:
        """Where a name of the module has its value from, and the expression."""
        if name in self._assigned:
            return self, self._assigned[name]
        home, other = self._imported.get(name, ("", ""))
        beside = self._beside(home) if other else None
        return beside._found(other) if beside else None

    def has(self, name: str) -> bool:
        """Whether the module gives this name a value, or imports it."""
        return name in self._assigned or name in self._imported

    # --- values --------------------------------------------------------------------------------------------------

    def value(self, node: ast.expr | None) -> Any:
        """What an expression comes to, as far as that is written down; :data:`UNKNOWN` in the place of all else."""
        match node:
            case ast.Constant():
                return node.value
            case ast.Tuple() | ast.List() | ast.Set():
                return self._items(node.elts)
            case ast.Dict():
                return self._mapping(zip(node.keys, node.values, strict=True))
            case ast.Name():
                found = self._found(node.id)
                return found[0].value(found[1]) if found else UNKNOWN
            case ast.Attribute(value=ast.Name(id=module)) if beside := self._module(module):
                found = beside._found(node.attr)
                return found[0].value(found[1]) if found else UNKNOWN
            case ast.UnaryOp(op=ast.USub()):
                return self._computed(lambda: -self.value(node.operand))
            case ast.BinOp() if type(node.op) in _OPERATORS:
                return self._computed(lambda: _OPERATORS[type(node.op)](self.value(node.left), self.value(node.right)))
            case ast.Call(func=ast.Name(id="dict"), args=[]):
                return self._mapping((_key(one), one.value) for one in node.keywords)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="dict"), attr="fromkeys"), args=[keys, *given]):
                listed, of_each = self.value(keys), self.value(given[0]) if given else None
                return UNKNOWN if listed is UNKNOWN else self._computed(lambda: dict.fromkeys(listed, of_each))
        return UNKNOWN

    def _module(self, name: str) -> Source | None:
        """The module of the lesson that a name stands for."""
        home, other = self._imported.get(name, ("", ""))
        return self._beside(f"{home}.{other}" if other else home) if home else None

    def _items(self, nodes: Iterable[ast.expr]) -> Any:
        found: list[Any] = []
        for node in nodes:
            inner = self.value(node.value if isinstance(node, ast.Starred) else node)
            if not isinstance(node, ast.Starred):
                found.append(inner)
            elif isinstance(inner, tuple | dict):
                found += inner
            else:
                return UNKNOWN
        return tuple(found)

    def _mapping(self, items: Iterable[tuple[ast.expr | None, ast.expr]]) -> Any:
        found: dict[Any, Any] = {}
        for key, node in items:
            name, inner = self.value(key), self.value(node)
            if key is None and isinstance(inner, dict):
                found |= inner
            elif key is None or name is UNKNOWN:
                return UNKNOWN
            else:
                found[name] = inner
        return found

    @staticmethod
    def _computed(compute: Callable[[], Any]) -> Any:
        try:
            return compute()
        except (TypeError, ArithmeticError, RecursionError):  # of what is unknown, for one
            return UNKNOWN

    # --- what a rubric has ---------------------------------------------------------------------------------------

    @cached_property
    def exercise(self) -> Mapping[str, Any] | None:
        """The fields of ``EXERCISE``, :data:`UNKNOWN` where they cannot be told; None if there is none."""
        if not self.has("EXERCISE"):
            return None
        home, call = self._found("EXERCISE") or (self, None)
        if not isinstance(call, ast.Call) or _last(call.func) != "Exercise":
            return dict.fromkeys(_FIELDS, UNKNOWN)
        given = home._mapping((_key(one), one.value) for one in call.keywords)
        if given is UNKNOWN:
            return dict.fromkeys(_FIELDS, UNKNOWN)
        given |= dict(zip(_FIELDS, map(home.value, call.args), strict=False))
        return {name: given.get(name, UNKNOWN if at < _REQUIRED else ()) for at, name in enumerate(_FIELDS)}

    @cached_property
    def checks(self) -> dict[str, Check]:
        """Its checks, in their order, with those that it imports from the lesson's other modules."""
        found = {}
        for statement in self.tree.body:
            if isinstance(statement, ast.FunctionDef) and statement.name.startswith("test_"):
                found[statement.name] = self._check(statement)
            elif isinstance(statement, ast.ImportFrom):
                for alias in statement.names:
                    name = alias.asname or alias.name
                    home = self._beside(self._imported[name][0]) if name.startswith("test_") else None
                    if home and (function := home._functions.get(alias.name)):
                        found[name] = home._check(function)
        return {name.removeprefix("test_"): check for name, check in found.items()}

    def _check(self, function: ast.FunctionDef) -> Check:
        marks: dict[str, list[tuple[Any, ...]]] = {}
        shared = self._assigned.get("pytestmark")
        of_module = shared.elts if isinstance(shared, ast.List | ast.Tuple) else [shared] if shared else []
        for decorator in (*reversed(function.decorator_list), *of_module):
            mark = self._aliased(decorator)
            if isinstance(mark, ast.Call) and (name := _last(self._aliased(mark.func))) in _MARKS:
                marks.setdefault(name, []).append(tuple(map(self.value, mark.args)))
        title = (ast.get_docstring(function) or "").partition("\n")[0].strip()
        arguments = function.args
        asked = tuple(a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs))
        return Check(function.name.removeprefix("test_"), title, marks, asked)

    def _aliased(self, node: ast.expr) -> ast.expr:
        """What a name was assigned, such as ``points = pytest.mark.points``."""
        return self._assigned.get(node.id, node) if isinstance(node, ast.Name) else node

    def words(self) -> Iterator[str]:
        """Texts and names in the code, without its docstrings and what ``EXERCISE`` is given."""
        waiting: list[ast.AST] = list(self.tree.body)
        given = self._assigned.get("EXERCISE")
        while waiting:
            node = waiting.pop()
            if node is given or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
                continue
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.arg):
                yield node.arg
            elif isinstance(node, ast.Attribute) and node.attr == "hand_in" and _last(node.value) == "EXERCISE":
                yield "EXERCISE.hand_in"
            waiting += ast.iter_child_nodes(node)


def slugs(tree: ast.AST) -> Iterator[str]:
    """The misconceptions that code names as they are: ``misconception="…"``, be it only in some cases."""
    for node in ast.walk(tree):
        value: ast.AST | None = None
        if isinstance(node, ast.keyword) and node.arg == "misconception":
            value = node.value
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            value = node.value if any(_last(target) == "misconception" for target in targets) else None
        if value is not None:
            yield from _either(value)


def _either(node: ast.AST) -> Iterator[str]:
    """The texts that an expression may come to."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp():
            yield from (*_either(node.body), *_either(node.orelse))
        case ast.BoolOp():
            for one in node.values:
                yield from _either(one)


def imports(tree: ast.AST) -> Iterator[str]:
    """The modules that code imports, wherever it does; relative ones begin with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def _key(keyword: ast.keyword) -> ast.expr | None:
    return ast.Constant(keyword.arg) if keyword.arg else None


def _last(node: ast.AST) -> str:
    """The last part of a dotted name."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
