"""Slices in, numbers out: pure numpy, batched over layers of one shape."""
