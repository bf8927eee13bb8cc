"""What a table library's frame and series can do, without the library."""

from __future__ import annotations

import numpy as np


class Frame:
    """Values (n, D) with names of columns, as pandas and polars have them."""

    def __init__(self, values, columns):
        self.values, self.columns = np.asarray(values), columns

    def __len__(self):
        return len(self.values)

    def to_numpy(self):
        return self.values


class Series:
    """One column."""

    def __init__(self, values):
        self.values = np.asarray(values)

    def to_numpy(self):
        return self.values
