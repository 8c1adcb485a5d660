"""Profiles: what else can be graded with, and what verdicts rest on then."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from graders.harness import grade as grading
from graders.harness.errors import ExplainedError
from graders.harness.hand_in import HandIn
from graders.harness.lesson import ProfileError
from graders.harness.result import Outcome, load
from graders.lesson import LESSON
from graders.lora import catalog, profile_file
from graders.lora.measures import thresholds
from graders.lora.profile import STANDARD

SOLUTIONS = Path("reference_solutions").absolute()
ADAPTERS = {name: str(catalog.adapter(name)) for name in ("style", "subject")}
COMPOSED = f'[adapters]\nstyle = "{ADAPTERS["style"]}"\nsubject = "{ADAPTERS["subject"]}"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model = ", "no TOML file"),
        ("modle = 'x'", "it says modle, which means nothing"),
        ("model = 7", "model is no text"),
        ("precision = 'int8'", "no precision 'int8'"),
        ("datasets = 'x'", "datasets is no table"),
        ("[datasets]\ntest = 'x'", "it says datasets.test"),
        ("[datasets]\ntrain = {split = 'train'}", "datasets.train has no name"),
        ("[adapters]\nstyle = 'nowhere'\nsubject = 'nowhere'", "there is no"),
        (f"[adapters]\nstyle = '{ADAPTERS['style']}'", "adapters has one of two"),
        ("[ex3]\nSTEPS = 2026-11-24", "ex3.STEPS is of type date"),
    ],
)
def test_not_a_profile(tmp_path, text, said):
    """A file that is no profile is refused with what is wrong in it."""
    (path := tmp_path / "profile.toml").write_text(text)
    with pytest.raises(ExplainedError) as refused:
        profile_file.read(path).profile()
    assert said in refused.value.problem
    assert refused.value.fix


def test_nothing_said(tmp_path):
    """An empty profile is the fixtures'."""
    (path := tmp_path / "profile.toml").write_text("")
    assert profile_file.read(path).profile() == STANDARD


def test_held_out(tmp_path):
    """Pictures that no notebook may see do not lie where notebooks may read."""
    shutil.copytree(catalog.dataset("watercolor/train"), tmp_path / "ink")
    shutil.copytree(catalog.dataset("watercolor/held-out"), tmp_path / "ink" / "rest")
    (path := tmp_path / "profile.toml").write_text("[datasets]\ntrain = 'ink'\nheld-out = 'ink/rest'")
    with pytest.raises(profile_file.ProfileError, match="lie in the folder of the data set train"):
        profile_file.read(path).profile()


def test_pairs(tmp_path):
    """Pairs of weights are pairs that can be keys, and only what names a file is taken for one."""
    (tmp_path / "cat").touch()
    (path := tmp_path / "profile.toml").write_text(
        "[ex4]\nGRID = [[1.0, 0.0]]\n[ex2]\nCAPTION = 'cat'\nIMAGE = 'cat'\n"
    )
    parameters = profile_file.read(path).profile().parameters
    assert parameters["ex4"]["GRID"] == [(1.0, 0.0)]
    assert parameters["ex2"] == {"CAPTION": "cat", "IMAGE": str(tmp_path / "cat")}


def test_adapters_that_do_not_fit(tmp_path):
    """The instructor's adapters are read before a hand-in is blamed for them."""
    (tmp_path / "empty").mkdir()
    (path := tmp_path / "profile.toml").write_text(COMPOSED.replace(ADAPTERS["subject"], "empty"))
    within = grading.Setting(profile=profile_file.read(path).profile())
    with pytest.raises(ProfileError, match="The profile's subject adapter"):
        grading.grade("ex4", SOLUTIONS / "ex4.ipynb", tmp_path / "graded", within=within)


@pytest.mark.parametrize(
    ("renamed", "said"),
    [
        (lambda key: key.removeprefix("unet."), "a file for load_lora_adapter"),
        (lambda key: key.replace(".weight", ".default_0.weight"), "a file for load_lora_weights under its own name"),
        (lambda key: key.replace("unet.", "unet._orig_mod."), "torch.compile"),
        (lambda key: key.replace("lora_A", "lora_down").replace("lora_B", "lora_up"), "looks for lora_A"),
    ],
)
def test_adapters_that_notebooks_would_load_as_nothing(tmp_path, renamed, said):
    """An adapter that load_lora_weights would pass over is refused before a notebook runs."""
    own = load_file(catalog.adapter("style") / "pytorch_lora_weights.safetensors")
    (tmp_path / "own").mkdir()
    save_file({renamed(key): tensor for key, tensor in own.items()}, tmp_path / "own" / "a.safetensors")
    (path := tmp_path / "profile.toml").write_text(COMPOSED.replace(ADAPTERS["style"], "own"))
    within = grading.Setting(profile=profile_file.read(path).profile())
    with pytest.raises(ProfileError, match="The profile's style adapter") as refused:
        grading.grade("ex4", SOLUTIONS / "ex4.ipynb", tmp_path / "graded", within=within)
    assert said in refused.value.problem


def test_precision_of_a_parameter(tmp_path):
    """A precision that there is not is refused wherever it comes from."""
    with pytest.raises(ProfileError, match="no precision 'float8'"):
        grading.grade("ex4", SOLUTIONS / "ex4.ipynb", tmp_path / "graded", {"PRECISION": "float8"})


def test_paths(tmp_path, monkeypatch):
    """Paths are relative to the file, or to the home folder; a data set in a folder of its own is none without captions."""
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(catalog.dataset("watercolor/train"), tmp_path / "here" / "ink")
    path = tmp_path / "here" / "profile.toml"
    for name in ("ink", "./ink", "~/here/ink"):
        path.write_text(f"[datasets]\ntrain = '{name}'")
        assert Path(profile_file.read(path).profile().parameters["ex3"]["DATASET"]).samefile(tmp_path / "here" / "ink")
    (tmp_path / "here" / "ink" / "metadata.jsonl").unlink()
    with pytest.raises(ExplainedError, match=r"has no metadata\.jsonl"):
        profile_file.read(path).profile()


def test_the_python_of_notebooks(tmp_path):
    """It is a path from the file, changes nothing of what is graded with, and has to be a text."""
    (tmp_path / "env" / "bin").mkdir(parents=True)
    (tmp_path / "env" / "bin" / "python").touch()
    (path := tmp_path / "profile.toml").write_text("python = './env/bin/python'")
    named = profile_file.read(path)
    assert Path(named.python).samefile(tmp_path / "env" / "bin" / "python")
    assert named.profile() == STANDARD
    path.write_text("python = 3")
    with pytest.raises(profile_file.ProfileError, match="python is no text"):
        profile_file.read(path)


def test_unknown_parameter(tmp_path):
    """A parameter that the exercise does not have is refused, and not passed on to no effect."""
    (path := tmp_path / "profile.toml").write_text("[ex1]\nSTEPS = 5")
    within = grading.Setting(profile=profile_file.read(path).profile())
    with pytest.raises(grading.GradingError, match="ex1 has no parameter STEPS"):
        grading.grade("ex1", SOLUTIONS / "ex1.ipynb", tmp_path / "graded", within=within)


def test_adapters_of_another_model(tmp_path):
    """Exercise 4 with another model needs adapters for it."""
    profile = profile_file.Named(model=str(catalog.CLIP.parent / "tiny-sd" / ".." / "tiny-sd")).profile()
    with pytest.raises(ProfileError, match="fit its own model only"):
        grading.grade("ex4", SOLUTIONS / "ex4.ipynb", tmp_path / "graded", within=grading.Setting(profile=profile))


def test_no_thresholds(tmp_path):
    """Without thresholds for it, what rests on them is measured and left to a person, and the rest is decided; again when
    it is checked again. With the thresholds everything is decided."""
    # In half precision, in which some CPUs are slow
    text = f'precision = "bfloat16"\n{COMPOSED}[ex4]\nNUM_INFERENCE_STEPS = 2\n'
    text += 'PROMPTS = ["a sks cat on a blue background"]\nGRID = [[0, 0], [1, 0], [0, 1], [0.7, 0.4]]\n'
    only = ("base", "alone", "blends", "same_noise", "strength", "combined_weight")
    (path := tmp_path / "profile.toml").write_text(text)
    within = grading.Setting(profile=profile_file.read(path).profile())
    result = grading.grade("ex4", SOLUTIONS / "ex4.ipynb", tmp_path / "graded", within=within, only=only)
    for scored in (result, grading.rescore("ex4", tmp_path / "graded", only=only)):
        outcomes = {check.id: check.outcome for check in scored.checks}
        left = {name for name, outcome in outcomes.items() if outcome is Outcome.AWAITING_REVIEW}
        assert left == {"base", "alone", "blends", "same_noise", "strength"}
        assert (scored.score, scored.max_score, scored.undecided) == (3, 3, 15)
        [blends] = [check for check in scored.checks if check.id == "blends"]
        assert "levels of 255" in blends.found
        assert thresholds.UNKNOWN in blends.found
    assert replace(LESSON.profile_in(tmp_path / "graded"), parameters={}) == replace(within.profile, parameters={})
    (tmp_path / "mine.json").write_text(json.dumps({"thresholds": {"picture": {"value": 3.0}}}))
    path.write_text('thresholds = "mine.json"\n' + text)
    within = grading.Setting(profile=profile_file.read(path).profile())
    grading.grade("ex4", SOLUTIONS / "ex4.ipynb", tmp_path / "graded", within=within, only=only)
    assert grading.rescore("ex4", tmp_path / "graded", only=only).max_score == 18
    (tmp_path / "mine.json").unlink()
    thresholds._values.cache_clear()
    with pytest.raises(thresholds.ThresholdsError, match="cannot be read"):
        grading.rescore("ex4", tmp_path / "graded")
    assert load(tmp_path / "graded" / "result.json").max_score == 18


def test_thresholds_of_another(tmp_path):
    """Thresholds that were derived with another precision are refused."""
    (tmp_path / "mine.json").write_text(json.dumps({"derived_with": {"precision": "float16"}, "thresholds": {}}))
    (path := tmp_path / "profile.toml").write_text('thresholds = "mine.json"')
    with pytest.raises(thresholds.ThresholdsError, match="in another precision"):
        thresholds.load(profile_file.read(path).profile())


@pytest.mark.parametrize("content", ["", "[]", '{"thresholds": {"picture": {}}}'])
def test_broken_thresholds(tmp_path, content):
    """Thresholds that cannot be read are said to be so before anything runs."""
    (tmp_path / "mine.json").write_text(content)
    (path := tmp_path / "profile.toml").write_text('thresholds = "mine.json"')
    within = grading.Setting(profile=profile_file.read(path).profile())
    with pytest.raises(thresholds.ThresholdsError, match="holds no thresholds"):
        grading.grade("ex1", SOLUTIONS / "ex1.ipynb", tmp_path / "graded", within=within)


def test_same_model_elsewhere(tmp_path):
    """The fixtures' thresholds hold for a copy of their models, and for no other judge."""
    copy = shutil.copytree(catalog.TINY_SD, tmp_path / "tiny-sd")
    limits = thresholds.load()
    assert limits
    parameters = {"MODEL": str(copy), "JUDGE": str(catalog.CLIP)}
    assert thresholds.known(limits, HandIn(None, parameters)) is limits  # type: ignore[arg-type]
    for changed in ({"JUDGE": str(tmp_path)}, {"MODEL": str(tmp_path)}, {"PRECISION": "float16"}):
        with pytest.raises(Exception, match="not known for this model"):
            thresholds.known(limits, HandIn(None, parameters | changed))  # type: ignore[arg-type]
