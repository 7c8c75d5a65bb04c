"""The sidecar process: takes frames, computes statistics, records, judges, serves viewers."""
