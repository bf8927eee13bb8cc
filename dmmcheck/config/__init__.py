"""Settings from options and files, validated with the standard library alone."""
