"""The library: one system a file."""
