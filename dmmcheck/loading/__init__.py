"""From settings to a subject: references to code, datasets, files of weights."""
