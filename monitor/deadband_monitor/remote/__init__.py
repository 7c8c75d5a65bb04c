"""Runs on other hosts, read through a command that gives stdin and stdout there."""
