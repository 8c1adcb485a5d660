"""Bytes that anyone may have written, read as data, and files that nobody sees half of."""
