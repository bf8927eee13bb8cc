"""What to do about a model whose inputs are of another kind than numbers in one tensor."""

from __future__ import annotations

import re

TOKEN_IDS = (
    "token ids are names, and there is no distance between names; pass embeddings, as x = "
    "net.get_input_embeddings()(ids).detach() with the model lambda e: net(inputs_embeds=e), see docs/classifiers.md"
)
_SEVERAL = re.compile(r"missing \d+ required (?:positional|keyword-only) arguments?: (?P<names>.+)")


def remedy_for_inputs(raised: BaseException) -> str:
    """What to do about an exception of a model that takes token ids, or several inputs; "" for any other.

    Example:
        >>> from dmmcheck.models.input_remedies import remedy_for_inputs
        >>> remedy_for_inputs(TypeError("forward() missing 1 required positional argument: 'mask'"))
        "pass a function of one input that gives the other ('mask') itself, e.g. lambda x: net(x, mask)"
        >>> remedy_for_inputs(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
        ''
    """
    missing = _SEVERAL.search(str(raised))
    if isinstance(raised, TypeError) and missing:
        other = "others" if " and " in missing["names"] else "other"
        example = missing["names"].replace(" and ", ", ").replace(",,", ",").replace("'", "")
        return (
            f"pass a function of one input that gives the {other} ({missing['names']}) itself, e.g. lambda x: "
            f"net(x, {example})"
        )
    return TOKEN_IDS if "'indices'" in str(raised) else ""
