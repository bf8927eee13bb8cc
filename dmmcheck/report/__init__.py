"""Findings and reports as plain data, and one renderer in each file."""
