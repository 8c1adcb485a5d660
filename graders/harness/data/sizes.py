"""Sizes, as people read them."""

from __future__ import annotations


def gib(size: int) -> str:
    """Bytes such as 1.5 GiB, or 20 MiB."""
    return f"{size / (1 << 30):.1f} GiB" if size >= 1 << 29 else f"{size / (1 << 20):.0f} MiB"
