"""Scaling: how loss depends on parameters, data and compute."""
