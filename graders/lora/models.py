"""Models: the cache of those from the Hugging Face Hub, and whether the MODEL that was asked for can be had."""

from __future__ import annotations

import os
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from huggingface_hub import constants

from graders.harness.data.sizes import gib
from graders.harness.finding import Finding
from graders.lora.true_size import TRUE_UNET

PATIENCE = 2.0
"""Seconds within which the Hub has to answer, for whoever waits."""

_HUB_ID = re.compile(r"(?:[\w.-]+/)?[\w.-]+")
_CONNECT = (
    "Connect to the internet and try again, or leave out MODEL: the model that comes with the exercises needs none."
)
_FOLDER = "Give the folder of a StableDiffusionPipeline, as save_pretrained writes it: -p MODEL=/path/to/folder"


def cache(network: bool = False) -> Iterator[Finding]:
    """Where models from the Hub are kept, and whether more can be had; only with ``network`` is the Hub asked."""
    folder = Path(constants.HF_HUB_CACHE)
    place = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    elsewhere = "set HF_HOME to a folder elsewhere."
    if not place.is_dir() or not os.access(place, os.W_OK):
        unwritable = f"{place} cannot be written, so no model can be loaded from the Hub"
        yield Finding(
            "cache", f"models in {folder}", unwritable, f"Mend its permissions, or {elsewhere}", essential=False
        )
    else:
        free = shutil.disk_usage(place).free
        words = f"models in {folder}: {gib(free)} free"
        broken = f"the U-Net of Stable Diffusion 1.5 alone has {gib(TRUE_UNET)}" if free < TRUE_UNET else None
        yield Finding("cache", words, broken, f"Free some space, or {elsewhere}", essential=False)
    if variable := offline():
        yield Finding("offline", f"{variable} is set: nothing is loaded from the Hub but what is there")
    elif network:
        fix = "Check the connection; behind a proxy, set HTTPS_PROXY."
        yield Finding("hub", "models can be loaded from the Hub", unreachable(), fix, essential=False)


def asked(model: Any, exercise: str, isolation: str) -> Finding:
    """Whether a notebook will find the MODEL that it is given."""
    shown = " ".join(str(model).split())[:200]
    if not isinstance(model, str) or not model:
        return _no_model(shown, "neither a folder nor a name on the Hugging Face Hub", _FOLDER)
    needed = "unet/config.json" if exercise == "ex1" else "model_index.json"
    folder = Path(model)
    if folder.exists():
        if not folder.is_absolute():
            broken = "a notebook is graded in a folder of its own, from where this leads nowhere"
            return _no_model(shown, broken, f"Give all of it: -p MODEL={folder.resolve()}")
        missing = f"no folder of a pipeline: there is no {needed} in it"
        return Finding("model", f"MODEL is {shown}", None if (folder / needed).is_file() else missing, _FOLDER)
    if not _HUB_ID.fullmatch(model) or model.startswith("."):
        return _no_model(shown, "there is no such folder", _FOLDER)
    return _on_the_hub(model, needed, isolation)


def unreachable() -> str | None:
    """Why nothing can be loaded from the Hub, None if it answers, or if a proxy stands between."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return None
    failed = [f"{_host()} does not answer within {PATIENCE:.0f} s"]

    def connect() -> None:
        url = urlsplit(constants.ENDPOINT)
        try:
            socket.create_connection((url.hostname or "", url.port or 443), PATIENCE).close()
            failed.clear()
        except OSError as error:
            failed[:] = [f"{_host()} cannot be reached ({error.strerror or error})"]

    # To look up a name has no time limit of its own
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return failed[0] if failed else None


def _on_the_hub(model: str, needed: str, isolation: str) -> Finding:
    snapshots = Path(constants.HF_HUB_CACHE, f"models--{model.replace('/', '--')}", "snapshots")
    there = [path.parents[needed.count("/")] for path in sorted(snapshots.glob(f"*/{needed}"))]
    if isolation != "none":
        fix = f"Fetch it ahead (grade fixtures fetch --model {model}), and give it with: --model {model}"
        return _no_model(model, "a sandbox has no network and sees no cache", fix)
    if there:
        return Finding("model", f"MODEL is {model}, in {there[-1]}")
    missing = f"there is no such folder, and it is not among the models in {constants.HF_HUB_CACHE}"
    if variable := offline():
        return _no_model(
            model, f"{missing}; {variable} is set, so it is not loaded", f"Unset {variable}, or give a folder."
        )
    if broken := unreachable():
        return _no_model(model, f"{missing}; {broken}", _CONNECT)
    return Finding("model", f"MODEL is {model}, to be loaded from {_host()}")


def _no_model(model: str, broken: str, fix: str) -> Finding:
    return Finding("model", f"MODEL is {model}", broken, fix)


def _host() -> str:
    return urlsplit(constants.ENDPOINT).hostname or constants.ENDPOINT


def offline() -> str | None:
    """The variable that forbids to load anything, if one does."""
    if not constants.HF_HUB_OFFLINE:
        return None
    return "HF_HUB_OFFLINE" if os.environ.get("HF_HUB_OFFLINE") else "TRANSFORMERS_OFFLINE"
