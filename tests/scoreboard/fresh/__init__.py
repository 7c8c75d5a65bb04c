"""The second exam, by somebody else again."""
