"""The classifier that measurements call: a function from flat inputs to logits, with its shapes, device and dtype."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from dmmcheck.errors import ModelError
from dmmcheck.models.memory import out_of_memory

UNDER_TEST = "model"  # what messages call the model under test


@runtime_checkable
class Classifier(Protocol):
    """A classifier of C classes on inputs with D entries.

    Any object with these members satisfies the protocol. A class that names `Classifier` as its base inherits `role`
    and `evaluation`, and defines the others. `dmmcheck.models.torch.adapt` makes a classifier of a ``torch.nn.Module``
    or a function.

    Example:
        >>> import torch
        >>> from dmmcheck.models.base import Classifier
        >>> class Disc(Classifier):
        ...     name, classes, input_shape = "disc", 2, (2,)
        ...     device, dtype = torch.device("cpu"), torch.float32
        ...
        ...     def logits(self, x):
        ...         inside = 1 - x.square().sum(1)
        ...         return torch.stack([inside, -inside], dim=1)
        >>> Disc().logits(torch.tensor([[0.0, 0.5]])).argmax(1)
        tensor([0])
    """

    if TYPE_CHECKING:  # read-only for type checkers; at run time a class or an instance may set them in any way

        @property
        def name(self) -> str:
            """The name of the classifier in a report."""
            ...

        @property
        def classes(self) -> int:
            """Number of classes C."""
            ...

        @property
        def input_shape(self) -> tuple[int, ...]:
            """Shape of one input, which has D entries."""
            ...

        @property
        def device(self) -> torch.device:
            """The device on which inputs must lie."""
            ...

        @property
        def dtype(self) -> torch.dtype:
            """The dtype of inputs: float32 or float64."""
            ...

    else:
        name: str
        classes: int
        input_shape: tuple[int, ...]
        device: torch.device
        dtype: torch.dtype

    @property
    def role(self) -> str:
        """What error messages call the classifier."""
        return UNDER_TEST

    def logits(self, x: Tensor) -> Tensor:
        """Logits (n, C) of flat inputs (n, D); differentiable in x."""
        ...

    def evaluation(self) -> AbstractContextManager[Any]:
        """A context in which the classifier is in evaluation mode; on exit its mode is as before."""
        return nullcontext(self)


def missing_members(model: Any) -> list[str]:
    """The members of `Classifier` that an object lacks."""
    members = ("name", "classes", "input_shape", "device", "dtype", "role", "logits", "evaluation")
    return [name for name in members if not hasattr(model, name)]


def is_differentiable(classifier: Classifier) -> bool:
    """Whether a classifier's logits have gradients; only one that says ``differentiable = False`` has none."""
    return getattr(classifier, "differentiable", True) is not False


def ambient_dim(classifier: Classifier) -> int:
    """Number of entries D of one input."""
    return int(torch.Size(classifier.input_shape).numel())


def flat(classifier: Classifier, x: Tensor) -> Tensor:
    """Inputs ``(n, *input_shape)`` or (n, D) as (n, D), detached, on the classifier's device and in its dtype."""
    return x.detach().reshape(x.shape[0], -1).to(classifier.device, classifier.dtype)


def called(classifier: Classifier, x: Tensor) -> Tensor:
    """Logits (n, C) of flat inputs (n, D).

    Raises:
        ModelError: The classifier raises, for another reason than a lack of memory.
    """
    try:
        return classifier.logits(x)
    except Exception as error:
        if out_of_memory(error):
            raise
        shape = (len(x), *classifier.input_shape)
        raise ModelError(
            f"the {classifier.role} raised {type(error).__name__} in forward on a batch of shape {shape}: {error}; "
            "it must accept batches of any size"
        ) from error
