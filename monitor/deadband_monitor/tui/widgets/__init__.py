"""Thin widgets: hold a slice of state, call draw, refresh what changed."""
