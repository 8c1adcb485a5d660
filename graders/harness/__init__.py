"""What grades any lesson."""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
"""Where the harness and the lesson are installed."""
DISTRIBUTION = "lora-graders"
"""What package indexes call it; it brings a first lesson."""
