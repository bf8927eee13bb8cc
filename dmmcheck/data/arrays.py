"""Frames, sparse matrices and mapped files as arrays, told by what they can do, without optional packages."""

from __future__ import annotations

from mmap import mmap
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dmmcheck.errors import SubjectError

MOST_VALUES = 1 << 28  # of a sparse matrix that is made dense: 2 GiB in float64
PIECE_VALUES = 1 << 22  # most values of x in one piece, but for a single row
_NAMED = 6  # most column names that a sentence lists


def plain(value: Any, name: str) -> tuple[Any, str]:
    """Return the array in a frame, a series or a sparse matrix; any other value as it is.

    Args:
        value: What the user gave.
        name: Its name in messages.

    Returns:
        The array, and what was done in a few words; "" where nothing was.

    Raises:
        SubjectError: A column of a frame holds no numbers, or a sparse matrix is too large to be made dense.
    """
    if isinstance(value, np.ma.MaskedArray):
        count = int(np.ma.getmaskarray(value).sum())
        if count:
            raise SubjectError(f"{name} is a masked array with {count} masked values; fill them in, or leave them out")
        return _writable(np.asarray(value)), ""
    if isinstance(value, Tensor):
        check_layout(value, name)
        if value.layout == torch.strided:
            return value, ""
        _check_size(value.shape, name)
        return value.to_dense(), _made_dense(name)
    if callable(getattr(value, "to_numpy", None)):
        return _of_frame(value, name) if hasattr(value, "columns") else (value.to_numpy(), "")
    if callable(getattr(value, "toarray", None)) and hasattr(value, "nnz"):
        _check_size(value.shape, name)
        return value.toarray(), _made_dense(name)
    return _writable(value), ""


def check_layout(value: Tensor, name: str) -> None:
    """Check that a tensor holds values that torch can compute with.

    Raises:
        SubjectError: It is on the meta device, nested, or of a dtype with fewer than 16 bits.
    """
    if value.is_nested:
        raise SubjectError(f"{name} is a nested tensor, whose rows differ in shape; pass inputs of one shape")
    if value.device.type == "meta":
        raise SubjectError(f"{name} is on the meta device and holds no values; load the data first")
    if value.is_floating_point() and value.element_size() == 1:
        raise SubjectError(f"{name} has dtype {value.dtype}, which torch cannot compute with; convert it with .float()")


def column_names(value: Any) -> list[str] | None:
    """Return the names of a frame's columns; None for anything else."""
    return [str(column) for column in value.columns] if hasattr(value, "columns") else None


def listed(names: list[str]) -> str:
    """Return a few names, and how many more there are.

    Example:
        >>> listed(["a", "b"]), listed(list("abcdefgh"))
        ('a, b', 'a, b, c, d, e, f and 2 more')
    """
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def check_columns(frame: Any, expected: Any, name: str) -> None:
    """Check that a frame has columns of the expected names, in their order; anything but a frame passes.

    Args:
        frame: What the user gave.
        expected: The names; None where they are unknown.
        name: What messages call the frame.

    Raises:
        SubjectError: The columns are others, or in another order.
    """
    own = column_names(frame)
    wanted = None if expected is None else [str(column) for column in expected]
    if own is None or wanted is None or own == wanted:
        return
    raise SubjectError(
        f"{name} has the columns {listed(own)}, expected {listed(wanted)}, in this order; select them in the order in "
        "which the model was trained on them, e.g. x[list(x_train.columns)]"
    )


def _of_frame(frame: Any, name: str) -> tuple[Any, str]:
    """Return the values of a frame in floating point, whatever numbers its columns hold."""
    names = column_names(frame) or []
    values = frame.to_numpy()
    if values.dtype not in (np.float32, np.float64):
        try:
            values = values.astype(np.float64)
        except (TypeError, ValueError) as error:
            wrong = [column for column, part in zip(names, values.T, strict=True) if not _are_numbers(part)]
            raise SubjectError(
                f"{name} is a {type(frame).__name__} whose columns {listed(wrong)} hold texts or missing values; drop "
                "these columns, or turn them into numbers as your model has them"
            ) from error
    return _writable(values), f"{name} is a {type(frame).__name__} with the columns {listed(names)}"


def pieces(x: Tensor) -> tuple[Tensor, ...]:
    """Return views of consecutive rows of a tensor, so that what is computed of one piece takes little memory."""
    return torch.split(x, max(1, PIECE_VALUES // max(1, x[:1].numel())))


def unknown_values(x: Tensor) -> int:
    """Return how many values of a tensor are NaN or infinite, with no copy of contiguous ones where none is."""
    return sum(_unknown_values(piece) for piece in pieces(x))


def _unknown_values(x: Tensor) -> int:
    ends = torch.stack(torch.aminmax(x)) if x.numel() else x  # NaN where any value is NaN
    return 0 if bool(torch.isfinite(ends).all()) else int((~torch.isfinite(x)).sum())


def _writable(values: Any) -> Any:
    """Return an array that may be written to, since torch writes to memory that it shares.

    A read-only array is copied. A read-only map of a whole file is mapped anew, so that only what is written is copied.
    """
    if not isinstance(values, np.ndarray) or values.flags.writeable:
        return values
    mapped = _mapped_anew(values) if isinstance(values, np.memmap) else None
    return values.copy() if mapped is None else mapped


def _mapped_anew(values: np.memmap[Any, Any]) -> np.memmap[Any, Any] | None:
    """Return a read-only map of a file as one that may be written to; None where the file is another one by now."""
    is_whole = isinstance(values.base, mmap) and values.flags.c_contiguous and values.size > 0
    if not is_whole or values.mode != "r" or values.filename is None:
        return None
    try:
        anew = np.memmap(values.filename, values.dtype, mode="c", offset=values.offset, shape=values.shape)
    except (OSError, ValueError):  # the file is gone, or shorter
        return None
    old, new = (array.reshape(-1).view(np.uint8) for array in (values, anew))
    rows = [slice(at, at + PIECE_VALUES) for at in range(0, len(old), PIECE_VALUES)]
    is_same = all(np.array_equal(old[some], new[some]) for some in rows)
    return anew if is_same else None


def _are_numbers(values: Any) -> bool:
    try:
        values.astype(np.float64)
    except (TypeError, ValueError):
        return False
    return True


def _check_size(shape: Any, name: str) -> None:
    size = int(np.prod([int(part) for part in shape], dtype=float))
    if size > MOST_VALUES:
        raise SubjectError(
            f"{name} is a sparse matrix of shape {tuple(shape)}, dense it would hold {size} values (limit "
            f"{MOST_VALUES}); pass fewer rows, or fewer features, e.g. of a TruncatedSVD"
        )


def _made_dense(name: str) -> str:
    return f"{name} is a sparse matrix and was made dense"
