"""The blocks of a U-Net, and how a choice of layers is spread over them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from graders.lora.measures.layers import Kind, kind_of

_BLOCK = re.compile(r"(down|up)_blocks\.([0-9]{1,3})(?![0-9])")
WRONG_KINDS = (Kind.SELF_ATTENTION, Kind.FEED_FORWARD, Kind.CONVOLUTION, Kind.OTHER)
"""What is counted beside cross-attention; all that has no name here counts as other."""


@dataclass(frozen=True)
class Blocks:
    """Places in the order in which the latent passes them: down blocks, the mid block, up blocks, all that is outside.

    ``depth`` is the number of down blocks, of which there are as many as up blocks; ``size`` is the latent's width in
    the first of them, None if the configuration does not say.
    """

    depth: int
    size: int | None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Blocks:
        """Those of a U-Net's configuration."""
        size = config.get("sample_size")
        return cls(len(config["down_block_types"]), size if isinstance(size, int) else None)

    @property
    def mid(self) -> int:
        """The number of the mid block."""
        return self.depth

    @property
    def outside(self) -> int:
        """The number of what stands in no block."""
        return 2 * self.depth + 1

    def number_of(self, name: str) -> int:
        """The block in which a module stands, as its number in that order."""
        if name.split(".")[0] == "mid_block":
            return self.mid
        match = _BLOCK.match(name)
        if match is None or int(match[2]) >= self.depth:
            return self.outside
        return int(match[2]) + (0 if match[1] == "down" else self.depth + 1)

    def level(self, number: int) -> int:
        """How often the latent has been halved in a block; the mid block works at the size of the last down block."""
        return number if number < self.depth else min(2 * self.depth - number, self.depth - 1)

    def spread(self, asked: Collection[str], chosen: Iterable[str], layers: Collection[str]) -> dict[str, list[Any]]:
        """Per block: the latent's width, how many layers were asked for, how many of them and of others were chosen.

        ``layers`` are all that the U-Net has; chosen names that are none of them count as other.
        """
        wanted, names = set(asked), set(chosen)
        counted = Counter((self.number_of(name), self._kind(name, layers)) for name in names - wanted)
        of_asked, of_right = (Counter(map(self.number_of, some)) for some in (wanted, wanted & names))
        numbers = range(self.outside + 1)
        columns: dict[str, list[Any]] = {
            "width": [self.size >> self.level(n) if self.size and n != self.outside else None for n in numbers],
            "asked": [of_asked[n] for n in numbers],
            "right": [of_right[n] for n in numbers],
        }
        return columns | {kind.value: [counted[n, kind] for n in numbers] for kind in WRONG_KINDS}

    @staticmethod
    def _kind(name: str, layers: Collection[str]) -> Kind:
        kind = kind_of(name)
        return kind if name in layers and kind in WRONG_KINDS else Kind.OTHER
