"""Where LoRA sits in a U-Net, and whether that is where it was asked for."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from graders.harness.rubric import fail
from graders.lora.measures.adapted_unet import AdaptedUNet
from graders.lora.measures.layers import Kind, kind_of

_LISTED = 2
"""How many kinds of wrong layers a sentence lists."""
_WRONG_KINDS = {Kind.SELF_ATTENTION: "self-attention-targeted", Kind.CONVOLUTION: "convolution-targeted"}


def judge(unet: AdaptedUNet, wanted: Sequence[str]) -> str:
    """Fail unless one trainable pair of A and B, and nothing else new that trains, sits on each layer of ``wanted``."""
    if not unet.pairs:
        fail(
            "`unet` holds no LoRA: no pair of matrices beside any of its layers.",
            expected="a U-Net with A and B beside each cross-attention projection",
            hint="Was an adapter added, and to which object? unet.add_adapter changes it in place, get_peft_model returns "
            "another one.",
        )
    _judge_kinds(
        [layer for layer in unet.adapted_layers if layer not in wanted], set(unet.adapted_layers) & set(wanted)
    )
    _judge_gaps([layer for layer in wanted if layer not in unet.adapted_layers], len(wanted))
    if len(unet.pairs) > len(unet.adapted_layers):
        fail(
            f"There are {len(unet.pairs)} pairs of A and B on {len(unet.adapted_layers)} layers.",
            expected="one adapter",
            hint="Was the cell that adds the adapter run twice, or was the U-Net not loaded anew before it?",
        )
    if unet.strangers:
        fail(
            f"Besides A and B, {len(unet.strangers)} other new parameters train, for example {unet.strangers[0]}.",
            expected="an adapter of nothing but A and B",
            hint="Look at the options of your adapter. Which of them goes beyond plain LoRA, by a bias or a learnt magnitude?",
        )
    if not all(state.trainable for pair in unet.pairs for state in pair.states):
        fail(
            "The adapter is there, but frozen: A or B does not require a gradient.",
            expected="A and B as the parameters that train",
            hint="requires_grad_(False) on the U-Net freezes everything that is in it at that moment. Was the adapter in it?",
        )
    return f"A and B beside {len(unet.pairs)} cross-attention projections"


def _judge_kinds(unwanted: list[str], right: Collection[str]) -> None:
    kinds: dict[Kind, list[str]] = {}
    for layer in unwanted:
        kinds.setdefault(kind_of(layer), []).append(layer)
    if kinds:
        ordered = sorted(kinds, key=lambda kind: -len(kinds[kind]))
        listed = " and ".join(f"{len(kinds[kind])} {kind.value}" for kind in ordered[:_LISTED])
        if others := sum(len(kinds[kind]) for kind in ordered[_LISTED:]):
            listed += f" layers and {others} others"
        else:
            listed += " layers"
        worst = max(kinds, key=lambda kind: (kind in _WRONG_KINDS, len(kinds[kind])))
        fail(
            f"{'Besides cross-attention, ' * bool(right)}LoRA sits on {listed}, for example {kinds[worst][0]}"
            + ("." if right else ", and on no projection of cross-attention."),
            expected="the query, key, value and output projections of the cross-attention blocks, and nothing else",
            hint="Print the names that your target_modules match. Which of attn1 and attn2 reads the text embeddings?",
            misconception="every-layer-targeted" if len(kinds) > 2 else _WRONG_KINDS.get(worst),
        )


def _judge_gaps(left_out: list[str], of: int) -> None:
    if left_out:
        slug = None
        if all(layer.endswith(".to_out.0") for layer in left_out):
            slug = "output-projection-missing"
        elif all(layer.startswith("mid_block.") for layer in left_out):
            slug = "mid-block-missing"
        fail(
            f"{len(left_out)} of the {of} cross-attention projections have no LoRA, for example {left_out[0]}.",
            expected="all four projections of every cross-attention block: query, key, value and output",
            hint="Compare the layers that you listed in exercise 1 with those that your target_modules match.",
            misconception=slug,
        )
