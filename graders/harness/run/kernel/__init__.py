"""What runs inside the kernel of a notebook that is graded, beside the notebook: with the standard library alone."""
