"""What people are shown: every renderer is a function of a result."""
