"""Controls: null models of a measurement, in random draws that all inputs share.

A draw replaces the tangent spaces (or the order of checkpoints) by ones that have nothing to do with the model. The
unit of a controlled claim is the draw, not the input: gradients of different inputs are alike, so n inputs do not give
n independent answers to the question whether these tangent spaces differ from others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from dmmcheck.errors import CheckError, RegistryError, one_error
from dmmcheck.errors.text import shown
from dmmcheck.inference.decide import point_estimate
from dmmcheck.inference.evidence import Evidence, Floats
from dmmcheck.inference.types import ArmName, DrawCost, SearchEffort
from dmmcheck.manifolds.fields import FieldPart, SharedField
from dmmcheck.manifolds.rotations import Haar, Spectrum, Within
from dmmcheck.manifolds.span import data_span, varying
from dmmcheck.measurement.measure import MAX_EXAMPLES
from dmmcheck.measurement.view import View, find_together
from dmmcheck.registry import CONTROLS, is_name, wrong_call
from dmmcheck.seeding import seeded

NO_LENGTH = 1e-5  # of the longest; a direction shorter than this is constant up to rounding
FEW_INPUTS = 64  # most inputs of tests that take one look
OF_DRAWS: SearchEffort = "brief"  # effort of the search in a draw, where the search converges on the model
INPUTS_A_DRAW = 16  # inputs that one searched draw is measured at; the next draw takes the next ones
MOST_VALUES = 1 << 24  # of the bases of the draws that are searched at once, or that are kept of one control
MOST_COVARIANCE_VALUES = 1 << 26  # of the examples that are combined, where k allows it: 512 MiB
FIRST_DRAWS, FIRST_SHARE = 19, 0.2  # of a searched control: draws after which it is looked at, and the look's alpha

Draw = Callable[[View, torch.Generator], View]

SPANNED = ("covariance",)
"""The controls whose draws are one tangent space for all inputs, whatever the manifold."""
SAME_FOR_ANY_INPUTS = ("rotation", "spectrum", *SPANNED)
"""The controls whose draws are the same for any number of inputs."""


@dataclass(frozen=True)
class DrawBudget:
    """How many draws of a null model are made: as many as alpha needs, within bounds that their cost sets.

    A claim is supported where p < alpha. Twice the fewest draws that can reach p = alpha suffice where no draw lies
    beyond the statistic, three times where one does.

    Attributes:
        multiple: Multiple of the fewest draws that can reach p = alpha.
        least: Smallest number of draws.
        most: Largest number of draws; they cannot show a p-value below 1 / (most + 1).
    """

    multiple: int
    least: int
    most: int

    def draws(self, alpha: float) -> int:
        """Return the number of draws for an error rate alpha."""
        return self._of(self.multiple, alpha)

    def first_draws(self, alpha: float) -> int:
        """Return the number of draws that are made before any others: twice the fewest that can reach p = alpha.

        It lies within the same bounds as `draws`.
        """
        return min(self.draws(alpha), self._of(2, alpha))

    def _of(self, multiple: int, alpha: float) -> int:
        return min(self.most, max(self.least, math.ceil(multiple / alpha) - 1))


BUDGETS: Mapping[DrawCost, DrawBudget] = {
    "energy": DrawBudget(3, 199, 4999),
    "forward": DrawBudget(3, 39, 1999),
    "search": DrawBudget(2, 39, 99),
}
"""Budgets by the cost of a draw: no evaluation of the model, a few forward passes, a search."""


def draw_looks(budget: DrawBudget, alpha: float) -> tuple[tuple[int, float], ...]:
    """Return the numbers of draws of a searched control at which a verdict may be taken, each with its share of alpha.

    Alpha is spent in advance, so that a verdict of any look has an error of at most alpha over all looks. The first
    look has just enough draws for a fitted tail to show p < 0.01.

    Source: for stopping early, Besag & Clifford, Sequential Monte Carlo p-values, Biometrika 78, 1991; for shares of
    alpha, Bonferroni.

    Example:
        >>> from dmmcheck.measurement.nulls import BUDGETS, draw_looks
        >>> draw_looks(BUDGETS["search"], 0.05)
        ((19, 0.2), (39, 0.8))
    """
    return (FIRST_DRAWS, FIRST_SHARE), (budget.draws(alpha), 1 - FIRST_SHARE)


def _always_available(view: View) -> str:
    del view
    return ""


@dataclass(frozen=True)
class NullModel:
    """A null model: what a control replaces, and when it can.

    Attributes:
        title: What a report calls it.
        draw: Function from a view and a generator to one draw: a view of the null model.
        unavailable: Function from a view to the reason why the control cannot be drawn there; "" where it can.
        weaker: Name of a second control whose draws the statistic must be extreme among, too. All permutations of one
            tangent field resemble each other, so a field that has nothing to do with the model can lie far from all of
            them by chance.
        checks: Ids of checks that are compared with this control although their declaration does not name it.
    """

    title: str
    draw: Draw
    unavailable: Callable[[View], str] = _always_available
    weaker: str = ""
    checks: tuple[str, ...] = ()


def control(
    name: str,
    *,
    title: str,
    checks: Iterable[str] = (),
    unavailable: Callable[[View], str] = _always_available,
    weaker: str = "",
) -> Callable[[Draw], Draw]:
    """Register a control: a function from a view and a generator to one draw, a view of the null model.

    Args:
        name: What ``@check(controls=...)`` calls it, and the variant of the tests against it.
        title: What a report calls it.
        checks: Ids of existing checks that are compared with it, too. Such a test takes the draw cost of the check's
            first controlled claim; where there is none, each draw is searched with brief effort.
        unavailable: Function from a view to the reason why the control cannot be drawn there; "" where it can.
        weaker: Name of a second control whose draws the statistic must be extreme among, too.

    Raises:
        RegistryError: The name is malformed, a control of this name exists, or the function takes other arguments.

    Example:
        >>> import dmmcheck, torch
        >>> @dmmcheck.control("other-inputs", title="tangent spaces of other inputs")
        ... def other_inputs(view, generator):
        ...     return view.permuted(torch.randperm(view.n, generator=generator))
    """
    if not isinstance(name, str) or not is_name(name):
        raise RegistryError(
            f"the name of a control is {shown(name)}; use lower-case words joined by hyphens, e.g. 'other-inputs'"
        )
    for field, value in (("title", title), ("weaker", weaker)):
        if not isinstance(value, str):
            raise RegistryError(f"the {field} of the control {name!r} is {shown(value)}, expected a text")
    if not callable(unavailable) or not isinstance(checks, Iterable):
        raise RegistryError(
            f"the control {name!r} has checks={shown(checks)} and unavailable={shown(unavailable)}, expected ids of "
            "checks and a function of a view"
        )
    ids = (checks,) if isinstance(checks, str) else tuple(checks)

    def register(draw: Draw) -> Draw:
        wrong = "it is no function" if not callable(draw) else wrong_call(draw, None, None)
        if wrong:
            raise RegistryError(f"the control {name!r} cannot be called with a view and a generator: {wrong}")
        null = NullModel(title, draw, unavailable, weaker, ids)
        CONTROLS.add(name, null, function=draw)
        return draw

    return register


def _needs_images(view: View) -> str:
    shape = view.classifier.input_shape
    if len(shape) in {2, 3} and min(shape[-2:]) > 1:
        return ""
    return f"inputs of shape {shape} are not images; the spectrum-matched control needs (H, W) or (channels, H, W)"


def _needs_several_spaces(view: View) -> str:
    if not view.measurement.field.shared:
        return ""
    return "all inputs share one tangent space, so there is nothing to permute; use a local manifold, e.g. local-pca"


def _needs_balanced_classes(view: View) -> str:
    largest = int(torch.bincount(view.y.cpu()).max())
    if 2 * largest <= view.n:
        return _needs_several_spaces(view)
    words = f"one class holds {largest} of {view.n} inputs (at most half); pass a more balanced sample"
    return _needs_several_spaces(view) or words


@control("rotation", title="rotated tangent spaces")
def _rotated(view: View, generator: torch.Generator) -> View:
    """Rotate in the span of the data, so that features without variance decide nothing."""
    span, _ = view.measurement.cached(("span",), lambda: (data_span(view.examples.x, view.field.dim), 0))
    if span is None:
        return view.rotated(Haar(view.x.shape[1], generator=generator))
    dim = int(span.sum()) if span.ndim == 1 else span.shape[1]
    return view.rotated(Within(span, Haar(dim, generator=generator)))


def _needs_a_wide_span(view: View) -> str:
    room = 2 * view.field.dim
    wanted = f"random subspaces of dimension k = {view.field.dim} need more than {room}"
    if len(view.examples.x) <= room + 1:
        return f"there are {len(view.examples.x)} labelled examples, and {wanted}; give more manifold-data"
    if room >= MAX_EXAMPLES:
        return f"{wanted}, and at most {MAX_EXAMPLES} examples are combined; choose a smaller dim"
    generator = seeded(view.seed, "span of the data")
    rank = view.measurement.prepared(
        ("rank", _most_examples(view), room), lambda: _rank(*_covariance(view, room + 1, generator))
    )
    return "" if rank > room else f"the data span {rank} directions, and {wanted}; choose a smaller dim"


def _rank(vectors: torch.Tensor, weights: torch.Tensor) -> int:
    """Return how many directions combinations of vectors (r, D) with weights (m, r) span up to rounding.

    It follows from the eigenvalues of the inner products of the combinations, which take no copy of the vectors. The
    diagonal of a triangular factor is not enough: where one of its entries is small by chance, the next holds the
    rounding errors of its direction.
    """
    squared = torch.linalg.eigvalsh(weights @ (vectors @ vectors.T) @ weights.T)  # of the lengths along the directions
    return int((squared > NO_LENGTH**2 * squared.max()).sum())


@control("covariance", title="subspaces of the data's covariance", unavailable=_needs_a_wide_span)
def _of_the_covariance(view: View, generator: torch.Generator) -> View:
    """Return one subspace for all inputs: the span of k random combinations of the centred examples.

    Its directions have the data's covariance, so that loud features are in it as often as in the data.
    """
    rows, weights = _covariance(view, view.field.dim, generator)
    return view.spanned(torch.linalg.qr((weights @ rows).T).Q)


def _covariance(view: View, count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return vectors (r, D), and the normal weights (count, r) of random combinations of them."""
    most = _most_examples(view)
    rows: torch.Tensor = view.measurement.prepared(("covariance", most), partial(_covariance_rows, view, most))
    return rows, torch.randn((count, len(rows)), generator=generator, dtype=torch.float64).to(rows)


def _most_examples(view: View) -> int:
    """Return how many examples are combined at most."""
    return min(MAX_EXAMPLES, max(MOST_COVARIANCE_VALUES // view.x.shape[1], 2 * view.field.dim + 2))


def _covariance_rows(view: View, most: int) -> torch.Tensor:
    """Return vectors (r, D) whose combinations with normal weights have the distribution of those of the examples.

    Where there are more examples than features that vary, these are the rows of the triangular factor R of the centred
    examples X = Q R: combinations w X and w R have the same covariance X^T X = R^T R, and a draw takes less time.
    """
    examples = view.examples.x[:most]
    varies = varying(examples)
    centred: torch.Tensor = examples - examples.mean(0, dtype=torch.float64)  # without another copy in float64
    centred.mul_(varies)  # a feature that does not vary is zero, without the rounding of its mean
    if len(centred) <= int(varies.sum()):
        return centred
    rows = torch.linalg.qr(centred[:, varies], mode="r").R
    combined: torch.Tensor = rows.new_zeros((len(rows), len(varies)))
    combined[:, varies] = rows
    return combined


@control("spectrum", title="spectrum-matched spaces", unavailable=_needs_images)
def _spectrum(view: View, generator: torch.Generator) -> View:
    return view.rotated(Spectrum(view.classifier.input_shape, generator=generator))


@control("same-class", title="spaces permuted within class", unavailable=_needs_several_spaces, weaker="rotation")
def _permuted_within_class(view: View, generator: torch.Generator) -> View:
    order = torch.arange(view.n)
    labels = view.y.cpu()
    for label in torch.unique(labels):
        members = torch.nonzero(labels == label).reshape(-1)
        order[members] = members[torch.randperm(len(members), generator=generator)]
    return view.permuted(order)


@control("other-class", title="spaces permuted across classes", unavailable=_needs_balanced_classes, weaker="rotation")
def _permuted_across_classes(view: View, generator: torch.Generator) -> View:
    """Give each input the tangent space of an input of another class, every space once.

    The inputs are arranged in a circle, class after class in random order. Each takes the space of the input that lies
    as many places further along as the largest class has members.
    """
    labels = view.y.cpu()
    class_order = torch.randperm(int(labels.max()) + 1, generator=generator)
    shuffled = torch.randperm(view.n, generator=generator)
    circle = shuffled[torch.argsort(class_order[labels[shuffled]], stable=True)]
    order = torch.empty_like(circle)
    order[circle] = circle.roll(int(torch.bincount(labels).max()))
    return view.permuted(order)


@control("order", title="checkpoints in random order")
def _permuted_checkpoints(view: View, generator: torch.Generator) -> View:
    count = len(view.measurement.steps)
    return replace(view, order=tuple(torch.randperm(count, generator=generator).tolist()))


def meaningless(view: View) -> View:
    """Rotate the tangent spaces at random, as the first draw of ``rotation`` does, so that they mean nothing.

    The view that is returned is searched with brief effort, as draws are.
    """
    return replace(_drawn(view, "rotation", 0), effort=OF_DRAWS, is_estimate=True)


def null_draws(
    view: View, ask: Callable[[View], Evidence], name: str, draws: int, *, searched: bool, own: bool = False
) -> Floats:
    """Compute the median (or rate) of a statistic in each draw of a control, (draws,).

    The result is cached for all tests that ask the same of the same draws. A searched draw is measured at few inputs,
    by turns at the first, the next and so on, so that the level of the control is that of all inputs. The draws then
    spread more widely than the statistic would, which makes a test against them conservative.

    Args:
        view: The measurement.
        ask: From a view to the statistic of each input.
        name: Name of the control.
        draws: Number of draws.
        searched: Whether the question searches in each draw: with the effort of the view, or with brief effort where
            the view shows the cached searches of the measurement.
        own: Whether the statistic depends on no other model than the measured one, so that its draws may be stored.

    Raises:
        CheckError: The control's own code raised, or returned something other than a view.
    """
    asked = (ask, name, view.n, view.attack, view.effort)

    def one(drawn: View) -> tuple[float, int]:
        return point_estimate(ask(drawn)), 0

    def evaluated() -> list[float]:
        values: list[float] = view.measurement.prepared(("evaluated draws", *asked), list)
        for number in range(len(values), draws):
            values.append(one(replace(_with_basis(view, name, number), effort=None))[0])
        return values[:draws]

    def found() -> list[float]:
        key = ("draw", *asked)
        first = replace(_few(_drawn(view, name, 0), 0), _used={})
        value, searched_arms = view.cached((*key, 0), lambda: ((one(first)[0], first.searched_arms()), 0))
        missing = [number for number in range(1, draws) if not view.measurement.has((*key, number))]
        few = {number: _few(_drawn(view, name, number), number) for number in missing}
        _search_together(list(few.values()), searched_arms)
        others = (view.cached((*key, number), partial(one, few.get(number, first))) for number in range(1, draws))
        return [value, *others]

    key = ("null" if own else "null of other models", *asked, draws)
    return view.cached(key, lambda: (np.array(found() if searched else evaluated()), 0))


def _with_basis(view: View, name: str, number: int) -> View:
    """Return one draw of a control, as a basis where all inputs share one.

    The basis is kept for other questions and looks: projections onto it take less time than the rotation of each
    vector. The bases of the first draws of each control are kept, up to a number of values.
    """
    drawn = partial(_drawn, view, name, number)
    is_kept = (number + 1) * view.field.dim * view.x.shape[1] <= MOST_VALUES
    is_shared = view.measurement.field.shared or name in SPANNED
    if name not in SAME_FOR_ANY_INPUTS or not is_kept or not is_shared or view.field is not view.measurement.field:
        return drawn()
    field = view.measurement.prepared(
        ("basis of a draw", name, number), lambda: SharedField(drawn().field.basis(slice(0, 1)))
    )
    return replace(view, field=field, draw=(name, number))


def _search_together(draws: Sequence[View], searched: Iterable[tuple[str, ArmName]]) -> None:
    """Search all other draws as the question searched the first draw, and cache the distances.

    Draws at the same inputs share one search. Draws that permute checkpoints are left out, since each asks for other
    models.

    Args:
        draws: The other draws.
        searched: What the question searched, see `View.searched_arms`.
    """
    for model, arm in searched:
        views = [drawn.paired_model(model) if model else drawn for drawn in draws if drawn.order is None]
        open_draws = [drawn for drawn in views if not drawn.measurement.has(drawn.distance_key(arm))]
        for measurement in dict.fromkeys(drawn.measurement for drawn in open_draws):
            group = [drawn for drawn in open_draws if drawn.measurement is measurement]
            size = max(1, MOST_VALUES // (group[0].n * group[0].field.dim * group[0].x.shape[1]))
            for start in range(0, len(group), size):
                find_together(group[start : start + size], arm)


def _few(drawn: View, number: int) -> View:
    """Restrict a draw to the inputs whose turn it is; the result is searched briefly unless the draw has an effort."""
    parts = max(1, drawn.n // INPUTS_A_DRAW)
    turn = number % parts
    inputs = slice(turn * drawn.n // parts, (turn + 1) * drawn.n // parts)
    measurement = drawn.measurement if parts == 1 else drawn.measurement.part(inputs)
    n = inputs.stop - inputs.start
    return replace(
        drawn, measurement=measurement, n=n, field=FieldPart(drawn.field, inputs), effort=drawn.effort or OF_DRAWS
    )


def why_unavailable(view: View, name: str) -> str:
    """Return why a control cannot be drawn for a view; "" where it can.

    Raises:
        CheckError: The control's own code raised.
    """
    null: NullModel = CONTROLS[name]
    with one_error(f"the control {name!r}", "", CheckError):
        reason = null.unavailable(view)
    if not isinstance(reason, str):
        raise CheckError(
            f"the function unavailable of the control {name!r} returned {shown(reason)}, expected a reason or ''"
        )
    return reason


def _drawn(view: View, name: str, number: int) -> View:
    """Return one draw of a control."""
    null: NullModel = CONTROLS[name]
    with one_error(f"the control {name!r}", "", CheckError):
        drawn = null.draw(view, seeded(view.seed, "control", name, number))
    if not isinstance(drawn, View):
        raise CheckError(
            f"the control {name!r} returned a {type(drawn).__name__}, expected a View; "
            "return view.rotated(rotation) or view.permuted(order)"
        )
    return replace(drawn, draw=(name, number))
