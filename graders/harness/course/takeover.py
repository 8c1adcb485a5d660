"""Results of an earlier version are taken over: the rules go to ``course.toml``, and a copy of what was there is kept."""

from __future__ import annotations

import io
import zipfile
from contextlib import suppress
from pathlib import Path

from graders.harness import DISTRIBUTION
from graders.harness.course import settings
from graders.harness.course.order import SCHEMA_VERSION, Order
from graders.harness.data import documents, files
from graders.harness.data.documents import DamagedError, Fields
from graders.harness.data.saving import put
from graders.harness.errors import ExplainedError

COPY = f"before-version-{SCHEMA_VERSION}.zip"
"""In it is all that people entered, and that graders decided, as it was; notebooks and runs stay where they are."""
_COPIED = (
    "batch.json",
    "course.toml",
    "marks.jsonl",
    "written-answers.csv",
    "gradebooks/**/*",
    "hand-ins/*/*/*/hand-in.json",
    "hand-ins/*/*/*/graded/result.json",
    "hand-ins/*/*/*/graded/known.json",
)


class LaterVersionError(ExplainedError):
    """A later version of the graders made the folder."""


def take_over(results: Path) -> bool:
    """Make a folder of results one of this version; whether there was anything to do.

    Interrupted, it goes on the next time: that it is done is written down last. A ``batch.json`` that is missing or cannot be
    read is left to others. Raises :class:`LaterVersionError`, and :class:`SettingsError` for a ``course.toml`` that is wrong.
    """
    with suppress(DamagedError):
        version, order = documents.read(results, "batch.json", lambda fields: (_version(fields), Order.of(fields)), "")
        if version > SCHEMA_VERSION:
            raise LaterVersionError(
                f"{results} was made by a later version of the graders.",
                f"Use that one: pip install --upgrade {DISTRIBUTION}",
            )
        if version < SCHEMA_VERSION:
            if not (results / COPY).is_file():
                put(_copy(results), results / COPY)
            rules = order.rules
            before = settings.Settings(attempts=rules.attempts, late_penalty=rules.late_penalty, due=rules.due)
            settings.write(results, before.with_(settings.read(results)))
            documents.write(order.document(), results / "batch.json")
            return True
    return False


def _version(fields: Fields) -> int:
    return fields.whole("schema_version")


def _copy(results: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for pattern in _COPIED for path in results.glob(pattern)):
            name = path.relative_to(results).as_posix()
            with suppress(files.Refused, OSError):  # a folder, or what is no plain file: nothing of ours
                archive.writestr(zipfile.ZipInfo(name), files.read_file(results, name, documents.MAX_BYTES))
    return packed.getvalue()
