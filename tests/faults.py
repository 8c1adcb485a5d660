"""A kill, or a full disk, at each of the points at which something is written, made, renamed or removed.

A disk that is full takes a part of what is written, and lets files be removed. A kill is one: a forked process ends at once.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

KILLED = 9
_FILLING = ("mkdir", "link", "rename", "replace", "fsync")
_FREEING = ("unlink", "remove", "rmdir", "truncate")


class _Points:
    """Counts the points, and strikes at one of them or, with ``on``, from that one on."""

    def __init__(self, at: int, strike: Callable[[], NoReturn], on: bool) -> None:
        self.at, self.strike, self.on, self.passed = at, strike, on, 0

    def reached(self, half: Callable[[], object] = lambda: None) -> None:
        self.passed += 1
        if self.passed == self.at or (self.on and self.passed > self.at):
            half()
            self.strike()


@contextmanager
def _struck(points: _Points, freeing: bool) -> Iterator[None]:
    """Within it what changes files goes by the points; ``freeing`` what removes them, too."""

    class Raw(io.FileIO):
        def write(self, content: Any) -> int:
            points.reached(lambda: io.FileIO.write(self, bytes(content)[: len(content) // 2]))
            return super().write(content)

    def opened(file: Any, mode: str = "r", buffering: int = -1, *more: Any, **named: Any) -> Any:
        if not {*mode} & {*"wax+"}:
            return plain["open"](file, mode, buffering, *more, **named)
        if not isinstance(file, int):
            points.reached()
        raw = Raw(file, mode.replace("b", "").replace("t", ""))
        if buffering == 0:
            return raw
        whole = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return whole if "b" in mode else io.TextIOWrapper(whole, *more, **named)

    def os_open(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & os.O_CREAT:
            points.reached()
        return plain["os.open"](path, flags, *more, **named)

    def through(name: str) -> Callable[..., Any]:
        def change(*arguments: Any, **named: Any) -> Any:
            points.reached()
            return plain[name](*arguments, **named)

        return change

    names = (*_FILLING, *(_FREEING if freeing else ()))
    plain: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in names}
    plain |= {"open": builtins.open, "os.open": os.open}
    try:
        builtins.open = io.open = opened  # type: ignore[assignment]
        os.open = os_open
        for name in names:
            setattr(os, name, through(name))
        yield
    finally:
        builtins.open = io.open = plain["open"]  # type: ignore[assignment]
        os.open = plain["os.open"]
        for name in names:
            setattr(os, name, plain[name])


def killed(operation: Callable[[], object], at: int) -> bool:
    """Do something in a process that is killed at the point; whether it got that far."""
    if child := os.fork():
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, KILLED), f"it ended with {status}"
        return status == KILLED
    try:
        with _struck(_Points(at, lambda: os._exit(KILLED), on=False), freeing=True):
            operation()
        os._exit(0)
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(1)


def full(operation: Callable[[], object], at: int, on: bool = True) -> bool:
    """Do something on a disk that is full at the point and, with ``on``, from then on; whether it got that far.

    An OSError ends it, or whatever it makes of one.
    """

    def strike() -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    points = _Points(at, strike, on)
    with _struck(points, freeing=False), suppress(OSError):
        operation()
    return points.passed >= at
