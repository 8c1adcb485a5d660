"""The lesson on LoRA fine-tuning of Stable Diffusion."""

EXERCISES = ("ex1", "ex2", "ex3", "ex4")
"""The exercises, each with a grader module of its name."""
LIBRARIES = "graders.lora.libraries"
"""The module that imports whatever checks need and takes long."""
