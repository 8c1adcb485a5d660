"""Hand-ins that do nothing, beside the points that each check gives them: none, in both runs."""

import shutil
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from graders.harness import grade
from graders.harness.hand_in import HandIn
from graders.harness.live.snapshot import Wanted, take
from graders.harness.run.evidence import Evidence
from graders.harness.run.kernel import watchers as harness
from graders.lesson import LESSON
from graders.lora import catalog, watchers
from graders.lora.measures.architecture import architecture_of

Variables = Mapping[str, Any]
Hands = Callable[[Variables], Variables]
"""What a hand-in leaves in its variables, for the parameters of a run."""
GENERATOR = np.random.default_rng(0)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def pictures(number: int, *, random: bool) -> list[np.ndarray]:
    return [
        GENERATOR.integers(0, 256, (64, 64, 3), dtype=np.uint8) if random else np.zeros((64, 64, 3), dtype=np.uint8)
        for _ in range(number)
    ]


@cache
def base_model(*, frozen: bool) -> UNet2DConditionModel:
    return UNet2DConditionModel.from_pretrained(catalog.TINY_SD, subfolder="unet").requires_grad_(not frozen)


def step_of(make: Callable[..., torch.Tensor], *, frozen: bool) -> Hands:
    """A training step of tensors of the right shapes, with the base model as it is loaded."""

    def variables(_: Variables) -> Variables:
        latents = {name: make(1, 4, 16, 16) for name in ("z_0", "noise", "z_t", "noise_pred")}
        unet = base_model(frozen=frozen)
        optimizer = torch.optim.AdamW(list(unet.parameters()))
        loss = make(1).sum().requires_grad_()
        return {**latents, "text_embeddings": make(1, 77, 96), "loss": loss, "unet": unet, "optimizer": optimizer}

    return variables


def style_of(losses: Callable[[int], Any], *, random: bool) -> Hands:
    """What a style adapter should leave, without any adapter."""

    def variables(given: Variables) -> Variables:
        ranks, prompts = given["RANKS"], len(given["PROMPTS"])
        rows = [{"rank": r, "lora_parameters": 0, "final_loss": 0.0, "style_similarity": 0.0} for r in ranks]
        return {
            "losses": {rank: losses(given["STEPS"]) for rank in ranks},
            "base_images": pictures(prompts, random=random),
            "lora_images": {rank: pictures(prompts, random=random) for rank in ranks},
            "rank_table": rows,
        }

    return variables


def copied(given: Variables) -> Variables:
    """Adapters of the course's in place of trained ones, under numbers out of thin air."""
    for rank in given["RANKS"]:
        folder = Path(given["OUTPUT_DIR"]) / f"rank{rank}"
        shutil.copytree(catalog.ROOT / "adapters" / ("style" if rank % 4 else "subject"), folder)
    return style_of(lambda steps: GENERATOR.lognormal(-2, 0.5, steps).tolist(), random=True)(given)


def grid_of(*, random: bool) -> Hands:
    def variables(given: Variables) -> Variables:
        layer = architecture_of(given["MODEL"]).layers[given["LAYER"]]
        weight = noise(layer.outputs, layer.inputs) if random else torch.zeros(layer.outputs, layer.inputs)
        images = {cell: pictures(len(given["PROMPTS"]), random=random) for cell in given["GRID"]}
        return {"images": images, "combined_weight": weight}

    return variables


def counted(names: list[str], counts: Any, total: Any, fraction: Any) -> Hands:
    return lambda _: {
        "cross_attention_layers": names,
        "lora_param_counts": counts,
        "unet_param_count": total,
        "lora_fraction": fraction,
    }


def unset(name: str) -> Hands:
    return lambda _: dict.fromkeys(LESSON.exercise(name).hand_in)


RANDOM = noise(4).abs().tolist()
NOTHING: dict[tuple[str, str], Hands] = {
    **{(name, "nothing is assigned"): lambda _: {} for name in ("ex1", "ex2", "ex3", "ex4")},
    **{(name, "every variable is None"): unset(name) for name in ("ex1", "ex2", "ex3", "ex4")},
    ("ex1", "empty"): counted([], {}, 0, {}),
    ("ex1", "zeros"): counted([], {4: 0, 16: 0}, 0, {4: 0.0, 16: 0.0}),
    ("ex1", "numbers that go with each other"): counted(["attn2"], {4: 1, 16: 4}, 10, {4: 0.1, 16: 0.4}),
    ("ex1", "numbers of the right size"): counted(
        ["to_q"], {4: 300_000, 16: 1_200_000}, 860_000_000, {4: 3 / 8600, 16: 12 / 8600}
    ),
    ("ex1", "noise"): counted(["a"], {4: RANDOM[0], 16: RANDOM[1]}, RANDOM[2], {4: RANDOM[3], 16: RANDOM[0]}),
    ("ex2", "zeros, the base model frozen"): step_of(torch.zeros, frozen=True),
    ("ex2", "noise, the base model as it is loaded"): step_of(noise, frozen=False),
    ("ex3", "zeros"): style_of(lambda steps: [0.0] * steps, random=False),
    ("ex3", "noise"): style_of(lambda steps: GENERATOR.lognormal(-2, 0.5, steps).tolist(), random=True),
    ("ex3", "the course's adapters"): copied,
    ("ex4", "zeros"): grid_of(random=False),
    ("ex4", "noise"): grid_of(random=True),
}


SHORT = {"ex4": {"GRID": [(0.0, 0.0), (0.7, 0.4)], "NUM_INFERENCE_STEPS": 2}}
"""Changes that leave less to generate."""


def left(name: str, hands: Hands, folder: Path, changes: Variables, again: HandIn | None = None) -> HandIn:
    """The hand-in as a run with changed parameters leaves it."""
    exercise = LESSON.exercise(name)
    given = {
        **exercise.parameters,
        **changes,
        **SHORT.get(name, {}),
        "DEVICE": "cpu",
        "OUTPUT_DIR": str(folder / "output"),
    }
    parameters = tuple(exercise.parameters)
    take(Wanted(exercise.hand_in, parameters, frozenset()), given | hands(given), folder / "run")
    return HandIn(Evidence(folder / "run"), given, again)


@pytest.fixture(params=[0, 1, 11], ids="{} passes".format)
def passes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Backward passes that were seen, of whatever: fewer than the shortest training has. Nothing else was seen."""
    monkeypatch.setattr(harness, "_lesson", watchers)
    for name in ("_made", "_waiting", "_training", "_built", "_generated"):  # they may hold what other tests made
        monkeypatch.setattr(watchers, name, [])
    monkeypatch.setattr(watchers, "_merges", 0)
    monkeypatch.setattr(harness, "_passes", request.param)
    monkeypatch.setattr(harness, "_steps", [0, 0])
    return int(request.param)


@pytest.mark.usefixtures("passes")
@pytest.mark.parametrize(("name", "what"), NOTHING)
def test_nothing_earns_nothing(tmp_path: Path, name: str, what: str) -> None:
    """A hand-in that does nothing gets no point from any check, and none from the comparison of its runs."""
    hands = NOTHING[name, what]
    second = left(name, hands, tmp_path / "again", LESSON.exercise(name).others[0])
    result, faults = grade.check(name, left(name, hands, tmp_path / "first", {}, second))
    assert {check.id: check.score for check in result.checks if check.score} == {}
    assert not faults
