"""Names of layers as a student lists them, compared with a U-Net's cross-attention projections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property
from typing import Any

from graders.harness.data import values
from graders.harness.rubric import fail
from graders.lora.measures.architecture import MID_BLOCK, Architecture, Projection, projection_of
from graders.lora.measures.layers import Kind, kind_of

PEFT_PREFIX = "base_model.model."
"""What `named_modules()` puts before every name when the U-Net is wrapped by `get_peft_model`."""

HOLDER, PARAMETER, OF_ADAPTER, UNKNOWN = "holder", "parameter", "of-adapter", "unknown"
_SAID = {
    Kind.SELF_ATTENTION: ("a module of self-attention", "modules of self-attention"),
    Kind.FEED_FORWARD: ("a feed-forward module", "feed-forward modules"),
    Kind.CONVOLUTION: ("a convolution", "convolutions"),
    Kind.TIME_EMBEDDING: ("a layer of the time embedding", "layers of the time embedding"),
    Kind.TRANSFORMER_PROJECTION: (
        "a layer that leads into or out of attention",
        "layers that lead into or out of attention",
    ),
    Kind.OTHER: ("a normalisation or a whole block", "normalisations or whole blocks"),
    HOLDER: (
        "a module of cross-attention with no weight matrix of its own",
        "modules of cross-attention with no weight matrix of their own",
    ),
    PARAMETER: ("a parameter", "parameters"),
    OF_ADAPTER: ("a module inside an adapter", "modules inside an adapter"),
    UNKNOWN: ("no module of the U-Net", "no module of the U-Net"),
}
"""What one wrong name, or several of them, are the names of."""
_GROUPS = 3
"""How many kinds of wrong names a sentence lists; of the others it gives the number."""
REPEATED, EMPTY = "repeated", "empty"
_SLUGS = {
    Kind.SELF_ATTENTION: "self-attention-targeted",
    Kind.CONVOLUTION: "convolution-targeted",
    Kind.FEED_FORWARD: "feed-forward-targeted",
}
_HINTS: Mapping[str | None, str] = {
    "self-attention-targeted": "Look at in_features of to_k in both attention modules of a transformer block. Which of the two "
    "can take the text embeddings?",
    "convolution-targeted": "Which modules of a transformer block take the text embeddings as an input? Convolutions do not.",
    "feed-forward-targeted": "Which modules of a transformer block take the text embeddings as an input? Feed-forward modules "
    "do not.",
    "every-layer-targeted": "Narrow the list down: of all the kinds on it, which one takes the text embeddings as an input?",
    "module-list-named": "Print unet.get_submodule(name) for the name given above. What does it hold? List the layers that have "
    "a weight matrix of their own, and nothing around them.",
    "parameters-not-modules": "Compare unet.named_parameters() with unet.named_modules(): the exercise asks for names from the "
    "second.",
    "output-projection-missing": "Print one of the attention modules that you listed layers of. What happens to the result of "
    "attention before it leaves the module?",
    "query-value-only": "For language models W_Q and W_V are a common choice. Which projections does the exercise ask for?",
    "mid-block-missing": "Print the first part of each name that you keep (name.split('.')[0]). What does the U-Net hold "
    "between its way down and its way up?",
    "lesson-resolutions-only": "Print the first two parts of each name that you keep. Which blocks of the U-Net have "
    "transformer blocks and are not among them?",
    OF_ADAPTER: "List the names before an adapter is added, or leave out what an adapter has brought.",
    UNKNOWN: "Take the names from unet.named_modules() as they are: unet.get_submodule(name) must find each of them.",
    REPEATED: "Compare len(cross_attention_layers) with len(set(cross_attention_layers)). Where do names get onto the list a "
    "second time?",
    EMPTY: "Print a few of the names in unet.named_modules() and hold your condition against them. Why does none of them pass?",
    None: "Count your names by block (their first two parts) and by projection (their last part). Which blocks have "
    "cross-attention and are not among them, or not with four projections?",
}


def read_names(value: Any) -> list[str]:
    """The names in any sequence, set, series or column, or those by which a mapping calls its items.

    Anything else is failed in words.
    """
    expected = "a list of the layers' names"
    sides: list[list[Any]] = []
    if isinstance(value, dict):
        sides = [list(value)]
    elif isinstance(value, values.Table):
        sides = [[next(iter(row.values())) for row in value]] if all(len(row) == 1 for row in value) else []
    elif isinstance(value, values.Items):
        sides = [list(value), list(value.labels or ())]
    elif isinstance(value, (list, tuple, frozenset)):
        sides = [list(value)]
    if not sides:
        fail(
            f"`cross_attention_layers` is of type `{values.one_line(values.type_name(value), 60)}`.",
            expected=expected,
            hint="Collect the names in a list: one string for each layer.",
        )
    names = next((side for side in sides if side and all(isinstance(name, str) for name in side)), sides[0])
    others = [name for name in names if not isinstance(name, str)]
    if others:
        fail(
            f"`cross_attention_layers` holds something of type `{values.one_line(values.type_name(others[0]), 60)}`, which is "
            "not a name.",
            expected=expected,
            hint="unet.named_modules() gives pairs of a name and a module. Keep the name of each pair.",
        )
    if names and all(name.startswith(PEFT_PREFIX) for name in names):
        names = [name.removeprefix(PEFT_PREFIX) for name in names]
    return names


class LayerNames:
    """A list of names and what is right and wrong about it."""

    def __init__(self, names: Collection[str], architecture: Architecture) -> None:
        self.architecture = architecture
        self.names = list(names)
        self.listed = set(names)
        self.count = len(names)
        self.asked = set(architecture.cross_attention)
        self.missing = [name for name in architecture.cross_attention if name not in self.listed]
        self.extra = sorted(self.listed - self.asked)
        self.repeated = sorted(name for name, times in Counter(names).items() if times > 1)

    @property
    def right(self) -> bool:
        """Whether exactly the cross-attention projections are listed, each once."""
        return not (self.missing or self.extra or self.repeated)

    def parts(self) -> dict[str, list[str]]:
        """The names that are wrong in each part of what was asked for: missing, extra or repeated.

        The list is divided both by resolution and by projection, and the division that leaves more parts right is
        taken: who forgot one resolution, or one projection, has the rest. A wrong name that belongs to no part, such as
        a convolution outside of the blocks, is wrong in all of them.
        """
        place_of = self.architecture.place_of
        by_place = self._divide(self.architecture.places, place_of, lambda place: f"the {place}")
        by_projection = self._divide(list(Projection), self._projection_of, lambda projection: projection)
        return max(by_place, by_projection, key=lambda parts: sum(not wrong for wrong in parts.values()))

    def _divide(
        self, keys: Iterable[str], key_of: Callable[[str], str | None], title: Callable[[str], str]
    ) -> dict[str, list[str]]:
        parts: dict[str, list[str]] = {key: [] for key in keys}
        for name in [*self.missing, *self.extra, *self.repeated]:
            key = key_of(name)
            for part in [key] if key in parts else parts:
                parts[part].append(name)
        return {title(key): wrong for key, wrong in parts.items()}

    def _projection_of(self, name: str) -> str | None:
        # Listing attn2 or a dropout beside all projections is the same slip as listing to_out, and costs the same.
        return Projection.OUT if self._labels.get(name) == HOLDER else projection_of(name)

    @cached_property
    def _labels(self) -> dict[str, str]:
        """What each of the extra names is instead of a cross-attention projection."""
        return {name: self._label(name) for name in self.extra}

    def _label(self, name: str) -> str:
        if name in self.architecture.modules:
            kind = kind_of(name)
            return HOLDER if kind is Kind.CROSS_ATTENTION else kind
        if name in self.architecture.parameter_names:
            return PARAMETER
        return OF_ADAPTER if ".lora_" in name or ".base_layer" in name else UNKNOWN

    def describe(self, wrong: Collection[str]) -> str:
        """What is wrong with these names, in a sentence without its end."""
        chosen = set(wrong)
        said = []
        missing = [name for name in self.missing if name in chosen]
        if missing and len(missing) < len(self.asked):  # that all are missing follows from what is there instead
            said.append(f"{len(missing)} projection{'s are' if len(missing) > 1 else ' is'} missing")
        groups: dict[str, list[str]] = {}
        for name in self.extra:
            if name in chosen:
                groups.setdefault(self._labels[name], []).append(name)
        ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
        said += [_say(label, names, of=self.count) for label, names in ordered[:_GROUPS]]
        if others := sum(len(names) for _, names in ordered[_GROUPS:]):
            said.append(f"{others} more {'is' if others == 1 else 'are'} of other kinds")
        if repeated := [name for name in self.repeated if name in chosen]:
            said.append(f"{len(repeated)} name{'s are' if len(repeated) > 1 else ' is'} there more than once")
        return "; ".join(said)

    def summary(self) -> str:
        """What the list holds altogether, in a sentence without its end."""
        if not self.count:
            return "The list is empty"
        found = len(self.asked) - len(self.missing)
        wrong = self.describe([*self.missing, *self.extra, *self.repeated])
        if not self.extra:
            return f"Every name on the list is right, but {wrong}"
        if self.count == 1:
            return f"The one name on the list is not right: {wrong}"
        if not found:
            return f"Of {self.count} names, none is right: {wrong}"
        return f"Of {self.count} names, {found} {'is' if found == 1 else 'are'} right, but {wrong}"

    @cached_property
    def misconception(self) -> str | None:
        """The one misconception that explains the list, if there is one."""
        labels = Counter(self._labels.values())
        if labels:
            if 2 * labels[PARAMETER] > labels.total():
                return "parameters-not-modules"
            learned = {kind: labels[kind] for kind in Kind if labels[kind] and kind is not Kind.OTHER}
            if len(learned) > 2:
                return "every-layer-targeted"
            named = {kind: count for kind, count in learned.items() if kind in _SLUGS}
            if named:
                return _SLUGS[max(named, key=lambda kind: named[kind])]
            return "module-list-named" if labels[HOLDER] else None
        return self._misconception_of_gaps()

    def _misconception_of_gaps(self) -> str | None:
        present = {projection_of(name) for name in self.asked - set(self.missing)}
        if present == set(Projection) - {Projection.OUT}:
            return "output-projection-missing"
        if present == {Projection.QUERY, Projection.VALUE}:
            return "query-value-only"
        places = self.architecture.places
        if self.missing and MID_BLOCK in places:
            gaps = {place for place in places if not any(self.architecture.place_of(n) == place for n in self.listed)}
            partly = {self.architecture.place_of(name) for name in self.missing} - gaps
            if not partly and gaps == {MID_BLOCK}:
                return "mid-block-missing"
            if not partly and gaps == {places[0], MID_BLOCK} and len(places) > 2:
                return "lesson-resolutions-only"
        return None

    @property
    def hint(self) -> str:
        """What to look at next."""
        if self.misconception:
            return _HINTS[self.misconception]
        holds = {OF_ADAPTER: OF_ADAPTER in self._labels.values(), UNKNOWN: UNKNOWN in self._labels.values()}
        holds |= {REPEATED: bool(self.repeated), EMPTY: not self.count}
        return _HINTS[next((label for label, there in holds.items() if there), None)]


def _say(label: str, names: list[str], of: int) -> str:
    """That these names, ``of`` so many, are those of such modules, with an example that shows it."""
    one, several = _SAID[label]
    telling = [name for name in names if ".to_out" in name] if label == HOLDER else [name for name in names if name]
    example = repr(values.one_line((telling or names)[0], 90))
    if len(names) == 1:
        return f"{example} is the name of {one}"
    return f"{'all' if len(names) == of else f'{len(names)} names'} are those of {several}, for example {example}"
