"""The pytest plugin: options, items, hooks."""
