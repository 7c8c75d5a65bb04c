"""Small real trainings that fail in one way each, and their healthy twins: what deadband shows."""
