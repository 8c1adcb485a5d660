"""Where `grade` begins. What it needs may be missing, and then it says so in words."""

from __future__ import annotations

import sys

from graders.harness.errors import MachineError
from graders.harness.machine.packages import explained


def main() -> None:
    """The `grade` command, or a sentence on why there is none here."""
    if sys.platform == "win32":
        _refuse(
            MachineError(
                "The graders do not run on Windows itself.",
                "Run them in WSL (wsl --install), on Linux, macOS or Colab.",
            )
        )
    try:
        from graders.harness.cli.main import main as grade
    except ImportError as error:
        reason = explained(error)
        if reason is None:
            raise
        _refuse(reason)
    grade()


def _refuse(reason: MachineError) -> None:
    # Without the package that prints such things everywhere else, which may be what is missing
    print(f"Cannot go on: {reason.problem}\nWhat to do:   {reason.fix}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
