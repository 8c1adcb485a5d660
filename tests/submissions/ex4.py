"""Hand-ins for exercise 4: wrong in different ways, and right in others.

As long as there are hand-ins, an entry each.
"""

from graders.harness.zoo import Submission, append, replace, rewrite, strip_solutions

SET = "pipe.set_adapters(list(ADAPTERS), [style, subject])"
GENERATOR = 'generator=torch.Generator("cpu").manual_seed(SEED),'
NAMES = "list(ADAPTERS), [0.7, 0.4])"
SCALED = "weight * (layer.lora_alpha[name] / layer.r[name]) * (B @ A)"
COMBINED_WEIGHT = """
layer = pipe.unet.get_submodule(LAYER)
W = layer.base_layer.weight.detach().clone()
def delta(name):
    scale = layer.lora_alpha[name] / layer.r[name]
    return scale * layer.lora_B[name].weight.detach() @ layer.lora_A[name].weight.detach()
"""


def weight(expression):
    """The weight cell, with another expression in the end."""
    return rewrite("weight", f"{COMBINED_WEIGHT}combined_weight = {expression}")


PICTURES = ("base", "alone", "blends")
NOTHING = (*PICTURES, "same_noise", "strength")


def pictures(*failing, named=None, strength=True):
    """The checks of pictures that fail, each with the same misconception."""
    return dict.fromkeys(failing, named) | ({"strength": None} if strength else {})


WRONG = [
    # --- the second adapter replaces the first ---
    Submission(
        "the two adapters set one after the other",
        (replace("paint", SET, 'pipe.set_adapters("style", style); pipe.set_adapters("subject", subject)'),),
        fails=pictures("alone", "blends", named="second-adapter-replaced-first"),
        sampled=True,
    ),
    Submission(
        "both adapters loaded without names and never set",
        (replace("load", ", adapter_name=name", ""), replace("paint", SET, "pass"), replace(
            "weight", '("style", 0.7), ("subject", 0.4)', '("default_0", 0.7), ("default_1", 0.4)',
            f"pipe.set_adapters({NAMES}", "pipe.set_adapters(['default_0', 'default_1'], [0.7, 0.4])",
        )),
        fails=pictures(*PICTURES, named="second-adapter-replaced-first"),
    ),
    # --- what was set before stays ---
    Submission(
        "only the adapters of a cell are set, and none for the base",
        (replace("paint", SET, """names = [n for n, w in zip(ADAPTERS, (style, subject)) if w]
    if names:
        pipe.set_adapters(names, [w for w in (style, subject) if w])"""),),
        fails={"base": "adapters-left-over"},
        may_fail=("strength",),
    ),
    Submission(
        "a weight of 0 is not passed on",
        (replace("paint", SET, "at = {**at, **{n: w for n, w in zip(ADAPTERS, (style, subject)) if w}}\n"
                 "    pipe.set_adapters(list(at), list(at.values()))", "images = {}", "images, at = {}, {}"),),
        fails={"base": "adapters-left-over", "alone": "adapters-left-over"},
        may_fail=("strength",),
    ),
    # --- weights ---
    Submission(
        "weights swapped",
        (replace("paint", "[style, subject])", "[subject, style])"),),
        fails=pictures("alone", "blends", named="weights-swapped"),
    ),
    Submission(
        "the weights are never passed on",
        (replace("paint", SET, "pipe.set_adapters(list(ADAPTERS))"),),
        fails=pictures(*PICTURES, named="weights-ignored"),
    ),
    Submission(
        "the right adapters, always in full",
        (replace("paint", SET, """names = [n for n, w in zip(ADAPTERS, (style, subject)) if w]
    pipe.enable_lora() if names else pipe.disable_lora()
    if names:
        pipe.set_adapters(names)"""),),
        fails={"blends": "weights-ignored", "other_input": "weights-ignored"},
        may_fail=("strength",),
    ),
    Submission(
        "the subject is never set",
        (replace("paint", SET, 'pipe.set_adapters(["style"], [style])'),),
        fails=pictures("alone", "blends", named="one-adapter-only"),
    ),
    Submission(
        "the mean of two changes in place of their sum",
        (replace("paint", SET, "n = (2 if style and subject else 1)\n"
                 "    pipe.set_adapters(list(ADAPTERS), [style / n, subject / n])"), weight(
            'W + (delta("style") + delta("subject")) / 2')),
        fails=pictures("blends", named="deltas-averaged") | {"combined_weight": "deltas-averaged"},
    ),
    Submission(
        "the files read as plain state dicts, so that their metadata is lost",
        (append("imports", "from safetensors.torch import load_file"), replace(
            "load", "load_lora_weights(folder,",
            'load_lora_weights(load_file(folder + "/pytorch_lora_weights.safetensors"),')),
        fails=pictures("alone", "blends", named="alpha-over-rank-missing") | {
            "combined_weight": "alpha-over-rank-missing"},
        may_fail=("strength",),
    ),
    Submission(
        "a weight for each kind of block, and none for the mid block",
        (replace("paint", "[style, subject])", '[{"unet": {"down": w, "mid": 0.0, "up": w}} for w in (style, subject)])'),),
        fails={"blends": "mid-block-missing"},
        may_fail=("alone", "strength", "other_input"),
    ),
    Submission(
        "a weight for each kind of block in the blends, and the mid block left out, where it then is in full",
        (replace("paint", "[style, subject])", '[{"unet": {"down": w, "up": w}} if style and subject else w '
                 'for w in (style, subject)])'),),
        fails={"blends": "mid-block-missing"},
        may_fail=("strength", "other_input"),
    ),
    # --- merging ---
    Submission(
        "fuse_lora for every cell and never unfuse_lora",
        (replace("paint", SET, f"{SET}\n    pipe.fuse_lora()"), append("paint", "pipe.unfuse_lora()")),
        fails=pictures(*PICTURES, named="fused-twice"),
        may_fail=("combined_weight",),
    ),
    Submission(
        "fused, unloaded, loaded again and fused on top of what is still there",
        (replace("paint", SET, f"""pipe.unload_lora_weights()
    for name, folder in ADAPTERS.items():
        pipe.load_lora_weights(folder, adapter_name=name)
    {SET}
    pipe.fuse_lora()"""), append("paint", "pipe.unfuse_lora()")),
        fails=pictures(*PICTURES, named="fused-twice") | {"combined_weight": None},
    ),
    # --- noise ---
    Submission(
        "one generator for all pictures",
        (replace("paint", "images = {}", 'images, generator = {}, torch.Generator("cpu").manual_seed(SEED)',
                 GENERATOR, "generator=generator,"),),
        fails=dict.fromkeys((*PICTURES, "same_noise"), "seed-changed"),
        may_fail=("strength",),
    ),
    Submission(
        "a new seed for every picture",
        (replace("paint", "images = {}", "images, count = {}, iter(range(1000))", "manual_seed(SEED)",
                 "manual_seed(SEED + next(count))"),),
        fails=dict.fromkeys((*PICTURES, "same_noise"), "seed-changed"),
        may_fail=("strength",),
    ),
    Submission(
        "no generator at all",
        (replace("paint", GENERATOR, ""),),
        fails=dict.fromkeys((*PICTURES, "same_noise"), "seed-changed"),
        may_fail=("strength",),
    ),
    Submission(
        "a seed for each prompt",
        (replace("paint", "manual_seed(SEED)", "manual_seed(SEED + PROMPTS.index(prompt))"),),
        fails={"same_noise": "seed-changed"},
    ),
    Submission(
        "one generator for the prompts of a cell",
        (replace("paint", SET, f'{SET}\n    generator = torch.Generator("cpu").manual_seed(SEED)',
                 GENERATOR, "generator=generator,"),),
        fails={"same_noise": "seed-changed"},
    ),
    Submission(
        "another seed than SEED, typed in",
        (replace("paint", "manual_seed(SEED)", "manual_seed(42)"),),
        fails={"same_noise": "seed-changed"},
    ),
    # --- other ways to other pictures ---
    Submission(
        "the guidance scale left at its default",
        (replace("paint", "            guidance_scale=GUIDANCE_SCALE,\n", ""),),
        fails=dict.fromkeys(PICTURES),
        may_fail=("strength",),
    ),
    Submission(
        "another scheduler in the pipeline",
        (append("imports", "from diffusers import EulerDiscreteScheduler"),
         append("load", "pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)")),
        fails={"alone": None, "blends": None},
        may_fail=("base", "strength", "other_input"),  # the base model's pictures are nearly the same with it
    ),
    Submission(
        "the same scheduler with other settings",
        (append("load", "pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, solver_order=1, "
                "timestep_spacing='linspace')"),),
        fails={"alone": None, "blends": None},
        may_fail=("base", "strength", "other_input"),
    ),
    Submission(
        "a negative prompt",
        (replace("paint", GENERATOR, f"{GENERATOR} negative_prompt='a grey blob',"),),
        fails=dict.fromkeys(PICTURES),
        may_fail=("strength",),
    ),
    Submission(
        "the pictures of the first cell in every cell",
        (append("paint", "images = dict.fromkeys(images, images[GRID[0]])"),),
        fails=pictures(*PICTURES, named="weights-ignored"),
        may_fail=("alone",),
    ),
    Submission(
        "the weights of the first cell, set once before the loop",
        (replace("paint", SET, "pass", "images = {}", f"images = {{}}\n{SET.replace('[style, subject]', 'list(GRID[0])')}"),),
        fails=pictures(*PICTURES, named="weights-ignored"),
        may_fail=("alone",),
    ),
    Submission(
        "the base model's pictures pasted into every cell",
        (append("paint", "images = {cell: images[0.0, 0.0] for cell in images}"),),
        fails=pictures("alone", "blends", named="lora-never-applied"),
    ),
    Submission(
        "the prompts in another order",
        (replace("paint", "for prompt in PROMPTS", "for prompt in PROMPTS[::-1]"),),
        fails=dict.fromkeys(PICTURES),
        may_fail=("strength", "same_noise"),
    ),
    Submission(
        "a cell left out and another with one picture only",
        (append("paint", "images.pop((1.0, 1.0), None); images[0.0, 0.0] = images[0.0, 0.0][0]"),),
        fails={"grid_complete": None},
        not_reached=("base", "blends", "strength"),
    ),
    Submission(
        "the pictures resized to look at",
        (append("paint", "images = {cell: [p.resize((128, 128)) for p in row] for cell, row in images.items()}"),),
        fails={"grid_complete": None},
        not_reached=NOTHING,
    ),
    Submission(
        "a list of lists in place of a mapping",
        (append("paint", "images = list(images.values())"),),
        fails={"grid_complete": None},
        not_reached=NOTHING,
    ),
    Submission(
        "the cells of the notebook's own GRID typed in, and the layer",
        (replace("paint", "in GRID", "in [(0, 0), (1, 0), (0, 1), (1, 1), (0.7, 0.4), (0.8, 1), (1, 0.5)]"),
         replace("weight", "(LAYER)", '("mid_block.attentions.0.transformer_blocks.0.attn2.to_k")')),
        fails={"other_input": "hard-coded"},
        sampled=True,
    ),
    # --- the combined weight ---
    Submission(
        "α/r left out of the combined weight",
        (replace("weight", SCALED, "weight * (B @ A)"),),
        fails={"combined_weight": "alpha-over-rank-missing"},
    ),
    Submission(
        "the combined weight with the weights swapped",
        (weight('W + 0.4 * delta("style") + 0.7 * delta("subject")'),),
        fails={"combined_weight": "weights-swapped"},
    ),
    Submission(
        "the combined weight with both adapters in full",
        (weight('W + delta("style") + delta("subject")'),),
        fails={"combined_weight": "weights-ignored"},
    ),
    Submission(
        "the combined weight with one adapter",
        (weight('W + 0.4 * delta("subject")'),),
        fails={"combined_weight": "one-adapter-only"},
    ),
    Submission(
        "the change alone",
        (weight('0.7 * delta("style") + 0.4 * delta("subject")'),),
        fails={"combined_weight": None},
    ),
    Submission(
        "the transpose of the combined weight, as an array",
        (weight('(W + 0.7 * delta("style") + 0.4 * delta("subject")).T.cpu().numpy()'),),
        fails={"combined_weight": None},
    ),
    Submission(
        "PEFT's own change, weighted once more",
        (rewrite("weight", f"pipe.set_adapters({NAMES}\n" + COMBINED_WEIGHT + 'combined_weight = (W '
                 '+ 0.7 * layer.get_delta_weight("style") + 0.4 * layer.get_delta_weight("subject")).detach()'),),
        fails={"combined_weight": None},
    ),
    Submission(
        "PEFT's own change at the weights of the last cell",
        (rewrite("weight", COMBINED_WEIGHT + 'combined_weight = (W '
                 '+ layer.get_delta_weight("style") + layer.get_delta_weight("subject")).detach()'),),
        fails={"combined_weight": "adapters-left-over"},
    ),
    Submission(
        "nothing right but that there are pictures: weights swapped, one generator, the change alone at the last weights",
        (
            replace("paint", SET, SET.replace("[style, subject]", "[subject, style]"), GENERATOR, "generator=one,",
                    "images = {}", "images, one = {}, torch.Generator('cpu').manual_seed(SEED)"),
            rewrite("weight", COMBINED_WEIGHT + 'combined_weight = (0.7 * layer.get_delta_weight("style") '
                    '+ 0.4 * layer.get_delta_weight("subject")).detach()'),
        ),
        fails=pictures("base", "blends", "same_noise", named="seed-changed")
        | {"alone": "weights-swapped", "combined_weight": None},
        not_reached=("other_input",),
    ),
    Submission(
        "keys of `images` that are texts",
        (append("paint", "images = {f'{style}/{subject}': row for (style, subject), row in images.items()}"),),
        fails={"grid_complete": None},
        not_reached=NOTHING,
    ),
    Submission(
        "NaN everywhere, for who takes it as a wildcard",
        (append("weight", "combined_weight = combined_weight * float('nan')"), append(
            "paint", "images = {(float('nan'), float('nan')): row for row in images.values()}")),
        fails={"combined_weight": None, "grid_complete": None},
        not_reached=(*NOTHING, "other_input"),
    ),
    Submission(
        "the matrices of both adapters added up, and then multiplied",
        (rewrite("weight", COMBINED_WEIGHT + """
grown = torch.nn.functional.pad
r = max(layer.r[name] for name in ADAPTERS)
at = {"style": 0.7, "subject": 0.4}
A = sum(grown(layer.lora_A[name].weight, (0, 0, 0, r - layer.r[name])) for name in ADAPTERS)
B = sum(w * layer.lora_alpha[name] / layer.r[name] * grown(layer.lora_B[name].weight, (0, r - layer.r[name]))
        for name, w in at.items())
combined_weight = (W + B @ A).detach()
"""),),
        fails={"combined_weight": "cross-terms"},
    ),
    Submission(
        "the mean of both changes in the combined weight, each at its weight",
        (weight('W + (0.7 * delta("style") + 0.4 * delta("subject")) / 2'),),
        fails={"combined_weight": "deltas-averaged"},
    ),
    Submission(
        "numbers typed in",
        (append("weight", "combined_weight = torch.full((128, 96), 0.01)"),),
        fails={"combined_weight": None},
    ),
    # --- parameters set again ---
    Submission(
        "SEED set again where it is used, and the guidance scale as a whole number",
        (replace("paint", "images = {}", "images, SEED, GUIDANCE_SCALE = {}, 42, 4"),),
        fails={"other_input": "hard-coded"},
    ),
    Submission(
        "prompts of one's own",
        (append("imports", "PROMPTS = ['a sks cat on a yellow background', 'a sks cat on a green background']"),),
        fails={"other_input": "hard-coded"},
    ),
    Submission(
        "a grid of one's own, and another layer",
        (append("imports", "GRID = [[0, 0], [1, 0], [0, 1], [1, 1], [0.5, 0.5], [0.5, 1]]\n"
                "LAYER = 'up_blocks.2.attentions.1.transformer_blocks.0.attn2.to_v'"),),
        fails={"other_input": "hard-coded"},
    ),
    Submission(
        "prompts of one's own in which the subject is not named",
        (append("imports", "PROMPTS = ['a green tree on a blue background', 'a red boat on a green background',\n"
                "           'a cyan fish on a yellow background', 'a red boat on a blue background']"),),
        fails={"other_input": "hard-coded"},
    ),
    Submission(
        "a grid of the corners only",
        (append("imports", "GRID = [w for w in GRID if set(w) <= {0.0, 1.0}]"),),
        fails={"grid_complete": None, "other_input": "hard-coded"},
        not_reached=("strength", "blends"),
    ),
    Submission(
        "a layer that the adapters leave alone",
        (append("imports", "LAYER = 'mid_block.attentions.0.transformer_blocks.0.ff.net.2'"), rewrite(
            "weight", "combined_weight = pipe.unet.get_submodule(LAYER).weight")),
        fails={"combined_weight": None},
    ),
    Submission(
        "the adapters set again, each under the other's name",
        (append("imports", "ADAPTERS = {'style': ADAPTERS['subject'], 'subject': ADAPTERS['style']}"),),
        fails={"alone": None, "blends": None, "combined_weight": None},
        may_fail=("strength", "same_noise"),
    ),
    # --- cheats ---
    Submission(
        "objects that equal everything",
        (append("weight", """
class Anything(dict):
    def __eq__(self, other): return True
    def __hash__(self): return 0
    def __getitem__(self, key): return self
images = combined_weight = Anything()
"""),),
        fails={"grid_complete": None, "combined_weight": None},
        not_reached=(*NOTHING, "other_input"),
    ),
    Submission(
        "evidence written by hand, and every comparison patched",
        (append("weight", """
import json, pathlib
folder = pathlib.Path(OUTPUT_DIR) / "evidence" / "variables"
folder.mkdir(parents=True)
for name in ("images", "combined_weight"):
    (folder / f"{name}.json").write_text(json.dumps({"kind": "value", "value": True}))
    (folder.parent.parent / f"{name}.json").write_text(json.dumps({"score": 20}))
torch.equal = torch.allclose = torch.isclose = torch.Tensor.equal = torch.Tensor.allclose = lambda *a, **k: True
torch.Tensor.norm = lambda self, *a, **k: torch.zeros(())
combined_weight = torch.zeros_like(combined_weight)
assert torch.allclose(combined_weight, torch.ones(1))
del images
"""),),
        fails={"combined_weight": None},  # the pictures were painted, and are read before they are deleted
    ),
    # --- unfinished ---
    Submission(
        "an error half way through the grid",
        (replace("paint", SET, f"if (style, subject) == (0.7, 0.4): raise RuntimeError('what now?')\n    {SET}"),),
        fails={"combined_weight": None},
        not_reached=("grid_complete", *NOTHING, "other_input"),  # what a cell was filling when it stopped is not judged
        ended="cell_error",
    ),
    Submission(
        "the assignment as it was handed out",
        (strip_solutions,),
        fails={"grid_complete": None, "combined_weight": None},
        not_reached=(*NOTHING, "other_input"),
        sampled=True,
    ),
]  # fmt: skip

CELL = """
images = {}
for style, subject in GRID:
"""
ROW = """    images[style, subject] = [
        pipe(prompt, generator=torch.Generator("cpu").manual_seed(SEED), num_inference_steps=NUM_INFERENCE_STEPS,
             guidance_scale=GUIDANCE_SCALE).images[0] for prompt in PROMPTS
    ]
"""

RIGHT = [
    Submission(
        "parameters set again for an experiment after the last picture",
        (append("weight", """
for SEED in (1, 2):
    pipe("a sks cat", generator=torch.Generator().manual_seed(SEED), num_inference_steps=2)
PROMPTS, GRID, GUIDANCE_SCALE, LAYER = PROMPTS[:1], GRID[:1], 7.5, "conv_in"
"""),),
    ),
    Submission(
        "fuse_lora and unfuse_lora for each cell; the combined weight read from the fused layer, on a copy",
        (replace("paint", SET, f"{SET}\n    pipe.fuse_lora()", "for prompt in PROMPTS\n    ]",
                 "for prompt in PROMPTS\n    ]\n    pipe.unfuse_lora()"), rewrite("weight", f"""
pipe.set_adapters({NAMES}
pipe.fuse_lora()
combined_weight = pipe.unet.get_submodule(LAYER).base_layer.weight
""")),
    ),
    Submission(
        "a fresh pipeline for each cell, with only the adapters that it needs; integer keys; a float64 array",
        (rewrite("paint", CELL + """
    pipe = StableDiffusionPipeline.from_pretrained(MODEL, safety_checker=None).to(device)
    names = [name for name, weight in zip(ADAPTERS, (style, subject)) if weight]
    for name in names:
        pipe.load_lora_weights(ADAPTERS[name], adapter_name=name)
    if names:
        pipe.set_adapters(names, [weight for weight in (style, subject) if weight])
""" + ROW + """
images = {tuple(int(w) if w == int(w) else w for w in cell): tuple(row) for cell, row in images.items()}
pipe = StableDiffusionPipeline.from_pretrained(MODEL, safety_checker=None).to(device)
for name, folder in ADAPTERS.items():
    pipe.load_lora_weights(folder, adapter_name=name)
"""), append("weight", "combined_weight = combined_weight.cpu().double().numpy()")),
    ),
    Submission(
        "weights merged by hand from the files; pictures as arrays; no PEFT at all",
        (append("imports", "import json\nimport numpy as np\nfrom safetensors import safe_open"), rewrite("load", """
pipe = StableDiffusionPipeline.from_pretrained(MODEL, safety_checker=None).to(device)
pipe.set_progress_bar_config(disable=True)
deltas = {}
for name, folder in ADAPTERS.items():
    with safe_open(folder + "/pytorch_lora_weights.safetensors", "pt") as file:
        config = json.loads(file.metadata()["lora_adapter_metadata"])
        for key in file.keys():
            if key.endswith(".lora_A.weight"):
                A, B = file.get_tensor(key), file.get_tensor(key.replace("lora_A", "lora_B"))
                layer = key.removeprefix("unet.").removesuffix(".lora_A.weight")
                deltas[name, layer] = (B @ A * config["unet.lora_alpha"] / config["unet.r"]).to(device)
originals = {name: weight.clone() for name, weight in pipe.unet.state_dict().items()}
"""), rewrite("paint", CELL + """
    with torch.no_grad():
        pipe.unet.load_state_dict(originals)
        for (name, layer), delta in deltas.items():
            pipe.unet.get_submodule(layer).weight += {"style": style, "subject": subject}[name] * delta
    images[style + 1e-9, subject] = np.concatenate([
        pipe(prompt, generator=torch.Generator("cpu").manual_seed(SEED), num_inference_steps=NUM_INFERENCE_STEPS,
             guidance_scale=GUIDANCE_SCALE, output_type="np").images for prompt in PROMPTS
    ])
"""), rewrite("weight", """
combined_weight = originals[f"{LAYER}.weight"] + 0.4 * deltas["subject", LAYER] + 0.7 * deltas["style", LAYER]
""")),
    ),
    Submission(
        "all prompts in one call with a generator each; tensors; disabled for the base; 8 bits rounded down",
        (rewrite("paint", CELL + """
    if style == subject == 0:
        pipe.disable_lora()
    else:
        pipe.enable_lora()
        pipe.set_adapters(["subject", "style"], adapter_weights=[subject, style])
    output = pipe(PROMPTS, generator=[torch.Generator("cpu").manual_seed(SEED) for _ in PROMPTS], output_type="pt",
                  num_inference_steps=NUM_INFERENCE_STEPS, guidance_scale=GUIDANCE_SCALE).images
    images[style, subject] = (output * 255).to(torch.uint8)
pipe.enable_lora()
"""), rewrite("weight", f"""
pipe.set_adapters({NAMES}
layer = pipe.unet.get_submodule(LAYER)
combined_weight = layer.base_layer.weight + sum(layer.get_delta_weight(name) for name in ADAPTERS)
""")),
    ),
    Submission(
        "PEFT without the pipeline's help, the global seed, the call's own scale, extra cells, GRID back to front",
        (append("imports", "import numpy as np\nfrom diffusers import UNet2DConditionModel"), rewrite("load", """
unet = UNet2DConditionModel.from_pretrained(MODEL, subfolder="unet")
for name, folder in ADAPTERS.items():
    unet.load_lora_adapter(folder, adapter_name=name, prefix="unet",
                           weight_name="pytorch_lora_weights.safetensors")
pipe = StableDiffusionPipeline.from_pretrained(MODEL, unet=unet, safety_checker=None).to(device)
"""), rewrite("paint", """
images = {}
for style, subject in [*GRID, (0.25, 0.25)][::-1]:
    pipe.unet.set_adapters(["style", "subject"], [2 * style, 2 * subject])
    row = []
    for prompt in PROMPTS:
        torch.manual_seed(SEED)
        row += pipe(prompt, num_inference_steps=NUM_INFERENCE_STEPS, guidance_scale=GUIDANCE_SCALE,
                    generator=torch.default_generator, cross_attention_kwargs={"scale": 0.5}).images
    images[np.float64(style), np.float64(subject)] = row
"""), append("weight", "combined_weight.requires_grad_()")),
    ),
    Submission(
        "German names beside the required ones; both adapters as one of twice the rank for the combined weight",
        (append("paint", "bilder = images; gewichte = list(GRID)"), rewrite("weight", """
schicht = pipe.unet.get_submodule(LAYER)
stil, motiv = ((schicht.lora_alpha[name] / schicht.r[name], schicht.lora_A[name].weight, schicht.lora_B[name].weight)
               for name in ADAPTERS)
A = torch.cat([stil[1], motiv[1]])
B = torch.cat([0.7 * stil[0] * stil[2], 0.4 * motiv[0] * motiv[2]], dim=1)
combined_weight = gesamtgewicht = schicht.base_layer.weight + B @ A
""")),
    ),
    Submission(
        "loaded, fused and unfused for each cell; the combined weight found by asking the layer",
        (rewrite("paint", """
images = {}
for style, subject in GRID:
    pipe.unload_lora_weights()
    for name, folder in ADAPTERS.items():
        pipe.load_lora_weights(folder, adapter_name=name)
    pipe.set_adapters(list(ADAPTERS), [style, subject])
    pipe.fuse_lora(adapter_names=list(ADAPTERS))
""" + ROW + """    pipe.unfuse_lora()
""") , rewrite("weight", """
layer = pipe.unet.get_submodule(LAYER)
eye = torch.eye(layer.in_features, device=device)
pipe.set_adapters(list(ADAPTERS), [0.7, 0.4])
with torch.no_grad():
    bias = layer.base_layer.bias
    combined_weight = (layer(eye) - (0 if bias is None else bias)).T.contiguous()
""")),
    ),
    Submission(
        "loaded and unloaded for each cell; a progress bar, a warning and stderr; the weight in half precision",
        (append("imports", "import sys, warnings\nwarnings.warn('!')\nprint('!', file=sys.stderr)"), replace(
            "load", "pipe.set_progress_bar_config(disable=True)\n", ""), rewrite("paint", CELL + """
    pipe.unload_lora_weights()
    for name, folder in ADAPTERS.items():
        pipe.load_lora_weights(folder, adapter_name=name)
    pipe.set_adapters(list(ADAPTERS), [style, subject])
""" + ROW), append("weight", "combined_weight = combined_weight.half()")),
    ),
]  # fmt: skip
