"""The U-Net as a drawing: in which of its blocks the chosen layers stand, and what kind of layers they are."""

from __future__ import annotations

import math
from dataclasses import dataclass

from graders.harness.measured import Table, count
from graders.lora.measures.blocks import WRONG_KINDS
from graders.lora.measures.layers import Kind

MAX_CELLS = 24
"""Squares in the row of a block; where there are more layers, each square stands for several."""
MAX_DEPTH = 8
_SAID = {
    Kind.SELF_ATTENTION: ("self-attention", "self-attention"),
    Kind.FEED_FORWARD: ("feed-forward", "feed-forward"),
    Kind.CONVOLUTION: ("convolution", "convolutions"),
    Kind.OTHER: ("other", "others"),
}
"""One layer of a kind, or several of them."""


@dataclass(frozen=True)
class Block:
    """A block: its side ("down", "mid", "up" or "outside"), its level from the top, and its layers in words.

    ``filled``, ``empty`` and ``crossed`` are numbers of squares: layers that were asked for and chosen, asked for and
    not chosen, and chosen though they were not asked for. ``told`` says the first two, ``wrong`` the third.
    """

    side: str
    level: int
    name: str
    size: str
    filled: int
    empty: int
    crossed: int
    told: str
    wrong: tuple[str, ...]


@dataclass(frozen=True)
class Drawing:
    """A U-Net of ``depth`` levels, with what is seen in words. ``cells`` is the length of the longest row of squares."""

    depth: int
    blocks: tuple[Block, ...]
    cells: int
    each: int
    told: str


def drawing(table: Table) -> Drawing | None:
    """The drawing of what :meth:`graders.lora.measures.blocks.Blocks.spread` counted; None if there is nothing in it."""
    asked = [count(number) for number in table.get("asked", [])]
    depth = (len(asked) - 2) // 2
    if not 1 <= depth <= MAX_DEPTH:
        return None

    def column(name: str) -> list[int]:
        counts = [count(number) for number in table.get(name, [])][: len(asked)]
        return counts + [0] * (len(asked) - len(counts))

    right = [min(of, count) for of, count in zip(asked, column("right"), strict=True)]
    wrong = {kind: column(kind.value) for kind in WRONG_KINDS}
    crossed = [sum(counts) for counts in zip(*wrong.values(), strict=True)]
    each = max(1, math.ceil(max(*asked, *crossed) / MAX_CELLS))
    blocks = []
    for number, (side, level, name) in enumerate(_places(depth)):
        listed = [_several(counts[number], *_SAID[kind]) for kind, counts in wrong.items() if counts[number]]
        if side == "outside" and not (asked[number] or listed):
            continue
        missing = asked[number] - right[number]
        width = column("width")[number]
        blocks.append(
            Block(
                side,
                level,
                name,
                f"{width}×{width}" if width else "",
                filled=math.ceil(right[number] / each),
                empty=math.ceil(asked[number] / each) - math.ceil(right[number] / each),
                crossed=math.ceil(crossed[number] / each),
                told=_told(right[number], missing),
                wrong=tuple(listed),
            )
        )
    cells = max(1, *(max(block.filled + block.empty, block.crossed) for block in blocks))
    totals = [_several(sum(counts), *_SAID[kind]) for kind, counts in wrong.items() if sum(counts)]
    return Drawing(depth, tuple(blocks), cells, each, _summary(sum(right), sum(asked), totals))


def _places(depth: int) -> list[tuple[str, int, str]]:
    """Side, level and name of each block in the order of the tables."""
    down = [("down", level, f"down {level}") for level in range(depth)]
    up = [("up", depth - 1 - number, f"up {number}") for number in range(depth)]
    return [*down, ("mid", depth, "mid"), *up, ("outside", depth + 1, "outside of the blocks")]


def _told(right: int, missing: int) -> str:
    return f"{right:,} of {right + missing:,}" if right + missing else ""


def _several(count: int, one: str, several: str) -> str:
    return f"{count:,} {one if count == 1 else several}"


def _summary(right: int, asked: int, wrong: list[str]) -> str:
    share = "All" if right == asked else f"{right:,} of the" if right else "None of the"
    told = f"{share} {asked:,} cross-attention projections {'is' if asked == 1 else 'are'} chosen"
    if not wrong:
        return f"{told}, and nothing else."
    return f"{told}{', and' if right else ', but'} so is what was not asked for: {', '.join(wrong)}."
