"""What stands in for modules that are only where a notebook was written, such as Colab's, and for logging in.

They do nothing, and say so. So a notebook that imports them, and could do without, goes on.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.machinery
import os
import sys
import types
from collections.abc import Callable, Collection
from typing import Any

ELSEWHERE = ("google.colab", "kaggle_secrets")
"""Modules of Colab's and Kaggle's that are in no package."""
_GIVEN = {
    "google.colab.files.upload": dict,
    "google.colab.userdata.get": str,
    "kaggle_secrets.UserSecretsClient.get_secret": str,
}
"""What a call gives, empty; others give None, or another stand-in where a class is called."""
LOGIN = "huggingface_hub._login"
"""Where logging in to the Hugging Face Hub is."""


class Nothing:
    """Anything that such a module holds: it can be called, opened in a `with`, and asked for more."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Nothing:
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing(f"{self._name}.{name}")

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Of a class another stand-in; of a function what is least likely to be in the way."""
        if self._name.rpartition(".")[2][:1].isupper():
            return self
        print(f"{self._name}() does nothing where a notebook is graded.")
        if self._name == "google.colab.drive.mount" and arguments:
            with contextlib.suppress(OSError, TypeError, ValueError):
                if os.path.isdir(os.path.dirname(os.path.abspath(arguments[0]))):
                    os.makedirs(os.path.join(arguments[0], "MyDrive"), exist_ok=True)
        return _GIVEN.get(self._name, lambda: None)()

    def __enter__(self) -> Nothing:
        return self

    def __exit__(self, *raised: object) -> None:
        pass


class _Module(types.ModuleType):
    __all__ = ("auth", "drive", "files", "output", "runtime", "userdata")

    def __getattr__(self, name: str) -> Nothing:
        if name.startswith("__") or any(one.startswith(f"{self.__name__}.") for one in ELSEWHERE):
            raise AttributeError(name)
        return Nothing(f"{self.__name__}.{name}")


class StandIns:
    """Finds stand-ins for modules of these names, with all that is in them, where nothing else finds any."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = tuple(names)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """The spec of a stand-in, or of what it is in."""
        known = any(f"{name}.".startswith(f"{one}.") or one.startswith(f"{name}.") for one in self._names)
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if known else None  # type: ignore[arg-type]

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """The stand-in, which has nothing to execute."""
        return _Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing is left to do."""


def offer(names: Collection[str]) -> None:
    """Have those of the modules found, where nothing else finds any."""
    if names:
        sys.meta_path.append(StandIns(names))


def excuse_logins() -> None:
    """From now on, logging in to the Hugging Face Hub may fail, as it does without a network: nobody has to."""
    module: Any = sys.modules.get(LOGIN)
    if module is None or hasattr(module, "_noted"):
        return
    package: Any = sys.modules["huggingface_hub"]
    for name in ("login", "interpreter_login", "notebook_login"):
        log_in = getattr(module, name, None)
        if callable(log_in):
            for home in (module, package):
                if name in vars(home):
                    setattr(home, name, _excused(log_in))
    module._noted = True


def _excused(log_in: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(log_in)
    def excused(*arguments: Any, **options: Any) -> Any:
        try:
            return log_in(*arguments, **options)
        except Exception as error:
            print(f"Nobody has to log in where a notebook is graded ({type(error).__name__}).")

    return excused
