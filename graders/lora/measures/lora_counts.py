"""Numbers of LoRA parameters, and what a wrong number was counted over."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from graders.harness.data import values
from graders.harness.rubric import fail
from graders.lora.measures import tables
from graders.lora.measures.architecture import MID_BLOCK, Architecture, Layer, Projection, projection_of
from graders.lora.measures.causes import Cause
from graders.lora.measures.layer_names import LayerNames
from graders.lora.measures.layers import Kind

RANKS = (4, 16)
"""The ranks that the exercise asks for."""

FRACTION_TOLERANCE = 0.005
"""Rounding to three significant digits changes a number by at most 0.5 %. Leaving out the smallest of Stable Diffusion
1.5's layers changes the fraction by 0.64 %. Rounding to two digits can change it by 5 %, as much as leaving out a whole
block, so a fraction with two digits is right only if it is the right one's rounding."""


UNEXPLAINED = "This is wrong, and we do not recognise the mistake."
_HINTS = {
    "only-a-counted": "For one layer, write down the shapes of A and of B. Which of the two does your sum leave out?",
    "only-b-counted": "For one layer, write down the shapes of A and of B. Which of the two does your sum leave out?",
    "biases-counted": "For one layer, write down everything that your sum counts. Which of it is neither in A nor in B?",
    "base-weights-counted": "For one layer, write down everything that your sum counts. What of it was there before LoRA came?",
    "rank-independent": "Follow the rank from your loop to the sum: where does it enter the number of a single layer?",
    "square-key-value": "Print in_features and out_features of to_q and of to_k in one block. What does each of the two read?",
}
_LISTED = " (over the layers that you list)"
_HINT_LAYERS = "Which layers does your sum go over? Compare their names with your list, which it should go over."


def by_rank(value: Any, variable: str) -> dict[Any, Any]:
    """The mapping from rank to number; anything else is failed in words."""
    told = tables.by_rank(value)
    if told is None:
        fail(
            f"`{variable}` is of type `{values.type_name(value)}`.",
            expected="a dictionary with the keys 4 and 16",
            hint=f"Fill it as {variable}[rank] = ... for each rank.",
        )
    if told and all(isinstance(key, str) for key in told):
        fail(
            f"The keys of `{variable}` are strings, so {variable}[{RANKS[0]}] raises a KeyError.",
            expected="the ranks as numbers: a dictionary with the keys 4 and 16",
            hint="Use the numbers themselves as keys: no quotation marks around them, and no str().",
        )
    return told


def number_at(mapping: dict[Any, Any], rank: int, variable: str) -> float:
    """The number for a rank; a missing one, and anything that is none, is failed in words."""
    if rank not in mapping:
        fail(
            f"There is no `{variable}[{rank}]`.",
            expected=f"a number for rank {rank}",
            hint=f"Fill {variable} in a loop over both ranks, 4 and 16.",
        )
    return as_number(mapping[rank], f"{variable}[{rank}]")


def as_number(value: Any, name: str) -> float:
    """The finite number that a variable holds; anything else is failed in words."""
    found = tables.number(value)
    if found is None or not math.isfinite(found):
        kind = (
            "a string, not a number" if isinstance(value, str) else f"of type `{values.type_name(value)}`, not a number"
        )
        what = f"is {kind if found is None else found}"
        hint = "Print it and its type. Is it a string, several numbers in one, or NaN?"
        fail(f"`{name}` {what}.", expected="one finite number", hint=hint)
    return found


def plain(count: float) -> str:
    """A number as a sentence shows it: 397,824, and not 397824.0."""
    return f"{count:,.0f}" if count == int(count) and abs(count) < 1e15 else f"{count:,.6g}"


def unless_mixed_up(cause: Cause | None, told: Mapping[Any, Any]) -> Cause | None:
    """The cause, but not that the rank plays no part where the ranks have numbers of their own."""
    alike = all(told.get(rank) == told.get(RANKS[0]) for rank in RANKS)
    if cause and cause.misconception == "rank-independent" and not alike:
        return Cause(
            cause.words, hint="Which number belongs to which rank? Print the ranks beside what you hand in for them."
        )
    return cause


class LoraCounts:
    """How many parameters LoRA adds to a U-Net's cross-attention, and how many with one thing or another mistaken."""

    def __init__(self, architecture: Architecture, listed: LayerNames | None = None) -> None:
        """``listed`` are the names that the hand-in lists, None if it lists none that could be read."""
        self.architecture = architecture
        self.layers = architecture.select(architecture.cross_attention)
        self.names = listed
        # The right list is not the student's own mistake, and a name that is listed twice may well be counted twice.
        self.listed = architecture.select(listed.names) if listed and not listed.right else []

    def count(self, rank: int) -> int:
        """The right number: A [rank, in] and B [out, rank] of each layer."""
        return _full(self.layers, rank)

    def right_for_list(self, told: float, rank: int) -> bool:
        """Whether a number is right for the layers on a list that is wrong, and has cost its points already."""
        return bool(self.listed) and told == _full(self.listed, rank)

    def known(self, told: float, rank: int) -> bool:
        """Whether a number comes from the architecture, rightly or by a mistake that is known: not out of thin air."""
        return told == self.count(rank) or self.right_for_list(told, rank) or self.explain(told, rank) is not None

    def explain(self, told: float, rank: int) -> Cause | None:
        """The cause of a wrong number; None if there is none that explains it, or several.

        What explains it over the layers that the hand-in lists goes before what does over others.
        """
        causes = [cause for count, cause in self.candidates(rank) if count == told]
        own = [cause for cause in causes if _LISTED in cause.words]
        slugs = {cause.misconception for cause in own or causes}
        return (own or causes)[0] if len(slugs) == 1 else None

    def candidates(self, rank: int) -> Iterator[tuple[int, Cause]]:
        """Wrong numbers with their causes, over the right layers and over those that are often taken for them."""
        right = self.count(rank)
        for count, cause in self._all_candidates(rank):
            if count not in (right, 0):
                hint = cause.hint or _HINTS.get(cause.misconception or "", "")
                yield count, replace(cause, hint=hint)

    def _all_candidates(self, rank: int) -> Iterator[tuple[int, Cause]]:
        yield from self._miscounted(self.layers, rank, "")
        for layers, said, slug in self._other_layers():
            yield _full(layers, rank), Cause(said, slug, _HINT_LAYERS)
        if self.listed:
            yield from self._miscounted(self.listed, rank, _LISTED)
        other_ranks = [self.count(r) for r in RANKS]
        both = "Was the second adapter added to a U-Net that still held the first?"
        yield sum(other_ranks), Cause("This is the adapters of both ranks together.", hint=both)
        for other in RANKS:
            if other != rank:
                yield self.count(other), Cause(f"This is the number for rank {other}.", "rank-independent")

    def _miscounted(self, layers: list[Layer], rank: int, where: str) -> Iterator[tuple[int, Cause]]:
        """What comes out when these layers are counted in a wrong way."""
        full = _full(layers, rank)
        inputs, outputs = sum(layer.inputs for layer in layers), sum(layer.outputs for layer in layers)
        biases = sum(layer.biases for layer in layers)
        weights = sum(layer.weights for layer in layers)
        if inputs == outputs:
            said = f"This is the size of A alone{where}, or of B alone, which is just as large here."
            yield rank * inputs, Cause(said, "only-a-counted")
        else:
            yield rank * inputs, Cause(f"This is the size of A alone{where}.", "only-a-counted")
            yield rank * outputs, Cause(f"This is the size of B alone{where}.", "only-b-counted")
        yield (
            inputs + outputs,
            Cause(f"This is the number for rank 1, as if r were left out{where}.", "rank-independent"),
        )
        for extra in (outputs, rank * len(layers), outputs + rank * len(layers), biases):
            yield full + extra, Cause(f"That has biases in it{where}.", "biases-counted")
        square = rank * sum(2 * (layer.outputs if _reads_text(layer) else layer.inputs) for layer in layers)
        if _all_projections(layers):
            said = f"This is what it would be if W_K and W_V were as wide at their input as W_Q{where}."
            yield square, Cause(said, "square-key-value")
        said = f"This is twice the adapter, as if every layer were counted twice{where}."
        yield 2 * full, Cause(said, hint="For one layer, count by hand. How often does your loop meet it?")
        said = f"This is rank × in × out{where}: A and B are counted as one matrix of the size of W."
        yield (
            rank * weights,
            Cause(said, hint="For one layer, write down the shapes of A and of B. How many numbers have they?"),
        )
        for base in {weights, weights + biases}:
            yield base, Cause(f"This is the size of the frozen layers themselves{where}.", "base-weights-counted")
            said = f"This is the frozen layers and the adapter together{where}."
            yield base + full, Cause(said, "base-weights-counted")
        whole = self.architecture.parameters
        yield whole, Cause("This is the whole U-Net.", "base-weights-counted")
        yield whole + full, Cause(f"This is the whole U-Net and the adapter together{where}.", "base-weights-counted")

    def _other_layers(self) -> list[tuple[list[Layer], str, str | None]]:
        """Sets of layers that are often taken for cross-attention, the sentence that says so, and the misconception."""
        of_kind, projections, place_of = self.architecture.of_kind, list(Projection), self.architecture.place_of
        places = self.architecture.places
        self_attention = of_kind(Kind.SELF_ATTENTION)
        sets: list[tuple[list[Layer], str, str | None]] = [
            (self.layers + self_attention, "That counts self-attention, too.", "self-attention-targeted"),
            (of_kind(Kind.CONVOLUTION), "That counts convolutions instead.", "convolution-targeted"),
            (of_kind(Kind.FEED_FORWARD), "That counts feed-forward layers instead.", "feed-forward-targeted"),
            (of_kind(*Kind), "That counts every layer of the U-Net.", "every-layer-targeted"),
            (
                [layer for layer in self.layers if projection_of(layer.name) in projections[:3]],
                "That leaves W_out out.",
                "output-projection-missing",
            ),
            (
                [layer for layer in self.layers if projection_of(layer.name) in projections[::2]],
                "That counts W_Q and W_V alone.",
                "query-value-only",
            ),
        ]
        if self.names is None:  # else the list tells this apart from square keys and values, which are as many
            sets.append((self_attention, "That counts self-attention instead.", "self-attention-targeted"))
        if MID_BLOCK in places:
            down_and_up = [layer for layer in self.layers if place_of(layer.name) != MID_BLOCK]
            sets.append((down_and_up, "That leaves the mid block out.", "mid-block-missing"))
            coarse = [layer for layer in down_and_up if place_of(layer.name) != places[0]]
            sets.append((coarse, "That leaves out the mid block and the finest blocks.", "lesson-resolutions-only"))
        return sets


def _full(layers: Iterable[Layer], rank: int) -> int:
    return sum(rank * (layer.inputs + layer.outputs) for layer in layers)


def _reads_text(layer: Layer) -> bool:
    key_or_value = projection_of(layer.name) in (Projection.KEY, Projection.VALUE)
    return layer.kind is Kind.CROSS_ATTENTION and key_or_value


def _all_projections(layers: list[Layer]) -> bool:
    return all(layer.kind in (Kind.CROSS_ATTENTION, Kind.SELF_ATTENTION) for layer in layers)


def explain_total(told: float, architecture: Architecture) -> Cause | None:
    """The cause of a wrong number of parameters of the U-Net, if it is one of a few."""
    counts = LoraCounts(architecture)
    right = architecture.parameters
    adapters = {counts.count(rank) for rank in RANKS} | {sum(counts.count(rank) for rank in RANKS)}
    if told - right in adapters:
        return Cause("This is the U-Net and an adapter together.", "adapter-counted")
    if told in adapters:
        return Cause("This is an adapter, not the U-Net.")
    if told == 0:
        return Cause("None were counted: those that need no gradient are parameters as well.")
    if told == architecture.parameter_tensors:
        return Cause("This is the number of tensors: each of them holds many parameters.")
    if told == architecture.counted_per_module:
        return Cause("Parameters were counted once for every module that they lie in.")
    if any(told == right * size for size in (2, 4)):
        return Cause("This is a number of bytes: a parameter takes 4 of them, or 2 in half precision.")
    if any(math.isclose(told * unit, right, rel_tol=0.01) for unit in (1, 1e3, 1e6, 1e9)):
        return Cause("This is nearly right, but rounded, in another unit, or a few layers short or over.")
    return None


def fraction_is(told: float, fraction: float) -> bool:
    """Whether a fraction is the right one, unrounded or rounded to three digits, or to just two."""
    return math.isclose(told, fraction, rel_tol=FRACTION_TOLERANCE) or told == float(f"{fraction:.1e}")


def explain_fraction(told: float, fraction: float, others: Iterable[float], adapted: float) -> Cause | None:
    """The cause of a wrong fraction, if it is one of a few.

    ``others`` are the fractions of the other ranks, ``adapted`` is the share that the adapter has of the layers around
    which it is put.
    """
    if math.isclose(told, 100 * fraction, rel_tol=0.1):  # also when it is rounded as percentages are
        return Cause("This is a percentage.", "percent-not-fraction")
    if any(fraction_is(told, other) for other in others):
        return Cause("This is the fraction of the other rank.", "rank-independent")
    if told and math.isclose(1 / told, fraction, rel_tol=FRACTION_TOLERANCE):
        return Cause("This is how many times larger the U-Net is than the adapter: the fraction upside down.")
    if told >= 1:
        return Cause("By that, the adapter would be larger than the U-Net.")
    if told == float(f"{fraction:.0e}"):
        return Cause("This is rounded to a single digit.")
    if math.isclose(told, 1 - fraction, rel_tol=1e-6):
        return Cause("This is the fraction that stays frozen.")
    if fraction_is(told, adapted):
        return Cause("This is a fraction of the adapted layers, not of the whole U-Net.")
    return None
