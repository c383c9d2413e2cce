"""Example cluster files, read as data."""
