"""What the code of cells makes of variables, read without running it: which of them follow from parameters, and which a cell
that stopped had not finished.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress

from graders.harness.run.dataflow import binds, changes, unwrapped, uses
from graders.harness.run.source import Code

_LOOPS = ast.For | ast.While
_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
_DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def derived(cells: Iterable[Code], names: Collection[str]) -> Iterator[str]:
    """The statements of the ``cells`` that compute something from one of the ``names``, and all that this needs again."""
    steps: list[tuple[ast.stmt, set[str]]] = []
    readers: dict[str, list[set[str]]] = defaultdict(list)
    for cell in cells:
        for statement in unwrapped(_body(cell)):
            with suppress(RecursionError):  # nobody writes such a statement
                used, filled = uses(statement), _filled(statement)
                steps.append((statement, filled))
                for name in used:
                    readers[name].append(filled)
    known, waiting = {*names}, [*names]
    while waiting:
        for filled in readers.pop(waiting.pop(), ()):
            waiting += filled - known
            known |= filled
    for statement, filled in steps:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            continue
        used = uses(statement, deferred=not isinstance(statement, _DEFINITIONS))
        anew = not isinstance(statement, _DEFINITIONS) and filled & known and not filled & {*names}
        if known & used or anew:
            with suppress(RecursionError):
                yield ast.unparse(statement)


def unfinished(cells: Sequence[Code], line: int) -> set[str]:
    """The names that the last of the ``cells`` had not written for the last time when it stopped at a line.

    0 is no line: where it is not known, these are the names that the cell changes bit by bit.
    """
    functions = {s.name: s for cell in cells for s in _body(cell) if isinstance(s, _FUNCTIONS)}
    body = _body(cells[-1]) if cells else []
    found: set[str] = set()
    for statement in unwrapped([*_from(body, line)] if line else body):
        with suppress(RecursionError):
            found |= _filled(statement) if line or isinstance(statement, _LOOPS) else _filled_bit_by_bit(statement)
            for function in _called(statement, functions):
                found |= _filled_bit_by_bit(function)
    return found


def filled(cells: Iterable[Code]) -> set[str]:
    """The names that the cells give a value, or change the value of."""
    found: set[str] = set()
    for cell in cells:
        for statement in unwrapped(_body(cell)):
            with suppress(RecursionError):
                found |= _filled(statement)
    return found


def set_before(cells: Iterable[Code], first: str, then: str) -> bool:
    """Whether the cells give one variable a value before another one has its last; True where they do not show it."""
    orders = [_filled(statement) for cell in cells for statement in unwrapped(_body(cell))]
    one = next((i for i, filled in enumerate(orders) if first in filled), 0)
    return one <= max((i for i, filled in enumerate(orders) if then in filled), default=len(orders))


def _body(cell: Code) -> list[ast.stmt]:
    return cell.tree.body if cell.tree else []


def _filled(statement: ast.stmt) -> set[str]:
    return {*binds(statement)} | changes(statement)


def _filled_bit_by_bit(statement: ast.stmt) -> set[str]:
    """The names with values that a statement changes, or gives again and again, and not only gives."""
    nodes = [*ast.walk(statement)]
    given = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    kept = {name for node in nodes if isinstance(node, ast.Global) for name in node.names}
    if not isinstance(statement, _DEFINITIONS):  # what a function gives a value is its own
        kept |= {name for node in nodes if isinstance(node, _LOOPS) for name in _filled(node)}
        kept |= changes(statement) if isinstance(statement, ast.AugAssign) else set()
    return (changes(statement) - given) | (given & kept)


def _from(body: Sequence[ast.stmt], line: int) -> Iterator[ast.stmt]:
    """The statement at a line and all that follow it; of a block that is gone through once, only what is left of it."""
    for statement in body:
        if (statement.end_lineno or statement.lineno) < line:
            continue
        if isinstance(statement, ast.With | ast.If | ast.Try) and statement.lineno < line:
            for name in ("body", "orelse", "finalbody"):
                yield from _from(getattr(statement, name, ()), line)
        else:
            yield statement


def _called(statement: ast.stmt, functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef]) -> list[ast.stmt]:
    """The notebook's own functions that a statement calls, and those that they call."""
    found: dict[str, ast.stmt] = {}
    left: list[ast.stmt] = [statement]
    for one in left:  # which grows meanwhile
        for name in uses(one) & functions.keys() - found.keys():
            found[name] = functions[name]
            left.append(functions[name])
    return [*found.values()]
