"""Experiments on systems that make new data."""
