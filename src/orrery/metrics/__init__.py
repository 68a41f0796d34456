"""Measures of models and of what they make, one family a file."""
