"""What a profile names is fetched from the Hub once, and found in the cache ever after."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from graders.lora import catalog
from tests.lora.hub import serving

PROFILE = """
model = "people/tiny"
judge = "people/clip"

[datasets]
train = {name = "people/pictures", split = "train[:10]", text = "caption"}
"""


Served = tuple[dict[str, str], set[str]]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A Hub with a model, a CLIP model and a data set, each beside files that nobody needs."""
    repositories = {}
    for name, source in {"people/tiny": catalog.TINY_SD, "people/clip": catalog.CLIP}.items():
        repositories[name] = shutil.copytree(source, tmp_path / "served" / name)
        (repositories[name] / "everything.ckpt").write_bytes(bytes(1 << 20))
    pictures = repositories["datasets/people/pictures"] = tmp_path / "served" / "pictures"
    shutil.copytree(catalog.dataset("watercolor/train"), pictures / "train")
    metadata = pictures / "train" / "metadata.jsonl"
    metadata.write_text(metadata.read_text().replace('"text"', '"caption"'))
    shutil.copytree(catalog.TINY_SD / "unet", tmp_path / "served" / "half" / "unet")
    repositories["people/half"] = tmp_path / "served" / "half"
    (tmp_path / "profile.toml").write_text(PROFILE)
    with serving(repositories) as (url, broken):
        yield {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "home")}, broken


@pytest.fixture
def hub(served: Served) -> dict[str, str]:
    """The environment of commands that ask it."""
    return served[0]


@pytest.fixture
def broken(served: Served) -> set[str]:
    """The files at which it hangs up."""
    return served[1]


def test_fetched(grade, hub, tmp_path):
    """Models and data are downloaded, without what is not needed; after that no Hub is needed any more."""
    status, said = grade("fixtures", "fetch", "--profile", tmp_path / "profile.toml", **hub)
    assert status == 0, said
    assert "people/tiny: 10 files" in said
    assert not list((tmp_path / "home").rglob("*.ckpt"))
    [kept] = (tmp_path / "home" / "lora-graders").iterdir()
    rows = [json.loads(line) for line in (kept / "metadata.jsonl").read_text().splitlines()]
    assert len(rows) == 10
    assert all(row["text"] == row["caption"] for row in rows)
    for row in rows:
        with Image.open(kept / row["file_name"]) as picture:
            assert picture.size == (512, 512)
    alone = {"HF_HOME": hub["HF_HOME"], "HF_HUB_OFFLINE": "1"}
    solution = Path("reference_solutions/ex2.ipynb").absolute()
    for isolation in ("none", "bubblewrap"):
        status, said = grade("ex2", solution, "--model", "people/tiny", "--isolation", isolation, **alone)
        assert (status, "Score: 25 of 25" in said) == (0, True), said


def test_not_fetched(grade, refused, hub, tmp_path):
    """What has not been fetched is refused before anything runs, with the command that fetches it."""
    answer = grade("ex3", "--profile", tmp_path / "profile.toml", **hub)
    refused(answer, "people/tiny is neither a folder", "grade fixtures fetch")


def test_no_such(grade, refused, hub, tmp_path):
    """A name that the Hub does not know, or that is no Stable Diffusion, is said to be so."""
    refused(grade("fixtures", "fetch", "--model", "people/none", **hub), "There is no people/none on the Hub")
    refused(grade("fixtures", "fetch", "--model", "people/half", **hub), "not a StableDiffusionPipeline: it has no")
    refused(
        grade("fixtures", "fetch", "--model", str(tmp_path / "served" / "half"), **hub), "it has no model_index.json"
    )


def test_wrong_columns(grade, refused, hub, tmp_path):
    """A data set whose captions are elsewhere than said is refused with the columns that it has."""
    (tmp_path / "profile.toml").write_text(PROFILE.replace('"caption"', '"title"'))
    answer = grade("fixtures", "fetch", "--profile", tmp_path / "profile.toml", **hub)
    refused(answer, "no column 'title'", "caption")


def test_wrong_split(grade, refused, hub, tmp_path):
    """So is one that has no such split."""
    (tmp_path / "profile.toml").write_text(PROFILE.replace("train[:10]", "test"))
    answer = grade("fixtures", "fetch", "--profile", tmp_path / "profile.toml", **hub)
    refused(answer, "people/pictures cannot be read", "split")


def test_own_folder(grade, tmp_path):
    """A folder of one's own whose captions are in another column is read again when it is fetched again."""
    pictures = shutil.copytree(catalog.dataset("watercolor/reference"), tmp_path / "mine" / "train").parent
    metadata = pictures / "train" / "metadata.jsonl"
    metadata.write_text(metadata.read_text().replace('"text"', '"caption"'))
    profile, home = tmp_path / "profile.toml", tmp_path / "home"
    profile.write_text(f'[datasets]\ntrain = {{name = "{pictures}", text = "caption"}}\n')
    for article in ("a", "one"):
        metadata.write_text(metadata.read_text().replace('"caption": "a ', f'"caption": "{article} '))
        status, said = grade("fixtures", "fetch", "--profile", profile, HF_HOME=str(home))
        assert status == 0, said
        [kept] = (home / "lora-graders").iterdir()
        rows = [json.loads(line) for line in (kept / "metadata.jsonl").read_text().splitlines()]
        assert {row["text"].split()[0] for row in rows} == {article}


def test_broken_off(grade, refused, hub, broken):
    """A download that breaks off is no fault of the graders; the same command goes on."""
    broken.add("diffusion_pytorch_model.safetensors")
    refused(grade("fixtures", "fetch", "--model", "people/tiny", **hub), "people/tiny is not downloaded", "goes on")
    broken.clear()
    status, said = grade("fixtures", "fetch", "--model", "people/tiny", **hub)
    assert status == 0, said
