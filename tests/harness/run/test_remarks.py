"""What is said of a run besides how it ended."""

import pytest

from graders.harness.run.evidence import SetAgain
from graders.harness.run.remarks import remarks


class Left:
    """As much of the evidence as remarks are made of."""

    def __init__(self, code: str = "", **again: SetAgain) -> None:
        self.code, self.set_again = code, again


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "x = 1\n!pip install -q peft==0.21",
            "`pip install` does nothing where your hand-in is graded, which does not matter",
        ),
        ("  %pip install peft", "`pip install` does nothing"),
        ("!sudo apt-get -y install git", "`apt-get install` does nothing"),
        ("!wget https://example.org/a.zip", "`wget` loads nothing"),
        ("!git clone https://example.org/a", "`git` loads nothing"),
        ("from huggingface_hub import notebook_login\nnotebook_login()", "Leave `notebook_login` out"),
        ("from huggingface_hub import login\nlogin(token='x')", "Leave `login` out"),
        ("from google.colab import drive", "`google.colab` is only where you wrote the notebook"),
        ("import kaggle_secrets", "`kaggle_secrets` is only where"),
        ("!huggingface-cli login", "Leave `huggingface-cli login` out"),
        ("%pdb on", "take `%pdb` out"),
        ("x = 1\nbreakpoint()", "take `breakpoint` out"),
    ],
)
def test_asked_of_the_machine(source, said):
    """What no graders' machine can give is said in one sentence, with whether it matters."""
    (sentence,) = remarks(Left(source), (), ())
    assert said in sentence


@pytest.mark.parametrize(
    "source",
    [
        "# !pip install peft",
        "x = 'pip install'",
        "!pip list",
        "!ls",
        "# breakpoint()",
        "def login(x): pass",
        "smtp.login(1)",
    ],
)
def test_nothing_to_say(source):
    """Comments, texts and harmless commands are passed over."""
    assert list(remarks(Left(source), (), ())) == []


def test_set_again():
    """A parameter that is set again is named once, with its place and how it is judged; another exercise's is not."""
    again = {name: SetAgain(1, 2, "the cell under *One step*") for name in ("STEPS", "MODEL", "GRID")}
    steps, model = remarks(Left(**again), {"STEPS", "MODEL"}, {"STEPS"})
    assert steps.startswith("`STEPS` is set again in the cell under *One step*. The first run is judged for your value")
    assert "is lost there" in model


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "source", ["\n" * 1_000_000, " " * 1_000_000, "!" + "sudo " * 200_000, "a.breakpoint " * 100_000]
)
def test_code_that_takes_long_to_search(source):
    """However a notebook is written, what it asks for is found in a time that grows with its length alone."""
    assert list(remarks(Left(source), (), ())) == []
