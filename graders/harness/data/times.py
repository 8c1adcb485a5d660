"""Times that people and course systems write without a zone."""

from __future__ import annotations

from datetime import datetime, tzinfo


def in_zone(when: datetime, zone: tzinfo | None = None) -> datetime:
    """A time that says no zone is one of this zone, or of the machine's own.

    Raises ValueError for a year that the machine's clock does not know, such as 1.
    """
    if when.tzinfo:
        return when
    if zone:
        return when.replace(tzinfo=zone)
    try:
        return when.astimezone()
    except (OverflowError, OSError) as error:
        raise ValueError(str(error)) from None
