"""Experiments on how loss depends on scale."""
