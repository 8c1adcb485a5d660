"""A U-Net with LoRA in it, as a hand-in leaves it: which parameters are the base model's, and which are A and B."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from graders.harness.errors import HandInError
from graders.harness.hand_in import ModuleState, ParameterState
from graders.lora.measures.precision import is_float

_WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""Parts of a name that compiling or wrapping a model adds anywhere in it."""
_ROLE = re.compile(r"(?:^|_)(?:(a|down)|(b|up))(?:_|$)", re.IGNORECASE)
_ADDED = re.compile(r"lora|adapter|magnitude", re.IGNORECASE)


def has_gradient(state: ParameterState) -> bool:
    """Whether a parameter has a gradient that is not zero throughout."""
    return state.gradient is not None and bool((state.gradient.double() != 0).any())


@dataclass(frozen=True, eq=False)
class LoraPair:
    """A and B of one layer. ``transposed`` says of each that it is kept as [in, r] or [r, out]."""

    layer: str
    a: ParameterState
    b: ParameterState
    transposed: tuple[bool, bool]

    @property
    def states(self) -> tuple[ParameterState, ParameterState]:
        """A and B."""
        return self.a, self.b

    @property
    def rank(self) -> int:
        """The inner dimension of B·A."""
        return self.a.value.shape[1 if self.transposed[0] else 0]

    @property
    def down(self) -> Tensor:
        """A as [r, in], of a convolution as [r, in · height · width of its kernel]."""
        return self.a.value.T if self.transposed[0] else self.a.value.flatten(1)

    @property
    def up_gradient(self) -> Tensor | None:
        """The gradient of B as [out, r], also of a convolution with a kernel of 1."""
        gradient = self.b.gradient
        if gradient is None or gradient.ndim != 2:
            return None if gradient is None else gradient.flatten(1)
        return gradient.T if self.transposed[1] else gradient


@dataclass(frozen=True, eq=False)
class BaseParameter:
    """A parameter of the base model as it came back, and as it was."""

    name: str
    state: ParameterState
    original: Tensor

    @property
    def untouched(self) -> bool:
        """Whether it is bit for bit the original, in its own precision; the way there may lead through half precision."""
        value = self.state.value
        if value.shape != self.original.shape or not is_float(value):
            return False
        ways = (self.original.dtype, torch.float16, torch.bfloat16)
        return any(self.state.equals(self.original.to(way).to(value.dtype)) for way in ways)


class AdaptedUNet:
    """The parameters of a hand-in's U-Net, told apart by the names and shapes of those of the base model.

    LoRA may be PEFT's, added to the U-Net or wrapped around it, or written by hand: modules in place of a layer or inside
    it, with A and B as [r, in] and [out, r] or the other way round. What counts is what stands under a layer's name.
    """

    def __init__(self, module: ModuleState, base: nn.Module) -> None:
        """:class:`HandInError` where a pair, or a gradient, holds no numbers that can be compared."""
        self.identities = {state.identity for state in module.parameters.values()}
        """By which an optimizer names the parameters, whatever they are."""
        owners = {name: owner for name, owner in base.named_modules() if owner._parameters}
        deepest = max(name.count(".") + 1 for name in owners)
        found: dict[str, dict[str, ParameterState]] = {name: {} for name in owners}
        self.strangers: list[str] = []
        """Names of trainable parameters that belong to no layer of the base model, or to no pair."""
        for name, state in module.parameters.items():
            layer, rest = _split(name, owners, deepest)
            if layer is None:
                self.strangers += [name] if state.trainable else []
            else:
                found[layer][rest] = state
        self.base: list[BaseParameter] = []
        self.missing: list[str] = []
        """Names of the base model's parameters that are not there."""
        self.pairs: list[LoraPair] = []
        for layer, owner in owners.items():
            added = self._take_base(layer, owner, found[layer])
            weight = owner._parameters.get("weight")
            pairs, others = _pair(layer, added, weight) if weight is not None else ([], list(added))
            self.pairs += pairs
            self.strangers += [f"{layer}.{rest}" for rest in others if found[layer][rest].trainable]
        for pair in self.pairs:
            for state in pair.states:
                gradient = state.value if state.gradient is None else state.gradient
                if not (is_float(state.value) and is_float(gradient) and gradient.shape == state.value.shape):
                    raise HandInError(
                        f"A or B of {pair.layer} is not kept in floating-point numbers, or not its gradient.",
                        "Train the adapter in float32, float16 or bfloat16.",
                    )

    def _take_base(self, layer: str, owner: nn.Module, found: dict[str, ParameterState]) -> dict[str, ParameterState]:
        """Sort out what is the base model's; the rest is returned."""
        added = dict(found)
        for leaf, original in owner._parameters.items():
            if original is None:
                continue
            alike = [rest for rest, state in added.items() if state.value.shape == original.shape]
            alike.sort(key=lambda rest: (rest != leaf, bool(_ADDED.search(rest)), rest.rpartition(".")[2] != leaf))
            # One of another shape, under its own name, is the base model's as well: another model's, or quantized.
            rest = next(iter(alike), leaf if leaf in added else None)
            if rest is None:
                self.missing.append(f"{layer}.{leaf}")
            else:
                self.base.append(BaseParameter(f"{layer}.{leaf}", added.pop(rest), original.detach()))
        return added

    @property
    def adapted_layers(self) -> list[str]:
        """The names of the layers with LoRA, in the order of ``named_modules()``."""
        return list(dict.fromkeys(pair.layer for pair in self.pairs))

    @property
    def lora_identities(self) -> set[int]:
        """By which an optimizer names A and B."""
        return {state.identity for pair in self.pairs for state in pair.states}

    @property
    def base_identities(self) -> set[int]:
        """By which an optimizer names the base model's parameters."""
        return {parameter.state.identity for parameter in self.base}


def _split(name: str, owners: dict[str, nn.Module], deepest: int) -> tuple[str | None, str]:
    """The layer of the base model under whose name, of at most ``deepest`` parts, a parameter stands, and the rest of its name.

    What stands before the layer's name is left out, such as PEFT's ``base_model.model``.
    """
    parts = [part for part in name.split(".") if part not in _WRAPPERS]
    for start in range(len(parts)):
        for end in range(min(len(parts) - 1, start + deepest), start, -1):
            if (layer := ".".join(parts[start:end])) in owners:
                return layer, ".".join(parts[end:])
    return None, name


def _role(name: str) -> tuple[str, str]:
    """ "a", "b" or "" for the matrix that a name stands for, and the name without what says so."""
    parts = name.split(".")
    for index in reversed(range(len(parts))):
        if match := _ROLE.search(parts[index]):
            return ("a" if match[1] else "b"), ".".join(
                [*parts[:index], _ROLE.sub("_", parts[index]), *parts[index + 1 :]]
            )
    return "", ""


def _pair(layer: str, added: dict[str, ParameterState], weight: Tensor) -> tuple[list[LoraPair], list[str]]:
    """The pairs among the parameters that were added to a layer, and the names of what is left."""
    groups: dict[str, dict[str, str]] = {}
    unnamed = []
    known = {rest: state for rest, state in added.items() if state.digest is None}
    for rest, state in known.items():
        role, group = _role(rest)
        if state.value.ndim < 2 or not role or role in groups.get(group, {}):
            unnamed.append(rest)
        else:
            groups.setdefault(group, {})[role] = rest
    candidates = [(roles["a"], roles["b"]) for roles in groups.values() if len(roles) == 2]
    unnamed += [rest for roles in groups.values() if len(roles) == 1 for rest in roles.values()]
    matrices = [rest for rest in unnamed if added[rest].value.ndim == 2]
    if not candidates and len(matrices) == 2:  # names say nothing, so shapes must; where they do not, A is named first
        candidates = [(matrices[0], matrices[1]), (matrices[1], matrices[0])]
    pairs: list[LoraPair] = []
    left = set(added)
    for a, b in candidates:
        transposed = _orientation(added[a].value, added[b].value, weight)
        if transposed is not None and {a, b} <= left:
            pairs.append(LoraPair(layer, added[a], added[b], transposed))
            left -= {a, b}
    return pairs, [rest for rest in added if rest in left]


def _orientation(a: Tensor, b: Tensor, weight: Tensor) -> tuple[bool, bool] | None:
    """Whether A and B are transposed; None if no product of theirs has the shape of ``weight``."""
    if weight.ndim == 4 and a.ndim == 4 and b.ndim == 4:
        fits = a.shape[1:] == weight.shape[1:] and b.shape[:2] == (weight.shape[0], a.shape[0])
        return (False, False) if fits else None
    if not a.ndim == b.ndim == weight.ndim == 2:
        return None
    for a_transposed in (False, True):
        for b_transposed in (False, True):
            down, up = (a.T if a_transposed else a), (b.T if b_transposed else b)
            if (up.shape[0], down.shape[1]) == tuple(weight.shape) and up.shape[1] == down.shape[0]:
                return a_transposed, b_transposed
    return None
