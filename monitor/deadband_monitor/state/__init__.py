"""The state of a run, folded from its events: the pure core that hub, replay and screens share."""
