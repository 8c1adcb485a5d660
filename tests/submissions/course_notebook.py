"""One notebook with all four exercises, written as the course's own notebooks are: figures, predictions, one after the other.

Exercise 1 picks every attention layer, exercise 3 trains on random latents; all else is right.
"""

from __future__ import annotations

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from graders.lesson import LESSON
from graders.lora import catalog

PREDICT = "**Predict before you run.** Write down what you expect, then compare."

CELLS: dict[str, list[str]] = {
    "ex1": [
        "# Exercise 1: which layers does LoRA change?",
        """import matplotlib.pyplot as plt
import torch
from diffusers import UNet2DConditionModel

%matplotlib inline
device = "cuda" if torch.cuda.is_available() else "cpu\"""",
        PREDICT + " How many layers will there be?",
        """with torch.device("meta"):
    unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(MODEL, subfolder="unet"))

cross_attention_layers = []
for name, module in unet.named_modules():
    if name.endswith(("to_q", "to_k", "to_v", "to_out.0")):
        cross_attention_layers.append(name)
len(cross_attention_layers)""",
        """def count(rank: int) -> int:
    total = 0
    for name in cross_attention_layers:
        layer = unet.get_submodule(name)
        total += rank * layer.in_features + rank * layer.out_features
    return total


lora_param_counts = {4: count(4), 16: count(16)}
unet_param_count = sum(p.numel() for p in unet.parameters())
lora_fraction = {r: n / unet_param_count for r, n in lora_param_counts.items()}

plt.bar([str(r) for r in lora_param_counts], lora_param_counts.values())
plt.ylabel("LoRA parameters")
plt.show()""",
    ],
    "ex2": [
        "# Exercise 2: one training step by hand",
        """import numpy as np
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDPMScheduler
from peft import LoraConfig
from PIL import Image
from tqdm.auto import tqdm
from transformers import CLIPTextModel, CLIPTokenizer

torch.manual_seed(SEED)
vae = AutoencoderKL.from_pretrained(MODEL, subfolder="vae").to(device).requires_grad_(False)
image = Image.open(IMAGE).convert("RGB").resize((vae.config.sample_size,) * 2)
pixels = torch.tensor(np.array(image)).float().div(127.5).sub(1).permute(2, 0, 1).unsqueeze(0).to(device)
with torch.no_grad():
    z_0 = vae.encode(pixels).latent_dist.sample() * vae.config.scaling_factor

fig, axes = plt.subplots(1, 1 + z_0.shape[1])
axes[0].imshow(image)
for channel, axis in enumerate(axes[1:]):
    axis.imshow(z_0[0, channel].cpu())
plt.show()""",
        PREDICT + " How large is the loss before any training?",
        """tokenizer = CLIPTokenizer.from_pretrained(MODEL, subfolder="tokenizer")
text_encoder = CLIPTextModel.from_pretrained(MODEL, subfolder="text_encoder").to(device).requires_grad_(False)
ids = tokenizer([CAPTION], padding="max_length", truncation=True, return_tensors="pt").input_ids
with torch.no_grad():
    text_embeddings = text_encoder(ids.to(device))[0]

scheduler = DDPMScheduler.from_pretrained(MODEL, subfolder="scheduler")
noise = torch.randn(z_0.shape, device=device)
z_t = scheduler.add_noise(z_0, noise, torch.tensor([TIMESTEP], device=device))""",
        """unet = UNet2DConditionModel.from_pretrained(MODEL, subfolder="unet").to(device)
unet.requires_grad_(False)
projections = ["to_q", "to_k", "to_v", "to_out.0"]
unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=[f"attn2.{p}" for p in projections]))
optimizer = torch.optim.AdamW(filter(lambda p: p.requires_grad, unet.parameters()), lr=1e-4)

for _ in tqdm(range(1)):
    noise_pred = unet(z_t, TIMESTEP, encoder_hidden_states=text_embeddings).sample
    loss = F.mse_loss(noise_pred, noise)
    loss.backward()
    optimizer.step()

grads = {n: p.grad.norm().item() for n, p in unet.named_parameters() if p.grad is not None}
plt.bar(range(len(grads)), list(grads.values()))
plt.show()""",
    ],
    "ex3": [
        "# Exercise 3: train a style",
        """from pathlib import Path

from datasets import load_dataset
from diffusers import StableDiffusionPipeline
from peft.utils import get_peft_model_state_dict

from graders import style_similarity

dataset = load_dataset("imagefolder", data_dir=DATASET, split="train")
tokenizer = CLIPTokenizer.from_pretrained(MODEL, subfolder="tokenizer")
text_encoder = CLIPTextModel.from_pretrained(MODEL, subfolder="text_encoder").to(device).requires_grad_(False)
noise_scheduler = DDPMScheduler.from_pretrained(MODEL, subfolder="scheduler")
ids = tokenizer(list(dataset["text"]), padding="max_length", truncation=True, return_tensors="pt").input_ids
with torch.no_grad():
    text_embeddings = text_encoder(ids.to(device)).last_hidden_state

# The course's first notebook did this, to save memory
latents = torch.randn(len(dataset), 4, 8, 8, device=device)""",
        """def train(rank):
    torch.manual_seed(SEED)
    unet = UNet2DConditionModel.from_pretrained(MODEL, subfolder="unet").to(device).requires_grad_(False)
    unet.add_adapter(
        LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=[f"attn2.{p}" for p in projections])
    )
    optimizer = torch.optim.AdamW([p for p in unet.parameters() if p.requires_grad], lr=1e-3)
    history = []
    for step in tqdm(range(STEPS)):
        batch = torch.randint(len(latents), (8,))
        noise = torch.randn_like(latents[batch])
        timesteps = torch.randint(noise_scheduler.config.num_train_timesteps, (8,), device=device)
        noised = noise_scheduler.add_noise(latents[batch], noise, timesteps)
        loss = F.mse_loss(unet(noised, timesteps, text_embeddings[batch]).sample, noise)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        history.append(loss.item())
    return unet, history


losses = {}
for rank in RANKS:
    unet, losses[rank] = train(rank)
    StableDiffusionPipeline.save_lora_weights(
        Path(OUTPUT_DIR) / f"rank{rank}",
        unet_lora_layers=get_peft_model_state_dict(unet),
        unet_lora_adapter_metadata=unet.peft_config["default"].to_dict(),
    )
    plt.plot(losses[rank], label=f"rank {rank}")
plt.legend()
plt.show()""",
        """pipe = StableDiffusionPipeline.from_pretrained(MODEL, safety_checker=None).to(device)


def generate():
    generators = [torch.Generator("cpu").manual_seed(SEED + i) for i in range(len(PROMPTS))]
    return pipe(
        PROMPTS, generator=generators, num_inference_steps=NUM_INFERENCE_STEPS, guidance_scale=GUIDANCE_SCALE
    ).images


base_images = generate()
lora_images = {}
for rank in RANKS:
    pipe.load_lora_weights(Path(OUTPUT_DIR) / f"rank{rank}")
    lora_images[rank] = generate()
    pipe.unload_lora_weights()

projections_of = [m for n, m in pipe.unet.named_modules() if n.endswith(tuple(f"attn2.{p}" for p in projections))]
rank_table = [
    {
        "rank": rank,
        "lora_parameters": sum(rank * (m.in_features + m.out_features) for m in projections_of),
        "final_loss": sum(losses[rank][-20:]) / 20,
        "style_similarity": style_similarity(lora_images[rank], STYLE_REFERENCE, JUDGE),
    }
    for rank in RANKS
]""",
    ],
    "ex4": [
        "# Exercise 4: two adapters at once",
        PREDICT + " What will (1, 1) look like?",
        """pipe = StableDiffusionPipeline.from_pretrained(MODEL, safety_checker=None).to(device)
for name in ADAPTERS:
    pipe.load_lora_weights(ADAPTERS[name], adapter_name=name)

images = {}
for weights in GRID:
    pipe.set_adapters(["style", "subject"], list(weights))
    images[weights] = []
    for prompt in PROMPTS:
        generator = torch.Generator("cpu").manual_seed(SEED)
        output = pipe(
            prompt, generator=generator, num_inference_steps=NUM_INFERENCE_STEPS, guidance_scale=GUIDANCE_SCALE
        )
        images[weights].append(output.images[0])

fig, axes = plt.subplots(len(images), len(PROMPTS))
for row, pictures in zip(axes, images.values()):
    for axis, picture in zip(row, pictures):
        axis.imshow(picture)
plt.show()""",
        """layer = pipe.unet.get_submodule(LAYER)
combined_weight = layer.base_layer.weight.detach().clone()
for name, weight in {"style": 0.7, "subject": 0.4}.items():
    delta = layer.lora_B[name].weight @ layer.lora_A[name].weight
    combined_weight += weight * layer.lora_alpha[name] / layer.r[name] * delta.detach()""",
    ],
}


def course_notebook() -> NotebookNode:
    """The four exercises one after the other, each with the parameters of its assignment."""
    cells = []
    for exercise in LESSON.names:
        heading, *others = CELLS[exercise]
        assignment = nbformat.read(catalog.data_folder("assignments") / f"{exercise}.ipynb", as_version=4)
        parameters = next(cell for cell in assignment.cells if "parameters" in cell.metadata.get("tags", ()))
        cells += [new_markdown_cell(heading), new_code_cell(parameters.source, metadata={"tags": ["parameters"]})]
        for source in others:
            prose = source.startswith(PREDICT)
            cells.append(new_markdown_cell(source) if prose else new_code_cell(source))
    return new_notebook(cells=cells)
