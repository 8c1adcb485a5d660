"""Running other people's notebooks."""
