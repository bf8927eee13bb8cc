"""The checks: one question a function, one family a file. Importing this registers the built-in ones, in report order."""

from dmmcheck.checks import energy, distance, pair  # noqa: F401, I001  # the order is the report's
