"""The machine: what is installed on it, and what it has room for."""
