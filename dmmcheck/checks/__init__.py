"""The checks: one question a function, one family a file.

Importing this package registers the built-in checks, in report order.
"""

from dmmcheck.checks import energy, distance, parts, classes, adversarial_training, training, wrong_labels, search  # noqa: F401, I001  # report order
