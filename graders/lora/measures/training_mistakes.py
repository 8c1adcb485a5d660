"""What can have gone wrong when a style adapter was trained: each mistake is told by what the adapter does and does not do."""

from __future__ import annotations

from contextlib import suppress

from graders.harness.errors import HandInError
from graders.harness.rubric import CheckFailed
from graders.lora.measures import losses
from graders.lora.measures.adapters import Adapter
from graders.lora.measures.layers import Kind
from graders.lora.measures.style_measurements import StyleMeasurements
from graders.lora.measures.tables import rows_by_rank


def seen_in_denoising(measured: StyleMeasurements, rank: int, adapter: Adapter) -> str | None:
    """The misconception behind an adapter that does not help on pictures of the style, where one can be shown."""
    if measured.noise_gain(adapter).low > measured.thresholds.noise_learnt:
        return "trained-on-noise"
    if measured.memorisation(adapter).gap > measured.thresholds.memorisation:
        return "memorised"
    if measured.change(adapter) < measured.thresholds.visible_change:
        return _behind_no_change(measured, rank)
    if measured.denoising_gain(adapter).high < 0 and not measured.has_style(adapter):
        return "trained-on-other-data"
    return None


def seen_in_pictures(measured: StyleMeasurements, rank: int, adapter: Adapter) -> str | None:
    """The misconception behind an adapter whose pictures do not move to the style, where one can be shown."""
    kinds = set(adapter.names_by_kind())
    if Kind.CROSS_ATTENTION not in kinds:
        only = {Kind.CONVOLUTION: "convolution-targeted", Kind.SELF_ATTENTION: "self-attention-targeted"}
        return next((slug for kind, slug in only.items() if kind in kinds), None)
    if not measured.denoising_gain(adapter).low > measured.thresholds.denoising_gain:
        return seen_in_denoising(measured, rank, adapter)
    return _behind_no_change(measured, rank) if measured.change(adapter) < measured.thresholds.visible_change else None


def _behind_no_change(measured: StyleMeasurements, rank: int) -> str | None:
    """Training was too short unless the losses tell otherwise; the base model's weights may have learned instead."""
    evidence = measured.hand_in.evidence
    with suppress(CheckFailed, HandInError):
        if measured.counts_base(rows_by_rank(evidence.value("rank_table")).get(rank, {})):
            return "base-trained"
    with suppress(CheckFailed, HandInError):
        recorded = losses.curve(losses.by_rank(evidence.value("losses")), rank)
        if len(recorded) >= measured.hand_in.parameters["STEPS"]:
            return None
    return "too-few-steps"
