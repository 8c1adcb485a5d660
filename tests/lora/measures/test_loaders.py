"""What the installed libraries load of an adapter, and at which strength, beside what is read of it here.

A table: each row is a way to save the same adapter. A new release of diffusers or PEFT that treats one of them otherwise
shows as a row that fails.
"""

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import convert_state_dict_to_diffusers
from diffusers.utils import logging as diffusers_logging
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor

from graders.lora.measures.adapter_files import read_adapter
from graders.lora.measures.adapter_places import DIFFUSERS_FILE, PEFT_FILE
from graders.lora.measures.adapter_refusals import PEFT_CONFIG, AdapterError
from graders.lora.measures.recorded_config import METADATA_KEY
from tests.lora.measures.small_unet import State, randomise, tiny_unet

pytestmark = pytest.mark.filterwarnings("ignore")  # most rows make the libraries warn

TARGETS = ["attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0"]
EVERY_KIND = ["attn1.to_q", "attn2.to_v", "ff.net.0.proj", "proj_in", "conv1", "conv_out", "linear_1", "time_emb_proj"]
PREFIXES = ("unet.", "", "lora_unet_", "base_model.model.")
SPELLINGS = ("lora_A", "lora.down", "lora_down", "processor", "default", "default_0")
WRAPPERS = {
    "_orig_mod.": "torch.compile", "module.": "DataParallel", "unet.": "too often", "diffusion_model.": "other programs",
    "_fsdp_wrapped_module.": "FullySharded", "base_model.model.": "get_peft_model", "model.diffusion_model.": "other prog",
    "network.": "no layer",
}  # fmt: skip

Deltas = dict[str, Tensor]


@functools.cache
def adapter(**options: Any) -> State:
    """A and B of a trained adapter, under PEFT's names without a prefix."""
    options = {"r": 4, "target_modules": TARGETS} | {
        k: dict(v) if k.endswith("_pattern") else v for k, v in options.items()
    }
    unet = tiny_unet()
    unet.add_adapter(LoraConfig(**options))
    randomise(unet)
    return {name: tensor.contiguous() for name, tensor in get_peft_model_state_dict(unet).items()}


def renamed(prefix: str, spelling: str, state: State | None = None, wrapper: str = "") -> State:
    """The adapter under other names."""
    found: State = {}
    for key, tensor in (state or adapter()).items():
        module, _, matrix = key.removesuffix(".weight").rpartition(".lora_")
        down = {"A": "down", "B": "up"}[matrix]
        module = wrapper + module
        if spelling == "processor":
            module = module.replace("attn2.", "attn2.processor.").replace(".to_out.0", ".to_out")
        if prefix == "lora_unet_":
            module = module.replace(".", "_")
        ending = {
            "lora_A": f".lora_{matrix}", "lora.down": f".lora.{down}", "lora_down": f".lora_{down}",
            "processor": f"_lora.{down}", "default": f".lora_{matrix}.default", "default_0": f".lora_{matrix}.default_0",
        }[spelling]  # fmt: skip
        found[f"{prefix}{module}{ending}.weight"] = tensor
    return found


def with_alpha(state: State, alpha: Callable[[str], float]) -> State:
    """kohya's file with an alpha for each layer, by its name."""
    layers = [key.partition(".")[0] for key in state if key.endswith("lora_down.weight")]
    return state | {f"{layer}.alpha": torch.tensor(float(alpha(layer))) for layer in layers}


def saved(folder: Path, state: State, header: dict[str, Any] | None = None) -> Path:
    save_file(state, folder / DIFFUSERS_FILE, {"format": "pt"} | ({METADATA_KEY: json.dumps(header)} if header else {}))
    return folder


def peft_folder(folder: Path, state: State | None = None, **config: Any) -> Path:
    folder.mkdir(exist_ok=True)
    save_file(state or renamed("base_model.model.", "lora_A"), folder / PEFT_FILE)
    fields = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": TARGETS}
    (folder / PEFT_CONFIG).write_text(json.dumps(fields | config))
    return folder


def saved_by_peft(folder: Path, *names: str, **options: Any) -> Path:
    """What PEFT writes of a model with adapters of these names."""
    model = get_peft_model(tiny_unet(), LoraConfig(r=4, target_modules=TARGETS, **options), adapter_name=names[0])
    for name in names[1:]:
        model.add_adapter(name, LoraConfig(r=4, target_modules=TARGETS, **options))
    randomise(model)
    model.save_pretrained(folder)
    return folder


def saved_by_diffusers(folder: Path, convert: Callable[[State], State] = dict, **options: Any) -> Path:
    """What the pipeline writes of a U-Net with this adapter."""
    unet = tiny_unet()
    unet.add_adapter(LoraConfig(**{"r": 4, "target_modules": TARGETS, **options}))
    randomise(unet)
    StableDiffusionPipeline.save_lora_weights(
        folder,
        unet_lora_layers=convert(get_peft_model_state_dict(unet)),
        unet_lora_adapter_metadata=unet.peft_config["default"].to_dict(),
    )
    return folder


def header(prefix: str = "unet.", **options: Any) -> dict[str, Any]:
    return {
        prefix + key: value for key, value in ({"r": 4, "lora_alpha": 8, "target_modules": TARGETS} | options).items()
    }


class Row(NamedTuple):
    """A way to save an adapter, and what is read of it: the loader that loads it, or words of the refusal.

    ``apart`` marks a refusal of something that a library does load, for a reason that the refusal names.
    """

    save: Callable[[Path], Path]
    loader: str | None = None
    refused: str | None = None
    apart: bool = False


def naming() -> Iterator[tuple[str, Row]]:
    """Every prefix with every spelling."""
    loaders = {"unet.": "load_lora_weights", "": "load_lora_adapter", "lora_unet_": "load_lora_weights"}
    known = {
        ("lora_unet_", "lora_down"),
        *((p, s) for p in ("unet.", "") for s in ("lora_A", "lora.down", "processor")),
    }
    own = {("unet.", "default_0"), ("", "default_0")}
    for prefix in PREFIXES[:3]:
        for spelling in SPELLINGS:
            save = functools.partial(saved, state=renamed(prefix, spelling))
            which = (prefix, spelling)
            if which in known | own:
                yield f"{prefix} {spelling}", Row(save, loaders[prefix] + " under its own name" * (which in own))
            else:
                looks = spelling != "default" or prefix == "lora_unet_"
                yield f"{prefix} {spelling}", Row(save, refused="looks for" if looks else "the adapter's name")
    for spelling in SPELLINGS:
        save = functools.partial(peft_folder, state=renamed("base_model.model.", spelling))
        if spelling in ("lora_A", "default"):
            loader = "PeftModel.from_pretrained" + " under its own name" * (spelling == "default")
            yield f"base_model.model. {spelling}", Row(save, loader)
        else:
            refused = "the adapter's name" if spelling == "default_0" else "looks for"
            yield f"base_model.model. {spelling}", Row(save, refused=refused)


def wrappers() -> Iterator[tuple[str, Row]]:
    """Every name that something around the U-Net adds, with every prefix."""
    for wrapper, said in WRAPPERS.items():
        yield (
            f"unet.{wrapper}",
            Row(functools.partial(saved, state=renamed("unet.", "lora_A", wrapper=wrapper)), None, said),
        )
        kohya = renamed("lora_unet_", "lora_down", wrapper=wrapper)
        yield f"lora_unet_{wrapper}", Row(functools.partial(saved, state=kohya), None, said)
        if wrapper in ("unet.", "base_model.model."):
            continue  # with no prefix, these are one themselves
        yield wrapper, Row(functools.partial(saved, state=renamed("", "lora.down", wrapper=wrapper)), None, said)
    inside = {
        key.replace("mid_block.", "mid_block._orig_mod."): tensor for key, tensor in renamed("unet.", "lora_A").items()
    }
    yield "_orig_mod. within", Row(functools.partial(saved, state=inside), None, "torch.compile")
    compiled = renamed("base_model.model.", "lora_A", wrapper="_orig_mod.")
    yield "PEFT around a compiled U-Net", Row(functools.partial(peft_folder, state=compiled), None, "torch.compile")


K = functools.partial(renamed, "lora_unet_", "lora_down")
EVERY = {"target_modules": tuple(EVERY_KIND)}
PIPELINE, FROM_UNET, PEFT = "load_lora_weights", "load_lora_adapter", "PeftModel.from_pretrained"


def strengths() -> Iterator[tuple[str, Row]]:
    """α, its pattern, the rank's, rsLoRA and DoRA, in each place that they can be recorded in."""
    unet, bare = renamed("unet.", "lora_A"), renamed("", "lora_A")
    patterns = {"alpha_pattern": {"attn2.to_v": 16}, "rank_pattern": {"attn2.to_q": 2}}

    def row(save: Callable[..., Path], *arguments: Any, loader: str | None = PIPELINE, **options: Any) -> Row:
        refused, apart = options.pop("refused", None), options.pop("apart", False)
        return Row(lambda folder: save(folder, *arguments, **options), None if refused else loader, refused, apart)

    yield "diffusers, α = 2r", row(saved_by_diffusers, lora_alpha=8)
    yield "diffusers, patterns", row(saved_by_diffusers, **patterns)
    yield "diffusers, rsLoRA", row(saved_by_diffusers, lora_alpha=8, use_rslora=True)
    yield "diffusers, every kind of layer", row(saved_by_diffusers, lora_alpha=8, **EVERY)
    yield (
        "diffusers, a regular expression",
        row(saved_by_diffusers, alpha_pattern={"attn2.to_(v|k)": 16}, refused="regular expression", apart=True),
    )
    yield "diffusers, DoRA", row(saved_by_diffusers, use_dora=True, refused="DoRA", apart=True)
    yield "converted names", row(saved_by_diffusers, convert_state_dict_to_diffusers, lora_alpha=8)
    # Only the attention layers' names are converted, and diffusers goes by the first of them all
    yield (
        "converted names, every kind",
        row(saved_by_diffusers, convert_state_dict_to_diffusers, **EVERY, refused="the first name"),
    )
    yield (
        "ranks that differ, no header",
        row(saved, renamed("unet.", "lora_A", adapter(rank_pattern=(("attn2.to_v", 2),)))),
    )
    yield "header of no prefix", row(saved, unet, header("", r=4), refused="begin with 'unet.'")
    yield "header of another model", row(saved, unet, header("text_encoder."), refused="begin with 'unet.'")
    yield "header without targets", row(saved, unet, header(target_modules=None), refused="no target_modules")
    yield "header with another rank", row(saved, unet, header(r=5), refused="says rank 5")
    yield "header, more targets", row(saved, unet, header(target_modules=["to_q", *TARGETS]))
    yield "no prefix, header", row(saved, bare, header("", lora_alpha=8), loader=FROM_UNET)
    yield "no prefix, rsLoRA", row(saved, bare, header("", use_rslora=True), loader=FROM_UNET)
    yield "no prefix, prefixed header", row(saved, bare, header("unet."), refused="no 'unet.' before them")
    yield "kohya, α", row(saved, with_alpha(K(), lambda _: 8))
    yield "kohya, every kind", row(saved, with_alpha(K(adapter(**EVERY)), lambda _: 2))
    yield "kohya, ranks that differ", row(saved, K(adapter(rank_pattern=(("attn2.to_v", 2),))))
    yield (
        "kohya, ranks that differ, α",
        row(saved, with_alpha(K(adapter(rank_pattern=(("attn2.to_v", 2),))), lambda _: 4)),
    )
    yield (
        "kohya, a convolution's α",
        row(
            saved,
            with_alpha(K(adapter(target_modules=(*TARGETS, "conv_out"))), lambda name: 2 if "conv" in name else 8),
        ),
    )
    yield (
        "kohya, α that differs",
        row(saved, with_alpha(K(), lambda name: 16 if "to_v" in name else 4), refused="the commonest", apart=True),
    )
    yield (
        "kohya, attention's α is not the commonest",
        row(
            saved,
            with_alpha(K(adapter(**EVERY)), lambda name: 8 if "attn" in name else 4),
            refused="the commonest",
            apart=True,
        ),
    )
    yield (
        "kohya, α for some",
        row(
            saved,
            {
                k: t
                for k, t in with_alpha(K(), lambda _: 8).items()
                if "to_v.alpha" not in k.replace("_alpha", ".alpha") or k.endswith("weight")
            },
            refused="records alpha for",
            apart=True,
        ),
    )
    yield "kohya, a header", row(saved, K(), header(lora_alpha=12))
    yield "kohya, α and a header", row(saved, with_alpha(K(), lambda _: 8), header(), refused="α twice")
    yield (
        "unet., α as kohya has it",
        row(
            saved,
            unet | {"unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.alpha": torch.tensor(8.0)},
            refused="no part of a LoRA layer",
        ),
    )
    yield "PEFT, patterns", row(saved_by_peft, "default", lora_alpha=8, **patterns, loader=PEFT)
    yield "PEFT, rsLoRA", row(saved_by_peft, "default", lora_alpha=8, use_rslora=True, loader=PEFT)
    yield "PEFT, fewer targets", row(peft_folder, target_modules=["attn2.to_q"], refused="leaves out")


def folders() -> Iterator[tuple[str, Row]]:
    """Where in a rank's folder the file lies."""
    yield "PEFT, a folder for the adapter", Row(lambda folder: saved_by_peft(folder, "style", lora_alpha=8), PEFT)
    yield (
        "PEFT, a default and another",
        Row(lambda folder: saved_by_peft(folder, "default", "other", lora_alpha=8), PEFT),
    )
    yield (
        "PEFT, two folders",
        Row(lambda folder: saved_by_peft(folder, "style", "other"), None, "2 adapters, in", apart=True),
    )
    yield (
        "PEFT's names, no configuration",
        Row(lambda folder: saved(folder, renamed("base_model.model.", "lora_A")), None, f"no '{PEFT_CONFIG}'"),
    )


ROWS = [pytest.param(row, id=name) for rows in (naming, wrappers, strengths, folders) for name, row in rows()]


def deltas(unet: torch.nn.Module) -> Deltas:
    """The change of each adapted layer, as PEFT applies it."""
    return {
        name.removeprefix("base_model.model."): layer.get_delta_weight(own).detach()
        for name, layer in unet.named_modules() if hasattr(layer, "get_delta_weight") for own in layer.lora_A
    }  # fmt: skip


def by_pipeline(folder: Path) -> Deltas:
    unet = tiny_unet()
    state, alphas, metadata = StableDiffusionPipeline.lora_state_dict(str(folder), return_lora_metadata=True)
    if not all("lora" in key for key in state):  # as load_lora_weights has it between the two
        raise ValueError
    StableDiffusionPipeline.load_lora_into_unet(state, alphas, unet, metadata=metadata)
    return deltas(unet)


def by_unet(folder: Path) -> Deltas:
    unet = tiny_unet()
    unet.load_lora_adapter(str(folder), prefix=None, weight_name=DIFFUSERS_FILE)
    return deltas(unet)


def by_peft(folder: Path) -> Deltas:
    inner = [path.parent for path in folder.rglob(PEFT_CONFIG)]
    place = folder if folder in inner or len(inner) != 1 else inner[0]
    return deltas(PeftModel.from_pretrained(tiny_unet(), str(place)))


LOADERS = {PIPELINE: by_pipeline, FROM_UNET: by_unet, PEFT: by_peft}


def whole(folder: Path) -> list[str]:
    """The loaders that apply every layer of the file."""
    [file] = folder.rglob("*.safetensors")
    layers = sum(".lora_B" in key or "lora.up" in key or "lora_up" in key for key in load_file(file))
    found = []
    for name, load in LOADERS.items():
        with suppress(Exception):
            applied = load(folder)
            found += [name] * (len(applied) == layers and all(delta.any() for delta in applied.values()))
    return found


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    before = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity(60)
    yield
    diffusers_logging.set_verbosity(before)


@pytest.mark.parametrize("row", ROWS)
def test_agrees_with_the_libraries(tmp_path: Path, row: Row) -> None:
    """What is read is what the named loader loads, layer by layer and at its strength; what no loader loads is refused."""
    folder = row.save(tmp_path)
    if row.loader is not None:
        ours = read_adapter(folder, tiny_unet())
        assert ours.loader == row.loader
        theirs = LOADERS[row.loader.partition(" ")[0]](folder)
        assert ours.layers.keys() == theirs.keys()
        for name, delta in theirs.items():
            torch.testing.assert_close(ours.layers[name].delta(), delta, atol=1e-5, rtol=1e-4)
        return
    with pytest.raises(AdapterError) as refusal:
        read_adapter(folder, tiny_unet())
    assert row.refused is not None
    assert row.refused in refusal.value.problem
    if not row.apart:
        assert not whole(folder)
