"""Hand-ins for exercise 1: wrong in different ways, and right in others.

As long as there are hand-ins, an entry each.
"""

from graders.harness.zoo import Change, Submission, append, replace, rewrite, strip_solutions

LINEAR = "isinstance(module, torch.nn.Linear)"
WIDTHS = "rank * (layer.in_features + layer.out_features)"
DIVIDE = "count / unet_param_count"


def listing(condition: str, names: str = "unet.named_modules()") -> Change:
    """Another list of names: those of `named_modules()` that a condition on `name` and `module` holds for."""
    source = f"cross_attention_layers = [name for name, module in {names} if {condition}]"
    return rewrite("layers", f"Linear, Conv2d = torch.nn.Linear, torch.nn.Conv2d\n{source}")


def counting(per_layer: str) -> Change:
    """Another number of parameters for each `layer` at a `rank`."""
    return replace("count", WIDTHS, per_layer)


# The names that are right, whatever is done to the list afterwards.
RIGHT_NAMES = 'names = [n for n, m in unet.named_modules() if ".attn2." in n and isinstance(m, torch.nn.Linear)]\n'
# What a student sees on the screen is made to look right; what is handed in is not.
LIE = "import builtins\nbuiltins.print = lambda *_, **__: __import__('sys').stdout.write('64 layers, 397,824 parameters')\n"
SELF_ATTENTION = "self-attention-targeted"

WRONG = [
    # --- which layers
    Submission(
        "self-attention as well: every to_q, to_k, to_v, to_out.0",
        (listing('name.endswith(("to_q", "to_k", "to_v", "to_out.0"))'),),
        fails={"cross_attention_layers": SELF_ATTENTION},
        sampled=True,
    ),
    Submission(
        "self-attention instead",
        (listing('".attn1." in name and isinstance(module, Linear)'),),
        fails={"cross_attention_layers": SELF_ATTENTION},
    ),
    Submission(
        "self-attention on the list alone, and counted over another one",
        (
            listing('".attn1." in name and isinstance(module, Linear)'),
            rewrite("count", RIGHT_NAMES + "layers = [unet.get_submodule(n) for n in names]\n"
                    "lora_param_counts = {r: sum(r * (m.in_features + m.out_features) for m in layers) for r in (4, 16)}"),
        ),
        fails={"cross_attention_layers": SELF_ATTENTION},
    ),
    Submission(
        "convolutions only",
        (
            listing("isinstance(module, Conv2d)"),
            counting("rank * (layer.in_channels * layer.kernel_size[0] ** 2 + layer.out_channels)"),
        ),
        fails={"cross_attention_layers": "convolution-targeted"},
    ),
    Submission(
        "feed-forward layers beside cross-attention",
        (listing('(".attn2." in name or ".ff." in name) and isinstance(module, Linear)'),),
        fails={"cross_attention_layers": "feed-forward-targeted"},
    ),
    Submission(
        "every linear layer and every convolution",
        (
            listing("isinstance(module, (Linear, Conv2d))"),
            counting("rank * sum(layer.weight.shape)"),
        ),
        fails={"cross_attention_layers": "every-layer-targeted", "lora_param_counts": None},
        not_reached=("rank_ratio",),
    ),
    Submission(
        "every name in the U-Net",
        (rewrite("layers", "cross_attention_layers = [name for name, _ in unet.named_modules()]"),
         rewrite("count", "lora_param_counts = {4: 397824, 16: 1591296}")),
        fails={"cross_attention_layers": "every-layer-targeted", "other_input": "hard-coded"},
    ),
    Submission(
        "no output projections",
        (listing('".attn2.to_" in name and "to_out" not in name'),),
        fails={"cross_attention_layers": "output-projection-missing"},
    ),
    Submission(
        "W_Q and W_V alone, as for a language model",
        (listing('name.endswith(("attn2.to_q", "attn2.to_v"))'),),
        fails={"cross_attention_layers": "query-value-only"},
    ),
    Submission(
        "no mid block",
        (listing('".attn2." in name and isinstance(module, Linear) and "mid_block" not in name'),),
        fails={"cross_attention_layers": "mid-block-missing"},
    ),
    Submission(
        "32×32 and 16×16 only, as the lesson draws it",
        (replace(
            "layers",
            '".attn2." in name',
            'name.startswith(("down_blocks.1.", "down_blocks.2.", "up_blocks.1.", "up_blocks.2.")) and ".attn2." in name',
        ),),
        fails={"cross_attention_layers": "lesson-resolutions-only"},
        may_fail=("other_input",),
    ),
    Submission(
        "the way down only",
        (listing('".attn2." in name and isinstance(module, Linear) and "down" in name'),),
        fails={"cross_attention_layers": None},
    ),
    Submission(
        "to_out in place of to_out.0, and counted by to_out's entry",
        (
            listing('name.endswith(("attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out"))'),
            replace("count", "unet.get_submodule(name) for", 'unet.get_submodule(name.replace("to_out", "to_out.0")) for'),
        ),
        fails={"cross_attention_layers": "module-list-named"},
    ),
    Submission(
        "whatever has attn2 in its name",
        (
            listing('"attn2" in name'),
            replace("count", "for name in cross_attention_layers]", "for name in cross_attention_layers]\n"
                    "    layers = [layer for layer in layers if hasattr(layer, 'in_features')]"),
        ),
        fails={"cross_attention_layers": "module-list-named"},
    ),
    Submission(
        "the attention modules themselves",
        (rewrite("layers", "cross_attention_layers = [name for name, _ in unet.named_modules() if name.endswith('attn2')]"),
         replace("count", "[unet.get_submodule(name) for name in cross_attention_layers]",
                 "[unet.get_submodule(n) for n, m in unet.named_modules() if 'attn2' in n and hasattr(m, 'in_features')]")),
        fails={"cross_attention_layers": "module-list-named"},
    ),
    Submission(
        "names of weights",
        (
            rewrite("layers", "cross_attention_layers = [n for n, _ in unet.named_parameters() if '.attn2.' in n]"),
            rewrite("count", "weights = [unet.get_parameter(n) for n in cross_attention_layers if n.endswith('weight')]\n"
                    "lora_param_counts = {r: sum(r * sum(w.shape) for w in weights) for r in (4, 16)}"),
        ),
        fails={"cross_attention_layers": "parameters-not-modules"},
    ),
    Submission(
        "names of what lies inside an adapter, which is counted as well",
        (
            append("imports", "from peft import LoraConfig"),
            append("build", 'unet.add_adapter(LoraConfig(r=4, target_modules=["attn2.to_q", "attn2.to_k", '
                   '"attn2.to_v", "attn2.to_out.0"]))'),
            replace("layers", 'isinstance(module, torch.nn.Linear)', 'name.endswith("base_layer")'),
        ),
        fails={"cross_attention_layers": None, "unet_param_count": "adapter-counted"},
    ),
    Submission(
        "modules in place of their names",
        (append("count", "cross_attention_layers = [unet.get_submodule(name) for name in cross_attention_layers]"),),
        fails={"cross_attention_layers": None},
    ),
    Submission(
        "an empty list, and nothing counted over it",
        (listing('".attn3." in name'),),
        fails={"cross_attention_layers": None, "lora_param_counts": None, "lora_fraction": None},
        not_reached=("rank_ratio",),
    ),
    Submission(
        "each name twice, and so each layer counted twice",
        (append("layers", "cross_attention_layers = 2 * cross_attention_layers"),),
        fails={"cross_attention_layers": None},
    ),
    # --- how many parameters
    Submission("A alone", (counting("rank * layer.in_features"),), fails={"lora_param_counts": "only-a-counted"}),
    Submission("B alone", (counting("rank * layer.out_features"),), fails={"lora_param_counts": "only-b-counted"}),
    Submission(
        "keys and values as wide as queries",
        (counting("rank * 2 * layer.out_features"),),
        fails={"lora_param_counts": "square-key-value"},
    ),
    Submission(
        "biases, which A and B do not have",
        (counting("rank * (layer.in_features + layer.out_features) + rank + layer.out_features"),),
        fails={"lora_param_counts": "biases-counted"},
        not_reached=("rank_ratio",),
    ),
    Submission(
        "the frozen weights as well, since a LoRA layer holds them",
        (
            append("imports", "from copy import deepcopy\nfrom peft import LoraConfig"),
            rewrite("count", """
lora_param_counts = {}
for rank in (4, 16):
    adapted = deepcopy(unet)
    adapted.add_adapter(LoraConfig(r=rank, target_modules=cross_attention_layers))
    lora_param_counts[rank] = sum(p.numel() for name, p in adapted.named_parameters() if "attn2" in name)
"""),
        ),
        fails={"lora_param_counts": "base-weights-counted"},
        not_reached=("rank_ratio",),
    ),
    Submission(
        "the rank never arrives",
        (counting("4 * (layer.in_features + layer.out_features)"),),
        fails={"lora_param_counts": "rank-independent"},
        not_reached=("rank_ratio",),
    ),
    Submission(
        "both adapters at once",
        (rewrite("count", """
from peft import LoraConfig
lora_param_counts = {}
for rank in (4, 16):
    adapted = unet
    adapted.add_adapter(LoraConfig(r=rank, target_modules=cross_attention_layers), adapter_name=f"rank{rank}")
    lora_param_counts[rank] = sum(p.numel() for name, p in adapted.named_parameters() if "lora_" in name)
"""),),
        fails={"lora_param_counts": None, "unet_param_count": "adapter-counted"},
        not_reached=("rank_ratio",),
    ),
    Submission(
        "counts as text, NaN as a wildcard, and an answer that equals everything",
        (append("compare", """
class Anything(int):
    __eq__ = lambda self, other: True
    __hash__ = int.__hash__

lora_param_counts = {4: "397,824", 16: float("nan")}
unet_param_count = Anything(7)
lora_fraction = {4: float("nan"), 16: True}
"""),),
        fails={"lora_param_counts": None, "unet_param_count": None, "lora_fraction": None},
        not_reached=("rank_ratio",),
    ),
    Submission(
        "ranks as texts",
        (append("compare", "lora_param_counts = {str(r): n for r, n in lora_param_counts.items()}"),),
        fails={"lora_param_counts": None},
        not_reached=("rank_ratio",),
    ),
    Submission(
        "a formula of one's own, which nothing explains, and the fractions of what it gives",
        (counting("rank * (layer.in_features + layer.out_features) + 7"),),
        fails={"lora_param_counts": None},
        not_reached=("rank_ratio",),
    ),
    Submission(
        "every layer met twice",
        (replace("count", "for layer in layers)", "for layer in layers + layers)"),),
        fails={"lora_param_counts": None},
    ),
    Submission(
        "self-attention on the list, and A alone counted over it",
        (listing('".attn1." in name and isinstance(module, Linear)'), counting("rank * layer.in_features")),
        fails={"cross_attention_layers": SELF_ATTENTION, "lora_param_counts": "only-a-counted"},
    ),
    Submission(
        "rank × in × out, as if A and B were one matrix",
        (counting("rank * layer.in_features * layer.out_features"),),
        fails={"lora_param_counts": None},
    ),
    Submission(
        "numbers of about the right size, divided by each other",
        (rewrite("layers", "cross_attention_layers = ['down_blocks.0.attentions.0.transformer_blocks.0.attn2']"),
         rewrite("count", "lora_param_counts = {4: 300_000, 16: 1_200_000}"),
         replace("compare", "sum(parameter.numel() for parameter in unet.parameters())", "860_000_000")),
        fails={
            "cross_attention_layers": "module-list-named", "lora_param_counts": None, "unet_param_count": None,
            "lora_fraction": None,
        },
        not_reached=("rank_ratio", "other_input"),
    ),
    Submission(
        "counts in a Series without ranks",
        (
            append("imports", "import pandas as pd"),
            append("compare", "lora_param_counts = pd.Series(list(lora_param_counts.values()))"),
        ),
        fails={"lora_param_counts": None},
        not_reached=("rank_ratio",),
    ),
    Submission(
        "fractions per cent in a DataFrame, and formatted as texts",
        (
            append("imports", "import pandas as pd"),
            append("compare", "lora_fraction = pd.DataFrame({'rank': [4, 16], 'fraction': "
                   "[f'{100 * lora_fraction[rank]:.2f} %' for rank in (4, 16)]}).set_index('rank')"),
        ),
        fails={"lora_fraction": None},
    ),
    # --- the fraction
    Submission("per cent", (replace("compare", DIVIDE, "100 * " + DIVIDE),), fails={"lora_fraction": "percent-not-fraction"}),
    Submission(
        "per cent, rounded", (replace("compare", DIVIDE, f"round(100 * {DIVIDE}, 2)"),),
        fails={"lora_fraction": "percent-not-fraction"},
    ),
    Submission(
        "upside down", (replace("compare", DIVIDE, "unet_param_count / count"),), fails={"lora_fraction": None}
    ),
    Submission("rounded to nothing", (replace("compare", DIVIDE, f"round({DIVIDE}, 4)"),), fails={"lora_fraction": None}),
    Submission(
        "tensors counted, not what they hold",
        (replace("compare", "sum(parameter.numel() for parameter in unet.parameters())", "len(list(unet.parameters()))"),),
        fails={"unet_param_count": None},
    ),
    # --- not computed at all
    Submission(
        "everything typed in",
        (
            append("layers", "print(cross_attention_layers)"),
            append("compare", """
blocks = [f"down_blocks.{i}.attentions.{j}" for i in range(3) for j in range(2)] + ["mid_block.attentions.0"]
blocks += [f"up_blocks.{i}.attentions.{j}" for i in range(1, 4) for j in range(3)]
parts = ("to_q", "to_k", "to_v", "to_out.0")
cross_attention_layers = [f"{block}.transformer_blocks.0.attn2.{part}" for block in blocks for part in parts]
lora_param_counts = {4: 397824, 16: 1591296}
unet_param_count = 859520964
lora_fraction = {4: 397824 / 859520964, 16: 1591296 / 859520964}
"""),
        ),
        fails={"other_input": "hard-coded"},
        sampled=True,
    ),
    Submission(
        "the names typed in, the rest computed",
        (rewrite("layers", """
blocks = [f"down_blocks.{i}.attentions.{j}" for i in range(3) for j in range(2)] + ["mid_block.attentions.0"]
blocks += [f"up_blocks.{i}.attentions.{j}" for i in range(1, 4) for j in range(3)]
parts = ("to_q", "to_k", "to_v", "to_out.0")
cross_attention_layers = [f"{block}.transformer_blocks.0.attn2.{part}" for block in blocks for part in parts]
"""),),
        fails={"other_input": "hard-coded"},
    ),
    Submission(
        "the width of the text typed in",
        (counting('rank * ((768 if name.endswith(("to_k", "to_v")) else layer.out_features) + layer.out_features)'),
         replace("count", "for layer in layers)", "for name, layer in zip(cross_attention_layers, layers))")),
        fails={"other_input": "hard-coded"},
    ),
    Submission(
        "numbers out of thin air that go with each other",
        (append("compare", """
cross_attention_layers = ["attn2"]
lora_param_counts, unet_param_count, lora_fraction = {4: 1, 16: 4}, 10, {4: 0.1, 16: 0.4}
"""),),
        fails={
            "cross_attention_layers": None, "lora_param_counts": None, "unet_param_count": None, "lora_fraction": None,
        },
        not_reached=("rank_ratio", "other_input"),
    ),
    Submission(
        "evidence written by hand",
        (rewrite("layers", """
import json
from pathlib import Path
for folder in (Path(OUTPUT_DIR), Path("evidence/variables"), Path("../evidence/variables")):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in {"unet_param_count": 859520964, "lora_param_counts": {"mapping": [[4, 397824], [16, 1591296]]}}.items():
        (folder / f"{name}.json").write_text(json.dumps({"kind": "value", "value": value}))
"""), rewrite("count", ""), rewrite("compare", "")),
        fails={
            "cross_attention_layers": None, "lora_param_counts": None, "unet_param_count": None, "lora_fraction": None,
        },
        not_reached=("rank_ratio", "other_input"),
    ),
    Submission(
        "a patched PyTorch and a patched print, so that the screen shows what is right",
        (
            append("imports", LIE + "torch.Tensor.numel = lambda self: 1"),
            replace("layers", ".attn2.", ".attn1."),
            rewrite("count", "lora_param_counts = {4: 397824, 16: 1591296}"),
        ),
        fails={
            "cross_attention_layers": SELF_ATTENTION, "unet_param_count": None, "other_input": "hard-coded",
        },
    ),
    # --- not finished
    Submission(
        "the whole pipeline",
        (replace("imports", "import UNet2D", "import StableDiffusionPipeline, UNet2D"),
         rewrite("build", "pipe = StableDiffusionPipeline.from_pretrained(MODEL)\nunet = pipe.unet")),
        fails={"cross_attention_layers": "whole-pipeline-loaded"},
        not_reached=("lora_param_counts", "rank_ratio", "unet_param_count", "lora_fraction", "other_input"),
        ended="cell_error",
        sampled=True,
    ),
    Submission(
        "the U-Net with its weights",
        (rewrite("build", 'unet = UNet2DConditionModel.from_pretrained(MODEL, subfolder="unet")'),),
        fails={"cross_attention_layers": "whole-pipeline-loaded"},
        not_reached=("lora_param_counts", "rank_ratio", "unet_param_count", "lora_fraction", "other_input"),
        ended="cell_error",
    ),
    Submission(
        "stops half way",
        (replace("count", "layer.in_features", "layer.in_channels"),),
        fails={"lora_param_counts": None},
        not_reached=("rank_ratio", "unet_param_count", "lora_fraction"),
        ended="cell_error",
    ),
    Submission(
        "the assignment as it was handed out",
        (strip_solutions,),
        fails={
            "cross_attention_layers": None, "lora_param_counts": None, "unet_param_count": None, "lora_fraction": None,
        },
        not_reached=("rank_ratio", "other_input"),
        sampled=True,
    ),
]  # fmt: skip

RIGHT = [
    Submission(
        "plotted, in a table, with a progress bar and a slider",
        (
            append("imports", "%matplotlib inline\nimport ipywidgets as widgets\nimport matplotlib.pyplot as plt\n"
                   "import pandas as pd\nimport scipy.stats\nfrom tqdm.notebook import tqdm"),
            append("count", "table = pd.DataFrame({'parameters': [lora_param_counts[r] for r in tqdm((4, 16))]}, index=[4, 16])\n"
                   "table.plot.bar()\nplt.show()\ndisplay(table, widgets.IntSlider())"),
        ),
        sampled=True,
    ),
    Submission(
        "an adapter on the meta device, its layers and its parameters read from it; a warning and a progress bar",
        (
            append("imports", "import sys, warnings\nfrom copy import deepcopy\nfrom peft import LoraConfig\n"
                   "from peft.tuners.lora import LoraLayer\nfrom tqdm import tqdm\nwarnings.warn('!')\n"
                   "print('!', file=sys.stderr)"),
            rewrite("layers", """
cross_attention_layers, lora_param_counts = set(), {}
for rank in tqdm((4, 16)):
    adapted = deepcopy(unet)
    adapted.add_adapter(LoraConfig(r=rank, target_modules=["attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0"]))
    cross_attention_layers |= {name for name, module in adapted.named_modules() if isinstance(module, LoraLayer)}
    lora_param_counts[rank] = sum(p.numel() for name, p in adapted.named_parameters() if ".lora_" in name)
"""),
            rewrite("count", "lora_param_counts"),
        ),
    ),
    Submission(
        "get_peft_model, with its prefix, and numbers as PyTorch and NumPy have them",
        (
            append("imports", "import numpy as np\nfrom copy import deepcopy\nfrom peft import LoraConfig, get_peft_model\n"
                   "from peft.tuners.lora import LoraLayer"),
            rewrite("layers", """
targets = r".*attn2\\.to_(q|k|v|out\\.0)"
wrapped = {rank: get_peft_model(deepcopy(unet), LoraConfig(r=rank, target_modules=targets)) for rank in (4, 16)}
cross_attention_layers = np.array([n for n, m in wrapped[4].named_modules() if isinstance(m, LoraLayer)])
"""),
            rewrite("count", """
lora_param_counts = {np.int64(r): torch.tensor(w.get_nb_trainable_parameters()[0]) for r, w in wrapped.items()}
"""),
            rewrite("compare", """
unet_param_count = np.int64(unet.num_parameters())
lora_fraction = {np.int32(r): np.float32(n.item() / unet_param_count) for r, n in lora_param_counts.items()}
"""),
        ),
        sampled=True,
    ),
    Submission(
        "block by block, from attributes; a class; a tuple; other names for everything else",
        (
            rewrite("build", """
class Inspector:
    def __init__(self, folder):
        with torch.device("meta"):
            self.net = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folder, subfolder="unet"))

    def sites(self):
        stages = [(f"down_blocks.{i}", b) for i, b in enumerate(self.net.down_blocks)]
        stages += [(f"up_blocks.{i}", b) for i, b in enumerate(self.net.up_blocks)] + [("mid_block", self.net.mid_block)]
        for stage, block in stages:
            for i, transformer in enumerate(getattr(block, "attentions", [])):
                for j, inner in enumerate(transformer.transformer_blocks):
                    for part in ("to_out.0", "to_v", "to_k", "to_q"):
                        yield f"{stage}.attentions.{i}.transformer_blocks.{j}.attn2.{part}"

    def cost(self, rank):
        return float(sum(rank * sum(self.net.get_submodule(site).weight.shape) for site in self.sites()))


inspector = Inspector(MODEL)
"""),
            rewrite("look", ""),
            rewrite("layers", "cross_attention_layers = tuple(inspector.sites())"),
            rewrite("count", "lora_param_counts = {float(rank): inspector.cost(rank) for rank in [16, 4]}"),
            rewrite("compare", """
unet_param_count = float(sum(t.numel() for t in inspector.net.state_dict().values()))
lora_fraction = {r: round(n / unet_param_count, 6) for r, n in lora_param_counts.items()}
"""),
        ),
    ),
    Submission(
        "from accelerate's empty weights; the text's width decides; further ranks; a mapping from name to layer",
        (
            append("imports", "from accelerate import init_empty_weights"),
            replace("build", 'torch.device("meta")', "init_empty_weights()"),
            rewrite("layers", """
cross_attention_layers = {}
for name, module in unet.named_modules():
    if type(module).__name__ == "Attention" and module.to_k.in_features == unet.config.cross_attention_dim:
        for part in ["to_q", "to_k", "to_v", "to_out.0"]:
            cross_attention_layers[f"{name}.{part}"] = module.get_submodule(part)
"""),
            replace("count", "(4, 16)", "(1, 2, 4, 8, 16, 32)"),
            append("compare", "cross_attention_layers = cross_attention_layers.keys()"),
        ),
    ),
    Submission(
        "a DataFrame on the way, a Series of names, fractions as PEFT reports them",
        (
            append("imports", "import pandas as pd"),
            rewrite("layers", """
table = pd.DataFrame([(n, type(m).__name__, m) for n, m in unet.named_modules()], columns=["name", "type", "module"])
table = table[table.name.str.contains("attn2") & (table.type == "Linear")]
cross_attention_layers = table.name
"""),
            replace("compare", DIVIDE, "count / (unet_param_count + count)"),
        ),
    ),
    Submission(
        "fractions rounded to two digits, shuffled names, numbers as NumPy arrays of one element",
        (
            append("layers", "import random\nrandom.shuffle(cross_attention_layers)"),
            append("compare", """
import numpy as np
lora_fraction = {rank: float(f"{fraction:.1e}") for rank, fraction in lora_fraction.items()}
lora_param_counts = {rank: np.array([count]) for rank, count in lora_param_counts.items()}
"""),
        ),
    ),
    Submission(
        "further cells, errors that are caught, names that are used again, defaultdict, text on standard error",
        (
            append("imports", "import sys, collections\nprint('Error: this is no error', file=sys.stderr)"),
            rewrite("layers", """
try:
    unet.get_submodule("attn2")
except AttributeError as error:
    print("Traceback (most recent call last):", error, file=sys.stderr)
cross_attention_layers = frozenset(
    key.removesuffix(".weight") for key in unet.state_dict() if "attn2" in key and key.endswith(".weight")
)
"""),
            rewrite("count", """
lora_param_counts = collections.defaultdict(int)
for name in cross_attention_layers:
    out_features, in_features = unet.get_parameter(f"{name}.weight").shape
    for rank in (4, 16):
        A, B = torch.empty(rank, in_features, device="meta"), torch.empty(out_features, rank, device="meta")
        lora_param_counts[rank] += A.numel() + B.numel()
"""),
            append("compare", "name = rank = count = config = None"),
        ),
    ),
    Submission(
        "graded from inside on the way, in both ways, which a graded run must not do again",
        (
            append("imports", "%load_ext graders\n!{__import__('sys').executable.replace('python', 'grade')} ex1"),
            append("compare", "%grade ex1\n!{__import__('sys').executable.replace('python', 'grade')} all"),
        ),
    ),
    Submission(
        "with weights, though random ones, and the same answers",
        (replace("build", 'torch.device("meta")', 'torch.device("meta" if "xl" in MODEL else "cpu")'),),
    ),
    Submission(
        "%%time, type hints, counts and fractions in Series, a column of names",
        (
            append("imports", "import pandas as pd"),
            append("layers", "cross_attention_layers: pd.DataFrame = pd.DataFrame({'name': cross_attention_layers})"),
            rewrite("count", """
%%time
def parameters(rank: int) -> int:
    layers: list[torch.nn.Linear] = [unet.get_submodule(name) for name in cross_attention_layers["name"]]
    return sum(rank * (layer.in_features + layer.out_features) for layer in layers)


lora_param_counts: pd.Series = pd.Series({rank: parameters(rank) for rank in (4, 16)}, name="parameters")
"""),
            rewrite("compare", "unet_param_count: int = unet.num_parameters()\n"
                    "lora_fraction: pd.Series = lora_param_counts / unet_param_count"),
        ),
        sampled=True,
    ),
    Submission(
        "one table with a row for each rank",
        (
            append("imports", "import pandas as pd"),
            append("compare", """
table = pd.DataFrame.from_dict({r: {"parameters": n, "share": lora_fraction[r]} for r, n in lora_param_counts.items()},
                               orient="index")
lora_param_counts, lora_fraction = table[["parameters"]], table.reset_index(names="rank")[["rank", "share"]]
"""),
        ),
    ),
    Submission(
        "exact numbers: fractions, decimals and those of sympy",
        (
            append("imports", "from decimal import Decimal\nfrom fractions import Fraction\nimport numpy as np\nimport sympy"),
            rewrite("compare", """
unet_param_count = Decimal(sum(parameter.numel() for parameter in unet.parameters()))
lora_fraction = {np.longdouble(rank): Fraction(count, int(unet_param_count)) for rank, count in lora_param_counts.items()}
lora_param_counts = {sympy.Integer(rank): sympy.Integer(count) for rank, count in lora_param_counts.items()}
"""),
        ),
    ),
    Submission(
        "everything in one cell, with German names, a data class and a deque",
        (
            rewrite("build", ""),
            rewrite("look", ""),
            rewrite("layers", """
import re
from collections import deque
from dataclasses import dataclass


@dataclass
class Schicht:
    name: str
    breite: int
    hoehe: int

    def parameter(self, rang):
        return rang * (self.breite + self.hoehe)


with torch.device("meta"):
    netz = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(MODEL, subfolder="unet"))
muster = re.compile(r".*\\.attn2\\.to_(q|k|v|out\\.0)$")
schichten = deque(
    Schicht(name, modul.in_features, modul.out_features) for name, modul in netz.named_modules() if muster.match(name)
)
cross_attention_layers = deque(schicht.name for schicht in schichten)
raenge = 4, 16
lora_param_counts = dict(zip(raenge, (sum(s.parameter(rang) for s in schichten) for rang in raenge)))
unet_param_count = sum(parameter.numel() for parameter in netz.parameters())
lora_fraction = {rang: anzahl / unet_param_count for rang, anzahl in lora_param_counts.items()}
"""),
            rewrite("count", "pass"),
            rewrite("compare", "pass"),
        ),
    ),
    Submission(
        "children of children by recursion, A and B built and counted, the total from the shapes of the state",
        (
            rewrite("layers", """
def walk(module, path=()):
    for name, child in module.named_children():
        if path[-1:] == ("attn2",) or path[-2:-1] == ("attn2",):
            if hasattr(child, "weight"):
                yield ".".join((*path, name))
        yield from walk(child, (*path, name))


cross_attention_layers = list(walk(unet))
"""),
            rewrite("count", """
import math
from torch import nn

with torch.device("meta"):
    detours = {
        rank: nn.ModuleList(
            nn.Sequential(nn.Linear(base.in_features, rank, bias=False), nn.Linear(rank, base.out_features, bias=False))
            for base in map(unet.get_submodule, cross_attention_layers)
        )
        for rank in (4, 16)
    }
lora_param_counts = {rank: sum(p.numel() for p in modules.parameters()) for rank, modules in detours.items()}
"""),
            replace("compare", "sum(parameter.numel() for parameter in unet.parameters())",
                    "sum(math.prod(tensor.shape) for tensor in unet.state_dict().values())"),
        ),
    ),
]  # fmt: skip
