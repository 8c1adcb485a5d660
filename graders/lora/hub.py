"""Models and data sets from the Hugging Face Hub: fetched ahead, and found in its cache when they are needed."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError
from rich.console import Console
from rich.text import Text
from tqdm.auto import tqdm  # type: ignore[import-untyped]  # publishes no types

from graders.harness.data.sizes import gib
from graders.harness.errors import ExplainedError
from graders.lora.models import offline, unreachable

SIDE = 512
"""Width and height, in pixels, of what is kept of a data set's pictures: those that Stable Diffusion 1.5 generates."""


class HubError(ExplainedError):
    """Something cannot be had from the Hub, or is not what it should be."""


class NotFetchedError(HubError):
    """Something from the Hub is not on this machine yet."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} is neither a folder nor among what was fetched to {constants.HF_HUB_CACHE}.",
            "Fetch it ahead: grade fixtures fetch, with the same --profile or --model.",
        )


@dataclass(frozen=True)
class Kind:
    """What a repository has to hold: ``files``, one of each group in ``either``, the first that there is, and ``more``."""

    words: str
    files: tuple[str, ...] = ()
    either: tuple[tuple[str, ...], ...] = ()
    more: str = r"(?!)"
    """A pattern of the names of further files, which not every repository has; by default of none."""
    type: str = "model"

    def missing(self, names: Iterable[str]) -> str | None:
        """What is needed and not among the files of these names."""
        there = set(names)
        lacking = [name for name in self.files if name not in there]
        lacking += [" or ".join(group) for group in self.either if not there & set(group)]
        return lacking[0] if lacking else None

    def wanted(self, names: Iterable[str]) -> list[str]:
        """The files that are worth fetching among those of these names."""
        there = list(names)
        chosen = [next((name for name in group if name in there), "") for group in self.either]
        return [name for name in there if name in (*self.files, *chosen) or re.match(self.more, name)]


PIPELINE = Kind(
    "a StableDiffusionPipeline",
    (
        "model_index.json",
        "scheduler/scheduler_config.json",
        *(f"{part}/config.json" for part in ("text_encoder", "unet", "vae")),
        "text_encoder/model.safetensors",
        *(f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vae")),
    ),
    more="(tokenizer|feature_extractor)/",  # which the index names though only the safety checker looks through it
)
CLIP = Kind(
    "a CLIPModel",
    ("config.json",),
    (("model.safetensors", "pytorch_model.bin"), ("preprocessor_config.json", "processor_config.json")),
    more=r"(special_tokens_map|tokenizer|tokenizer_config|vocab)\.json|merges\.txt",
)
_ANYTHING = Kind("a data set", more="", type="dataset")


@dataclass(frozen=True)
class Dataset:
    """Captioned pictures: an imagefolder, or a split of a data set on the Hub with its columns of pictures and captions."""

    name: str
    split: str = "train"
    image: str = "image"
    text: str = "text"


def folder(name: str, kind: Kind) -> Path:
    """Where a model is on this machine: its folder, or its snapshot in the cache; :class:`HubError` if it is nowhere."""
    place = Path(name).expanduser()
    if place.is_dir():
        if missing := kind.missing(_files(place)):
            raise HubError(
                f"{name} is not {kind.words}: it has no {missing}.", "Name a folder that save_pretrained wrote."
            )
        return place.absolute()
    snapshot = _snapshot(name, kind)
    if snapshot is None or kind.missing(_files(snapshot)):
        raise NotFetchedError(name)
    return snapshot


def dataset_folder(dataset: Dataset) -> Path:
    """The imagefolder of a data set; :class:`HubError` if there is none on this machine."""
    place = Path(dataset.name)
    if place.is_dir() and dataset == Dataset(dataset.name):
        if not (place / "metadata.jsonl").is_file():
            raise HubError(
                f"{place} is not an imagefolder: it has no metadata.jsonl.",
                "Each of its lines names a file_name and a text.",
            )
        return place
    if not (kept := _kept(dataset)).is_dir():
        raise NotFetchedError(dataset.name)
    return kept


def fetch(name: str, kind: Kind, console: Console) -> Path:
    """The same, downloaded if need be; an interrupted download goes on where it stopped."""
    if Path(name).expanduser().is_dir():
        return folder(name, kind) if kind is not _ANYTHING else Path(name)
    if variable := offline():
        raise HubError(f"{variable} is set, so {name} is not downloaded.", f"Unset {variable}.")
    if broken := unreachable():
        raise HubError(f"{name} is not downloaded: {broken}.", "Check the connection; behind a proxy, set HTTPS_PROXY.")
    with _explained(name):
        there = {file.rfilename: file.size or 0 for file in _listed(name, kind)}
    if missing := kind.missing(there):
        raise HubError(f"{name} is not {kind.words}: it has no {missing}.", "Name another, or a folder of your own.")
    files = kind.wanted(there)
    size, cache = sum(there[file] for file in files), Path(constants.HF_HUB_CACHE)
    console.print(Text(f"{name}: {len(files)} files, {gib(size)}"))
    cache.mkdir(parents=True, exist_ok=True)
    known = _snapshot(name, kind)
    needed = size - sum((known / file).stat().st_size for file in files if known and (known / file).is_file())
    if shutil.disk_usage(cache).free < needed:
        raise HubError(
            f"{name} takes {gib(needed)} more, and {cache} has {gib(shutil.disk_usage(cache).free)} left.",
            "Free some space, or set HF_HOME to a folder elsewhere.",
        )
    with _explained(name):
        return Path(snapshot_download(name, repo_type=kind.type, allow_patterns=files, tqdm_class=_Bytes))


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Within it, whatever the Hub or the connection to it says is a :class:`HubError`."""
    try:
        yield
    except GatedRepoError:
        fix = f"Accept them at {constants.ENDPOINT}/{name}, then log in: hf auth login"
        raise HubError(f"{name} is given to those only who accept its terms.", fix) from None
    except (RepositoryNotFoundError, HFValidationError):
        raise HubError(f"There is no {name} on the Hub.", "Look for its name there; it is OWNER/NAME.") from None
    except Exception as error:  # a connection breaks in many ways, each of which is an exception of its own
        said = " ".join(str(error).split())[:200].rstrip(".")
        raise HubError(f"{name} is not downloaded: {said}.", "The same command goes on where it stopped.") from error


def fetch_dataset(dataset: Dataset, console: Console) -> Path:
    """The imagefolder of a data set, made from what is downloaded if need be. Pictures are cut to squares of :data:`SIDE`."""
    place = Path(dataset.name)
    if not place.is_dir() or dataset == Dataset(dataset.name):  # what is in a folder of one's own may have changed
        with suppress(NotFetchedError):
            return dataset_folder(dataset)
    source = fetch(dataset.name, _ANYTHING, console)
    from datasets import disable_progress_bars, load_dataset
    from datasets.exceptions import DatasetsError
    from PIL import Image, ImageOps

    disable_progress_bars()
    try:
        rows: Any = load_dataset(str(source), split=dataset.split)
    except (ValueError, OSError, DatasetsError) as error:  # no such split, or nothing that can be read
        said = " ".join(str(error).split())[:200].rstrip(".")
        raise HubError(
            f"{dataset.name} cannot be read: {said}.", "Is it a data set of pictures, and its split right?"
        ) from None
    if missing := [column for column in (dataset.image, dataset.text) if column not in rows.column_names]:
        known = ", ".join(rows.column_names)
        raise HubError(
            f"{dataset.name} has no column {missing[0]!r}.", f"Name the right ones: image, text. There are: {known}."
        )
    kept = _kept(dataset)
    beside = kept.with_name(f"{kept.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    with (beside / "metadata.jsonl").open("w", encoding="utf-8") as metadata:
        for number, row in enumerate(rows):
            picture = row[dataset.image]
            if not isinstance(picture, Image.Image):
                raise HubError(
                    f"{dataset.name}: {dataset.image!r} holds no pictures.", "Name the column that does: image"
                )
            file = f"{number:05}.png"
            ImageOps.fit(picture.convert("RGB"), (SIDE, SIDE)).save(beside / file)
            facts = {name: value for name, value in row.items() if isinstance(value, str)}
            metadata.write(json.dumps({**facts, "file_name": file, "text": str(row[dataset.text])}) + "\n")
    shutil.rmtree(kept, ignore_errors=True)
    beside.rename(kept)
    console.print(Text(f"{dataset.name}, {dataset.split}: {len(rows)} pictures in {kept}"))
    return kept


class _Bytes(tqdm):
    """The one of the bars of a download that tells bytes of all files together; it goes away at the end."""

    def __init__(self, *args: Any, **options: Any) -> None:
        shown = str(options.get("desc")).startswith("Reconstructing")
        super().__init__(
            *args,
            **options
            | {"disable": not shown, "desc": "downloading", "bar_format": None, "leave": False, "position": 0},
        )

    def set_description(self, *said: Any, **options: Any) -> None:
        """Say the same all the time."""
        super().set_description("downloading", **options)


def _listed(name: str, kind: Kind) -> list[Any]:
    info: Any = HfApi().repo_info(name, repo_type=kind.type, files_metadata=True)
    return info.siblings or []


def _snapshot(name: str, kind: Kind) -> Path | None:
    """Where in the cache a model is, perhaps not all of it: for the libraries' own search one that lacks a file is none."""
    try:
        found = try_to_load_from_cache(name, kind.files[0]) if kind.files else None
    except HFValidationError:
        return None
    return Path(found).parent if isinstance(found, str) else None


def _files(place: Path) -> list[str]:
    """The names of the files in a folder that are there, and no links to what is not."""
    return [str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()]


def _kept(dataset: Dataset) -> Path:
    """Where the imagefolder is kept that is made of a data set."""
    digest = hashlib.sha256(repr((astuple(dataset), SIDE)).encode()).hexdigest()[:8]
    return Path(constants.HF_HOME, "lora-graders", f"{re.sub(r'[^A-Za-z0-9]+', '-', dataset.name)}-{digest}")
