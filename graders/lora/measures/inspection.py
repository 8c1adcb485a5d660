"""What a notebook that inspects a U-Net hands in, beside the architecture that it was to inspect."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from graders.harness.errors import HandInError
from graders.harness.hand_in import HandIn, Missing
from graders.harness.rubric import CheckFailed, NotReached, fail
from graders.lora.measures import tables
from graders.lora.measures.architecture import Architecture, architecture_of
from graders.lora.measures.causes import Cause
from graders.lora.measures.layer_names import LayerNames, read_names
from graders.lora.measures.lora_counts import (
    RANKS,
    LoraCounts,
    as_number,
    explain_fraction,
    explain_total,
    fraction_is,
    number_at,
)

_LOADS_WEIGHTS = re.compile(r"(Pipeline\w*|Model|AutoencoderKL)\.from_pretrained\(")
_NO_WEIGHTS = re.compile(r"no file named (model_index|diffusion_pytorch_model|pytorch_model|model)\b", re.IGNORECASE)


class Inspection:
    """The variables of a hand-in and the true architecture.

    ``variables`` are those that are asked for, in the order of the notebook; each has a check of its own name.
    """

    def __init__(self, hand_in: HandIn, variables: Iterable[str]) -> None:
        self.hand_in = hand_in
        self.variables = tuple(variables)

    @cached_property
    def architecture(self) -> Architecture:
        """The U-Net of MODEL."""
        return architecture_of(self.hand_in.parameters["MODEL"])

    def value(self, variable: str, begin: str) -> Any:
        """What a variable holds; where it is missing, failed with ``begin``, a sentence on where to begin.

        Of the variables that are missing because the notebook stopped, only the first fails; checks of the others are
        not reached.
        """
        try:
            return self.hand_in.evidence.value(variable)
        except Missing as error:
            if self.hand_in.evidence.run.ended == "completed":
                fail(error.problem, expected=f"a variable `{variable}` when the last cell has run", hint=begin)
        first = next(name for name in self.variables if self._missing(name))
        if first != variable:
            raise NotReached(first)
        self._fail_stopped(variable)

    def _missing(self, variable: str) -> bool:
        try:
            self.hand_in.evidence.value(variable)
        except Missing:
            return True
        except HandInError:
            pass
        return False

    def _fail_stopped(self, variable: str) -> None:
        run = self.hand_in.evidence.run
        where = f" in {run.place}" if run.place else ""
        heavy = run.ended == "out_of_memory"
        if run.error:
            heavy = bool(_LOADS_WEIGHTS.search(run.error.line) or _NO_WEIGHTS.search(run.error.evalue))
        hint = "Run the notebook from the top in a fresh kernel, and look at the first cell that stops."
        if heavy:
            hint = "Names and shapes follow from the configuration of the U-Net. Build it from that, on the meta device, as "
            hint += "the exercise does, without from_pretrained and without the rest of the pipeline."
        fail(
            f"`{variable}` has no value, because the notebook stopped{where} ({run.reason}).",
            expected="a notebook that runs to its end" + " with nothing but the configuration of the U-Net" * heavy,
            hint=hint,
            misconception="whole-pipeline-loaded" if heavy else None,
        )

    @cached_property
    def listed(self) -> LayerNames | None:
        """The names as listed, None if there are none that could be read."""
        try:
            return LayerNames(read_names(self.hand_in.evidence.value("cross_attention_layers")), self.architecture)
        except (CheckFailed, HandInError):
            return None

    @cached_property
    def counts(self) -> LoraCounts:
        """The right numbers of LoRA parameters, and what wrong ones come from."""
        return LoraCounts(self.architecture, self.listed)

    def fractions(self, rank: int) -> list[float]:
        """The right fraction, then those that follow from the hand-in's own wrong numbers.

        A wrong number has cost its points already, so dividing it is right, if the other one is right or both come from the
        architecture: numbers out of thin air make no fraction right.
        """
        right = self.counts.count(rank), self.architecture.parameters
        numerators = {right[0]: True, **self._own("lora_param_counts", rank)}
        denominators = {right[1]: True, **self._own("unet_param_count", rank)}
        own = [(n, d) for n, known in numerators.items() for d, too in denominators.items() if known and too]
        own += [(n, right[1]) for n in numerators if right[1] in self._own("unet_param_count", rank)]
        own += [(right[0], d) for d in denominators if right[0] in self._own("lora_param_counts", rank)]
        return [n / d for n, d in own]

    def _own(self, variable: str, rank: int) -> dict[float, bool]:
        """The number that was handed in, and whether it comes from the architecture; nothing if there is none."""
        try:
            value = self.hand_in.evidence.value(variable)
            if variable == "unet_param_count":
                told = as_number(value, variable)
                known = told == self.architecture.parameters or explain_total(told, self.architecture) is not None
            else:
                told = number_at(tables.by_rank(value) or {}, rank, variable)
                known = self.counts.known(told, rank)
        except (CheckFailed, HandInError):
            return {}
        return {told: known} if told > 0 else {}

    def explain_fraction(self, told: float, rank: int) -> Cause | None:
        """The cause of a wrong fraction, if it is one of a few.

        That it follows from numbers which nothing explains is said where no misconception is behind it.
        """
        right, *own = self.fractions(rank)
        others = [self.counts.count(other) / self.architecture.parameters for other in RANKS if other != rank]
        adapted = self.counts.count(rank) / sum(layer.weights for layer in self.counts.layers)
        causes = (explain_fraction(told, fraction, others, adapted) for fraction in (right, *own))
        cause = next((cause for cause in causes if cause), None)
        if not (cause and cause.misconception) and self._follows(told, rank):
            return Cause(
                "That follows from your own numbers, but not both of these are right.",
                hint="Mend what failed above first: lora_param_counts, unet_param_count or both. A fraction that is computed "
                "from them will follow.",
            )
        return cause

    def _follows(self, told: float, rank: int) -> bool:
        """Whether a fraction is the quotient of the two numbers that are handed in."""
        try:
            counts = self.hand_in.evidence.value("lora_param_counts")
            count = number_at(tables.by_rank(counts) or {}, rank, "lora_param_counts")
            total = as_number(self.hand_in.evidence.value("unet_param_count"), "unet_param_count")
        except (CheckFailed, HandInError):
            return False
        return total != 0 and fraction_is(told, count / total)
