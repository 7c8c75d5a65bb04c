"""One file per sub-command of `deadband`."""
