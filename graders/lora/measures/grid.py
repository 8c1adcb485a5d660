"""A hand-in's grid of pictures, cell by cell, beside the pictures that the trusted process generates."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import product
from typing import Any

import numpy as np

from graders.harness.data import values
from graders.harness.errors import HandInError
from graders.harness.hand_in import HandIn
from graders.harness.rubric import LeftToPerson
from graders.lora import compositions
from graders.lora.measures import picture_settings, thresholds
from graders.lora.measures.arrangements import CROSSED
from graders.lora.measures.clip import Clip
from graders.lora.measures.composition import Composition, Settings, distance, shared
from graders.lora.measures.composition_mistakes import (
    HINTS,
    Start,
    Weights,
    drifting,
    explain,
    hypotheses,
    same,
    starts,
)
from graders.lora.measures.handed_in import picture_list
from graders.lora.measures.starting_noise import differ
from graders.lora.measures.strength import NOTICEABLE, Scales, Strength, measure, of_fixtures, of_pictures
from graders.lora.measures.tables import number
from graders.lora.sightings import made_with, merges, noise_of
from graders.lora.watchers import settings_of

DEFAULT_STEPS, DEFAULT_GUIDANCE = 50, 7.5
"""What a Stable Diffusion pipeline takes where it is not told."""
TAKE_OUT = "Take out the line that sets it again, and run all cells."
EVERYWHERE = ", and all cells hold the same pictures"


class Cell(tuple[float, float]):
    """A pair of weights, which feedback writes as (0.7, 0.4)."""

    def __str__(self) -> str:
        return f"({self[0]:g}, {self[1]:g})"


@dataclass(frozen=True)
class Explanation:
    """Why a cell's pictures are not the expected ones: what they are (the end of a sentence), and what to look at."""

    found: str
    hint: str
    misconception: str | None = None


class Grid:
    """The cells of GRID and what was handed in for them."""

    def __init__(self, hand_in: HandIn) -> None:
        """Nothing is read or generated before it is asked for."""
        self._hand_in = hand_in
        parameters = hand_in.parameters
        self.cells = tuple(dict.fromkeys(Cell(map(float, weights)) for weights in parameters["GRID"]))
        self.composition: Composition = shared(parameters)
        self._shown = lru_cache(maxsize=None)(self._shows)
        self.explain = lru_cache(maxsize=None)(self._explain)
        """What a cell shows in place of what it should, where that can be told."""

    @property
    def base(self) -> list[Cell]:
        """The cells without adapters."""
        return [cell for cell in self.cells if not any(cell)]

    @property
    def alone(self) -> list[Cell]:
        """The cells with one of the two."""
        return [cell for cell in self.cells if any(cell) and not all(cell)]

    @property
    def blends(self) -> list[Cell]:
        """The cells with both."""
        return [cell for cell in self.cells if all(cell)]

    @cached_property
    def tolerance(self) -> float:
        """Levels of 255 by which a picture may differ on average, whatever device it was generated on."""
        return thresholds.known(thresholds.picture(self._hand_in.profile), self._hand_in)

    @property
    def noticeable(self) -> float:
        """Share of the change that an adapter makes, less than which is none, where it is known how rounding changes pictures."""
        rounding = thresholds.picture(self._hand_in.profile)
        return thresholds.known(None if rounding is None else NOTICEABLE, self._hand_in)

    @cached_property
    def scales(self) -> Scales:
        """What the pictures are measured on, as CLIP sees them."""
        device, profile = self.composition.base_model.device.type, self._hand_in.profile
        if profile.of_fixtures:
            return of_fixtures(device)
        alone = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
        return of_pictures(
            Clip(profile.judge, device), *(self.composition.pictures(c, self.start.noises) for c in alone)
        )

    @cached_property
    def images(self) -> dict[Cell, Any]:
        """What was handed in for the cells, still to be looked at, or :class:`HandInError`."""
        images = self._hand_in.evidence.pictures("images")
        if not isinstance(images, dict):
            raise HandInError(
                "`images` is not a mapping from pairs of weights to pictures.",
                "Fill it as `images[(style weight, subject weight)] = [...]`.",
            )
        found = {}
        for key, pictures in images.items():
            pair = tuple(map(number, key)) if isinstance(key, tuple) and len(key) == 2 else (None,)
            cell = next((c for c in self.cells if None not in pair and same(pair, c)), None)  # type: ignore[arg-type]
            if cell is not None:
                found[cell] = pictures
        if not found:
            raise HandInError(
                f"No key of `images` is a pair of weights in GRID (keys there: {values.keys(images)}).",
                "Fill it as `images[(style weight, subject weight)] = [...]`, with two numbers in each key.",
            )
        return found

    def pictures(self, cell: Cell) -> list[np.ndarray]:
        """What was handed in for a cell, one picture per prompt, or :class:`HandInError`."""
        name = f"images[{cell}]"
        try:
            if cell not in self.images:
                raise HandInError("`images` has no such key.", "Generate one picture per prompt for it, too.")
            pictures = picture_list(self._hand_in, self.images[cell], name, len(self.composition.prompts))
        except HandInError as error:
            if because := self._hand_in.because("GRID", "PROMPTS"):
                raise HandInError(f"{error.problem} {because}", TAKE_OUT) from None
            raise
        wrong = next((p.shape for p in pictures if p.shape != self.composition.shape), None)
        if wrong:
            raise HandInError(
                f"`{name}` holds a picture of {wrong[1]}x{wrong[0]} pixels; the model generates "
                f"{self.composition.shape[1]}x{self.composition.shape[0]}.",
                "Hand in the pictures as the pipeline generates them; resize copies of them to look at.",
            )
        return pictures

    @cached_property
    def complete(self) -> list[Cell]:
        """The cells that can be judged."""

        def judged(cell: Cell) -> bool:
            try:
                return bool(self.pictures(cell))
            except HandInError:
                return False

        return [cell for cell in self.cells if judged(cell)]

    @cached_property
    def start(self) -> Start:
        """The noise that the hand-in's pictures start from: as asked unless no cell says so, and all say something else.

        Its pictures can be compared with each other from any noise that is the same in every cell.
        """
        own = starts(self.composition.seed, len(self.composition.prompts))
        last = len(self.composition.prompts) - 1  # the first prompt's noise is the same in several ways

        def agrees(start: Start, cell: Cell) -> bool:
            generated = self.composition.picture(cell, last, start.noises[last])
            return self._alike(self.pictures(cell)[last], generated)

        with suppress(LeftToPerson):  # where it is not known when two pictures are the same
            return next((start for start in own if any(agrees(start, cell) for cell in self.complete)), own[0])
        return own[0]

    def differences(self, cell: Cell) -> list[float]:
        """Distance of each picture of a cell from the one that the trusted process generates, in levels of 255."""
        generated = self.composition.pictures(cell, self.start.noises)
        return [distance(a, b) for a, b in zip(self.pictures(cell), generated, strict=True)]

    def right(self, cell: Cell) -> bool:
        """Whether a cell's pictures are those of its weights."""
        return self._near(cell) and not self._hidden(cell)

    def _near(self, cell: Cell) -> bool:
        return all(difference <= self.tolerance for difference in self.differences(cell))

    @cached_property
    def _left_in_full(self) -> str | None:
        """The part of the U-Net that the blends show in full, whatever their weights, by less than the tolerance.

        It is told at the blend that this changes most.
        """
        blends = [cell for cell in self.complete if all(cell) and self._near(cell)]
        cell = max(blends, key=lambda cell: sum(abs(1 - weight) for weight in cell), default=None)
        return next((part for part in self.composition.careless if cell and self._shows_in_full(cell, part)), None)

    def _hidden(self, cell: Cell) -> bool:
        return all(cell) and self._left_in_full is not None and self._shows_in_full(cell, self._left_in_full)

    def _shows_in_full(self, cell: Cell, part: str) -> bool:
        """Whether what sets a cell's pictures apart from the right ones is that a part of the U-Net is there in full.

        At least three quarters of their squared distance have to be explained by it, which rounding is by chance alone.
        """
        noises = self.start.noises
        three = (
            self.pictures(cell),
            self.composition.pictures(cell, noises),
            self.composition.careless[part].pictures(cell, noises),
        )
        shown, right, mistaken = (np.stack(pictures).astype(np.float64) for pictures in three)
        return bool(np.square(shown - mistaken).sum() < np.square(shown - right).sum() / 4)

    def _alike(self, first: np.ndarray, second: np.ndarray) -> bool:
        return distance(first, second) <= self.tolerance

    def _telling(self, cell: Cell) -> int:
        """The prompt whose picture is judged where one is enough: the first that is not as expected."""
        differences = self.differences(cell)
        return next((i for i, difference in enumerate(differences) if not difference <= self.tolerance), 0)

    def _shows(self, cell: Cell, weights: Weights) -> bool:
        """Whether a cell's pictures are those of some weights, as far as its most telling picture says."""
        if self.right(cell):  # pictures of other weights are other pictures
            return same(weights, cell)
        i = self._telling(cell)
        return self._alike(self.pictures(cell)[i], self.composition.picture(weights, i, self.start.noises[i]))

    def strength(self, axis: int, scales: Scales, generated_by_grader: bool = False) -> Strength:
        """How strongly one adapter shows in each cell, in the hand-in's pictures or in the grader's own."""
        composed, noises = self.composition, self.start.noises
        alone = (1.0, 0.0) if axis == 0 else (0.0, 1.0)
        anchors = composed.pictures((0.0, 0.0), noises), composed.pictures(alone, noises)
        pictures: dict[Weights, list[np.ndarray]] = {
            cell: composed.pictures(cell, noises) if generated_by_grader else self.pictures(cell) for cell in self.cells
        }
        return measure(axis, composed.prompts, pictures, anchors, scales)

    def _explain(self, cell: Cell) -> Explanation | None:
        if self._near(cell):
            return self._full(self._left_in_full) if self._left_in_full else None
        # What a picture was seen to be made with is known; whatever follows is inferred from what it looks like.
        return (
            self._other_parameter()
            or self._settings(cell, picture_settings.TELLING)
            or self._mistake(cell)
            or self._same_everywhere(cell)
            or self._drift(cell)
            or self._other_noise(cell)
            or self._forgotten(cell)
            or self._crossed(cell)
            or self._settings(cell, picture_settings.FAINT)
            or self._defaults(cell)
            or self._misplaced(cell)
        )

    def _other_parameter(self) -> Explanation | None:
        """A parameter that the notebook set again, to a value for which it cannot be judged."""
        name = next((name for name in compositions.PICTURES if name in self._hand_in.lost), None)
        if name is None:
            return None
        return Explanation(f"those of the `{name}` that is set again in {self._hand_in.lost[name]}", TAKE_OUT)

    @staticmethod
    def _full(part: str) -> Explanation:
        return Explanation(
            f"those of these weights but for the adapters' layers in {part}, which are there in full",
            "What becomes of the layers that your way of setting the weights does not name? Compare it with the names in the "
            "adapters' files.",
            "mid-block-missing" if part == "mid_block" else None,
        )

    @cached_property
    def _merges(self) -> bool:
        """Whether PEFT may have merged adapters into the base model."""
        return merges(self._hand_in.evidence) != 0

    def _same_everywhere(self, cell: Cell) -> Explanation | None:
        """The same pictures in every cell, which are those of one of them."""
        for shown in self.cells if len(self.complete) > 1 else ():
            if any(shown) and self._all_show(shown):
                slug = "fused-twice" if self._merges else "weights-ignored"
                return Explanation(f"those of weights {shown}{EVERYWHERE}", HINTS[slug], slug)
        return None

    def _all_show(self, weights: Weights) -> bool:
        return all(self._shown(cell, weights) for cell in self.complete)

    def _mistake(self, cell: Cell) -> Explanation | None:
        """Other weights, by one of the mistakes that are known."""
        known = hypotheses(self.cells, self.composition.scales, self._merges)
        mistake = explain(cell, self.cells, lambda c, w: c in self.complete and self._shown(c, w), known)
        if mistake is None:
            return None
        at_work = Cell(mistake.at_work[self.cells.index(cell)])
        everywhere = EVERYWHERE if len(set(mistake.at_work)) == 1 and self._all_show(at_work) else ""
        return Explanation(f"those of weights {at_work}{everywhere}", mistake.hint, mistake.misconception)

    def _drift(self, cell: Cell) -> Explanation | None:
        """Noise that is another one in each cell."""
        i, composed = self._telling(cell), self.composition
        noises = drifting(composed.seed, self.cells.index(cell), i, len(composed.prompts))
        if not any(self._alike(self.pictures(cell)[i], composed.picture(cell, i, noise)) for noise in sorted(noises)):
            return None
        return Explanation(
            "those of these weights, but from noise that changes from cell to cell",
            "When you make one generator for several pictures, or count its seed on, what does the next one start from?",
            "seed-changed",
        )

    def _other_noise(self, cell: Cell) -> Explanation | None:
        """Noise of which no more is known than that it is not SEED's."""
        pictures, noises = self.pictures(cell), self.start.noises
        expected = [self.composition.base_model.start(noise.seed, noise.draw) for noise in noises]
        pairs = ((noise_of(self._hand_in.evidence, p), e) for p, e in zip(pictures, expected, strict=True))
        if not any(
            found is not None and differ(found, start.flatten()[: len(found)].numpy()) for found, start in pairs
        ):
            return None
        return Explanation(
            "those of other noise than SEED gives",
            "Which generator does each call of the pipeline get, and what was drawn from it before?",
            "seed-changed",
        )

    def _crossed(self, cell: Cell) -> Explanation | None:
        """The matrices of the adapters added up before they are multiplied."""
        i = self._telling(cell)
        for arrangement in CROSSED:
            composed = self.composition.arranged(arrangement)
            if self._alike(self.pictures(cell)[i], composed.picture(cell, i, self.start.noises[i])):
                return Explanation(
                    "those of one adapter's B times the sum of both adapters' A",
                    "What does your way of combining the adapters add up: their changes, or their matrices one by one?",
                    "cross-terms",
                )
        return None

    def _settings(self, cell: Cell, names: tuple[str, ...]) -> Explanation | None:
        """Other settings than the parameters and the model give, where the run was seen to generate the picture with them."""
        found = made_with(self._hand_in.evidence, self.pictures(cell)[self._telling(cell)])
        said = picture_settings.difference(found, self._due_settings, names)
        return Explanation(said, picture_settings.HINT) if said else None

    @cached_property
    def _due_settings(self) -> dict[str, Any]:
        composed = self.composition
        return settings_of(
            composed.base_model.pipeline,
            num_inference_steps=composed.settings.steps,
            guidance_scale=composed.settings.guidance,
        )

    def _forgotten(self, cell: Cell) -> Explanation | None:
        """The adapters everywhere but in one block, or in full in one part of the U-Net."""
        i = self._telling(cell)
        for block, composed in self.composition.sparing.items():
            if self._alike(self.pictures(cell)[i], composed.picture(cell, i, self.start.noises[i])):
                return Explanation(
                    f"those of these weights without what the adapters do in {block}",
                    "Which layers does your way of setting the weights reach? Compare them with the names in the adapters' "
                    "files.",
                    "mid-block-missing" if block == "mid_block" else None,
                )
        for part, composed in self.composition.careless.items():
            if self._alike(self.pictures(cell)[i], composed.picture(cell, i, self.start.noises[i])):
                return self._full(part)
        return None

    def _defaults(self, cell: Cell) -> Explanation | None:
        """The pipeline's own number of steps or guidance scale."""
        settings, i = self._own_settings, self._telling(cell)
        if settings is None or not self._alike(self.pictures(cell)[i], self._generated(cell, i, settings)):
            return None
        return Explanation(
            f"those of {settings.steps} steps and guidance {settings.guidance:g}",
            "Which of the parameters reach the call that generates?",
        )

    @cached_property
    def _own_settings(self) -> Settings | None:
        """The settings that explain the first cell that is not right, where the pipeline's defaults do."""
        asked, cell = self.composition.settings, next(cell for cell in self.complete if not self.right(cell))
        steps, guidance = (asked.steps, DEFAULT_STEPS), (asked.guidance, DEFAULT_GUIDANCE)
        picture, i = self.pictures(cell)[self._telling(cell)], self._telling(cell)
        others = [replace(asked, steps=n, guidance=scale) for n, scale in product(steps, guidance)]
        others.remove(asked)
        return next((other for other in others if self._alike(picture, self._generated(cell, i, other))), None)

    def _generated(self, cell: Cell, prompt: int, settings: Settings | None = None) -> np.ndarray:
        return self.composition.picture(cell, prompt, self.start.noises[prompt], settings)

    def _misplaced(self, cell: Cell) -> Explanation | None:
        """The picture of another prompt, perhaps from another cell."""
        i = self._telling(cell)
        for other, prompt in product(self.cells, range(len(self.composition.prompts))):
            if self._alike(self.pictures(cell)[i], self._generated(other, prompt)):
                where = f"that of prompt {prompt + 1} at {other}"
                return Explanation(
                    f"another cell's or another prompt's: picture {i + 1} is {where}",
                    "Follow how a picture gets from the pipeline to its place in `images`.",
                )
        return None
