"""What a text encoder makes of a caption, and what of others."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from graders.lora.measures.causes import Cause
from graders.lora.measures.precision import relative_error

_DECODE = "Decode your token ids with the tokenizer: do you read the caption?"
_STATES = (
    "Print what the text encoder returns, with all shapes. Which part holds one vector per token, after the last layer?"
)


class Caption:
    """A caption as a CLIP text encoder reads it.

    A token sees only those before it, so the embeddings of a caption with less padding, or none, are the first rows of
    those with all of it.
    """

    def __init__(self, tokenizer: Any, text_encoder: Any, text: str) -> None:
        self._tokenizer, self._text_encoder, self.text = tokenizer, text_encoder, text
        tokens = tokenizer(text, padding="max_length", truncation=True, return_tensors="pt")
        self._ids, self._mask = tokens.input_ids, tokens.attention_mask
        self.tokens = int(self._mask.sum())
        """Tokens without the padding, with the beginning and the end of the text."""
        self.longest = self._ids.shape[1]
        """Tokens with all the padding."""

    @property
    def token_ids(self) -> Tensor:
        """The ids of the caption's own tokens: [tokens]."""
        return self._ids[0, : self.tokens]

    @torch.no_grad()
    def _encode(self, ids: Tensor, **arguments: Any) -> Any:
        return self._text_encoder(ids, output_hidden_states=True, **arguments)

    @cached_property
    def _output(self) -> Any:
        return self._encode(self._ids)

    @property
    def embeddings(self) -> Tensor:
        """The last hidden state with all the padding: [1, longest, width]."""
        return self._output.last_hidden_state

    @property
    def width(self) -> int:
        """The length of a token's embedding."""
        return self.embeddings.shape[2]

    @cached_property
    def nothing(self) -> Tensor:
        """The embeddings of the empty caption."""
        ids = self._tokenizer("", padding="max_length", truncation=True, return_tensors="pt").input_ids
        return self._encode(ids).last_hidden_state

    def agrees(self, found: Tensor, tolerance: float) -> bool:
        """Whether ``found`` [1, n, width] are this caption's, with any padding, seen by the other tokens or masked."""
        masked = self._encode(self._ids, attention_mask=self._mask).last_hidden_state
        length = found.shape[1]
        if not self.tokens <= length <= self.longest:
            return False
        return any(relative_error(found, true[:, :length]) <= tolerance for true in (self.embeddings, masked))

    def explain(self, found: Tensor, tolerance: float) -> Cause | None:
        """What ``found`` [1, n, width] are instead: another text's embeddings, or another output; None if nothing known."""
        length = found.shape[1]

        def is_near(true: Tensor, rows: int = length) -> bool:
            return rows > 0 and relative_error(found[:, :rows], true[:, :rows]) <= tolerance

        if not found.any():
            return Cause(
                "holds nothing but zeros", "caption-ignored", "What overwrites it after the text encoder has run?"
            )
        if is_near(self.nothing):
            return Cause("is what the text encoder makes of an empty caption", "caption-ignored", _DECODE)
        if length < self.tokens and is_near(self.embeddings, length - 1):
            hint = "Compare your token ids with those of tokenizer(CAPTION) alone. Which argument cuts yours short?"
            return Cause(f"covers {length} tokens, and the caption has {self.tokens}", hint=hint)
        if any(is_near(state) for state in self._output.hidden_states):
            return Cause("is a hidden state from before the text encoder's last layer or final norm", hint=_STATES)
        if is_near(self._output.pooler_output[:, None]):
            return Cause("is the text encoder's pooled output: one vector for the caption as a whole", hint=_STATES)
        # What begins every text is the same token, and it sees no other.
        if is_near(self.embeddings, 1):
            return Cause("belongs to another text than the one in CAPTION", "caption-ignored", _DECODE)
        return None
