"""Hostile input: files and connections that lie, made from a seed; ``python -m tests.fuzz --help``."""
