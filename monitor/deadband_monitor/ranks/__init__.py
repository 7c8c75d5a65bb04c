"""What the ranks of a run say beside each other: a few figures of each, and who is unlike them."""
