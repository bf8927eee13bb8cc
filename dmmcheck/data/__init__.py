"""Data in the forms that users hold: frames, sparse matrices and labels of any kind, as tensors."""
