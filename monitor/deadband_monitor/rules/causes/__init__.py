"""Why the flags stand: one file a family of causes, ranked in `naming`."""
