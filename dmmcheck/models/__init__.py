"""What counts as a classifier: one adapter a file."""
