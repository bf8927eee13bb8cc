"""Inputs of any kind as a floating-point tensor."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from dmmcheck.data.arrays import check_layout, pieces, plain, unknown_values
from dmmcheck.errors import SubjectError, one_error

STANDARDISED = (0.5, 2.0)  # standard deviations between which images may have been standardised


def standardised(x: Tensor) -> str:
    """Return a note for images that look standardised, channel by channel; "" for any other inputs.

    Example:
        >>> import torch
        >>> from dmmcheck.data.inputs import standardised
        >>> standardised(torch.rand(8, 3, 4, 4)), standardised(torch.randn(8, 10))
        ('', '')
        >>> standardised(torch.tensor([-1.0, 1.0]).repeat(24).reshape(1, 3, 4, 4))[:48]
        'data: images look standardised (mean 0.00, stand'
    """
    if x.ndim != 4 or x.numel() < 2 or float(x.amin()) >= 0:
        return ""
    mean = sum(float(piece.double().sum()) for piece in pieces(x)) / x.numel()
    spread = math.sqrt(sum(float((piece.double() - mean).square().sum()) for piece in pieces(x)) / (x.numel() - 1))
    if abs(mean) > spread or not STANDARDISED[0] <= spread <= STANDARDISED[1]:
        return ""
    return (
        f"data: images look standardised (mean {mean:.2f}, standard deviation {spread:.2f}), so distances are in units "
        "of the standard deviations of their channels; give images as they were, and set normalize, for their own units"
    )


def inputs_of(x: Any, name: str) -> tuple[Tensor, str]:
    """Return any array, frame or sparse matrix of inputs as a floating-point tensor ``(n, *input_shape)``.

    Args:
        x: What the user gave.
        name: Its name in messages.

    Returns:
        The tensor, and how it was made in a few words; "" for an array or tensor.

    Raises:
        SubjectError: x is no array, holds integers, NaN or infinities, or has fewer than two dimensions.

    Example:
        >>> import scipy.sparse
        >>> from dmmcheck.data.inputs import inputs_of
        >>> inputs_of(scipy.sparse.eye(2, format="csr"), "x")
        (tensor([[1., 0.],
                [0., 1.]], dtype=torch.float64), 'x is a sparse matrix and was made dense')
    """
    remedy = f"it is a {type(x).__name__} that does not convert to a tensor; pass an array (n, *input_shape)"
    with one_error(name, remedy, SubjectError, where="when it was converted to a tensor"):
        array, made = plain(x, name)
        tensor = array.detach() if isinstance(array, Tensor) else torch.as_tensor(array)
    check_layout(tensor, name)
    tensor = (
        tensor.clone() if tensor.is_inference() or tensor.is_neg() else tensor
    )  # such a tensor cannot take part in gradients
    if not tensor.is_floating_point():
        raise SubjectError(
            f"{name} has dtype {tensor.dtype}, floating point is needed since distances are measured in it; "
            f"scale integer images first, e.g. {name.partition(' ')[0]} / 255.0; for token ids, pass their embeddings, "
            "see docs/classifiers.md"
        )
    if tensor.ndim < 2:
        raise SubjectError(f"{name} has shape {tuple(tensor.shape)}, expected (n, *input_shape); add the input axis")
    bad = unknown_values(tensor)
    if bad:
        raise SubjectError(f"{name} holds {bad} NaN or infinite values of {tensor.numel()}; remove or impute them")
    return tensor, made
