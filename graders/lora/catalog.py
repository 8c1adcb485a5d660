"""Where the fixtures are: in the repository's ``fixtures`` folder, or inside the installed package."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def data_folder(name: str) -> Path:
    """A folder that comes with the package (``fixtures`` or ``assignments``), in a checkout or in a wheel."""
    installed = _PACKAGE / "data" / name
    return installed if installed.is_dir() else _PACKAGE.parent / name


ROOT = data_folder("fixtures")
HELD_BACK = (
    "adapters/known", "adapters/null", "datasets/pixel/held-out", "datasets/plain/held-out",
    "datasets/watercolor/held-out", "fingerprints",
)  # fmt: skip
"""Fixtures that solve an exercise or decide one: students do not install them. They are in every checkout, and in a package of
their own for instructors."""


def _held_back() -> Path:
    """Where those are: in the checkout, or in the instructors' package if it is installed."""
    if not all((ROOT / name).is_dir() for name in HELD_BACK):
        found = find_spec("lora_graders_instructors")
        for place in (found.submodule_search_locations or ()) if found else ():
            return Path(place) / "fixtures"
    return ROOT


_HELD_BACK_ROOT = _held_back()
INSTRUCTORS = all((_HELD_BACK_ROOT / name).is_dir() for name in HELD_BACK)
"""Whether all that decides is here, as where instructors grade."""


def is_held_back(name: str) -> bool:
    """Whether a fixture, or a file of one, is one of those, by its path below the fixtures folder."""
    return any(name == one or name.startswith(f"{one}/") for one in HELD_BACK)


def place(name: str) -> Path:
    """Where a fixture is, or a file of one, by its path below the fixtures folder."""
    return (_HELD_BACK_ROOT if is_held_back(name) else ROOT) / name


FOR_STUDENTS = (
    "tiny-sd", "judge", "configs", "adapters/style", "adapters/subject",
    "datasets/watercolor/train", "datasets/watercolor/reference",
)  # fmt: skip
"""The fixtures that notebooks point at. The others are only for grading."""
TINY_SD = ROOT / "tiny-sd"
"""A small `StableDiffusionPipeline`."""
CLIP = ROOT / "judge"
"""A small `CLIPModel` with its processor."""
IDENTIFIER = "sks"
"""The rare token that names the one particular thing of the subject data set."""
TRIAL_SEEDS = range(1000, 1020)
"""Seeds from which adapters of every kind have been trained and judged; no threshold is derived from them."""


def dataset(name: str) -> Path:
    """An imagefolder, for example ``watercolor/train``."""
    return place(f"datasets/{name}")


def fingerprint(name: str, root: Path | None = None) -> Path:
    """What is particular to an adapter, by which copies of it are known."""
    folder = place("fingerprints") if root is None else root / "fingerprints"
    return folder / f"{name.replace('/', '-')}.safetensors"


def adapters() -> dict[str, Path]:
    """The folder of every adapter that is here, by its name."""
    folders = [root / "adapters" for root in dict.fromkeys((ROOT, _HELD_BACK_ROOT))]
    return {
        path.parent.relative_to(folder).as_posix(): path.parent
        for folder in folders
        for path in sorted(folder.rglob("*.safetensors"))
    }


def adapter(name: str) -> Path:
    """A LoRA adapter, for example ``style`` or ``null/noise``."""
    return place(f"adapters/{name}")
