"""Formulas behind characters that nobody sees."""

import pytest

from graders.harness.data.cells import defused


@pytest.mark.parametrize("hidden", ["\0", "\u200b", "\ufeff", "\u2060\u200e", "\x7f", "\xad"])
def test_a_formula_behind_hidden_characters_is_text(hidden: str) -> None:
    """Some programs drop such characters as they read, and would then meet the formula."""
    assert defused(f"{hidden}=1+1").startswith("'")
    assert defused(f"{hidden}Ada") == f"{hidden}Ada"
