"""A recording for other programs: what is in it, and the forms that it can be written in."""
