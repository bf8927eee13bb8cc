"""The search for a counterexample with Hypothesis: batches of candidates, shrinking, and a last search on the ray.

One example of Hypothesis is a batch of candidates, which the model labels in one call. A batch fails where a candidate
has lost its label, and shrinking sets the other candidates to zero. Profile, phases, number of examples, database and
randomness are those of Hypothesis's current settings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, given, settings, target
from hypothesis import strategies as st
from hypothesis.database import ExampleDatabase
from hypothesis.errors import Flaky

from dmmcheck.errors import ModelError
from dmmcheck.inference.types import SearchKind
from dmmcheck.measurement.portrait import as_image, is_image
from dmmcheck.models.base import ambient_dim
from dmmcheck.strategies.drawn import Augmented, Input, NormalStep, TangentStep, margins_of
from dmmcheck.strategies.draws import augmented, normal_steps, tangent_steps
from dmmcheck.subject import Subject

BATCH = 10  # candidates in one example: 1,000 in the 100 examples of Hypothesis's default profile
MOST_SHRINKS = 200  # batches that are labelled, most of them twice, to make a counterexample simpler
RAY_POINTS, RAY_ROUNDS = 32, 3  # the last search knows the length to 1 / 32^3 of the shrunk step
SPACING_POINTS = 512
SHARE_OF_SPACING = 0.1


class NamedDatabase(ExampleDatabase):
    """A database of Hypothesis in which each search has keys of its own.

    Hypothesis keys what it keeps by the source of the test function, which is the same for all searches. Without a name
    in the key, a search would try what another one has found, and delete it where its own candidates do not fail.

    Args:
        inner: The database that keeps the examples.
        name: The name of the search.
    """

    def __init__(self, inner: ExampleDatabase, name: str) -> None:
        super().__init__()
        self.inner, self.name = inner, name.encode(errors="replace")

    def fetch(self, key: bytes) -> Iterable[bytes]:
        """Yield the examples that this search has kept under a key."""
        return self.inner.fetch(key + self.name)

    def save(self, key: bytes, value: bytes) -> None:
        """Keep an example."""
        self.inner.save(key + self.name, value)

    def delete(self, key: bytes, value: bytes) -> None:
        """Forget an example."""
        self.inner.delete(key + self.name, value)

    def move(self, src: bytes, dest: bytes, value: bytes) -> None:
        """Keep an example under another key."""
        self.inner.move(src + self.name, dest + self.name, value)


class LabelChangedError(AssertionError):
    """A candidate has another label than its real input."""


@dataclass
class Search:
    """What a search has tried and found.

    Attributes:
        examples: Batches that were tried.
        candidates: Candidates in them that differ from their real input.
        indices: Rows of the real inputs of these candidates.
        shrinking: Batches that were tried after the first counterexample, to make it simpler.
        simplest: The words of the batch that holds the simplest counterexample.
        found: The simplest counterexample; None where there is none.
        blob: The line ``@reproduce_failure(...)`` for a test over `candidates`, where Hypothesis prints it (the setting
            ``print_blob``); else "".
    """

    examples: int = 0
    candidates: int = 0
    indices: set[int] = field(default_factory=set)
    shrinking: int = 0
    simplest: str = ""
    found: Input | None = None
    blob: str = ""

    @property
    def statistic(self) -> float | None:
        """The length of the step that was found, or the margin after the change by augment; None where none was."""
        if self.found is None:
            return None
        return self.found.margin if isinstance(self.found, Augmented) else self.found.length


def search(subject: Subject, kind: SearchKind, *, name: str, radius: float | None = None) -> Search:
    """Look for a candidate that has another label than its real input.

    Args:
        subject: The subject.
        kind: ``tangent`` and ``normal`` for steps, ``augment`` for changes by the user's function.
        name: The key of the search in Hypothesis's database, together with the subject's model, shape and size.
        radius: Longest step; needed for steps.

    Raises:
        ConfigError: The radius is not a positive number.
        ModelError: The model raises or gives NaN at a candidate, or changes its answer; the message names the point.
        SubjectError: The function `augment` cannot be used.
    """
    found = Search()

    def try_candidates(batch: list[Input]) -> None:
        _try(batch, found)

    key = f"{name} {subject.classifier.name} {subject.input_shape} {len(subject.x)}"
    test = _settings(key)(given(candidates(subject, kind, radius=radius))(try_candidates))
    try:
        test()
    except LabelChangedError as error:
        blob = re.search(r"@reproduce_failure\(.*?\)", " ".join(getattr(error, "__notes__", ())))
        simplest = None if found.found is None else on_ray(found.found)
        return replace(found, found=simplest, blob="" if blob is None else blob[0])
    except Flaky as error:
        raise ModelError(
            f"the {subject.classifier.role} gave {found.found!r} different labels when it was called twice; draw no "
            "random numbers in it, and put it into evaluation mode"
        ) from error
    return replace(found, found=None)


def candidates(subject: Subject, kind: SearchKind, *, radius: float | None = None) -> st.SearchStrategy[Any]:
    """Return the batches of candidates that the checks of the tier search draw: tuples of ten steps or changes.

    Args:
        subject: The subject.
        kind: ``tangent`` and ``normal`` for steps, ``augment`` for changes by the user's function.
        radius: Longest step; needed for steps.

    Raises:
        ConfigError: The radius is not a positive number.
        SubjectError: `augment` is missing.
    """
    if kind == "augment":
        one: st.SearchStrategy[Any] = augmented(subject)
    else:
        steps: Callable[..., st.SearchStrategy[Any]] = tangent_steps if kind == "tangent" else normal_steps
        one = steps(subject, radius=radius)
    return st.tuples(*[one] * BATCH)


def on_ray(step: Input) -> Input:
    """Return the first label change on the ray from the real input to a step; other values as they are.

    Each of three rounds labels 32 points between the last steady point and the first one that is not.
    """
    if not isinstance(step, (TangentStep, NormalStep)):
        return step
    near, far = 0.0, 1.0
    for _ in range(RAY_ROUNDS):
        shares = [near + (far - near) * part / RAY_POINTS for part in range(1, RAY_POINTS)]
        crossed = (margins_of([_shortened(step, share) for share in shares]) < 0).tolist()
        first = crossed.index(True) if True in crossed else len(shares)
        near, far = ([near, *shares][first], [*shares, far][first])
    shortest: Input = _shortened(step, far)
    return shortest


def default_radius(subject: Subject) -> float:
    """Return a tenth of the median distance from an input to the nearest other one, among at most 512 inputs.

    Copies of an input are left out.
    """
    points = subject.x[:SPACING_POINTS].reshape(min(SPACING_POINTS, len(subject.x)), -1)
    apart = torch.cdist(points, points)
    nearest = apart.masked_fill(apart == 0, torch.inf).amin(1)
    return SHARE_OF_SPACING * float(nearest[torch.isfinite(nearest)].median())


def in_words(step: Input) -> str:
    """Return a sentence about a counterexample, with the expression that rebuilds it.

    The second margin is that of the first label.
    """
    before = Input(step.subject, step.index)
    return (
        f"input {step.index} (true label {step.y}) has the label {before.label} with a margin of {before.margin:.3g}; "
        f"after a change of length {step.length:.4g} the label is {step.label} and that margin {step.margin:.3g}: "
        f"{step!r}"
    )


def as_plain(step: Input) -> dict[str, Any]:
    """Return a counterexample as plain data for a report.

    The data are input, step, coordinates, length, labels, margins, and a picture.

    The flat input and step are left out for inputs of more than 16,384 values; `rebuild` gives them. The picture is
    that of an image, thinned out where it is large; None for inputs of another kind.
    """
    before = Input(step.subject, step.index)
    small = ambient_dim(step.subject.classifier) <= MOST_VALUES
    return {
        "rebuild": repr(step),
        "kind": KINDS[type(step).__name__],
        "input": step.index,
        "label": step.y,
        "coordinates": list(getattr(step, "coordinates", ())),
        "features": list(getattr(step, "features", ())),
        "length": step.length,
        "labels": [before.label, step.label],
        "margins": [before.margin, step.margin],
        "input_shape": list(step.subject.input_shape),
        "x": before.x.reshape(-1).tolist() if small else None,
        "step": step.step.tolist() if small else None,
        "picture": _picture(before, step),
    }


def _picture(before: Input, step: Input) -> dict[str, Any] | None:
    """Return an image and the step away from it, channels last; None for inputs that are no images."""
    shape = step.subject.input_shape
    if not is_image(shape):
        return None
    image, drawn = as_image(before.x, shape)
    return {"shape": list(drawn), "image": list(image), "step": list(as_image(step.step, shape)[0])}


KINDS = {"TangentStep": "tangent", "NormalStep": "normal", "Augmented": "augment"}
MOST_VALUES = 16_384  # of an input whose values a report keeps, e.g. 3 x 64 x 64


def _settings(name: str) -> settings:
    """Return Hypothesis's current settings with own keys in the database, without what a search does not use.

    Forward passes have no deadline, since they depend on the machine. Nothing prints which parts of an example matter,
    so that the phase that finds out is left out.
    """
    current = settings()
    return settings(
        current,
        database=None if current.database is None else NamedDatabase(current.database, name),
        deadline=None,
        report_multiple_bugs=False,
        phases=[phase for phase in current.phases if phase is not Phase.explain],
        suppress_health_check=[*current.suppress_health_check, HealthCheck.differing_executors],
    )


def _try(batch: list[Input], found: Search) -> None:
    """Label a batch, and raise where a candidate has another label than its real input.

    Raises:
        LabelChangedError: There is one; the search remembers the one with the smallest margin.
    """
    if found.shrinking >= MOST_SHRINKS and repr(batch) != found.simplest:
        return  # not tried: Hypothesis stops once nothing simpler fails
    found.examples += 1
    found.shrinking += found.found is not None
    tried = [step for step in batch if _is_change(step)]
    found.candidates += len(tried)
    found.indices |= {step.index for step in tried}
    if not tried:
        return
    margins = margins_of(tried)
    least = int(margins.argmin())
    target(-float(margins[least]), label="margin of the label, negative")
    if float(margins[least]) < 0 and not tried[least].is_steady:  # labelled again, alone
        found.found, found.simplest = tried[least], repr(batch)
        raise LabelChangedError(f"the label changes at {tried[least]!r}")


def _is_change(step: Input) -> bool:
    """Return whether the drawn values make a candidate differ from its real input."""
    return bool(getattr(step, "coordinates", True))


def _shortened(step: Any, share: float) -> Any:
    """Return the step with its length multiplied by a share."""
    return replace(step, coordinates=tuple(share * part for part in step.coordinates))
