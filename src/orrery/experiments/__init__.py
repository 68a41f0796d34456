"""Experiments: one question a file, named after the system or the question."""
