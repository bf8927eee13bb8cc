"""From evidence to a verdict: plain numbers, intervals, tests; torch ends before this package."""
