"""Experiments on what a model can do without."""
