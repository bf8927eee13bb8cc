"""The classifier that measurements call: a function from flat inputs to logits, with its shapes, device and dtype."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from dmmcheck.errors import ModelError, one_error, user_code
from dmmcheck.models.memory import out_of_memory_passes
from dmmcheck.models.remedies import remedy_for

UNDER_TEST = "model"  # what messages call the model under test
_TRIED = 64  # inputs of a batch that are tried one by one to find out why a model raised


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
        """Return the logits (n, C) of flat inputs (n, D); differentiable in x."""
        ...

    def evaluation(self) -> AbstractContextManager[Any]:
        """Return a context in which the classifier is in evaluation mode; on exit its mode is as before."""
        return nullcontext(self)


def missing_members(model: Any) -> list[str]:
    """Return the members of `Classifier` that an object lacks."""
    members = ("name", "classes", "input_shape", "device", "dtype", "role", "logits", "evaluation")
    return [name for name in members if not hasattr(model, name)]


def is_differentiable(classifier: Classifier) -> bool:
    """Return whether a classifier's logits have gradients; only one that says ``differentiable = False`` has none."""
    return getattr(classifier, "differentiable", True) is not False


def ambient_dim(classifier: Classifier) -> int:
    """Return the number of entries D of one input."""
    return int(torch.Size(classifier.input_shape).numel())


def flat(classifier: Classifier, x: Tensor) -> Tensor:
    """Return inputs ``(n, *input_shape)`` or (n, D) as (n, D), detached, on the classifier's device, in its dtype."""
    return x.detach().reshape(x.shape[0], -1).to(classifier.device, classifier.dtype)


def called(classifier: Classifier, x: Tensor) -> Tensor:
    """Return the logits (n, C) of flat inputs (n, D); every measurement calls a classifier through this function.

    Raises:
        ModelError: The classifier raises, for another reason than a lack of memory; or it returns something other than
            a row of floating-point logits for each input.
    """
    given = x if getattr(classifier, "takes_copies", False) else x.clone()

    def remedy(raised: BaseException) -> str:
        return remedy_for(raised, lambda: _found_out(classifier, x))

    what, where = f"the {classifier.role}", f"in forward on a batch of shape {(len(x), *classifier.input_shape)}"
    with out_of_memory_passes(), user_code(what, remedy, ModelError, where=where, of=classifier):
        output = classifier.logits(given)
    shape = tuple(output.shape) if isinstance(output, Tensor) else None
    if shape != (len(x), classifier.classes) or not output.is_floating_point():
        found = f"a {type(output).__name__}" if shape is None else f"{output.dtype} of shape {shape}"
        raise ModelError(
            f"{what} returned {found} for {len(x)} inputs, expected floating-point logits of shape "
            f"({len(x)}, {classifier.classes}) as for its first inputs; let the shape of its output depend on the "
            "number of inputs alone"
        )
    return output


def _found_out(classifier: Classifier, x: Tensor) -> str:
    """Return what to do about a batch that a classifier raised on, after calls with single inputs of the batch."""
    for row in torch.split(x.detach()[:_TRIED], 1):
        try:
            with torch.no_grad():
                classifier.logits(row.clone())
        except (Exception, SystemExit):
            boxed = ", or set bounds and boxed = true (--dmm-boxed), which keeps all calls within the bounds"
            advice = "" if getattr(classifier, "search_box", None) is not None else boxed
            return (
                f"it raised on a single input too, with values from {float(row.min()):.3g} to {float(row.max()):.3g}; "
                "searches call it at points off the data, so let it take any finite values and leave checks of their "
                "range out" + advice
            )
    return "it did not raise on single inputs of this batch, so let it take batches of any size"


@contextmanager
def evaluating(classifier: Classifier) -> Iterator[None]:
    """Put a classifier into evaluation mode in this context.

    Raises:
        ModelError: The classifier raises when its mode is changed.
    """
    remedy = "let its eval() or evaluation() change the mode and nothing else"
    with ExitStack() as stack:
        with user_code(f"the {classifier.role}", remedy, ModelError, where="when its mode was changed"):
            stack.enter_context(classifier.evaluation())
        yield


def input_gradient(
    output: Tensor, leaf: Tensor, weights: Tensor | None = None, *, keep: bool = False, role: str = UNDER_TEST
) -> Tensor:
    """Return the gradient of a model's output with respect to a leaf; zero where it does not depend on the leaf.

    Args:
        output: A number, or a tensor with weights of its shape.
        leaf: A tensor that requires a gradient.
        weights: Weights of the elements of the output; needed where it is not a single number.
        keep: Keep the graph, so that another gradient of the same output can be computed.
        role: What messages call the model.

    Raises:
        ModelError: The model's backward pass raises, for another reason than a lack of memory.
    """
    if not output.requires_grad:
        return torch.zeros_like(leaf)

    def remedy(raised: BaseException) -> str:
        return remedy_for(raised, "let it have gradients with respect to its input by torch.autograd.grad")

    where = f"in backward on a batch of {len(leaf)} inputs"
    with out_of_memory_passes(), one_error(f"the {role}", remedy, ModelError, where=where):
        (found,) = torch.autograd.grad(output, leaf, weights, retain_graph=keep, allow_unused=True)
    return torch.zeros_like(leaf) if found is None else found
