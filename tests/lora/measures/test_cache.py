"""What is measured once is found again, as long as nothing that it comes from has changed."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from graders.lora import catalog
from graders.lora.measures import adaptation, cache
from graders.lora.measures.adaptation import Adaptation
from graders.lora.measures.adapter_files import read_adapter
from graders.lora.measures.adapters import Adapter
from graders.lora.measures.architecture import architecture_of
from graders.lora.measures.cache import Arrays, Cache
from graders.lora.measures.denoising import DenoisingProbe


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where measurements are kept: in a folder of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lora-graders" / "measured"


def counted() -> tuple[Callable[[], Arrays], list[int]]:
    """A measurement, and a list that grows by one whenever it is made."""
    made: list[int] = []

    def measure() -> Arrays:
        made.append(1)
        return {"numbers": np.arange(3.0)}

    return measure, made


def adapter(name: str) -> Adapter:
    return read_adapter(catalog.ROOT / "adapters" / name, architecture_of(str(catalog.TINY_SD)).unet)


def test_measured_once() -> None:
    """The second time it is read, to the bit; for anything else it is measured."""
    measure, made = counted()
    one, other = adapter("known/style-rank4-1"), adapter("known/style-rank4-2")
    first = Cache("model").get("numbers", [one, 3], measure)
    again = Cache("model").get("numbers", [adapter("known/style-rank4-1"), 3], measure)
    assert (first["numbers"] == again["numbers"]).all()
    assert again["numbers"].dtype == first["numbers"].dtype
    assert len(made) == 1
    for common, what, comes_from in [
        ("another", "numbers", [one, 3]),
        ("model", "others", [one, 3]),
        ("model", "numbers", [other, 3]),
        ("model", "numbers", [one, 4]),
        ("model", "numbers", [one]),
        ("model", "numbers", [one, np.zeros((2, 3), np.uint8)]),
        ("model", "numbers", [one, np.zeros((3, 2), np.uint8)]),
    ]:
        before = len(made)
        Cache(common).get(what, comes_from, measure)
        assert len(made) == before + 1


def test_changed_files(tmp_path: Path) -> None:
    """A path stands for the files that are there."""
    measure, made = counted()
    (tmp_path / "model").mkdir()
    for content in ("weights", "other weights", "other weights"):
        if not made or content != (tmp_path / "model" / "file").read_text():
            (tmp_path / "model" / "file").write_text(content)
        Cache(tmp_path / "model").get("numbers", [], measure)
    assert len(made) == 2


def test_changed_graders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that measures otherwise finds nothing of what was measured before."""
    measure, made = counted()
    for code in ("x = 1", "x = 2"):
        (tmp_path / "cache.py").write_text(code)
        monkeypatch.setattr(cache, "__file__", str(tmp_path / "cache.py"))
        cache._environment.cache_clear()
        Cache("model").get("numbers", [], measure)
    cache._environment.cache_clear()
    assert len(made) == 2


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"not an archive", None])
def test_damaged(folder: Path, damage: bytes | None) -> None:
    """What cannot be read is measured again, and mended."""
    measure, made = counted()
    Cache("model").get("numbers", [], measure)
    (entry,) = folder.iterdir()
    entry.write_bytes(entry.read_bytes()[:-40] if damage is None else damage)
    assert (Cache("model").get("numbers", [], measure)["numbers"] == np.arange(3)).all()
    assert len(made) == 2
    Cache("model").get("numbers", [], measure)
    assert len(made) == 2


def test_nowhere_to_keep_it(folder: Path) -> None:
    """Without a folder everything is measured."""
    folder.parent.parent.mkdir()
    folder.parent.write_text("in the way")
    measure, made = counted()
    for _ in range(2):
        assert Cache("model").get("numbers", [], measure)["numbers"][2] == 2
    assert len(made) == 2


def test_not_too_many(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go."""
    monkeypatch.setattr(cache, "ENTRIES", 3)
    for number in range(5):
        Cache("model").get("numbers", [number], counted()[0])
    assert len([*folder.iterdir()]) == 3
    measure, made = counted()
    Cache("model").get("numbers", [4], measure)
    assert not made


def some_of(name: str, place: Path) -> Path:
    """A few pictures of a data set."""
    shutil.copytree(catalog.dataset(name), place)
    rows = (place / "metadata.jsonl").read_text().splitlines(keepends=True)
    (place / "metadata.jsonl").write_text("".join(rows[:12]))
    return place


def test_an_adapter_is_judged_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is measured of an adapter is the same when nothing is generated or predicted any more."""
    held_out = some_of("watercolor/held-out", tmp_path / "held-out")
    training = some_of("watercolor/train", tmp_path / "train")

    def everything() -> list[object]:
        bench = Adaptation(catalog.TINY_SD, catalog.CLIP, held_out, None, "cpu", prompts=2, cached=True)
        one = adapter("known/style-rank4-1")
        measured = [bench.shift(one), bench.change(one), bench.denoising_gain(one), bench.noise_gain(one)]
        return [*measured, bench.timestep_profile(one), bench.recognition(one), bench.memorisation(one, training)]

    monkeypatch.setattr(adaptation, "NOISE_PICTURES", 2)
    first = everything()

    def fail(*_: object) -> None:
        raise AssertionError("something was measured again")

    monkeypatch.setattr(DenoisingProbe, "_predict", fail)
    monkeypatch.setattr(Adaptation, "_generate", fail)
    assert everything() == first
