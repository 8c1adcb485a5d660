"""Many hand-ins: found in what a course system gives, graded unattended, and brought together in a gradebook."""
