"""Looks at every link between a training loop and a screen, and says which is broken."""
