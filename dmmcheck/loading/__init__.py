"""From settings to a subject: references to code, data sets, files of weights, attacks."""
