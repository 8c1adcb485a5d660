"""What a run was seen to do with adapters, held against what it saved.

The watchers of a run are tried as they are, on a small U-Net, and without a kernel.
"""

import json
import math
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig, get_peft_model
from peft.tuners.tuners_utils import BaseTuner
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from torch.optim import optimizer as optimizers

from graders.harness.hand_in import Evidence, HandIn
from graders.harness.run.kernel import tools
from graders.harness.run.kernel import watchers as harness
from graders.lora import watchers
from graders.lora.measures.adapter_files import read_adapter
from graders.lora.measures.adapters import Adapter
from graders.lora.measures.style_measurements import StyleMeasurements
from graders.lora.measures.training_history import as_made, strengths
from graders.lora.sightings import SeenAdapter, lora_adapters
from tests.lora.measures.small_unet import CROSS_ATTENTION, TO_Q, kohya, prefixed, tiny_unet


class Run:
    """What a notebook does: it adds adapters, trains some of them, and saves one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, unet: torch.nn.Module | None = None, **options: Any) -> Any:
        unet = tiny_unet() if unet is None else unet
        unet.add_adapter(LoraConfig(**{"r": 4, "lora_alpha": 4, "target_modules": CROSS_ATTENTION, **options}))
        return unet

    def train(self, unet: Any) -> Any:
        """A step, and the size of a change that hundreds of them make."""
        noise, text = torch.randn(1, 4, 4, 4), torch.randn(1, 3, 6)
        unet(noise, torch.tensor([3]), encoder_hidden_states=text).sample.square().mean().backward()
        for name, parameter in unet.named_parameters():
            if "lora_" in name:
                parameter.data += 0.05 * torch.randn(parameter.shape)
        torch.optim.SGD([p for p in unet.parameters() if p.requires_grad], lr=1e-6).step()
        return unet

    def save(
        self, unet: Any, metadata: bool = False, fold: Callable[[str, Any], Any] = lambda key, matrix: matrix
    ) -> None:
        StableDiffusionPipeline.save_lora_weights(
            self.folder,
            unet_lora_layers={key: fold(key, matrix) for key, matrix in get_peft_model_state_dict(unet).items()},
            unet_lora_adapter_metadata=unet.peft_config["default"].to_dict() if metadata else None,
        )

    def adapter(self) -> Adapter:
        return read_adapter(self.folder, tiny_unet())

    def seen(self) -> list[SeenAdapter]:
        """What evidence of the run says, in the words that the kernel writes."""
        (self.folder / "evidence" / "variables").mkdir(parents=True, exist_ok=True)
        session = json.dumps(watchers.seen(tools))
        (self.folder / "evidence" / "variables" / "session.json").write_text(session)
        return lora_adapters(Evidence(self.folder))

    @property
    def scales(self) -> set[tuple[float, float]]:
        """Strength applied and strength trained, of the layers in which they differ."""
        known = strengths(self.adapter(), self.seen()) or {}
        return {(round(one.applied, 1), round(one.trained, 1)) for one in known.values() if not one.kept}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    torch.manual_seed(0)
    monkeypatch.setattr(BaseTuner, "inject_adapter", BaseTuner.inject_adapter)
    monkeypatch.setattr(BaseTuner, "_noted", True, raising=False)
    monkeypatch.setattr(torch.autograd, "backward", torch.autograd.backward)
    monkeypatch.setattr(torch.autograd, "_noted", True, raising=False)
    for records in ("_made", "_waiting", "_training"):
        monkeypatch.setattr(watchers, records, [])
    monkeypatch.setattr(optimizers, "_noted", True, raising=False)
    for hooks in ("_global_optimizer_pre_hooks", "_global_optimizer_post_hooks"):
        monkeypatch.setattr(optimizers, hooks, OrderedDict())
    for watched in (BaseTuner, torch.autograd, optimizers):
        del watched._noted
    monkeypatch.setattr(harness, "_lesson", watchers)
    harness.watch()
    return Run(tmp_path)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"lora_alpha": 8}, {(1, 2)}),
        ({"lora_alpha": 4, "use_rslora": True}, {(1, 2)}),
        ({"lora_alpha": 2, "use_rslora": True}, set()),
        ({"alpha_pattern": {"attn2.to_v": 16}}, {(1, 4)}),
        ({"alpha_pattern": {"attn2.to_(v|k)": 16}}, {(1, 4)}),
        ({"rank_pattern": {"attn2.to_v": 2}}, {(1, 2)}),
        ({"rank_pattern": {"attn2.to_v": 2}, "alpha_pattern": {"attn2.to_v": 2}}, set()),
        ({}, set()),
    ],
    ids=[
        "α = 2r",
        "rsLoRA",
        "rsLoRA, α = √r",
        "α pattern",
        "regular expression",
        "rank pattern",
        "both patterns",
        "α = r",
    ],
)
def test_strength_without_metadata(run: Run, options: dict[str, Any], expected: set[tuple[float, float]]) -> None:
    """A file without α is at the wrong strength where α/r, or α/√r, was not 1 in training, layer by layer."""
    run.save(run.train(run.add(**options)))
    assert run.scales == expected


@pytest.mark.parametrize(
    "options", [{"lora_alpha": 8}, {"lora_alpha": 8, "use_rslora": True}, {"alpha_pattern": {"to_v": 1}}]
)
def test_strength_with_metadata(run: Run, options: dict[str, Any]) -> None:
    """A file that records the configuration of the training is at its strength."""
    run.save(run.train(run.add(**options)), metadata=True)
    assert strengths(run.adapter(), run.seen())
    assert run.scales == set()


def test_kohyas_file_cannot_hold_rslora(run: Run) -> None:
    """kohya's α is divided by r, so the α of rank-stabilised LoRA comes back at another strength, and α·√r at the same."""
    unet = run.train(run.add(lora_alpha=4, use_rslora=True))
    for alpha, expected in ((4.0, {(1, 2)}), (8.0, set())):
        save_file(kohya(get_peft_model_state_dict(unet), alpha), run.folder / "pytorch_lora_weights.safetensors")
        assert run.scales == expected


FOLDS: dict[str, Callable[[str, Any], Any]] = {
    "into B": lambda key, matrix: matrix * 2 if "lora_B" in key else matrix,
    "into A": lambda key, matrix: matrix * 2 if "lora_A" in key else matrix,
    "into both": lambda key, matrix: matrix * 2**0.5,
    "into B, in bfloat16": lambda key, matrix: (matrix * 2 if "lora_B" in key else matrix).bfloat16(),
    "with the sign of both turned": lambda key, matrix: matrix * (-2 if "lora_B" in key else -1),
}


@pytest.mark.parametrize("fold", FOLDS)
def test_scale_folded_into_the_matrices(run: Run, fold: str) -> None:
    """Matrices that hold α/r already are at the right strength without α, and at its square with it."""
    unet = run.train(run.add(lora_alpha=8))
    run.save(unet, fold=FOLDS[fold])
    assert strengths(run.adapter(), run.seen())
    assert run.scales == set()
    run.save(unet, metadata=True, fold=FOLDS[fold])
    assert run.scales == {(4, 2)}
    assert all(one.twice for one in (strengths(run.adapter(), run.seen()) or {}).values())


def test_scale_folded_in_place_and_layer_by_layer(run: Run) -> None:
    """What is done to the matrices after the last step counts, in each layer; what a later training does to others does not."""
    unet = run.train(run.add(alpha_pattern={"attn2.to_v": 16}))
    for name, parameter in unet.named_parameters():
        if "attn2.to_v.lora_B" in name:
            parameter.data *= 4
    run.train(run.add(r=2, lora_alpha=2))
    run.save(unet)
    assert run.scales == set()


@pytest.mark.parametrize(("factor", "expected"), [(3, {(3, 2)}), (0.5, {(0.5, 2)}), (1, {(1, 2)})])
def test_matrices_times_another_factor(run: Run, factor: float, expected: set[tuple[float, float]]) -> None:
    """Another factor than that of the training is another strength, and is not taken for one that was applied twice."""
    run.save(run.train(run.add(lora_alpha=8)), fold=lambda key, matrix: matrix * factor if "lora_B" in key else matrix)
    assert run.scales == expected
    assert not any(one.twice for one in (strengths(run.adapter(), run.seen()) or {}).values())


def test_nothing_is_claimed_of_matrices_in_another_basis(run: Run) -> None:
    """An SVD of B·A, scaled, gives other matrices, and their numbers do not say by what they were multiplied."""
    unet = run.train(run.add(lora_alpha=8))
    state = get_peft_model_state_dict(unet)
    for key in [key for key in state if "lora_A" in key]:
        u, s, v = torch.linalg.svd(2 * state[key.replace("lora_A", "lora_B")] @ state[key], full_matrices=False)
        state[key], state[key.replace("lora_A", "lora_B")] = v[:4].contiguous(), (u * s)[:, :4].contiguous()
    save_file({f"unet.{key}": matrix for key, matrix in state.items()}, run.folder / "pytorch_lora_weights.safetensors")
    assert strengths(run.adapter(), run.seen()) is None


def test_recorded_alpha_of_another_training(run: Run) -> None:
    """An α that is recorded, and is not the one that was trained with, is at the wrong strength."""
    unet = run.train(run.add(lora_alpha=8))
    unet.peft_config["default"].lora_alpha = 4
    run.save(unet, metadata=True)
    assert run.scales == {(1, 2)}


def test_trial_adapters_do_not_count(run: Run) -> None:
    """An adapter that was only counted, on the meta device or not, says nothing of the one that was trained."""
    with torch.device("meta"):
        meta = tiny_unet()
    run.add(meta, lora_alpha=8)
    run.add(lora_alpha=16)
    run.save(run.train(run.add()))
    assert run.scales == set()
    assert strengths(run.adapter(), run.seen())


def test_loading_does_not_count(run: Run) -> None:
    """What a loader makes of the file, for the pictures, is not taken for the training."""
    run.save(run.train(run.add(lora_alpha=8)))
    pictures = tiny_unet()
    pictures.load_lora_adapter(str(run.folder), prefix="unet", weight_name="pytorch_lora_weights.safetensors")
    assert run.scales == {(1, 2)}


def test_of_several_trainings_the_saved_one_counts(run: Run) -> None:
    """Among trainings of one rank at different strengths, A tells which was saved; where it cannot, nothing is claimed."""
    first, second = (run.train(run.add(lora_alpha=alpha)) for alpha in (8, 4))
    run.save(second)
    assert run.scales == set()
    run.save(first)
    assert run.scales == {(1, 2)}
    for alpha in (8, 4):  # from the same numbers
        torch.manual_seed(7)
        twin = run.add(lora_alpha=alpha)
        run.train(twin)
    run.save(twin)
    assert strengths(run.adapter(), run.seen()) is None


def test_strength_that_was_set_by_hand(run: Run) -> None:
    """A weight that was set for the training is part of its strength."""
    unet = run.add(lora_alpha=8)
    unet.set_adapters(["default"], [0.5])
    run.save(run.train(unet))
    assert run.scales == set()


def test_get_peft_model(run: Run) -> None:
    """An adapter that PEFT adds itself is known by the same names."""
    wrapped = get_peft_model(tiny_unet(), LoraConfig(r=4, lora_alpha=8, target_modules=CROSS_ATTENTION))
    run.train(wrapped)
    state = {key.removeprefix("base_model.model."): t for key, t in get_peft_model_state_dict(wrapped).items()}
    save_file(prefixed(state), run.folder / "a.safetensors")
    assert run.scales == {(1, 2)}


def test_what_was_not_seen_is_not_claimed(run: Run) -> None:
    """Nothing is said of an adapter that no gradient was seen to reach, or that has layers of another rank."""
    unet = run.add(lora_alpha=8)
    run.save(unet)
    assert strengths(run.adapter(), run.seen()) is None
    run.train(run.add(r=2, lora_alpha=4))
    assert strengths(run.adapter(), run.seen()) is None


@pytest.mark.parametrize("init", [True, "gaussian", "orthogonal", False])
def test_untrained_whatever_it_began_with(run: Run, init: bool | str) -> None:
    """An adapter is as it was made until training has moved it, whatever numbers it began with."""
    unet = run.add(init_lora_weights=init)
    run.save(unet)
    assert as_made(run.adapter(), run.seen())
    assert run.adapter().changes_nothing == (init is not False)
    halves = {f"unet.{key}": tensor.half() for key, tensor in get_peft_model_state_dict(unet).items()}
    save_file(halves, run.folder / "pytorch_lora_weights.safetensors")
    assert as_made(run.adapter(), run.seen())
    run.save(run.train(unet))
    assert not as_made(run.adapter(), run.seen())
    assert not run.adapter().changes_nothing


def test_one_layer_that_moved_is_enough(run: Run) -> None:
    """An adapter of which training has moved one layer is not as it was made."""
    unet = run.add(init_lora_weights="orthogonal")
    unet.get_submodule(TO_Q).lora_B["default"].weight.data += 0.01
    run.save(unet)
    assert not as_made(run.adapter(), run.seen())
    assert not run.adapter().changes_nothing


def test_measured_at_the_strength_of_the_training(run: Run) -> None:
    """An adapter whose file has lost its strength is measured as it was trained, and any other as it is."""
    for options, factor in (({"alpha_pattern": {"attn2.to_v": 16}}, 4), ({}, 1)):
        run.save(run.train(run.add(**options)))
        adapter, evidence = run.adapter(), SimpleNamespace(seen=lambda what, read: run.seen())
        measured = StyleMeasurements(HandIn(evidence, {}))  # type: ignore[arg-type]
        trained = measured.as_trained(adapter)
        assert measured.as_trained(adapter) is trained
        assert (trained is adapter) == (factor == 1)
        for name, layer in adapter.layers.items():
            expected = layer.delta() * (factor if "to_v" in name else 1)
            torch.testing.assert_close(trained.layers[name].delta(), expected)


@pytest.mark.parametrize("number", [math.nan, math.inf, 0.0, -1.0])
def test_odd_numbers(run: Run, number: float) -> None:
    """Strengths and numbers that anyone may have written end in an answer."""
    run.save(run.train(run.add(lora_alpha=8)))
    for record in watchers._made:
        for layer in record["layers"].values():
            layer[1:] = [number, [number] * 4, [number]]
    adapter, seen = run.adapter(), run.seen()
    assert not as_made(adapter, seen)
    assert all(one.kept in (True, False) for one in (strengths(adapter, seen) or {}).values())
