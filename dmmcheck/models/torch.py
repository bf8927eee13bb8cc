"""A PyTorch module or function as a classifier: a function from flat inputs to logits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from dmmcheck.errors import ModelError, user_code, users_state
from dmmcheck.models.base import (
    UNDER_TEST,
    Classifier,
    evaluating,
    flat,
    input_gradient,
    is_differentiable,
    missing_members,
)
from dmmcheck.models.callables import as_callable
from dmmcheck.models.differences import StepLengths, step_lengths
from dmmcheck.models.evaluation import evaluation, module_of
from dmmcheck.models.layout import FasterCalls, agree, may_gain
from dmmcheck.models.memory import batch_results, out_of_memory_passes
from dmmcheck.models.normalize import arrays_function, difference_steps
from dmmcheck.models.numpy_function import over_arrays
from dmmcheck.models.placement import PRECISE, placement
from dmmcheck.models.remedies import remedy_for
from dmmcheck.models.tally import counted

OutputForm = Literal["logits", "binary", "probabilities", "binary-probability"]

_SUMS_TO_ONE = 1e-4
_UNBOUND = "it is a method of a class, which takes an object first; pass the object, e.g. a torch.nn.Module"
_FAR = (-10.0, 10.0)  # times (x + 1): points at which logits that look like probabilities at the data no longer do


@dataclass(frozen=True, eq=False)
class TorchClassifier:
    """A module or function as a `Classifier`; made by `adapt`.

    Attributes:
        forward: The user's module or function, called with ``(n, *input_shape)``.
        input_shape: Shape of one input.
        device: The device of the parameters, to which inputs are moved.
        dtype: The dtype of the parameters, float32 or float64, to which inputs are converted.
        form: How the output is read: ``"logits"`` as it is; ``"binary"``, one logit z for each input, as (0, z);
            ``"probabilities"``, rows p that are non-negative and sum to one, as log p; ``"binary-probability"``, one p
            in [0, 1] for each input, as (log (1 - p), log p).
        classes: Number of classes C.
        role: What messages call the model.
        layout: The memory layout of the images that the model gets.
    """

    forward: Callable[[Tensor], Any]
    input_shape: tuple[int, ...]
    device: torch.device
    dtype: torch.dtype
    form: OutputForm
    classes: int
    role: str = UNDER_TEST
    layout: torch.memory_format = torch.preserve_format
    takes_copies: ClassVar[bool] = True

    @property
    def differentiable(self) -> bool:
        """Whether the logits have gradients; those of a function over arrays may have none."""
        return getattr(self.forward, "differentiable", True) is not False

    @property
    def difference_lengths(self) -> StepLengths | None:
        """How long the differences that its gradients are made of are along directions, see `step_lengths_of`."""
        steps = difference_steps(self.forward, self.input_shape)
        return None if steps is None else partial(step_lengths, steps)

    @property
    def name(self) -> str:
        """The name of the module's class, or of the function."""
        module = module_of(self.forward)
        if module is None:
            return getattr(self.forward, "__name__", "model")
        named = getattr(module, "reported_name", None)
        return named if isinstance(named, str) else type(module).__name__

    def logits(self, x: Tensor) -> Tensor:
        """Return the logits (n, C) of flat inputs (n, D), differentiable in x; the model gets a copy of the inputs."""
        inputs = x.reshape(-1, *self.input_shape).clone(memory_format=self.layout)
        with users_state(self.forward):
            output = self.forward(inputs)
        output = counted(_tensor_of(output, self.role, len(x)), len(x))
        if self.form == "binary":
            z = output.reshape(-1)
            return torch.stack([torch.zeros_like(z), z], dim=1)
        if self.form == "binary-probability":
            p = output.reshape(-1)
            output = torch.stack([1 - p, p], dim=1)
        if self.form != "logits" and self.differentiable:
            return output.clamp_min(torch.finfo(output.dtype).tiny).log()
        return output

    @contextmanager
    def evaluation(self) -> Iterator[TorchClassifier]:
        """Put the module into evaluation mode in this context; see `models.evaluation`."""
        with evaluation(self.forward):
            yield self


def own_points(classifier: Classifier, x: Tensor) -> Tensor:
    """Return the inputs as `flat` gives them, copied where the classifier might change them.

    A `TorchClassifier` takes copies itself.
    """
    points = flat(classifier, x)
    return points if isinstance(classifier, TorchClassifier) else points.clone()


def adapt(model: Any, x: Tensor, *, role: str = UNDER_TEST, bounds: tuple[float, float] | None = None) -> Classifier:
    """Make a classifier of a model; one forward pass over at most two inputs decides how its output is read.

    If these outputs could be probabilities, a second pass over points far from the inputs decides: they are read as
    probabilities if the outputs there could be probabilities too.

    A convolutional module on the CPU is called once before, with a gradient, on two inputs with channels last in
    memory. It gets all inputs in this layout if it has layers that are faster in it (maximum pooling, batch
    normalisation) and its outputs are the same but for rounding.

    Args:
        model: A ``torch.nn.Module``, any callable on tensors, or a `Classifier`, which is returned as it is. A module
            or callable returns a tensor, an object with ``.logits``, a dict with the key ``logits`` or a tuple whose
            first element they are: logits or probabilities (n, C), or for two
            classes one logit or probability of class 1 for each input, (n,) or (n, 1). Or a fitted classifier of
            scikit-learn, see `models.estimators`; or a function from a numpy array to scores of these shapes or to
            labels (n,), see `models.numpy_function`.
        x: Inputs ``(n, *input_shape)``, at least one.
        role: What messages call the model.
        bounds: Box (lo, hi) that the points of all these calls lie in; None for no box.

    Raises:
        ModelError: The model is not callable, mixes devices or dtypes, computes in half precision, raises in forward,
            or returns a wrong shape.

    Example:
        >>> import torch
        >>> from dmmcheck.models.torch import adapt
        >>> x = torch.tensor([[-1.0, 0.0], [2.0, 0.0]])
        >>> classifier = adapt(lambda x: torch.sigmoid(x[:, 0]), x)
        >>> classifier.form, classifier.classes
        ('binary-probability', 2)
        >>> classifier.logits(x).argmax(1)
        tensor([0, 1])
    """
    if isinstance(model, Classifier):
        return model
    model = as_callable(model, x, role=role, bounds=bounds)
    if not callable(model):
        raise ModelError(_not_callable(model, role))
    model = over_arrays(model, x, bounds=bounds)
    device, dtype = placement(model, x, what=role)
    draft = TorchClassifier(model, tuple(x.shape[1:]), device, dtype, "logits", 0, role)
    inputs = flat(draft, x[:2])
    faster = _with_channels_last(draft, inputs)
    output = probe(draft, inputs)
    classes = _classes(output, len(inputs), role)
    are_logits = getattr(model, "returns_logits", False) is True
    if faster is not None and agree(output, faster.output):
        draft = faster.classifier
    likely = not are_logits and _likely(output) and _likely_far_away(draft, inputs, bounds)
    if output.shape == (len(inputs), classes):
        return replace(draft, form="probabilities" if likely else "logits", classes=classes)
    return replace(draft, form="binary-probability" if likely else "binary", classes=classes)


def probe(draft: Classifier, inputs: Tensor) -> Tensor:
    """Return the logits of a classifier for flat inputs (n, D), in evaluation mode.

    The logits have a gradient where the inputs need one.

    Raises:
        ModelError: The classifier raises, or returns no tensor.
    """

    def remedy(raised: BaseException) -> str:
        return _UNBOUND if _is_unbound(draft) else remedy_for(raised, lambda: _check_shapes(draft))

    where = f"in forward on an input of shape {(len(inputs), *draft.input_shape)}, {draft.dtype}, on {draft.device}"
    guard = user_code(f"the {draft.role}", remedy, ModelError, where=where, of=draft)
    with evaluating(draft), torch.set_grad_enabled(inputs.requires_grad), guard:
        return draft.logits(inputs)


class _Faster(NamedTuple):
    """A classifier that gets images with channels last, which is faster, and its outputs at the first inputs."""

    classifier: TorchClassifier
    output: Tensor


def _with_channels_last(draft: TorchClassifier, inputs: Tensor) -> _Faster | None:
    """Return the classifier with channels last in memory; None where that is not faster, or the model cannot take it.

    A model that calls ``.view`` on the output of a convolution raises for two images, though not for one.
    """
    if not may_gain(draft.forward, inputs.reshape(-1, *draft.input_shape)):
        return None
    last = replace(draft, layout=torch.channels_last)
    leaf = torch.cat([inputs, inputs])[:2].requires_grad_()
    try:
        with FasterCalls() as calls:
            output = probe(last, leaf)
        with evaluating(last):
            input_gradient(output.sum(), leaf, role=draft.role)
    except (ModelError, RuntimeError, MemoryError):
        return None
    return _Faster(last, output.detach()[: len(inputs)]) if calls.are_faster else None


def in_given_layout(classifier: Classifier) -> Classifier:
    """Return a classifier that gets images in the layout of the data, so that equal networks have equal logits."""
    if isinstance(classifier, TorchClassifier):
        return replace(classifier, layout=torch.preserve_format)
    return classifier


def _is_unbound(draft: Classifier) -> bool:
    """Return whether a model is a method of a class rather than of an object."""
    forward = getattr(draft, "forward", None)
    return inspect.isfunction(forward) and next(iter(inspect.signature(forward).parameters), "") == "self"


def _check_shapes(draft: Classifier) -> str:
    """Return what to do about a model that raises on the first inputs without a known reason."""
    remedy = "check that the data have the shape the model expects"
    if draft.role != UNDER_TEST:
        remedy = "it must take the inputs of the model under test: check their shape"
    if module_of(getattr(draft, "forward", None)) is None:
        remedy += ", and their dtype and device; a torch.nn.Module gets inputs in its own if it is passed itself"
    return remedy


def verify(classifier: Classifier, x: Tensor) -> None:
    """Check that a classifier returns a row of logits for each input, on at most two inputs ``(n, *input_shape)``.

    Raises:
        ModelError: The classifier raises, or returns something other than float32 or float64 logits of its classes.
    """
    output = probe(classifier, flat(classifier, x[:2]).clone())
    expected = (min(2, len(x)), classifier.classes)
    if tuple(output.shape) != expected or output.dtype not in PRECISE:
        raise ModelError(
            f"the logits of the {classifier.role} have shape {tuple(output.shape)} and dtype {output.dtype} for "
            f"{expected[0]} inputs; return {expected}, in float32 or float64"
        )


def check_gradient(classifier: Classifier, x: Tensor) -> None:
    """Check that the logits have a gradient in the input, on at most two inputs ``(n, *input_shape)``.

    That of finite differences is not computed, since it takes D calls.

    Raises:
        ModelError: They have none, or their backward pass raises; and the classifier does not say that they have none.
        LackOfMemoryError: Memory ran out for a single input.
    """
    if not is_differentiable(classifier) or arrays_function(getattr(classifier, "forward", None)) is not None:
        return
    points = flat(classifier, x[:2])

    def has_gradient(rows: slice) -> bool:
        leaf = points[rows].clone().requires_grad_()
        with out_of_memory_passes():
            output = probe(classifier, leaf)
            with evaluating(classifier), torch.enable_grad():
                input_gradient(output.sum(), leaf, role=classifier.role)
        return output.requires_grad

    if not all(batch_results(len(points), len(points), has_gradient)[0]):
        raise ModelError(
            f"the {classifier.role} cuts its output off from its input, so that it has no gradient: its forward runs "
            "under torch.no_grad() or torch.inference_mode(), detaches, or leaves torch; take that out of forward, or "
            "pass a function over numpy arrays, e.g. lambda a: net(torch.as_tensor(a)).numpy()"
        )


def _not_callable(model: Any, role: str) -> str:
    """Return the message for a model that is neither callable nor a `Classifier`."""
    missing = missing_members(model)
    if isinstance(model, Mapping):
        return (
            f"the {role} is a {type(model).__name__} of weights without the network; pass the network itself, after "
            "net.load_state_dict(weights)"
        )
    if hasattr(model, "logits"):
        return (
            f"the {role} is a {type(model).__name__} without {', '.join(missing)}; name dmmcheck.Classifier as its "
            "base class, and define what it still lacks"
        )
    return (
        f"the {role} is a {type(model).__name__}, which cannot be called; pass a torch.nn.Module, a function from a "
        "tensor to logits, a fitted classifier of scikit-learn, an ONNX session, or a dmmcheck.Classifier"
    )


def _are_rows(parts: list[Any], count: int) -> bool:
    """Return whether a list holds one tensor of scores for each of `count` inputs, as a MAITE model returns it."""
    tensors = len(parts) == count and all(isinstance(part, Tensor) for part in parts)
    return tensors and all(part.ndim == 1 and part.shape == parts[0].shape for part in parts)


def _tensor_of(output: Any, role: str, count: int) -> Tensor:
    """Return the logits in an output for `count` inputs.

    They are the output itself, its ``.logits``, what it holds under the key ``logits``, the rows of a list, or the
    first of a tuple.
    """
    tensor = getattr(output, "logits", output)
    if isinstance(tensor, Mapping):
        tensor = tensor.get("logits", tensor)
    elif isinstance(tensor, list) and _are_rows(tensor, count):
        tensor = torch.stack(tensor)
    elif isinstance(tensor, (tuple, list)) and tensor:
        tensor = tensor[0]
    if not isinstance(tensor, Tensor):
        raise ModelError(
            f"the {role} returned a {type(output).__name__}, expected a tensor, an object with .logits, or a dict "
            "with the key 'logits'; wrap it in a function that returns the logits, one row for each input (a detector "
            "has none: let the function return e.g. the largest score of each class)"
        )
    return tensor


def _classes(output: Tensor, n: int, role: str) -> int:
    """Return the number of classes in an output for n inputs.

    Raises:
        ModelError: The output is neither one row nor one number for each input, or not of float32 or float64.
    """
    shape, single = tuple(output.shape), tuple(output.shape) in {(n,), (n, 1)}
    if not single and (len(shape) != 2 or shape[0] != n or shape[1] == 0):
        raise ModelError(
            f"the {role} returned shape {shape} for {n} inputs, expected ({n}, classes), ({n}, 1) or ({n},); "
            "flatten or pool the output to one row of logits for each input"
        )
    if not output.is_floating_point():
        raise ModelError(f"the {role} returned {output.dtype}; return floating-point logits, not labels")
    if output.dtype not in PRECISE:
        raise ModelError(
            f"the {role} returned {output.dtype}, which is too coarse to find a boundary; compute logits in float32, "
            "without autocast"
        )
    return 2 if single else int(output.shape[1])


def _likely(output: Tensor) -> bool:
    """Return whether an output could be probabilities: numbers in [0, 1], and rows of several that sum to one."""
    rows = output.reshape(len(output), -1)
    inside = bool(((rows >= 0) & (rows <= 1)).all())
    return inside and (rows.shape[1] == 1 or bool(((rows.sum(1) - 1).abs() <= _SUMS_TO_ONE).all()))


def _likely_far_away(draft: TorchClassifier, inputs: Tensor, bounds: tuple[float, float] | None) -> bool:
    """Return whether the output far from the inputs could be probabilities; True where the model raises."""
    points = torch.cat([factor * (inputs + 1) for factor in _FAR])
    try:
        return _likely(probe(draft, points if bounds is None else points.clamp(*bounds)))
    except ModelError:
        return True
