"""From evidence to a verdict, by intervals and tests of plain numbers: this package does not use torch."""
