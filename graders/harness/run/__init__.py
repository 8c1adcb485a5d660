"""From a hand-in notebook to evidence: the notebook is run as untrusted code, and what it left is read as data."""

MARK = "GRADE_RUN"
"""Variable of the environment of a notebook that is being graded: what it would have graded is graded already."""

KINDS = ("value", "tensor", "pictures", "module", "optimizer")
"""How a variable of a notebook can be kept."""
TROUBLE = 70
"""Exit status of the untrusted half when it failed itself, as EX_SOFTWARE of sysexits.h."""
