"""What grades any lesson."""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
"""Where the harness and the lesson are installed."""
