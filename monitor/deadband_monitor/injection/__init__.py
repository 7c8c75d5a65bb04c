"""Code of ours in a running Python process: whom it is, how it gets there, and what it answers."""
