"""The third exam, opened once the rules stood."""
