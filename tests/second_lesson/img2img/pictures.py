"""The models and pictures that notebooks are given: those of the lesson on LoRA."""

from graders.lora import catalog

ROOT = catalog.ROOT
MODEL = str(catalog.TINY_SD)
IMAGE, OTHER_IMAGE = (str(catalog.dataset("watercolor/train") / f"{name}.png") for name in ("004", "002"))
