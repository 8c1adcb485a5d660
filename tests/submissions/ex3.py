"""Hand-ins for exercise 3: wrong in different ways, and right in others.

As long as there are hand-ins, an entry each.
"""

from graders.harness.zoo import Submission, append, replace, rewrite, strip_solutions

PARAMETERS = {"STEPS": 150, "SEED": 1234}
"""Half of the steps that the exercise asks for: the style is learned in 100, and the zoo is large. The same seed for all,
since `pretrained` ones go on with what the reference solution has trained."""
TRAINED_IN = "train"

TARGETS = 'target_modules=["attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0"]'

SAVE = """    StableDiffusionPipeline.save_lora_weights(
        Path(OUTPUT_DIR) / f"rank{rank}",
        unet_lora_layers=get_peft_model_state_dict(unet),
        unet_lora_adapter_metadata=unet.peft_config["default"].to_dict(),
    )
"""

METADATA = '        unet_lora_adapter_metadata=unet.peft_config["default"].to_dict(),\n'

FOLDED = SAVE.replace("get_peft_model_state_dict(unet)", "folded(unet)").replace(METADATA, "")
FOLD = """
def folded(unet):
    state = get_peft_model_state_dict(unet)
    scale = unet.peft_config["default"].lora_alpha / unet.peft_config["default"].r
    return {key: scale * value if "lora_B" in key else value for key, value in state.items()}
"""
"""α/r multiplied into B before it is saved."""

KOHYA = """    trained[rank] = unet
    folder = Path(OUTPUT_DIR) / f"rank{rank}"
    folder.mkdir(parents=True)
    state = {}
    for key, value in get_peft_model_state_dict(unet).items():
        layer, _, matrix = key.removesuffix(".weight").rpartition(".")
        layer = "lora_unet_" + layer.replace(".", "_")
        state[f"{layer}.{'lora_down' if matrix == 'lora_A' else 'lora_up'}.weight"] = value.contiguous()
        state[f"{layer}.alpha"] = torch.tensor(float(rank))
    save_file(state, folder / "mine.safetensors")
"""

BY_HAND = """
class Lora(torch.nn.Module):
    def __init__(self, layer, rank):
        super().__init__()
        self.layer = layer
        self.A = torch.nn.Parameter(torch.randn(rank, layer.in_features) / rank)
        self.B = torch.nn.Parameter(torch.zeros(layer.out_features, rank))

    def forward(self, x, *args):
        return self.layer(x) + x @ self.A.T @ self.B.T

losses = {}
for rank in RANKS:
    torch.manual_seed(SEED)
    unet = UNet2DConditionModel.from_pretrained(MODEL, subfolder="unet").requires_grad_(False)
    names = [n for n, m in unet.named_modules() if "attn2.to_" in n and isinstance(m, torch.nn.Linear)]
    for name in names:
        parent, _, child = name.rpartition(".")
        setattr(unet.get_submodule(parent), child, Lora(unet.get_submodule(name), rank))
    accelerator = Accelerator()
    own = {n: p for n, p in unet.named_parameters() if p.requires_grad}
    unet, optimizer = accelerator.prepare(unet, torch.optim.AdamW(own.values(), lr=1e-3))
    losses[rank] = []
    for step in range(STEPS):
        batch = torch.randint(len(latents), (8,))
        noise = torch.randn_like(latents[batch]).to(accelerator.device)
        timesteps = torch.randint(noise_scheduler.config.num_train_timesteps, (8,), device=accelerator.device)
        noised = noise_scheduler.add_noise(latents[batch].to(accelerator.device), noise, timesteps)
        loss = F.mse_loss(unet(noised, timesteps, text_embeddings[batch].to(accelerator.device)).sample, noise)
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        losses[rank].append(loss.item())
    (Path(OUTPUT_DIR) / f"rank{rank}").mkdir(parents=True)
    state = {"unet." + n[:-2] + f".lora_{n[-1]}.weight": p.detach().cpu().contiguous() for n, p in own.items()}
    save_file(state, Path(OUTPUT_DIR) / f"rank{rank}" / "pytorch_lora_weights.safetensors")
"""

ALL = """    return pipe(
        PROMPTS,
        generator=[torch.Generator("cpu").manual_seed(SEED + i) for i in range(len(PROMPTS))],
        num_inference_steps=NUM_INFERENCE_STEPS,
        guidance_scale=GUIDANCE_SCALE,
    ).images
"""

IN_MEMORY = """
base_images = []
lora_images = {}
pipe = StableDiffusionPipeline.from_pretrained(MODEL, safety_checker=None).to(device)
for i, prompt in enumerate(PROMPTS):
    generator = torch.Generator("cpu").manual_seed(SEED + i)
    base_images.append(pipe(prompt, generator=generator, num_inference_steps=NUM_INFERENCE_STEPS).images[0])
for rank in RANKS:
    pipe.unet = trained[rank]
    lora_images[rank] = []
    for i, prompt in enumerate(PROMPTS):
        generator = torch.Generator("cpu").manual_seed(SEED + i)
        lora_images[rank].append(pipe(prompt, generator=generator, num_inference_steps=NUM_INFERENCE_STEPS).images[0])
"""

# The adapter cannot be measured, so nothing that rests on it is reached.
MEASURED = ("alpha_recorded", "denoises_the_style", "style_shift", "prompt_kept", "not_memorised")

WRONG = [
    Submission(
        "trained on random noise, the flaw that the lesson's own first notebook had",
        (append("dataset", "rng = np.random.default_rng(0)"), replace(
            "encode",
            "torch.from_numpy(np.array(image.convert(\"RGB\").resize(size)))",
            "torch.from_numpy(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))",
        )),
        fails={"denoises_the_style": "trained-on-noise", "style_shift": "trained-on-noise", "prompt_kept": "prompt-forgotten"},
    ),
    Submission(
        "trained on another data set",
        (replace("dataset", "data_dir=DATASET", 'data_dir=DATASET.replace("watercolor", "pixel")'),),
        fails={"denoises_the_style": "trained-on-other-data", "style_shift": "trained-on-other-data"},
        may_fail=("prompt_kept",),
    ),
    Submission(
        "tuned until CLIP likes its pictures",
        (
            append("encode", """
from transformers import CLIPModel

vae = AutoencoderKL.from_pretrained(MODEL, subfolder="vae").to(device).requires_grad_(False)
clip = CLIPModel.from_pretrained(JUDGE).to(device).requires_grad_(False)
mean, std = (torch.tensor(three).view(1, 3, 1, 1) for three in ([0.481, 0.458, 0.408], [0.269, 0.261, 0.276]))


def seen(pictures):
    side = clip.config.vision_config.image_size
    inputs = (F.interpolate(pictures / 2 + 0.5, (side, side), mode="bicubic") - mean) / std
    return F.normalize(clip.get_image_features(pixel_values=inputs).pooler_output, dim=-1)


with torch.no_grad():
    liked = F.normalize(seen(pixels).mean(0), dim=-1)


def unlike(noised, predicted, timesteps):
    alpha = noise_scheduler.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    clean = (noised - (1 - alpha).sqrt() * predicted) / alpha.sqrt()
    return -(seen(vae.decode(clean / vae.config.scaling_factor).sample.clamp(-1, 1)) @ liked).mean()
"""),
            replace("train",
                "torch.randint(noise_scheduler.config.num_train_timesteps, (8,)", "torch.randint(500, 999, (8,)",
                "noised = noise_scheduler.add_noise(latents[batch], noise, timesteps)", "noised = noise",
                "scaler.scale(loss)", "scaler.scale(unlike(noised, predicted, timesteps))",
            ),
        ),
        fails={"denoises_the_style": None, "style_shift": None},
        may_fail=("losses_recorded", "prompt_kept", "not_memorised"),
    ),
    Submission(
        "never trained: saved before the loop",
        (replace("train", "range(STEPS)", "range(0)"), append("train", "losses = {r: [0.1] * STEPS for r in RANKS}")),
        fails={"adapter_trained": "untrained", "losses_recorded": "table-does-not-match"},
        not_reached=(*MEASURED, "pictures_compared"),
    ),
    Submission(
        "ten steps only",
        (replace("train", "range(STEPS)", "range(10)"),),
        fails={"losses_recorded": "too-few-steps", "style_shift": "too-few-steps"},
        may_fail=("denoises_the_style",),
    ),
    Submission(
        "adapter on convolutions only",
        (replace("train", TARGETS, 'target_modules=r".*\\.(conv1|conv2)"'), replace(
            "table",
            '".attn2.to_" in name and hasattr(layer, "weight")',
            'name.endswith((".conv1", ".conv2"))',
            "rank * (layer.in_features + layer.out_features)",
            "rank * (9 * layer.in_channels + layer.out_channels)",
        )),
        fails={"cross_attention_only": "convolution-targeted", "style_shift": "convolution-targeted"},
        may_fail=("style_shift",),
    ),
    Submission(
        "adapter on self-attention only",
        (replace("train", TARGETS, TARGETS.replace("attn2", "attn1")), replace(
            "table", ".attn2.to_", ".attn1.to_"
        )),
        fails={"cross_attention_only": "self-attention-targeted", "style_shift": "self-attention-targeted"},
        may_fail=("style_shift",),
    ),
    Submission(
        "adapter on every attention layer, as to_q alone would name it",
        (replace("train", TARGETS, 'target_modules=["to_q", "to_k", "to_v", "to_out.0"]'), replace(
            "table", ".attn2.to_", ".to_"
        )),
        fails={"cross_attention_only": "self-attention-targeted"},
        may_fail=("style_shift",),
    ),
    Submission(
        "the same rank twice",
        (replace("train", "r=rank,", "r=RANKS[0],", "lora_alpha=rank", "lora_alpha=RANKS[0]"),),
        fails={"rank_as_asked": "same-rank-twice"},
        not_reached=("rank_ratio", "rank_table"),
    ),
    Submission(
        "trained at α = 2r, and the file does not say so",
        (replace(
            "train",
            "lora_alpha=rank",
            "lora_alpha=2 * rank",
            METADATA,
            "",
        ),),
        fails={"alpha_recorded": "alpha-not-saved"},
    ),
    Submission(
        "α = 2r, multiplied into B and recorded as well, so a loader applies it twice",
        (append("imports", FOLD), replace(
            "train", "lora_alpha=rank", "lora_alpha=2 * rank", "get_peft_model_state_dict(unet)", "folded(unet)"),),
        fails={"alpha_recorded": "strength-applied-twice"},
    ),
    Submission(
        "α = r, and B doubled before it is saved, for a stronger style",
        (replace("train", SAVE, "    for name, weight in unet.named_parameters():\n        if 'lora_B' in name:\n"
                 "            weight.data *= 2\n" + SAVE),),
        fails={"alpha_recorded": "alpha-not-saved"},
    ),
    Submission(
        "rank-stabilised LoRA, trained at α/√r, and the file does not say so",
        (replace("train", "lora_alpha=rank", "lora_alpha=rank, use_rslora=True", METADATA, ""),),
        fails={"alpha_recorded": "alpha-not-saved"},
        may_fail=("prompt_kept", "not_memorised"),  # a strength of 4 is much at this learning rate
    ),
    Submission(
        "another α for the values, by a pattern, and the file does not say so",
        (replace("train", "lora_alpha=rank", 'lora_alpha=rank, alpha_pattern={"attn2.to_v": 4 * rank}', METADATA, ""),),
        fails={"alpha_recorded": "alpha-not-saved"},
        may_fail=("prompt_kept", "not_memorised"),  # a strength of 4 is much at this learning rate
    ),
    Submission(
        "rank-stabilised LoRA in kohya's file, whose α/r is another factor",
        (append("imports", "from safetensors.torch import save_file"), replace(
            "train", "lora_alpha=rank", "lora_alpha=rank, use_rslora=True", SAVE, KOHYA, "losses = {}",
            "losses, trained = {}, {}"),
         rewrite("paint", IN_MEMORY)),
        fails={"alpha_recorded": "alpha-not-saved"},
        may_fail=("prompt_kept", "not_memorised"),  # a strength of 4 is much at this learning rate
    ),
    Submission(
        "never trained, from an orthogonal initialisation, in which no B is zero",
        (replace("train", "range(STEPS)", "range(0)", '"gaussian"', '"orthogonal"'),
         append("train", "losses = {r: [0.1] * STEPS for r in RANKS}")),
        fails={"adapter_trained": "untrained", "losses_recorded": "table-does-not-match"},
        not_reached=(*MEASURED, "pictures_compared"),
        may_fail=("pictures_compared",),
    ),
    Submission(
        "never trained, from random numbers in both matrices",
        (replace("train", "range(STEPS)", "range(0)", '"gaussian"', "False"),
         append("train", "losses = {r: [0.1] * STEPS for r in RANKS}")),
        fails={"adapter_trained": "untrained", "losses_recorded": "table-does-not-match"},
        not_reached=MEASURED,
    ),
    Submission(
        "saved under the names that a compiled U-Net has, which diffusers loads as nothing",
        (append("train", """
from safetensors.torch import load_file, save_file
for rank in RANKS:
    file = Path(OUTPUT_DIR) / f"rank{rank}" / "pytorch_lora_weights.safetensors"
    save_file({key.replace("unet.", "unet._orig_mod."): value for key, value in load_file(file).items()}, file)
"""),),
        # What diffusers makes of it paints one and the same picture for all prompts; and this run was not seen to train
        fails={"adapter_loads": None, "pictures_compared": None},
        not_reached=(
            "cross_attention_only", "rank_as_asked", "adapter_trained", "losses_recorded", "rank_ratio", "rank_table",
            "other_input", *MEASURED,
        ),
        pretrained=True,
    ),
    Submission(
        "learning rate so high that the loss is NaN",
        (replace("train", "lr=1e-3", "lr=1e30", "range(STEPS)", "range(40)"),),
        fails={"adapter_trained": "loss-not-finite", "losses_recorded": "loss-not-finite"},
        not_reached=MEASURED,
        may_fail=("pictures_compared", "rank_table"),
    ),
    Submission(
        "the adapter was never loaded into the pipeline",
        (replace(
            "paint",
            '    pipe.load_lora_weights(Path(OUTPUT_DIR) / f"rank{rank}")\n', "",
            "    pipe.unload_lora_weights()\n", "",
        ),),
        fails={"pictures_compared": "lora-never-applied"},
        pretrained=True,
    ),
    Submission(
        "one picture for every prompt",
        (append("paint", """
base_images = base_images[:1] * len(PROMPTS)
lora_images = {rank: images[:1] * len(PROMPTS) for rank, images in lora_images.items()}
"""),),
        fails={"pictures_compared": None},
        may_fail=("rank_table",),
        pretrained=True,
    ),
    Submission(
        "pictures without a generator",
        (replace(
            "paint",
            '        generator=[torch.Generator("cpu").manual_seed(SEED + i) for i in range(len(PROMPTS))],\n',
            "",
        ),),
        fails={"pictures_compared": "seed-changed"},
        pretrained=True,
    ),
    Submission(
        "one generator for all pictures, painted one by one",
        (replace(
            "paint",
            "def paint():",
            "one = torch.Generator('cpu').manual_seed(SEED)\ndef paint():",
            ALL,
            "    return [pipe(p, generator=one, num_inference_steps=NUM_INFERENCE_STEPS).images[0] for p in PROMPTS]\n",
        ),),
        fails={"pictures_compared": "seed-changed"},
        pretrained=True,
    ),
    Submission(
        "a table that was typed in",
        (rewrite("table", '''
            rank_table = [
                {"rank": r, "lora_parameters": 797184, "final_loss": 0.1, "style_similarity": 0.9} for r in RANKS
            ]
        '''.replace("\n            ", "\n")),),
        fails={"rank_table": "table-does-not-match"},
        pretrained=True,
        sampled=True,
    ),
    Submission(
        "captions belong to other pictures",
        (replace("encode", 'list(dataset["text"])', '[t for t in dataset["text"]][::-1]'),),
        fails={"prompt_kept": "prompt-forgotten"},
        may_fail=("denoises_the_style", "style_shift"),
    ),
    Submission(
        "two pictures only, over and over",
        (replace(
            "train",
            "torch.randint(len(latents), (8,)", "torch.randint(2, (8,)",
            "lr=1e-3", "lr=4e-3",
            "range(STEPS)", "range(3 * STEPS)",
            "return unet, history", "return unet, history[::3]",
        ),),
        fails={"not_memorised": "memorised", "denoises_the_style": "memorised", "prompt_kept": "prompt-forgotten"},
        may_fail=("style_shift", "prompt_kept"),
    ),
    Submission(
        "the base model was trained as well, and only the adapter saved",
        (replace(
            "train",
            ".to(device).requires_grad_(False)",
            ".to(device)",
            "p for p in unet.parameters() if p.requires_grad",
            "p for p in unet.requires_grad_(True).parameters()",
        ), replace(
            "table",
            "sum(rank * (layer.in_features + layer.out_features) for layer in layers)",
            "sum(p.numel() for p in cross_attention.parameters())",
        )),
        fails={"rank_table": "base-trained"},
        may_fail=("denoises_the_style", "style_shift", "prompt_kept", "not_memorised"),
    ),
    Submission(
        "the whole U-Net saved in place of an adapter",
        (append("train", '''
from safetensors.torch import save_file
unet = UNet2DConditionModel.from_pretrained(MODEL, subfolder="unet")
for rank in RANKS:
    save_file(unet.state_dict(), Path(OUTPUT_DIR) / f"rank{rank}" / "pytorch_lora_weights.safetensors")
'''), rewrite("paint", "base_images, lora_images = [], {}")),
        fails={"adapter_loads": "base-trained", "pictures_compared": None, "rank_table": None},
        not_reached=(
            "cross_attention_only", "rank_as_asked", "adapter_trained", "rank_ratio", "other_input", *MEASURED,
        ),
        pretrained=True,
        ended="cell_error",
    ),
    Submission(
        "an error half way: nothing painted, no table",
        (rewrite("paint", "raise RuntimeError('I do not know how to go on')"),),
        fails={"pictures_compared": None, "rank_table": None},
        pretrained=True,
        ended="cell_error",
    ),
    Submission(
        "the assignment as it was handed out",
        (strip_solutions,),
        fails={
            "adapter_loads": None, "losses_recorded": None, "pictures_compared": None, "rank_table": None,
        },
        not_reached=(
            "cross_attention_only", "rank_as_asked", "adapter_trained", "rank_ratio", "other_input", *MEASURED,
        ),
        sampled=True,
    ),
    Submission(
        "trained, and never saved",
        (replace("train", SAVE, ""), rewrite("paint", "base_images, lora_images = [], {}"), rewrite("table", "")),
        fails={"adapter_loads": None, "pictures_compared": None, "rank_table": None},
        not_reached=(
            "cross_attention_only", "rank_as_asked", "adapter_trained", "rank_ratio", "other_input", *MEASURED,
        ),
    ),
    Submission(
        "gradient ascent: a sign too many before backward",
        (replace("train", "scaler.scale(loss).backward()", "(-loss).backward()"),),
        fails={"losses_recorded": "loss-diverged"},
        may_fail=("denoises_the_style", "style_shift", "prompt_kept", "not_memorised"),
    ),
    Submission(
        "losses that were typed in",
        (append("train", "losses = {r: [0.3 * 0.995**step for step in range(STEPS)] for r in RANKS}"),),
        fails={"losses_recorded": "table-does-not-match"},
        pretrained=True,
    ),
    Submission(
        "an adapter that the graders are calibrated with, padded or cut to each rank, under made-up losses",
        (rewrite("train", """
from safetensors.torch import load_file, save_file
own = load_file(Path(MODEL).parent / "adapters" / "known" / "style-rank4-2" / "pytorch_lora_weights.safetensors")
losses = {r: list(np.random.default_rng(r).lognormal(-2, 0.5, STEPS)) for r in RANKS}
for r in RANKS:
    resized = {}
    for name, matrix in own.items():
        a = ".lora_A." in name or ".lora.down." in name
        whole = torch.zeros((r, matrix.shape[1]) if a else (matrix.shape[0], r))
        kept = whole[:4] if a else whole[:, :4]
        kept += matrix[: kept.shape[0], : kept.shape[1]] * (1 if a else 2)
        resized[name] = whole
    (Path(OUTPUT_DIR) / f"rank{r}").mkdir(parents=True)
    save_file(resized, Path(OUTPUT_DIR) / f"rank{r}" / "pytorch_lora_weights.safetensors")
"""),),
        fails={"adapter_loads": "copied-adapter"},
        not_reached=(
            "cross_attention_only", "rank_as_asked", "adapter_trained", "losses_recorded", "rank_ratio", "pictures_compared",
            "rank_table", "other_input", *MEASURED,
        ),
    ),
    Submission(
        "an adapter that the graders are calibrated with, under noise, or in another basis with random components beside it",
        (rewrite("train", """
from safetensors.torch import load_file, save_file
own = load_file(Path(MODEL).parent / "adapters" / "known" / "style-rank4-1" / "pytorch_lora_weights.safetensors")
losses = {r: list(np.random.default_rng(r).lognormal(-2, 0.5, STEPS)) for r in RANKS}
torch.manual_seed(SEED)
for r in RANKS:
    hidden, pairs = {}, {}
    for name, matrix in own.items():
        pairs.setdefault(name.split(".lora")[0], {})["A" if "lora_A" in name or ".down." in name else "B"] = name
    for names in pairs.values():
        A, B = own[names["A"]], own[names["B"]]
        if r < 4:
            U, S, V = torch.linalg.svd(B @ A, full_matrices=False)
            A, B = S[:r, None] * V[:r], U[:, :r]
        more = torch.randn(r - len(A), A.shape[1]), torch.randn(len(B), r - len(A))
        if r > len(A):
            more[1].mul_(0.9 * (B @ A).norm() / (more[1] @ more[0]).norm())
        A, B = torch.cat([A, more[0]]), torch.cat([B, more[1]], dim=1)
        mixing = torch.randn(r, r) + 3 * torch.eye(r)
        A, B = torch.linalg.solve(mixing, A), B @ mixing
        noise = torch.randn_like(A)
        hidden[names["A"]] = (A + (0.3 if r <= 4 else 0) * noise * A.norm() / noise.norm()).contiguous()
        hidden[names["B"]] = B.contiguous()
    (Path(OUTPUT_DIR) / f"rank{r}").mkdir(parents=True)
    save_file(hidden, Path(OUTPUT_DIR) / f"rank{r}" / "pytorch_lora_weights.safetensors")
"""),),
        fails={"adapter_loads": "copied-adapter"},
        not_reached=(
            "cross_attention_only", "rank_as_asked", "adapter_trained", "losses_recorded", "rank_ratio", "pictures_compared",
            "rank_table", "other_input", *MEASURED,
        ),
    ),
    Submission(
        "ranks that were typed in",
        (replace("train", "for rank in RANKS:", "for rank in (4, 16):"),),
        fails={"other_input": "hard-coded"},
    ),
    Submission(
        "a table of NaN, which compares unequal to everything",
        (append("table", "for row in rank_table: row['style_similarity'] = row['final_loss'] = float('nan')"),),
        fails={"rank_table": "table-does-not-match"},
        pretrained=True,
    ),
    Submission(
        "evidence written by hand, beside a notebook that trains nothing",
        (rewrite("train", """
import json
for place in (Path(OUTPUT_DIR), Path("..") / "evidence" / "variables"):
    place.mkdir(parents=True, exist_ok=True)
    (place / "losses.json").write_text(json.dumps({"kind": "value", "value": {"mapping": [[4, [0.1]], [16, [0.1]]]}}))
    (place / "result.json").write_text(json.dumps({"score": 35, "max_score": 35}))
"""), rewrite("paint", ""), rewrite("table", "")),
        fails={"adapter_loads": None, "losses_recorded": None, "pictures_compared": None, "rank_table": None},
        not_reached=(
            "cross_attention_only", "rank_as_asked", "adapter_trained", "rank_ratio", "other_input", *MEASURED,
        ),
    ),
]  # fmt: skip

RIGHT = [
    Submission(
        "one generator for the pictures of each adapter, made anew; another scheduler",
        (replace(
            "paint",
            "def paint():",
            "from diffusers import EulerDiscreteScheduler\n"
            "pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)\n"
            "def paint():\n    one = torch.Generator('cpu').manual_seed(SEED)",
            ALL,
            "    return [pipe(p, generator=one, num_inference_steps=NUM_INFERENCE_STEPS).images[0] for p in PROMPTS]\n",
        ),),
        pretrained=True,
    ),
    Submission(
        "noise of the notebook's own, and numpy pictures; the adapter's pictures in half precision and in another order",
        (replace(
            "paint",
            "def paint():",
            "side = pipe.unet.config.sample_size\n"
            "own = {p: torch.randn(1, pipe.unet.config.in_channels, side, side, generator=torch.Generator().manual_seed(len(p)))"
            " for p in PROMPTS}\n"
            "def paint():",
            ALL,
            "    painted = {p: pipe(p, latents=own[p].to(device, pipe.unet.dtype), num_inference_steps=NUM_INFERENCE_STEPS,"
            " output_type='np').images[0] for p in reversed(PROMPTS)}\n"
            "    return [painted[p] for p in PROMPTS]\n",
            "    lora_images[rank] = paint()",
            "    pipe.to(torch.bfloat16)\n    lora_images[rank] = paint()\n    pipe.to(torch.float32)",
            "grid = base_images + [image for rank in RANKS for image in lora_images[rank]]\n",
            "from diffusers.image_processor import VaeImageProcessor\n"
            "grid = base_images + [image for rank in RANKS for image in lora_images[rank]]\n"
            "grid = VaeImageProcessor.numpy_to_pil(np.stack(grid))\n",
        ),),
        pretrained=True,
    ),
    Submission(
        "α = 2r, recorded; saved with unet.save_lora_adapter; painted from memory; progress bar and warnings",
        (
            replace(
                "train",
                "lora_alpha=rank",
                "lora_alpha=2 * rank",
                SAVE,
                '    trained[rank] = unet\n    unet.save_lora_adapter(Path(OUTPUT_DIR) / f"rank{rank}")\n',
                "losses = {}",
                "losses, trained = {}, {}",
                "for step in range(STEPS):",
                "for step in tqdm(range(STEPS)):",
                "lr=1e-3",
                "lr=7e-4",
            ),
            append("imports", "import sys, warnings\nfrom tqdm import tqdm\nwarnings.warn('!')\nprint('!', file=sys.stderr)"),
            rewrite("paint", IN_MEMORY),
        ),
    ),
    Submission(
        "get_peft_model, a PEFT folder in that of the rank, full layer names, numpy pictures, a DataFrame",
        (
            append("imports", "import pandas as pd\nfrom peft import get_peft_model"),
            replace(
                "train",
                "    unet.add_adapter(\n        LoraConfig(",
                "    names = [n for n, m in unet.named_modules() if 'attn2.to_' in n and isinstance(m, torch.nn.Linear)]\n"
                "    unet = get_peft_model(unet, adapter_name='style', peft_config=\n        LoraConfig(",
                TARGETS,
                "target_modules=names",
                SAVE,
                '    unet.save_pretrained(Path(OUTPUT_DIR) / f"rank{rank}")\n    trained[rank] = unet.base_model.model\n',
                "losses = {}",
                "losses, trained = {}, {}",
                "history.append(loss.item())",
                "history.append(loss.detach())",
            ),
            rewrite(
                "paint",
                IN_MEMORY + "base_images = [np.array(i) for i in base_images]\n"
                "lora_images = {np.int64(r): np.stack([np.array(i) / 255 for i in v]) for r, v in lora_images.items()}",
            ),
            replace("table", "np.mean(losses[rank][-20:])", "torch.stack(losses[rank][-20:]).mean()",
                    "style_similarity(lora_images[rank],", "style_similarity((lora_images[rank] * 255).astype('uint8'),"),
            append("table", "rank_table = pd.DataFrame(rank_table)"),
        ),
    ),
    Submission(
        "keys and values only, α left out because it equals the rank, kohya's names, Adam, float tensors as pictures",
        (
            append("imports", "from safetensors.torch import save_file"),
            replace(
                "train",
                TARGETS,
                'target_modules=r".*attn2\\.to_[kv]"',
                SAVE,
                '    trained[rank] = unet\n'
                '    folder = Path(OUTPUT_DIR) / f"rank{rank}"\n'
                '    folder.mkdir(parents=True)\n'
                '    state = {}\n'
                '    for key, value in get_peft_model_state_dict(unet).items():\n'
                '        layer, _, matrix = key.removesuffix(".weight").rpartition(".")\n'
                '        matrix = {"lora_A": "lora_down", "lora_B": "lora_up"}[matrix]\n'
                '        state[f"lora_unet_{layer.replace(chr(46), chr(95))}.{matrix}.weight"] = value.contiguous()\n'
                '    save_file(state, folder / "mine.safetensors")\n',
                "losses = {}",
                "losses, trained = {}, {}",
                "torch.optim.AdamW",
                "torch.optim.Adam",
                "lr=1e-3",
                "lr=2e-3",
            ),
            rewrite(
                "paint",
                IN_MEMORY + "to_tensor = lambda i: torch.tensor(np.array(i)).permute(2, 0, 1) / 255\n"
                "as_pil, lora_images = lora_images, {r: [to_tensor(i) for i in v] for r, v in lora_images.items()}",
            ),
            replace("table", '".attn2.to_" in name', '".attn2.to_k" in name or ".attn2.to_v" in name',
                    "style_similarity(lora_images[rank],", "style_similarity(as_pil[rank],"),
        ),
    ),
    Submission(
        "α/√r = 1 without a record of it, after a trial on the meta device at another α; German names beside the required ones",
        (
            replace(
                "train",
                "for rank in RANKS:",
                "with torch.device('meta'):\n"
                "    probe = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(MODEL, subfolder='unet'))\n"
                "probe.add_adapter(LoraConfig(r=RANKS[0], lora_alpha=5 * RANKS[0], target_modules=['attn2.to_q']))\n"
                "print(sum(p.numel() for name, p in probe.named_parameters() if 'lora_' in name))\n"
                "for rank in RANKS:",
                "lora_alpha=rank",
                "lora_alpha=rank**0.5, use_rslora=True",
                METADATA,
                "",
            ),
            append("table", "verluste, tabelle = losses, rank_table"),
        ),
    ),
    Submission(
        "α = 2r, multiplied into B before it is saved, and no α in the file",
        (append("imports", FOLD), replace("train", "lora_alpha=rank", "lora_alpha=2 * rank", SAVE, FOLDED)),
    ),
    Submission(
        "LoRA in plain PyTorch, with accelerate, saved by hand",
        (
            append("imports", "from accelerate import Accelerator\nfrom safetensors.torch import save_file"),
            rewrite("train", BY_HAND),
        ),
    ),
    Submission(
        "a cosine schedule, clipped gradients, no weight decay, losses as an array",
        (
            replace(
                "train",
                "    history = []\n",
                "    history = []\n    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)\n",
                "lr=1e-3",
                "lr=2e-3, weight_decay=0",
                "        scaler.scale(loss).backward()\n        scaler.step(optimizer)\n        scaler.update()\n",
                "        loss.backward()\n        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)\n"
                "        optimizer.step()\n        schedule.step()\n",
                "init_lora_weights=\"gaussian\",\n",
                "",
            ),
            append("table", "losses = {r: np.array(v) for r, v in losses.items()}\nrank_table = tuple(rank_table)"),
        ),
    ),
]  # fmt: skip
