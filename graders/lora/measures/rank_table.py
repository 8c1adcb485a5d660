"""What a table that compares ranks has to say."""

from __future__ import annotations

from contextlib import suppress

from graders.harness.errors import HandInError
from graders.harness.hand_in import HandIn
from graders.harness.rubric import CheckFailed
from graders.lora.measures import losses as loss_curves
from graders.lora.measures.handed_in import picture_list, pictures_by_rank
from graders.lora.measures.style_measurements import StyleMeasurements


def row(hand_in: HandIn, measured: StyleMeasurements, rank: int) -> dict[str, float]:
    """What the row of a rank must say, as far as that follows from the losses and the pictures handed in.

    Losses or pictures that are missing have cost their points, and what a row says of them is not known.
    """
    figures = {}
    with suppress(CheckFailed, HandInError):
        figures["final_loss"] = loss_curves.final(loss_curves.by_rank(hand_in.evidence.value("losses")), rank)
    with suppress(HandInError):
        pictures = picture_list(hand_in, pictures_by_rank(hand_in, "lora_images").get(rank), "lora_images")
        figures["style_similarity"] = measured.similarity_to_reference(pictures)
    return figures
