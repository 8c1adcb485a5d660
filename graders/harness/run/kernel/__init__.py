"""What runs inside the kernel of a notebook that is graded, beside the notebook.

The texts of these files are executed there as a package without a place on any disk. So they import nothing but the
standard library and each other.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import CodeType

PACKAGE = "_grading_collector"
"""What the package is called there."""
PARTS = ("libraries", "encoding", "pictures", "stand_ins", "tools", "watchers", "collect")
"""The files, each after those that it imports."""


def sources() -> dict[str, str]:
    """The texts of the parts by their names."""
    return {name: Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8") for name in PARTS}


@cache
def compiled() -> dict[str, CodeType]:
    """The parts compiled, for all kernels that are forked from here on."""
    return {name: compile(text, f"{name}.py", "exec", dont_inherit=True) for name, text in sources().items()}


def load(package: "str", parts: "Mapping[str, str | CodeType]") -> "None":
    """Make the package of its parts, texts or compiled already; its own text is executed in kernels of any Python, too."""
    import sys
    import types

    home = sys.modules[package] = types.ModuleType(package)
    home.__path__ = []
    for name, part in parts.items():
        module = sys.modules[package + "." + name] = types.ModuleType(package + "." + name)
        module.__package__ = package
        setattr(home, name, module)
        code = compile(part, name + ".py", "exec", dont_inherit=True) if isinstance(part, str) else part
        exec(code, module.__dict__)
