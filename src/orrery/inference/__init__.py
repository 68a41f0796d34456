"""Putting trained models to work; what is here knows a model by what it can do, not by name."""
