"""Whether a model can be had is known before a notebook runs."""

import shutil
import socket
import sys
import time
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from graders.harness.run.limits import Limits
from graders.harness.run.unconfined import NoIsolation
from graders.lora import catalog, models
from tests.patience import PATIENCE

NAME = "stable-diffusion-v1-5/stable-diffusion-v1-5"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("{here}", "no folder of a pipeline: there is no model_index.json in it"),
        ("{here}/nowhere", "there is no such folder"),
        ("./nowhere", "there is no such folder"),
        ("7", "neither a folder nor a name"),
    ],
)
def test_no_pipeline(grade, refused, tmp_path, model, said):
    """A MODEL that cannot be one is refused before anything runs, with what it should be."""
    refused(grade("ex3", "-p", f"MODEL={model.format(here=tmp_path)}"), said, "StableDiffusionPipeline")


def test_relative(grade, refused, tmp_path):
    """A MODEL that is there, but not from where notebooks run, is refused with the whole of its path."""
    shutil.copytree(catalog.TINY_SD, tmp_path / "here" / "mine")
    refused(grade("ex3", "-p", "MODEL=mine"), "a folder of its own", f"-p MODEL={tmp_path}/here/mine")


def test_offline(grade, refused, tmp_path):
    """A name on the Hub that is not in the cache is refused where HF_HUB_OFFLINE forbids to load it."""
    answer = grade("ex3", "-p", f"MODEL={NAME}", HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "empty"))
    refused(answer, f"not among the models in {tmp_path}/empty/hub", "Unset HF_HUB_OFFLINE")


def test_unreachable(grade, refused, tmp_path):
    """So is one where the Hub does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    place = {"HF_HOME": str(tmp_path / "empty"), "HF_ENDPOINT": f"http://127.0.0.1:{port}"}
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        place[name] = ""
    refused(
        grade("ex3", "-p", f"MODEL={NAME}", **place), "127.0.0.1 cannot be reached (Connection refused)", "internet"
    )


def test_sandbox(grade, refused, tmp_path):
    """In a sandbox, which has no network and no cache, a name on the Hub is refused."""
    refused(
        grade("ex3", "-p", f"MODEL={NAME}", "--isolation", "bubblewrap"), "a sandbox has no network", f"--model {NAME}"
    )


@pytest.mark.parametrize("exercise", ["ex1", "ex3"])
def test_in_the_cache(monkeypatch, tmp_path, exercise):
    """A name on the Hub that is in the cache needs no network."""
    snapshot = tmp_path / f"models--{NAME.replace('/', '--')}" / "snapshots" / "abc"
    shutil.copytree(catalog.TINY_SD, snapshot)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    found = models.asked(NAME, exercise, "none")
    assert (found.broken, str(snapshot) in found.words) == (None, True)


def test_configuration_alone():
    """Exercise 1 computes nothing, and a folder with the U-Net's configuration will do."""
    folder = str(catalog.ROOT / "configs" / "stable-diffusion-v1-5")
    assert models.asked(folder, "ex1", "none").broken is None
    assert models.asked(folder, "ex2", "none").broken


def test_cache_that_cannot_be_written(monkeypatch, tmp_path):
    """A cache that cannot be written is found out, and so is a disk that is too small for a model."""
    place = tmp_path / "cache"
    place.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(place / "hub"))
    (fine,) = models.cache()
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=1 << 20))
    (small,) = models.cache()
    (place / "hub").write_text("a file")
    (unwritable,) = models.cache()
    assert fine.broken is None or "U-Net" in fine.broken  # this machine's disk may be full
    assert "the U-Net of Stable Diffusion 1.5 alone has 3.2 GiB" in str(small.broken)
    assert "cannot be written" in str(unwritable.broken)
    assert not any(finding.fatal for finding in (fine, small, unwritable))


def test_network_only_when_asked(monkeypatch, tmp_path):
    """The Hub is asked only when that is wanted, and never for longer than two seconds."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    calls = []
    monkeypatch.setattr(socket, "create_connection", lambda *given: calls.append(given) or socket.socket())
    assert len([*models.cache()]) == 1
    assert not calls
    assert [finding.broken for finding in models.cache(network=True)][1:] == [None]
    assert calls
    monkeypatch.setattr(socket, "create_connection", lambda *given: time.sleep(1) or socket.socket())
    monkeypatch.setattr(models, "PATIENCE", 0.1)
    assert "does not answer" in str([*models.cache(network=True)][1].broken)


def test_kernel_finds_the_cache(monkeypatch, tmp_path):
    """A notebook of one's own finds the models that are in one's cache, and is offline if one is."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "mine"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "work").mkdir()
    say = "from huggingface_hub import constants as c; print(c.HF_HUB_CACHE, c.HF_HUB_OFFLINE)"
    program = NoIsolation().start([sys.executable, "-c", say], tmp_path / "work", Limits(), {})
    said = program.process.communicate(timeout=PATIENCE)[0].decode()
    program.end()
    assert said.split() == [str(tmp_path / "mine"), "True"]
