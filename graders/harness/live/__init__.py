"""A notebook that is open: graded as its kernel stands, without running it again."""
