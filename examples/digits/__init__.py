"""Handwritten digits: the subject of `pytest --dmm` in this repository.

`data` loads and splits scikit-learn's 8 x 8 digits, `network` is a small CNN, `training` trains it normally or
adversarially, and `subject` provides the networks, trained once and kept in ``build/``.
"""
