"""Items of a dataset, a loader or any iterable: drawn before they are read, and no more read than a limit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, RandomSampler, SequentialSampler

from dmmcheck.errors import SubjectError, user_code
from dmmcheck.seeding import seeded

READ_LIMIT = 2048  # most items read from a source
_MOST_PERMUTED = 1 << 26  # items of a source whose numbers are permuted, which takes 8 bytes each
ADVICE = "give (x, y) arrays, tensors or frames, or a torch Dataset or DataLoader of (input, label)"
INPUT_KEYS = ("pixel_values", "image", "images", "img", "inputs", "input", "features", "x", "data")
LABEL_KEYS = ("labels", "label", "targets", "target", "y")


@dataclass(frozen=True, eq=False)
class Read:
    """What was read.

    Attributes:
        inputs: ``(n, *input_shape)``, an array, tensor or frame.
        labels: (n,) or one-hot rows, of any kind; None where there are none.
        said: What was read in a few words; "" where all was.
    """

    inputs: Any
    labels: Any | None
    said: str = ""


def is_source(value: Any) -> bool:
    """Return whether items can be taken from a value: it has a length and places, or can be iterated over."""
    return (hasattr(value, "__getitem__") and hasattr(value, "__len__")) or hasattr(value, "__iter__")


def read(source: Any, what: str, limit: int = READ_LIMIT) -> Read:
    """Read at most `limit` items of a source.

    Of a dataset with a length, the items are drawn at random before any is read, always the same ones; a loader of one
    is read through its dataset and its ``collate_fn``. Of anything else, the first items are taken, whether it ends or
    not.

    Args:
        source: A map-style dataset of (input, label), of (input, label, metadata), or of dicts with an input and a
            label; an iterable of such items; or a DataLoader.
        what: Its name in messages.
        limit: Most items to read.

    Raises:
        SubjectError: The source is empty, raises, or holds items of another kind or of several shapes.
    """
    is_loader = hasattr(source, "dataset") and hasattr(source, "batch_size")
    inner = source.dataset if is_loader else source
    if _has_places(inner) and (not is_loader or _takes_all(source)):
        total = _length(inner, what)
        drawn = _drawn(total, limit, what)
        items = list(_guarded((inner[index] for index in drawn), what))
        if is_loader and source.collate_fn is not None:
            items = _collated(items, source.collate_fn, what)
        said = f"{what}: {limit} of {total} items were drawn and read" if total > limit else ""
        return _stacked(items, what, said)
    with torch.random.fork_rng(devices=[]):  # a loader draws from the global generator when it is iterated over
        items = list(islice(_items(source, what, are_batches=is_loader), limit))
    said = f"{what}: the first {limit} items were read, and no more" if len(items) == limit else ""
    return _stacked(items, what, said)


def _has_places(dataset: Any) -> bool:
    """Return whether items can be read by number."""
    places = hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")
    return places and not isinstance(dataset, IterableDataset)


def _takes_all(loader: Any) -> bool:
    """Return whether a loader goes through its whole dataset, each item once."""
    sampler = getattr(loader, "sampler", None)
    replaces = isinstance(sampler, RandomSampler) and sampler.replacement
    return isinstance(sampler, (SequentialSampler, RandomSampler)) and not replaces


def _length(dataset: Any, what: str) -> int:
    remedy = "let its __len__ return the number of items"
    with user_code(what, remedy, SubjectError, where=f"when the length of the {type(dataset).__name__} was asked for"):
        total = len(dataset)
    if not total:
        raise SubjectError(f"{what} is an empty {type(dataset).__name__}; give the test split")
    return total


def _drawn(total: int, limit: int, what: str) -> list[int]:
    """Return the numbers of the items to read, in rising order."""
    if total <= limit:
        return list(range(total))
    generator = seeded(0, "items", what)
    if total <= _MOST_PERMUTED:
        return sorted(torch.randperm(total, generator=generator)[:limit].tolist())
    drawn: set[int] = set()
    while len(drawn) < limit:
        drawn.update(torch.randint(total, (limit - len(drawn),), generator=generator).tolist())
    return sorted(drawn)


def _items(source: Any, what: str, *, are_batches: bool) -> Iterator[Any]:
    """Yield the items of an iterable one by one; the items of a loader come in batches."""
    for number, item in enumerate(_guarded(source, what)):
        if not are_batches or getattr(source, "batch_size", None) is None:
            yield item
        else:
            yield from _of_batch(item, f"{what}: batch {number}")


def _guarded(items: Iterable[Any], what: str) -> Iterator[Any]:
    """Yield the items of a source, and turn an exception of the source into one error."""
    number, end = 0, object()
    remedy = "let the source return each of its items"
    with user_code(what, remedy, SubjectError, where="when it was iterated over"):
        iterator = iter(items)
    while True:
        with user_code(what, remedy, SubjectError, where=f"when item number {number} was read"):
            item = next(iterator, end)
        if item is end:
            return
        yield item
        number += 1


def _collated(items: list[Any], collate: Callable[[list[Any]], Any], what: str) -> list[Any]:
    """Return the items as the loader's ``collate_fn`` makes them, each passed alone."""
    return [
        one
        for number, item in enumerate(items)
        for one in _of_batch(next(_guarded(map(collate, [[item]]), what)), f"{what}: item {number}")
    ]


def _of_batch(batch: Any, what: str) -> Iterator[tuple[Any, Any]]:
    """Return the items of one batch of inputs and labels."""
    inputs, labels = _parts(batch, what)
    if not hasattr(inputs, "__len__") or not hasattr(labels, "__len__") or len(inputs) != len(labels):
        raise SubjectError(f"{what} does not have as many inputs as labels; {ADVICE}")
    return zip(inputs, labels, strict=True)


def _parts(item: Any, what: str) -> tuple[Any, Any]:
    """Return the input and the label of an item, or of a batch.

    Raises:
        SubjectError: It is neither a pair, a pair with metadata, nor a dict with an input and a label.
    """
    if isinstance(item, Mapping):
        keys = [next((key for key in known if key in item), None) for known in (INPUT_KEYS, LABEL_KEYS)]
        if None in keys:
            raise SubjectError(
                f"{what} is a dict with the keys {', '.join(map(str, item))}; give it a key among "
                f"{', '.join(INPUT_KEYS)}, and one among {', '.join(LABEL_KEYS)}"
            )
        return item[keys[0]], item[keys[1]]
    if isinstance(item, (tuple, list)):
        with_metadata = len(item) == 3 and (isinstance(item[2], Mapping) or are_mappings(item[2]))
        if len(item) == 2 or with_metadata:
            return item[0], item[1]
    raise SubjectError(f"{what} is a {type(item).__name__}, not a pair (input, label); {ADVICE}")


def are_mappings(value: Any) -> bool:
    """Return whether a value is a list of dicts."""
    return isinstance(value, (list, tuple)) and all(isinstance(part, Mapping) for part in value)


def _stacked(items: list[Any], what: str, said: str) -> Read:
    """Return the items as one tensor of inputs and one array or tensor of labels."""
    if not items:
        raise SubjectError(f"{what} is empty; give the test split")
    parts = [_parts(item, f"{what}: item {number}") for number, item in enumerate(items)]
    inputs = [_tensor(x, f"{what}: the input of item {number}") for number, (x, _) in enumerate(parts)]
    shapes = {tuple(x.shape) for x in inputs}
    if len(shapes) > 1:
        raise SubjectError(
            f"{what} has inputs of {len(shapes)} shapes ({', '.join(map(str, sorted(shapes)[:3]))}); "
            "give the dataset a transform that brings all inputs to one shape"
        )
    return Read(torch.stack(inputs), _labels([y for _, y in parts], what), said)


def _labels(labels: list[Any], what: str) -> Any:
    """Return the labels of items as one tensor, or as an array of texts."""
    if all(isinstance(label, str) for label in labels):
        return np.array(labels)
    tensors = [_tensor(label, f"{what}: the label of item {number}") for number, label in enumerate(labels)]
    if all(label.numel() == 1 for label in tensors):
        return torch.stack([label.reshape(()) for label in tensors])
    shapes = {tuple(label.shape) for label in tensors}
    if len(shapes) > 1:
        raise SubjectError(
            f"{what} has labels of {len(shapes)} shapes ({', '.join(map(str, sorted(shapes)[:3]))}); give each item "
            "one class number"
        )
    return torch.stack(tensors)


def _tensor(value: Any, what: str) -> torch.Tensor:
    """Return a value of a dataset as a tensor."""
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SubjectError(
            f"{what} is a {type(value).__name__}, not a tensor; give the dataset a transform, e.g. ToTensor()"
        ) from error
