"""What to do about an exception of a model, by its cause."""

from __future__ import annotations

import re
from collections.abc import Callable

from dmmcheck.errors.text import described

_DTYPES = (
    "its weights and its input have different dtypes; pass the torch.nn.Module itself, whose inputs are converted to "
    "its own dtype, or convert the inputs in the function"
)
TOKEN_IDS = (
    "token ids have no distances; pass embeddings, as x = "
    "net.get_input_embeddings()(ids).detach() with the model lambda e: net(inputs_embeds=e), see docs/classifiers.md"
)
BY_WORDS: tuple[tuple[str, str], ...] = (
    ("'indices'", TOKEN_IDS),
    (
        "call numpy() on Tensor that requires grad",
        "it leaves torch, so it has no gradients; compute with torch throughout, or give a function from a numpy array "
        "to a numpy array, whose gradients are taken by differences",
    ),
    (
        "nference tensor",
        "its weights, or values that it keeps, were made under torch.inference_mode(); make them outside of it, or "
        "give a copy that is made outside of it, copy.deepcopy(model)",
    ),
    (
        "cudnn RNN backward",
        "cuDNN has no gradients of recurrent layers in evaluation mode; let forward run these layers under "
        "torch.backends.cudnn.flags(enabled=False)",
    ),
    (
        "use_reentrant",
        "reentrant checkpointing has no gradients of inputs alone; call torch.utils.checkpoint.checkpoint with "
        "use_reentrant=False, or leave checkpointing out of evaluation",
    ),
    (
        "modified by an inplace operation",
        "it changes a tensor in place that its gradient needs; compute without in-place operations, e.g. "
        "nn.ReLU(inplace=False)",
    ),
    (
        "on the same device",
        "its tensors lie on several devices; put tensors that it makes on the device of its input, and pass a "
        "torch.nn.Module itself, whose inputs are put on its own device",
    ),
    ("same dtype", _DTYPES),
    ("expected scalar type", _DTYPES),
)
"""Words of messages of torch, and what to do about each cause."""
_SEVERAL = re.compile(r"missing \d+ required (?:positional|keyword-only) arguments?: (?P<names>.+)")
EXITED = "it ends the process; let it return, or raise an exception that says what is wrong"


def remedy_for(raised: BaseException, otherwise: str | Callable[[], str]) -> str:
    """Return what to do about an exception of a model.

    Args:
        raised: The exception.
        otherwise: The remedy where the cause is none of the known ones, or a function that finds it out.

    Example:
        >>> from dmmcheck.models.remedies import remedy_for
        >>> remedy_for(RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "check the shapes")
        'check the shapes'
        >>> remedy_for(TypeError("forward() missing 1 required positional argument: 'mask'"), "")
        "pass a function of one input that gives the other ('mask') itself, e.g. lambda x: net(x, mask)"
    """
    if isinstance(raised, SystemExit):
        return EXITED
    text = described(raised)
    known = next((remedy for words, remedy in BY_WORDS if words in text), None)
    if known is not None:
        return known
    missing = _SEVERAL.search(text)
    if isinstance(raised, TypeError) and missing:
        return _one_input(missing["names"])
    return otherwise if isinstance(otherwise, str) else otherwise()


def _one_input(missing: str) -> str:
    """Return what to do about a model that takes several inputs, of which some are missing."""
    others = "others" if " and " in missing else "other"
    example = missing.replace(" and ", ", ").replace(",,", ",").replace("'", "")
    return f"pass a function of one input that gives the {others} ({missing}) itself, e.g. lambda x: net(x, {example})"
