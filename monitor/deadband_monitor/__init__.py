"""The sidecar and the viewers of deadband: hub, statistics, rules, recordings, terminal UI.

Never imports torch: a laptop without it attaches to any run.
"""
