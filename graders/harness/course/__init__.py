"""Everybody's hand-ins, and what is kept of them."""
