"""What runs inside the kernel of a notebook that is graded, beside the notebook.

The texts of these files are executed there as a package without a place on any disk. So they import nothing but the
standard library and each other.
"""

PARTS = ("libraries", "encoding", "pictures", "stand_ins", "watchers", "collect")
"""The files, each after those that it imports."""
