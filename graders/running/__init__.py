"""From a hand-in notebook to evidence: the notebook is run as untrusted code, and what it left is read as data."""
