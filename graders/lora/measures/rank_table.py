"""What a table that compares ranks has to say."""

from __future__ import annotations

from graders.harness.errors import HandInError
from graders.harness.lesson import HandIn
from graders.harness.rubric import CheckFailed, NotReached
from graders.lora.measures import losses as loss_curves
from graders.lora.measures.studio import Studio


def row(hand_in: HandIn, studio: Studio, rank: int) -> dict[str, float]:
    """What the row of a rank must say, from the losses and the pictures handed in; not reached without them."""
    try:
        final_loss = loss_curves.final(loss_curves.by_rank(hand_in.evidence.value("losses")), rank)
    except (CheckFailed, HandInError):
        raise NotReached("losses_recorded") from None
    try:
        pictures = hand_in.picture_list(hand_in.pictures_by_rank("lora_images").get(rank), "lora_images")
    except HandInError:
        raise NotReached("pictures_compared") from None
    return {"final_loss": final_loss, "style_similarity": studio.similarity_to_reference(pictures)}
