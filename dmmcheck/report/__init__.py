"""Findings and reports as plain data, then one renderer a file."""
