"""How long tests wait: no verdict rests on it, for a busy machine takes its time, and what takes longer hangs."""

PATIENCE = 1500.0
"""Seconds."""
