"""The fourth exam, by two writers."""
