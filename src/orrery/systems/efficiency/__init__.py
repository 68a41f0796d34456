"""Efficiency: the same quality for less memory, time or data."""
