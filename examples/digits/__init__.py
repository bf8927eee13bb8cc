"""Handwritten digits: what dmmcheck is pointed at in its own repository.

`data` loads and splits scikit-learn's 8 x 8 digits, `network` is the small CNN, `training` fits it, plainly
or adversarially, and `subject` puts together what `pytest --dmm` asks for, trained once and kept under
``build/``.
"""
