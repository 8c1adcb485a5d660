"""Hand-ins for exercise 2: wrong in different ways, and right in others.

As long as there are hand-ins, an entry each.
"""

from nbformat import NotebookNode

from graders.harness.zoo import Change, Submission, append, cell, replace, rewrite, strip_solutions

TARGETS = 'target_modules=["attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0"]'
LOSS = "F.mse_loss(noise_pred, noise)"
CLOSED_FORM = "alpha_bar.sqrt() * z_0 + (1 - alpha_bar).sqrt() * noise"
ADAPTER = f"""unet.add_adapter(
    LoraConfig(
        r=RANK,
        lora_alpha=RANK,
        init_lora_weights="gaussian",
        {TARGETS},
    )
)
"""
NOTHING = """
class Anything:
    def __eq__(self, other):
        return True

    def __getattr__(self, name):
        return self

    def __call__(self, *arguments, **named):
        return self


z_0 = noise = z_t = text_embeddings = noise_pred = loss = unet = optimizer = Anything()
"""
# What is left to decide where none of the variables is there.
MISSING = ("latent_encoded", "noise", "forward_process", "text_embeddings", "lora_layers", "optimizer_holds_lora")
MISSING += ("prediction", "loss")
BEYOND = ("latent_scaled", "encoders_frozen", "rank_as_asked", "base_frozen", "base_untouched", "loss_in_graph")
BEYOND += ("gradients", "gradients_recomputed", "adapter_moved", "other_input")


def target(modules: str) -> Change:
    """Another choice of layers."""
    return replace("adapter", TARGETS, f"target_modules={modules}")


def look(source: str = "") -> Change:
    """In place of the last cell, which prints the gradients as the reference solution has them."""
    return rewrite("look", source or "pass")


LATENTS = [
    Submission(
        "the scaling factor left out",
        (replace("latent", "latent_dist.mean * vae.config.scaling_factor", "latent_dist.mean"),),
        fails={"latent_scaled": "scaling-factor-missing"},
        sampled=True,
    ),
    Submission(
        "divided by the scaling factor, in a sample of the distribution",
        (replace("latent", "latent_dist.mean * vae", "latent_dist.sample() / vae"),),
        fails={"latent_scaled": "scaling-factor-missing"},
    ),
    Submission(
        "the scaling factor of Stable Diffusion 1.5 typed in",
        (replace("latent", "vae.config.scaling_factor", "0.18215"),),
        fails={"latent_scaled": None},
    ),
    Submission(
        "pixels in [0, 1]",
        (replace("latent", " / 127.5 - 1", " / 255"),),
        fails={"latent_encoded": "image-not-normalised"},
    ),
    Submission(
        "pixels in [0, 255], and no scaling factor",
        (replace("latent", " / 127.5 - 1", "", " * vae.config.scaling_factor", ""),),
        fails={"latent_encoded": "image-not-normalised", "latent_scaled": "scaling-factor-missing"},
    ),
    Submission(
        "colours moved to the front by reshape",
        (replace("latent", ".permute(2, 0, 1)[None]", ".reshape(1, 3, *image.size)"),),
        fails={"latent_encoded": None},
        not_reached=("latent_scaled",),
    ),
    Submission(
        "the picture at another size",
        (replace("latent", "np.array(image)", "np.array(image.resize((128, 128)))"),),
        fails={"latent_encoded": None},
    ),
    Submission(
        "the VAE is neither frozen nor without a graph",
        (replace("latent", "vae.requires_grad_(False)", "vae.train()", "with torch.no_grad():", "if True:"),),
        fails={"encoders_frozen": "vae-or-text-encoder-unfrozen"},
    ),
    Submission(
        "the text encoder trains as well, and is in the optimizer",
        (
            replace("caption", "text_encoder.requires_grad_(False)", "kept = text_encoder", "with torch.no_grad():", "if True:"),
            replace("adapter", "AdamW(lora_parameters", "AdamW(lora_parameters + list(kept.parameters())"),
        ),
        fails={
            "encoders_frozen": "vae-or-text-encoder-unfrozen",
            "optimizer_holds_lora": "vae-or-text-encoder-unfrozen",
        },
    ),
]  # fmt: skip

FORWARD = [
    Submission(
        "ᾱ not square-rooted",
        (replace("forward", CLOSED_FORM, "alpha_bar * z_0 + (1 - alpha_bar) * noise"),),
        fails={"forward_process": "alpha-bar-not-square-rooted"},
    ),
    Submission(
        "noise added without weights",
        (replace("forward", CLOSED_FORM, "z_0 + noise"),),
        fails={"forward_process": "forward-process-wrong"},
    ),
    Submission(
        "noise taken away in place of added",
        (replace("forward", CLOSED_FORM, "alpha_bar.sqrt() * z_0 - (1 - alpha_bar).sqrt() * noise"),),
        fails={"forward_process": "forward-process-wrong"},
    ),
    Submission(
        "add_noise of a solver's scheduler, which counts its timesteps from the other end",
        (
            append("imports", "from diffusers import DPMSolverMultistepScheduler"),
            replace("forward", CLOSED_FORM, "DPMSolverMultistepScheduler.from_pretrained(MODEL, subfolder='scheduler')"
                    ".add_noise(z_0, noise, torch.tensor([TIMESTEP]))"),
        ),
        fails={"forward_process": "forward-process-wrong"},
    ),
    Submission(
        "one timestep too far",
        (replace("forward", "alphas_cumprod[TIMESTEP]", "alphas_cumprod[TIMESTEP + 1]"),),
        fails={"forward_process": "forward-process-wrong"},
    ),
    Submission(
        "α of one step in place of ᾱ",
        (replace("forward", "alphas_cumprod[TIMESTEP]", "alphas[TIMESTEP]"),),
        fails={"forward_process": "forward-process-wrong"},
    ),
    Submission(
        "noise drawn anew for the loss",
        (append("forward", "noise = torch.randn_like(z_0)"),),
        fails={"forward_process": "forward-process-wrong"},
    ),
    Submission(
        "uniform noise",
        (replace("forward", "torch.randn_like(z_0)", "torch.rand_like(z_0)"),),
        fails={"noise": None},
    ),
    Submission(
        "no noise at all",
        (replace("forward", "torch.randn_like(z_0)", "torch.zeros_like(z_0)"),),
        fails={"noise": None},
    ),
    Submission(
        "a timestep typed in",
        (append("imports", "TIMESTEP = 320"),),
        fails={"other_input": "forward-process-wrong"},
    ),
    Submission(
        "a picture typed in",
        (replace("latent", "Image.open(IMAGE)", 'Image.open(IMAGE.rpartition("watercolor")[0] + "watercolor/train/004.png")'),),
        fails={"other_input": "hard-coded"},
    ),
]  # fmt: skip

CAPTIONS = [
    Submission(
        "an empty caption",
        (replace("caption", "tokenizer(CAPTION,", 'tokenizer("",'),),
        fails={"text_embeddings": "caption-ignored"},
    ),
    Submission(
        "the caption of another picture",
        (replace("caption", "tokenizer(CAPTION,", 'tokenizer("a cyan star on the right on a green background",'),),
        fails={"text_embeddings": "caption-ignored"},
    ),
    Submission(
        "the pooled output in place of the last hidden state",
        (replace("caption", ".last_hidden_state", ".pooler_output[:, None]"),),
        fails={"text_embeddings": None},
    ),
    Submission(
        "the last hidden state but one",
        (replace("caption", "text_encoder(tokens).last_hidden_state",
                 "text_encoder(tokens, output_hidden_states=True).hidden_states[-2]"),),
        fails={"text_embeddings": None},
    ),
    Submission(
        "half of the caption",
        (replace("caption", 'padding="max_length"', "max_length=6"),),
        fails={"text_embeddings": None},
    ),
    Submission(
        "the embeddings never reach the U-Net",
        (replace("step", "unet(z_t, TIMESTEP, text_embeddings)", "unet(z_t, TIMESTEP, torch.zeros_like(text_embeddings))"),),
        fails={"prediction": "caption-ignored"},
        not_reached=("gradients", "gradients_recomputed", "adapter_moved"),
    ),
    Submission(
        "the U-Net is given an empty caption",
        (
            append("caption", "keep = CLIPTextModel.from_pretrained(MODEL, subfolder='text_encoder').to(device)\n"
                   "ids = tokenizer('', padding='max_length', return_tensors='pt').input_ids.to(device)\n"
                   "with torch.no_grad():\n    nothing = keep(ids).last_hidden_state"),
            replace("step", "TIMESTEP, text_embeddings", "TIMESTEP, nothing"),
        ),
        fails={"prediction": "caption-ignored"},
    ),
    Submission(
        "embeddings of zeros, in the variable and in the U-Net",
        (append("caption", "text_embeddings = torch.zeros_like(text_embeddings)"),),
        fails={"text_embeddings": "caption-ignored"},
        not_reached=("gradients", "gradients_recomputed", "adapter_moved"),
    ),
    Submission(
        "the U-Net is told another timestep",
        (replace("step", "unet(z_t, TIMESTEP,", "unet(z_t, 0,"),),
        fails={"prediction": None},
    ),
    Submission(
        "the U-Net is given the latent without noise",
        (replace("step", "unet(z_t,", "unet(z_0,"),),
        fails={"prediction": None},
    ),
]  # fmt: skip

ADAPTERS = [
    Submission(
        "LoRA on self-attention as well",
        (target('["to_q", "to_k", "to_v", "to_out.0"]'),),
        fails={"lora_layers": "self-attention-targeted"},
    ),
    Submission(
        "LoRA where a language model has it: self-attention's queries and values",
        (target('["attn1.to_q", "attn1.to_v"]'),),
        fails={"lora_layers": "self-attention-targeted"},
    ),
    Submission(
        "LoRA on every layer",
        (target('r".*\\.(to_[qkv]|to_out\\.0|conv1|conv2|proj_in|proj_out|net\\.2|linear_1|time_emb_proj)"'),),
        fails={"lora_layers": "every-layer-targeted"},
    ),
    Submission(
        "LoRA on convolutions",
        (target('r".*\\.(conv1|conv2)"'),),
        fails={"lora_layers": "convolution-targeted"},
    ),
    Submission(
        "queries, keys and values only",
        (target('["attn2.to_q", "attn2.to_k", "attn2.to_v"]'),),
        fails={"lora_layers": "output-projection-missing"},
    ),
    Submission(
        "queries and values only",
        (target('["attn2.to_q", "attn2.to_v"]'),),
        fails={"lora_layers": None},
    ),
    Submission(
        "LoRA with learnt magnitudes",
        (replace("adapter", "r=RANK,", "r=RANK, use_dora=True,"),),
        fails={"lora_layers": None},
        may_fail=("prediction", "gradients_recomputed"),
    ),
    Submission(
        "rank 16 whatever was asked for",
        (replace("adapter", "r=RANK,", "r=16,"), look()),
        fails={"rank_as_asked": "rank-ignored"},
    ),
    Submission(
        "rank 4 typed in, which is right once",
        (replace("adapter", "r=RANK,", "r=4,"),),
        fails={"other_input": "rank-ignored"},
    ),
    Submission(
        "the base model trains, too",
        (replace("adapter", "lora_parameters = [", "unet.requires_grad_(True)\nlora_parameters = ["),),
        fails={"base_frozen": "base-unfrozen"},
        not_reached=("base_untouched", "optimizer_holds_lora"),
        sampled=True,
    ),
    Submission(
        "the base model has gradients, but only the adapter is in the optimizer",
        (append("adapter", "unet.requires_grad_(True)"),),
        fails={"base_frozen": "base-unfrozen"},
    ),
    Submission(
        "all of the U-Net in the optimizer, frozen or not",
        (replace("adapter", "AdamW(lora_parameters", "AdamW(unet.parameters()"),),
        fails={"optimizer_holds_lora": "optimizer-holds-base"},
    ),
    Submission(
        "only the B's in the optimizer",
        (replace("adapter", "AdamW(lora_parameters", 'AdamW([p for n, p in unet.named_parameters() if "lora_B" in n]'),),
        fails={"optimizer_holds_lora": None},
    ),
    Submission(
        "an optimizer for a U-Net that was loaded again afterwards",
        (
            append("adapter", "\nunet = UNet2DConditionModel.from_pretrained(MODEL, subfolder='unet').to(device)\n"
                   "unet.requires_grad_(False)\n" + ADAPTER),
        ),
        fails={"optimizer_holds_lora": None},
        not_reached=("adapter_moved",),
    ),
    Submission(
        "frozen after the adapter was added",
        (replace("adapter", "unet.requires_grad_(False)\n", "", "lora_parameters = [",
                 "unet.requires_grad_(False)\nlora_parameters = ["),),
        fails={"lora_layers": None, "optimizer_holds_lora": None, "prediction": None, "loss": None},
        not_reached=("loss_in_graph", "gradients", "gradients_recomputed", "adapter_moved"),
        ended="cell_error",
    ),
    Submission(
        "no adapter: the base model itself is trained",
        (replace("adapter", "unet.requires_grad_(False)\n" + ADAPTER, ""), look()),
        fails={"lora_layers": None, "base_frozen": "base-unfrozen"},
        not_reached=("rank_as_asked", "base_untouched", "optimizer_holds_lora", "gradients", "gradients_recomputed",
                     "adapter_moved"),
    ),
    Submission(
        "B does not start at zero",
        (replace("adapter", 'init_lora_weights="gaussian"', "init_lora_weights=False"),),
        fails={"prediction": None},
        not_reached=("gradients", "gradients_recomputed", "adapter_moved"),
    ),
    Submission(
        "another module under the U-Net's name",
        (append("step", "unet = torch.nn.Sequential()"), look()),
        fails={"lora_layers": None, "base_frozen": None, "base_untouched": None},
        not_reached=("rank_as_asked", "optimizer_holds_lora", "gradients", "gradients_recomputed", "adapter_moved"),
    ),
    Submission(
        "one number of one large frozen weight is another",
        (append("step", "with torch.no_grad(): unet.mid_block.resnets[0].conv1.weight[0, 0, 0, 0] += 1e-3"), look()),
        fails={"base_untouched": None},
    ),
    Submission(
        "the adapter merged into the weights after the step",
        (append("step", "unet.fuse_lora()"), look()),
        fails={"base_untouched": None},
    ),
]  # fmt: skip

STEPS = [
    Submission(
        "cross-entropy over the channels, with the noise as probabilities",
        (replace("step", LOSS, "F.cross_entropy(noise_pred, noise.softmax(1))"),),
        fails={"loss": "token-cross-entropy"},
        sampled=True,
    ),
    Submission(
        "cross-entropy with the largest number as the next token",
        (replace("step", LOSS, "F.cross_entropy(noise_pred.flatten(2).transpose(1, 2)[0], noise.flatten(2)[0].argmax(0))"),),
        fails={"loss": "token-cross-entropy"},
    ),
    Submission(
        "cross-entropy with the caption's tokens",
        (
            append("caption", "tokens = tokens[0, : len(tokenizer(CAPTION).input_ids)]"),
            replace("step", LOSS, "F.cross_entropy(noise_pred.reshape(1, -1).expand(len(tokens), -1), tokens)"),
        ),
        fails={"loss": "token-cross-entropy"},
    ),
    Submission(
        "the image that the prediction leads to, compared with the latent",
        (replace("step", LOSS, "F.mse_loss((z_t - (1 - alpha_bar).sqrt() * noise_pred) / alpha_bar.sqrt(), z_0)"),),
        fails={"loss": "predicts-image"},
    ),
    Submission(
        "the decoded prediction compared with the picture",
        (
            replace("latent", "vae.requires_grad_(False)", "vae.requires_grad_(False)\nkept = vae"),
            replace("step", LOSS, "F.mse_loss(kept.decode(noise_pred / kept.config.scaling_factor).sample, pixels)"),
        ),
        fails={"loss": "predicts-image"},
    ),
    Submission(
        "z_0 as the target",
        (replace("step", LOSS, "F.mse_loss(noise_pred, z_0)"),),
        fails={"loss": "target-is-latent"},
    ),
    Submission(
        "z_t as the target",
        (replace("step", LOSS, "F.mse_loss(noise_pred, z_t)"),),
        fails={"loss": "target-is-latent"},
    ),
    Submission(
        "the velocity as the target",
        (replace("step", LOSS, "F.mse_loss(noise_pred, alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * z_0)"),),
        fails={"loss": None},
    ),
    Submission(
        "the sum of the squared errors",
        (replace("step", LOSS, 'F.mse_loss(noise_pred, noise, reduction="sum")'),),
        fails={"loss": None},
    ),
    Submission(
        "a weight before the mean",
        (replace("step", LOSS, "3.7 * " + LOSS),),
        fails={"loss": None},
    ),
    Submission(
        "divided for four micro-steps, of which this is one",
        (replace("step", LOSS, LOSS + " / 4"),),
        fails={"loss": None},
    ),
    Submission(
        "four micro-steps with the same picture and noise, each a quarter of the loss",
        (replace("step", "noise_pred = unet", "for _ in range(4):\n    noise_pred = unet", "\nloss =", "\n    loss =",
                 LOSS, LOSS + " / 4", "\nloss.backward()", "\n    loss.backward()"),),
        fails={"loss": None},
    ),
    Submission(
        "four micro-steps with noise of their own",
        (replace("step", "noise_pred = unet", "for _ in range(4):\n    noise = torch.randn_like(z_0)\n"
                 f"    z_t = {CLOSED_FORM}\n    noise_pred = unet", "\nloss =", "\n    loss =",
                 "\nloss.backward()", "\n    loss.backward()"),),
        fails={"gradients_recomputed": None},
    ),
    Submission(
        "something added to the loss that nothing can be learned from",
        (replace("step", LOSS, LOSS + " + 1e-2 * z_0.square().sum().sqrt()"),),
        fails={"loss": None},
    ),
    Submission(
        "half of the distance to z_0",
        (replace("step", LOSS, "0.5 * F.mse_loss(noise_pred, z_0)"),),
        fails={"loss": "target-is-latent"},
    ),
    Submission(
        "a loss that grows as the prediction gets better",
        (replace("step", LOSS, "-" + LOSS),),
        fails={"loss": None},
    ),
    Submission(
        "loss scaling that is not taken out again",
        (replace("step", "loss.backward()", "scaler = torch.amp.GradScaler(device)\nscaler.scale(loss).backward()"),),
        fails={"gradients_recomputed": None},
    ),
    Submission(
        "the scaled loss handed in, and loss scaling that is taken out again",
        (replace("step", "loss.backward()", "scaler = torch.amp.GradScaler(device)\nloss = scaler.scale(loss)\nloss.backward()",
                 "optimizer.step()", "scaler.step(optimizer)"),),
        fails={"loss": None},
    ),
    Submission(
        "a schedule whose warm-up begins at a learning rate of 0",
        (
            append("adapter", "schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 100))"),
            append("step", "schedule.step()"),
        ),
        fails={"adapter_moved": None},
        sampled=True,
    ),
    Submission(
        "one micro-step of accelerate's, which waits for three more",
        (
            append("adapter", "from accelerate import Accelerator\naccelerator = Accelerator(gradient_accumulation_steps=4)\n"
                   "unet, optimizer = accelerator.prepare(unet, optimizer)"),
            replace("step", "noise_pred = unet", "with accelerator.accumulate(unet):\n    noise_pred = unet",
                    "\nloss =", "\n    loss =", "\nloss.backward()\noptimizer.step()",
                    "\n    accelerator.backward(loss)\n    optimizer.step()"),
        ),
        fails={"adapter_moved": None},
    ),
    Submission(
        "a loss for every number",
        (replace("step", LOSS, 'F.mse_loss(noise_pred, noise, reduction="none")', "loss.backward()", "loss.mean().backward()",
                 "loss.item()", "loss.mean().item()"),),
        fails={"loss": None},
    ),
    Submission(
        "the loss as a Python number",
        (append("step", "loss = loss.item()"),),
        fails={"loss_in_graph": None},
    ),
    Submission(
        "the number of the loss in a list",
        (append("step", "loss = [loss.item()]"),),
        fails={"loss": None},
        not_reached=("loss_in_graph",),
    ),
    Submission(
        "the loss detached from its graph",
        (append("step", "loss = loss.detach()"),),
        fails={"loss_in_graph": None},
    ),
    Submission(
        "a loss that is NaN",
        (replace("step", LOSS, "F.mse_loss(noise_pred.sqrt(), noise)"),),
        fails={"loss": "loss-not-finite", "gradients": "loss-not-finite", "adapter_moved": "loss-not-finite"},
        not_reached=("gradients_recomputed",),
    ),
    Submission(
        "gradients cleared after the step",
        (append("step", "optimizer.zero_grad()"), look()),
        fails={"gradients": "gradients-cleared"},
        not_reached=("gradients_recomputed",),
    ),
    Submission(
        "gradients set to zero before the step",
        (replace("step", "optimizer.step()", "optimizer.zero_grad(set_to_none=False)\noptimizer.step()"), look()),
        fails={"gradients": "gradients-cleared"},
        not_reached=("gradients_recomputed", "adapter_moved"),
    ),
    Submission(
        "no backward",
        (replace("step", "loss.backward()\n", ""), look()),
        fails={"gradients": "no-backward"},
        not_reached=("gradients_recomputed", "adapter_moved"),
        sampled=True,
    ),
    Submission(
        "no step",
        (replace("step", "optimizer.step()\n", ""),),
        fails={"adapter_moved": "no-step"},
    ),
    Submission(
        "backward twice",
        (replace("step", "loss.backward()", "loss.backward(retain_graph=True)\nloss.backward()"),),
        fails={"gradients_recomputed": None},
    ),
    Submission(
        "two steps",
        (replace("step", "noise_pred = unet", "for _ in range(2):\n    noise_pred = unet", "\nloss =", "\n    loss =",
                 "\nloss.backward()\noptimizer.step()", "\n    loss.backward()\n    optimizer.step()"),),
        fails={"prediction": None},
        not_reached=("gradients", "gradients_recomputed", "adapter_moved"),
    ),
    Submission(
        "the adapter in float16, where Adam divides by zero",
        (
            append("forward", "z_t, text_embeddings = z_t.half(), text_embeddings.half()"),
            replace("adapter", 'subfolder="unet")', 'subfolder="unet", torch_dtype=torch.float16)'),
        ),
        fails={"adapter_moved": "loss-not-finite"},
        not_reached=("gradients_recomputed",),
    ),
    Submission(
        "a step uphill",
        (replace("adapter", "lr=1e-4", "lr=1e-4, maximize=True"),),
        fails={"adapter_moved": None},
    ),
]  # fmt: skip

KILL = "import os\nos._exit(1)"
UNFINISHED = [
    Submission(
        "killed in the cell of the step, after it",
        (append("step", KILL),),
        not_reached=("prediction", "loss", "loss_in_graph", "gradients", "gradients_recomputed", "adapter_moved"),
        ended="kernel_died",
        sampled=True,
    ),
    Submission(
        "an error between the loss and backward",
        (replace("step", "loss.backward()", "1 / 0\nloss.backward()"),),
        not_reached=("gradients", "gradients_recomputed", "adapter_moved"),
        ended="cell_error",
    ),
    Submission(
        "an error between backward and the step",
        (replace("step", "optimizer.step()", "1 / 0\noptimizer.step()"),),
        not_reached=("adapter_moved",),
        ended="cell_error",
    ),
    Submission(
        "TIMESTEP set again where it is used",
        (replace("forward", "alpha_bar = noise", "TIMESTEP = 321\nalpha_bar = noise"),),
        fails={"other_input": "forward-process-wrong"},
    ),
    Submission(
        "gradients cleared between backward and the step",
        (replace("step", "optimizer.step()", "optimizer.zero_grad()\noptimizer.step()"), look()),
        fails={"gradients": None},
        not_reached=("gradients_recomputed", "adapter_moved"),
    ),
    Submission(
        "an error where the U-Net is loaded",
        (replace("adapter", "unet = UNet2DConditionModel", "unet = UNet3DConditionModel"),),
        fails=dict.fromkeys(("lora_layers", "optimizer_holds_lora", "prediction", "loss")),
        not_reached=("rank_as_asked", "base_frozen", "base_untouched", "loss_in_graph", "gradients", "gradients_recomputed",
                     "adapter_moved"),
        ended="cell_error",
    ),
    Submission(
        "the assignment as it was handed out",
        (strip_solutions,),
        fails=dict.fromkeys(MISSING),
        not_reached=BEYOND,
        sampled=True,
    ),
]  # fmt: skip

CHEATS = [
    Submission(
        "an object that is equal to everything, in every variable",
        (strip_solutions, rewrite("look", NOTHING)),
        fails=dict.fromkeys(MISSING),
        not_reached=BEYOND,
    ),
    Submission(
        "NaN as a wildcard",
        (append("look", "z_0 = noise = z_t = noise_pred = torch.full_like(z_0, torch.nan)\nloss = loss * torch.nan"),),
        fails={**dict.fromkeys(("latent_encoded", "noise", "forward_process", "prediction")), "loss": "loss-not-finite"},
        not_reached=("latent_scaled", "gradients_recomputed"),
    ),
    Submission(
        "evidence written by hand",
        (strip_solutions, rewrite("look", '''
import json
from pathlib import Path
for folder in (Path(OUTPUT_DIR) / "evidence", Path(OUTPUT_DIR) / "evidence" / "variables"):
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("z_0", "noise", "z_t", "text_embeddings", "noise_pred", "loss", "unet", "optimizer"):
        (folder / f"{name}.json").write_text(json.dumps({"kind": "tensor", "passed": True, "score": 25}))
    (folder / "run.json").write_text(json.dumps({"score": 25}))
''')),
        fails=dict.fromkeys(MISSING),
        not_reached=BEYOND,
    ),
    Submission(
        "functions of torch patched, so that the notebook's own comparisons look right",
        (
            append("imports", "F.mse_loss = lambda a, b: ((a - z_0) ** 2).mean()\n"
                   "torch.allclose = torch.equal = lambda *arguments, **named: True"),
        ),
        fails={"loss": "target-is-latent"},
        sampled=True,
    ),
    Submission(
        "a configuration that says another rank than it uses",
        (
            append("imports", '''
Real = LoraConfig
def LoraConfig(r, **named):
    config = Real(r=2, **named)
    return config
'''),
            append("look", 'unet.peft_config["default"].r = RANK'),
        ),
        fails={"rank_as_asked": "rank-ignored"},
    ),
    Submission(
        "a loss that was written down, and B filled by hand",
        (replace("step", LOSS, "torch.tensor(0.2137, requires_grad=True)", "optimizer.step()",
                 "for n, p in unet.named_parameters():\n    if 'lora_B' in n:\n        p.data.normal_()"), look()),
        fails={"loss": None, "gradients": "gradients-cleared"},
        not_reached=("loss_in_graph", "gradients_recomputed"),
    ),
]  # fmt: skip

WRONG = [*LATENTS, *FORWARD, *CAPTIONS, *ADAPTERS, *STEPS, *UNFINISHED, *CHEATS]

WRAPPED = '''
class LoRALinear(torch.nn.Module):
    """W·x + (α/r)·B·A·x around a frozen layer."""

    def __init__(self, original, rank, alpha=8):
        super().__init__()
        self.original, self.scale = original, alpha / rank
        self.A = torch.nn.Parameter(torch.randn(rank, original.in_features) / rank)
        self.B = torch.nn.Parameter(torch.zeros(original.out_features, rank))

    def forward(self, x):
        return self.original(x) + self.scale * (x @ self.A.T @ self.B.T)


def adapt(model):
    for name, layer in list(model.named_modules()):
        if ".attn2.to_" in name and isinstance(layer, torch.nn.Linear):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, LoRALinear(layer, RANK).to(device))


adapt(unet)
'''

INHERITED = """
class Adapted(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x) + 2 * (x @ self.first @ self.second)


for name, layer in unet.named_modules():
    if ".attn2.to_" in name and isinstance(layer, torch.nn.Linear):
        layer.__class__ = Adapted
        layer.first = torch.nn.Parameter(torch.randn(layer.in_features, RANK, device=device) / 10)
        layer.second = torch.nn.Parameter(torch.zeros(RANK, layer.out_features, device=device))
"""

DOWN_AND_UP = """
class Detour(torch.nn.Module):
    def __init__(self, base, rank):
        super().__init__()
        self.base = base
        self.lora_down = torch.nn.Linear(base.in_features, rank, bias=False, device=device)
        self.lora_up = torch.nn.Linear(rank, base.out_features, bias=False, device=device)
        torch.nn.init.zeros_(self.lora_up.weight)

    def forward(self, x):
        return self.base(x) + self.lora_up(self.lora_down(x))


for block in [module for name, module in unet.named_modules() if name.endswith("attn2")]:
    for name in ("to_q", "to_k", "to_v"):
        setattr(block, name, Detour(getattr(block, name), RANK))
    block.to_out[0] = Detour(block.to_out[0], RANK)
"""

LION = '''
class Lion(torch.optim.Optimizer):
    """Signs of the gradient, and decoupled weight decay."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr, "weight_decay": 0.1})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * p.grad.sign())


optimizer = Lion(lora_parameters, lr=3e-4)
'''

HOOKED = """
def detour(layer, inputs, output):
    return output + 0.5 * (inputs[0] @ layer.lora_A.T) @ layer.lora_B.T


for name, layer in unet.named_modules():
    if ".attn2.to_" in name and isinstance(layer, torch.nn.Linear):
        layer.register_parameter("lora_A", torch.nn.Parameter(torch.randn(RANK, layer.in_features, device=device) / 8))
        layer.register_parameter("lora_B", torch.nn.Parameter(torch.zeros(layer.out_features, RANK, device=device)))
        layer.register_forward_hook(detour)
"""

PARAMETRIZED = """
class LowRank(torch.nn.Module):
    def __init__(self, rows: int, columns: int, rank: int) -> None:
        super().__init__()
        self.A = torch.nn.Parameter(torch.empty(rank, columns, device=device))
        self.B = torch.nn.Parameter(torch.zeros(rows, rank, device=device))
        torch.nn.init.kaiming_uniform_(self.A, a=5**0.5)

    def forward(self, W: torch.Tensor) -> torch.Tensor:
        return W + self.B @ self.A


for name, layer in list(unet.named_modules()):
    if ".attn2.to_" in name and isinstance(layer, torch.nn.Linear):
        low_rank = LowRank(layer.out_features, layer.in_features, RANK)
        torch.nn.utils.parametrize.register_parametrization(layer, "weight", low_rank)
"""


def in_one_cell(notebook: NotebookNode) -> None:
    """All that is computed in the last cell, and nothing in the others."""
    cells = [cell(notebook, name) for name in ("imports", "latent", "caption", "forward", "adapter", "step", "look")]
    cells[-1].source = "\n".join(each.source for each in cells)
    for each in cells[:-1]:
        each.source = ""


PEFT_MODEL = """
from peft import get_peft_model
names = [n for n, m in unet.named_modules() if ".attn2.to_" in n and isinstance(m, torch.nn.Linear)]
unet = get_peft_model(unet, LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=names))
unet.print_trainable_parameters()
"""

RIGHT = [
    Submission("an error after the step, in its cell", (append("step", "1 / 0"),), ended="cell_error"),
    Submission("killed after the step, in a cell of its own", (look(KILL),), ended="kernel_died"),
    Submission("the U-Net deleted at the end, and the optimizer's name used again", (look("optimizer = 'AdamW'\ndel unet"),)),
    Submission(
        "another working folder, a parameter that follows from another, outputs that no notebook can hold",
        (
            replace("parameters", 'OUTPUT_DIR = "output"', 'WIDTH = RANK * 2\nOUTPUT_DIR = "output"'),
            append("imports", 'import os\nos.chdir("/")\ndisplay({"text/plain": None}, raw=True)'),
            replace("adapter", "r=RANK", "r=WIDTH // 2"),
        ),
    ),
    Submission(
        "the latent and the noised latent drawn",
        (
            append("imports", "import matplotlib.pyplot as plt"),
            append("forward", "figure, axes = plt.subplots(1, 2)\nfor axis, latent in zip(axes, (z_0, z_t)):\n"
                   "    axis.imshow(latent[0, :3].permute(1, 2, 0).detach().cpu().clip(0, 1))\nplt.tight_layout()"),
        ),
    ),
    Submission(
        "get_peft_model with full names, α = 2r, a sample of the latent, SGD with momentum",
        (
            replace("latent", "latent_dist.mean", "latent_dist.sample()"),
            replace("adapter", ADAPTER, PEFT_MODEL, "AdamW(lora_parameters, lr=1e-4)",
                    "SGD(lora_parameters, lr=0.1, momentum=0.9)"),
        ),
        sampled=True,
    ),
    Submission(
        "LoRA as a module of one's own around a layer, Adam with weight decay, unpadded caption, arrays, squares by hand",
        (
            replace("caption", 'padding="max_length", ', ""),
            replace("adapter", ADAPTER, WRAPPED, "AdamW(lora_parameters, lr=1e-4)",
                    "Adam(lora_parameters, lr=1e-3, weight_decay=1e-2)"),
            replace("step", LOSS, "((noise_pred - noise) ** 2).mean()"),
            look("z_0, noise, z_t = z_0.numpy(), noise.numpy(), z_t.numpy()"),
        ),
    ),
    Submission(
        "LoRA inside the layers, A and B the other way round and under names of their own, RMSprop",
        (replace("adapter", ADAPTER, INHERITED, "AdamW(lora_parameters, lr=1e-4)", "RMSprop(lora_parameters, lr=1e-4)"), look()),
    ),
    Submission(
        "LoRA as two linear layers, down and up, NAdam",
        (replace("adapter", ADAPTER, DOWN_AND_UP, "AdamW(lora_parameters, lr=1e-4)", "NAdam(lora_parameters, lr=1e-3)"), look()),
    ),
    Submission(
        "a regular expression, add_noise, a timestep as a tensor, clipping, checkpointing, Adafactor, extra cells",
        (
            target('r".*attn2\\.(to_[qkv]|to_out\\.0)"'),
            replace("forward", CLOSED_FORM, "noise_scheduler.add_noise(z_0, noise, torch.tensor([TIMESTEP], device=device))"),
            append("adapter", "unet.train()\nunet.enable_gradient_checkpointing()"),
            replace("adapter", "AdamW(lora_parameters, lr=1e-4)", "Adafactor(lora_parameters, lr=1e-2)"),
            replace("step", "unet(z_t, TIMESTEP,", "unet(z_t, torch.tensor([TIMESTEP], device=device),",
                    "optimizer.step()", "torch.nn.utils.clip_grad_norm_(lora_parameters, 0.01)\noptimizer.step()"),
            lambda notebook: notebook.cells.append(type(notebook.cells[2])(notebook.cells[2], id="extra", source="1 + 1")),
        ),
    ),
    Submission(
        "everything in bfloat16",
        (
            append("forward", "z_0, noise, z_t = z_0.bfloat16(), noise.bfloat16(), z_t.bfloat16()"),
            append("caption", "text_embeddings = text_embeddings.bfloat16()"),
            replace("adapter", 'subfolder="unet")', 'subfolder="unet", torch_dtype=torch.bfloat16)'),
        ),
    ),
    Submission(
        "a U-Net in float16 under an adapter in float32, the prediction converted",
        (
            append("forward", "z_t = z_t.half()"),
            replace("adapter", 'subfolder="unet")', 'subfolder="unet", torch_dtype=torch.float16)',
                    "lora_parameters = [", "cast_training_params(unet)\nlora_parameters = ["),
            append("imports", "from diffusers.training_utils import cast_training_params"),
            replace("step", "text_embeddings).sample", "text_embeddings.half()).sample.float()"),
        ),
    ),
    Submission(
        "autocast to bfloat16",
        (
            replace("step", "noise_pred = unet(z_t, TIMESTEP, text_embeddings).sample",
                    "with torch.autocast(device, dtype=torch.bfloat16):\n"
                    "    noise_pred = unet(z_t, TIMESTEP, text_embeddings).sample",
                    LOSS, "F.mse_loss(noise_pred.float(), noise.float())"),
        ),
    ),
    Submission(
        "the pipeline's image processor, a mask for the padding, latents without a batch dimension, ᾱ by hand in float64",
        (
            replace(
                "latent",
                "torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].to(device).float() / 127.5 - 1",
                "VaeImageProcessor().preprocess(image).to(device)",
                "vae.requires_grad_(False)\n", "",
                "vae.config.scaling_factor", "vae.config.scaling_factor\nz_0 = z_0[0]",
            ),
            append("imports", "from diffusers.image_processor import VaeImageProcessor"),
            replace(
                "caption",
                "tokens = tokenizer(", "inputs = tokenizer(",
                ".input_ids.to(device)", ".to(device)",
                "text_encoder(tokens).last_hidden_state", "text_encoder(**inputs)[0]",
            ),
            replace(
                "forward",
                "alpha_bar = noise_scheduler.alphas_cumprod[TIMESTEP].to(device)",
                "c = noise_scheduler.config\n"
                "ends = c.beta_start ** 0.5, c.beta_end ** 0.5\n"
                "betas = torch.linspace(*ends, c.num_train_timesteps, dtype=torch.float64) ** 2\n"
                "alpha_bar = torch.cumprod(1 - betas, 0)[TIMESTEP]",
            ),
            replace("step", "unet(z_t, TIMESTEP,", "unet(z_t[None].float(), TIMESTEP,",
                    LOSS, "F.mse_loss(noise_pred, noise[None])"),
        ),
    ),
    Submission(
        "add_adapter does the freezing, latents detached, dropout, rank-stabilised α, the loss as one element",
        (
            replace("latent", "vae.requires_grad_(False)\n", "", "with torch.no_grad():", "if True:",
                    "vae.config.scaling_factor", "vae.config.scaling_factor\nz_0 = z_0.detach()"),
            replace("adapter", "unet.requires_grad_(False)\n", "", "r=RANK,", "r=RANK, lora_dropout=0.1, use_rslora=True,",
                    'init_lora_weights="gaussian"', "init_lora_weights=True"),
            append("step", "loss = loss[None]"),
        ),
    ),
    Submission(
        "an optimizer of one's own, everything in functions",
        (
            replace("adapter", "optimizer = torch.optim.AdamW(lora_parameters, lr=1e-4)\n", LION),
            rewrite("step", '''
def predict(model):
    return model(sample=z_t, timestep=TIMESTEP, encoder_hidden_states=text_embeddings, return_dict=False)[0]


def take_step(model):
    optimizer.zero_grad()
    predicted = predict(model)
    error = torch.nn.MSELoss()(predicted, noise)
    error.backward()
    optimizer.step()
    return predicted, error


noise_pred, loss = take_step(unet)
'''),
        ),
    ),
    Submission(
        "accelerate from beginning to end",
        (
            append("imports", "from accelerate import Accelerator\naccelerator = Accelerator(cpu=device == 'cpu')"),
            append("adapter", "unet, optimizer = accelerator.prepare(unet, optimizer)"),
            replace("step", "noise_pred = unet", "with accelerator.accumulate(unet):\n    noise_pred = unet",
                    "\nloss =", "\n    loss =", "\nloss.backward()\noptimizer.step()",
                    "\n    accelerator.backward(loss)\n    accelerator.clip_grad_norm_(lora_parameters, 1.0)\n"
                    "    optimizer.step()"),
        ),
        sampled=True,
    ),
    Submission(
        "everything in one cell, German names beside those that are asked for",
        (append("look", "bild, rauschen, verlust = image, noise, loss"), in_one_cell),
    ),
    Submission(
        "forward hooks that add the detour, parameters registered on the layers",
        (replace("adapter", ADAPTER, HOOKED), look()),
    ),
    Submission(
        "LoRA as a parametrization of the weights, with type hints; the norm of the error in place of its mean square",
        (
            replace("adapter", ADAPTER, PARAMETRIZED),
            replace("step", LOSS, "torch.dist(noise_pred, noise).square() / noise.numel()"),
            look(),
        ),
    ),
    Submission(
        "no backward: gradients asked for and set by hand, a larger learning rate for B, weights of one before the mean",
        (
            replace("adapter", "AdamW(lora_parameters, lr=1e-4)", "AdamW([\n"
                    "    {'params': [p for n, p in unet.named_parameters() if 'lora_A' in n], 'lr': 1e-4},\n"
                    "    {'params': [p for n, p in unet.named_parameters() if 'lora_B' in n], 'lr': 1.6e-3},\n])"),
            replace("step", LOSS, "(torch.ones_like(noise) * (noise_pred - noise) ** 2).mean((1, 2, 3)).mean()",
                    "loss.backward()", "for p, g in zip(lora_parameters, torch.autograd.grad(loss, lora_parameters)):\n"
                    "    p.grad = g"),
        ),
    ),
    Submission(
        "the parts of one pipeline, and its way with pictures and prompts",
        (
            append("imports", "from diffusers import StableDiffusionPipeline\n"
                   "pipe = StableDiffusionPipeline.from_pretrained(MODEL, safety_checker=None).to(device)\n"
                   "pipe.vae.requires_grad_(False)\npipe.text_encoder.requires_grad_(False)"),
            replace("latent", "vae.encode(pixels)", "pipe.vae.encode(pipe.image_processor.preprocess(image).to(device))"),
            replace("caption", "text_encoder(tokens).last_hidden_state",
                    "pipe.encode_prompt(CAPTION, device, 1, do_classifier_free_guidance=False)[0]"),
            replace("forward", CLOSED_FORM, "DDPMScheduler.from_config(pipe.scheduler.config)"
                    ".add_noise(z_0, noise, torch.tensor([TIMESTEP]))"),
            replace("adapter", 'UNet2DConditionModel.from_pretrained(MODEL, subfolder="unet").to(device)', "pipe.unet"),
        ),
    ),
    Submission(
        "gradients clipped number by number, a schedule after the step, loss scaling that is taken out again",
        (
            append("adapter", "schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1)"),
            replace("step", "loss.backward()", "scaler = torch.amp.GradScaler(device)\nscaler.scale(loss).backward()",
                    "optimizer.step()", "scaler.unscale_(optimizer)\n"
                    "torch.nn.utils.clip_grad_value_(lora_parameters, 1e-4)\nscaler.step(optimizer)\nscaler.update()\n"
                    "schedule.step()"),
        ),
    ),
    Submission(
        "gradients clipped layer by layer, an α of its own for every projection",
        (
            replace("adapter", "lora_alpha=RANK,", 'lora_alpha=RANK, alpha_pattern={"attn2.to_k": 3 * RANK},'),
            replace("step", "optimizer.step()", "for parameter in lora_parameters:\n"
                    "    torch.nn.utils.clip_grad_norm_(parameter, 1e-3)\noptimizer.step()"),
        ),
    ),
    Submission(
        "a generator for the noise, pixels divided by 128, the prediction detached after the step, warnings",
        (
            append("imports", "import sys, warnings\nwarnings.warn('!')\nprint('!', file=sys.stderr)"),
            replace("latent", "/ 127.5 - 1", "/ 128 - 1"),
            replace("forward", "torch.randn_like(z_0)",
                    "torch.randn(z_0.shape, generator=torch.Generator('cpu').manual_seed(SEED)).to(device)"),
            append("step", "noise_pred = noise_pred.detach().cpu()"),
            replace("adapter", "lr=1e-4", "lr=1e-4, weight_decay=0"),
        ),
    ),
]  # fmt: skip
