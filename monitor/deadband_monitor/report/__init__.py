"""A run in words: the report by contract, as text, JSON or markdown. Pure functions of values."""
