"""Whether the manifold repeats its answers, and leaves the points that it gets unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from dmmcheck import geometry
from dmmcheck.manifolds.computed_spaces import ComputedSpaces
from dmmcheck.manifolds.operators import UNFINISHED, TangentSpaces
from dmmcheck.manifolds.protected import ProtectedSpaces, call
from dmmcheck.report.model import Soundness
from dmmcheck.soundness.context import SoundnessContext, bounded, judged, percent
from dmmcheck.soundness.registry import gate

TURNED = 1e-5  # a tangent space has changed where this share of its energy lies outside the other one: a turn by 0.3 %
TURNED_IN_STEPS = 4 * UNFINISHED**2  # the same where a projection is found in steps, which may end with an error
MOVED = 0.01  # a projection has changed where it moves by this share of the distance to the boundary
CHANGED_INPUTS = 0.05  # of the inputs may change: where two principal values are equal, rounding can turn a plane
ALONE = 8  # inputs that are also asked about one by one


@gate("manifold")
def in_place(context: SoundnessContext) -> Soundness:
    """Neither `project_point` nor `tangent_basis` changes the points that it gets."""
    names = [name for name in ("project_point", context.tangent_method) if context.is_changing_points(name)]
    finding = "the manifold leaves the points that it gets unchanged"
    if names:
        finding = f"the manifold's {' and '.join(names)} changed the points passed to it (limit: no change)"
    return judged(
        "in-place",
        not names,
        float(len(names)),
        0.0,
        finding=finding,
        remedy="let it compute on a copy, for example after x = x.clone()",
    )


@gate("manifold")
def tangent_repeats(context: SoundnessContext) -> Soundness:
    """Two calls of `tangent_basis` give the same tangent spaces, though their bases may differ."""
    first, again, turned = _spaces(context)
    share = _share(turned(first, again(_asked(context))) > _limit(context))
    return bounded(
        "tangent-repeats",
        share,
        most=CHANGED_INPUTS,
        finding=f"the tangent spaces of {percent(share, CHANGED_INPUTS)} of inputs differ from call to call (limit "
        f"{percent(CHANGED_INPUTS)})",
        remedy=f"draw no random numbers in {context.tangent_method}, or fix their seed",
    )


@gate("manifold")
def batch_independent_manifold(context: SoundnessContext) -> Iterator[Soundness]:
    """An input has the same tangent space and the same projection in a batch, in the reversed batch, and alone."""
    turned = _between_batches(_asked(context), *_spaces(context)) > _limit(context)
    moved = _between_batches(context.x, context.projected, lambda x: _projection(context, x), _apart) > MOVED * float(
        context.length
    )
    for name, share, what, function in (
        ("tangent-batch", _share(turned), "tangent spaces", context.tangent_method),
        ("projection-batch", _share(moved), "projections", "project_point"),
    ):
        yield bounded(
            name,
            share,
            most=CHANGED_INPUTS,
            finding=f"the {what} of {percent(share, CHANGED_INPUTS)} of inputs change with the other inputs in the "
            f"batch (limit {percent(CHANGED_INPUTS)})",
            remedy=f"let {function} treat each point for itself: fit statistics and neighbours to the training data, "
            "not to the batch",
        )


def _asked(context: SoundnessContext) -> Tensor:
    """Return the inputs (n, D) whose tangent spaces are compared: few where their bases are large."""
    return context.x[:ALONE] if context.has_large_bases else context.x


def _limit(context: SoundnessContext) -> float:
    return TURNED if context.tangent_method == "tangent_basis" else TURNED_IN_STEPS


def _spaces(
    context: SoundnessContext,
) -> tuple[Tensor, Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]:
    """Return the first tangent spaces at the inputs, a function that asks again, and one that compares the answers.

    The last one gives the share of a space that lies outside another space. Where there are no bases, or they are too
    large to be kept, the projection of a random vector stands for a space.
    """
    if context.spaces is None:
        first, _ = context.answer("tangent_basis")
        return _bases(context, first), lambda x: _bases(context, call(context.manifold, "tangent_basis", x)), _turned
    v = torch.randn(context.x.shape[1], generator=context.random("tangent-repeats"), dtype=torch.float64).to(context.x)

    def projected(spaces: TangentSpaces, x: Tensor) -> Tensor:
        return ProtectedSpaces(spaces).project(v.expand_as(x))

    if isinstance(context.spaces, ComputedSpaces):
        return *_large_bases(context, context.spaces, v), _outside
    return (
        projected(context.answer("tangent_spaces")[0], context.x),
        lambda x: projected(call(context.manifold, "tangent_spaces", x), x),
        _outside,
    )


def _large_bases(
    context: SoundnessContext, spaces: ComputedSpaces, v: Tensor
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return the projections of a vector v (D,) at some inputs, and a function that asks for their bases again."""
    asked = _asked(context)

    def of_bases(x: Tensor) -> Tensor:
        basis = _bases(context, call(context.manifold, "tangent_basis", x))
        return geometry.project_tangent(v.expand_as(x), basis if len(basis) == len(x) else basis[0])

    def again(x: Tensor) -> Tensor:
        return torch.cat([of_bases(some) for some in torch.split(x, spaces.beside_kept)])

    return spaces.rows(slice(0, len(asked))).project(v.expand_as(asked)), again


def _outside(a: Tensor, b: Tensor) -> Tensor:
    """Return the share (n,) of the energy of projections a (n, D) that is not in b."""
    share: Tensor = (_apart(a, b) / a.norm(dim=1)).square()
    return share


def _bases(context: SoundnessContext, answer: Tensor) -> Tensor:
    """Return the tangent bases (n, D, k) of an answer, or one basis (1, D, k) for all points."""
    basis = answer.detach().to(context.x)
    return basis if basis.ndim == 3 else basis[None]


def _projection(context: SoundnessContext, x: Tensor) -> Tensor:
    projected: Tensor = call(context.manifold, "project_point", x).detach()
    return projected.to(x)


def _between_batches(
    x: Tensor,
    batch: Tensor,
    answer: Callable[[Tensor], Tensor],
    change: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Return the change of the answers between the batch, the reversed batch, and batches of one.

    There is one value for each input and pair of batches.

    Args:
        x: The inputs (n, D).
        batch: The answers for the batch of all inputs.
        answer: Gives the answers for another batch.
        change: Compares two answers.
    """
    reversed_batch = answer(x.flip(0)).flip(0)
    alone = torch.cat([answer(row) for row in torch.split(x[:ALONE], 1)])
    return torch.cat([change(batch, reversed_batch), change(batch[: len(alone)], alone)])


def _turned(a: Tensor, b: Tensor) -> Tensor:
    """Return the share (n,) of the energy of each tangent basis a (n, D, k) that lies outside the span of b.

    That is |a - b b^T a|^2 / |a|^2, from products with k rows; an error in the orthonormality of b counts squared.
    """
    a, b = a.double(), b.double()
    inside = b.mT @ a
    energy = a.square().sum((1, 2))
    outside = energy - 2 * inside.square().sum((1, 2)) + (inside * (b.mT @ b @ inside)).sum((1, 2))
    return outside.clamp_min(0) / energy


def _apart(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).norm(dim=1)  # type: ignore[no-any-return]


def _share(changed: Tensor) -> float:
    return float(changed.double().mean())
