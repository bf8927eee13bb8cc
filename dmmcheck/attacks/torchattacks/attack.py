"""Any L2 attack of the torchattacks library, inside any search space: a check of the built-in search by other code.

The library comes with the package, which also works without it. Its attacks move coordinates instead of
inputs (`coordinates`). Each point that they return is confirmed by a forward pass of the classifier and moved back
along the ray to the boundary (`confirmed`). An attack that moves within a given radius is repeated with a radius for
each input: the radius is doubled until the attack succeeds, then bisected between failure and success. The library's
side effects are undone: global random state is restored, and the user's model gets neither gradients nor another
training mode.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dmmcheck.attacks.base import Attack, Crossing
from dmmcheck.attacks.search_space import Everywhere, SearchSpace, at_once, spread
from dmmcheck.attacks.torchattacks.confirmed import HALVINGS, SCALE, Found, Task
from dmmcheck.attacks.torchattacks.coordinates import Coordinates, RowsLostError
from dmmcheck.attacks.torchattacks.library import constructor, own_random_state
from dmmcheck.errors import AttackError, DmmError
from dmmcheck.errors.text import told
from dmmcheck.models.base import evaluating, flat
from dmmcheck.models.boxed import Box, box_at, is_of_numbers
from dmmcheck.models.torch import adapt

PANEL = ("fab", "pgdl2")
ROUNDS = 10  # repetitions of an attack with a given radius
ROWS = 256  # most inputs in one call of an attack

_CUBE_RADIUS = 0.25  # radius in z of attacks with a given radius, which never meet the walls of the cube
_MINIMAL = {"CW", "DeepFool", "EADEN", "FAB"}  # these look for the smallest perturbation; the others need a radius
_KNOWS_WALLS = {"FAB"}  # projects onto hyperplane and box at once; all others take a step and clip it
_FOUR_CLASSES = {"APGDT", "AutoAttack"}  # their loss compares four logits
_LENGTHS = {  # powers of a length in the unit of an argument, for attacks that look for the smallest perturbation
    "lr": 1,
    "c": 2,
    "initial_const": 2,
}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "FAB": {"steps": 20},
    "PGDL2": {"steps": 40, "alpha": 2.5 / 40, "random_start": False},
    "CW": {"steps": 200, "lr": 0.05},
}


class TorchAttack:
    """One attack of torchattacks as an `Attack`.

    Args:
        name: Its name in the library, in upper or lower case: ``"FAB"``, ``"pgdl2"``.
        **arguments: Arguments of its constructor, in units of x and of a classifier with margin 10 at the inputs. For
            an attack that needs a radius, the step size `alpha` is a share of the radius, and the radius `eps` itself
            is searched for.

    Raises:
        AttackError: The library is missing, the attack is unknown, its distance is not L2, or an argument cannot be
            used.

    Example:
        >>> import torch
        >>> from dmmcheck.attacks.torchattacks import TorchAttack
        >>> plane = lambda x: torch.stack([x[:, 0], -x[:, 0]], 1)  # the boundary is where the first coordinate is 0
        >>> x, y = torch.tensor([[3.0, 4.0], [1.0, 1.0]]), torch.tensor([0, 0])
        >>> found = TorchAttack("FAB")(plane, x, y, generator=torch.Generator().manual_seed(0))
        >>> [round(distance, 2) for distance in found.distance.tolist()]
        [3.0, 1.0]
    """

    def __init__(self, name: str, **arguments: Any) -> None:
        self.name, self._make = constructor(name)
        self.arguments = {**_DEFAULTS.get(self.name, {}), **arguments}
        self._allowed = inspect.signature(self._make).parameters
        self._check()

    def __repr__(self) -> str:
        given = "".join(f", {key}={value!r}" for key, value in self.arguments.items())
        return f"TorchAttack({self.name!r}{given})"

    @property
    def minimal(self) -> bool:
        """Whether the attack looks for the smallest perturbation itself, so that no radius is searched for."""
        return self.name in _MINIMAL

    def __call__(
        self,
        model: Any,
        x: Tensor,
        y: Tensor,
        *,
        space: SearchSpace | None = None,
        bounds: Box | None = None,
        generator: torch.Generator,
    ) -> Crossing:
        """See `Attack`; the model may be anything that `models.torch.adapt` takes, and the space may be left out.

        The library cannot stay inside a subspace and a box at once: there, points outside the box are no label changes.

        Raises:
            AttackError: The library's attack raised.
        """
        space = Everywhere() if space is None else space
        classifier = adapt(model, x)
        if self.name in _FOUR_CLASSES and classifier.classes < 4:
            raise AttackError(
                f"torchattacks' {self.name} needs 4 classes or more, the model has {classifier.classes}; use FAB"
            )
        points, labels = flat(classifier, x), y.to(classifier.device)
        bounds = box_at(classifier, points) if bounds is None else bounds
        unit = (
            points.new_tensor(bounds[1] - bounds[0]) if bounds is not None and is_of_numbers(bounds) else spread(points)
        )
        seed = int(torch.randint(2**31, (), generator=generator))
        together = min(ROWS, at_once(space) or ROWS)
        with evaluating(classifier), own_random_state(seed), torch.enable_grad():
            parts = [
                self._part(Task(classifier, points[rows], labels[rows], space.rows(rows), bounds, unit), seed)
                for rows in torch.split(torch.arange(len(points), device=points.device), together)
            ]
        return Crossing(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _part(self, task: Task, seed: int) -> tuple[Tensor, ...]:
        """Return the fields of a Crossing for some of the inputs."""
        with torch.no_grad():
            misclassified = task.labels(task.x) != task.y
        correct = torch.nonzero(~misclassified).reshape(-1)
        found = Found.nothing(task)
        found.radius = task.radius()
        if len(correct):
            found.put(correct, self._attack(task.take(correct), seed))
        return found.fields(task, misclassified)

    def _attack(self, task: Task, seed: int) -> Found:
        """Return the confirmed points; attack each input alone if the attack calls the model with part of a batch."""
        search = self._smallest if self.minimal else self._by_radius
        try:
            return search(task, seed)
        except RowsLostError:
            found = Found.nothing(task)
            for row in torch.split(torch.arange(len(task.x), device=task.x.device), 1):
                found.put(row, search(task.take(row), seed))
            return found

    def _smallest(self, task: Task, seed: int) -> Found:
        """Call an attack that looks for the smallest perturbation once, and return the points found."""
        walls = task.is_unrestricted and is_of_numbers(task.bounds) and self.name in _KNOWS_WALLS
        scale = task.unit if walls else SCALE * task.unit
        found = Found.nothing(task)
        found.radius = task.radius()
        self._run(task, found, scale, walls, seed)
        return found

    def _by_radius(self, task: Task, seed: int) -> Found:
        """Repeat an attack that needs a radius: double the radius until the attack succeeds, then bisect it."""
        found = Found.nothing(task)
        farthest = task.radius()
        near, radius = torch.zeros_like(farthest), torch.minimum(2 * task.linearized_distance(), farthest)
        for _ in range(ROUNDS):
            hit = self._run(task, found, radius / _CUBE_RADIUS, False, seed)
            near = torch.where(hit, near, radius)
            found.radius = torch.maximum(found.radius, radius)
            doubled = torch.minimum(2 * radius, farthest)
            radius = torch.where(found.found, (near + found.distance) / 2, doubled)
        return found

    def _run(self, task: Task, found: Found, scale: Tensor, walls: bool, seed: int) -> Tensor:
        """Call the library once, keep nearer points in `found`, and return where the attack succeeded (n,)."""
        cube = Coordinates(task.boxed, task.x, task.y, scale=scale, space=task.space, bounds=task.clip, walls=walls)
        attack = self._built(cube, task, float(scale.max()), seed)
        try:
            z = attack(cube.start(), task.y)
        except (RowsLostError, DmmError):
            raise
        except Exception as error:
            raise AttackError(
                f"torchattacks' {self.name} raised {told(error)}; on {len(task.x)} inputs of shape "
                f"{task.classifier.input_shape}, with {self.arguments}; check its arguments, or leave the attack out"
            ) from error
        with torch.no_grad():
            hit = found.improve(task, cube.point(z.detach()))
        found.forwards += cube.forwards + HALVINGS + 2
        found.backwards += cube.backwards
        return hit

    def _built(self, cube: Coordinates, task: Task, scale: float, seed: int) -> Any:
        """Return the library's attack object, with its arguments in units of z."""
        arguments = dict(self.arguments)
        if self.minimal:
            for key, power in _LENGTHS.items():
                if key in self._allowed:
                    value = arguments.get(key, self._allowed[key].default)
                    arguments[key] = value / scale**power
            if "eps" in self._allowed:
                arguments["eps"] = arguments.get("eps", float(task.radius().max())) / scale
        else:
            arguments["eps"] = _CUBE_RADIUS
            if "alpha" in arguments:
                arguments["alpha"] = arguments["alpha"] * _CUBE_RADIUS
        for key, value in (("norm", "L2"), ("seed", seed), ("n_classes", task.classifier.classes)):
            if key in self._allowed:
                arguments.setdefault(key, value)
        return self._make(cube, **arguments)

    def _check(self) -> None:
        unknown = sorted(set(self.arguments) - set(self._allowed) | set(self.arguments) & {"model"})
        if unknown:
            valid = ", ".join(key for key in self._allowed if key not in {"model", "eps" if not self.minimal else ""})
            raise AttackError(f"torchattacks' {self.name} has no argument {', '.join(unknown)}; it has {valid}")
        if self.arguments.get("norm", "L2") != "L2":
            raise AttackError(
                f"{self.name} was given norm {self.arguments['norm']!r}, but distances here are L2; leave norm out"
            )
        if "eps" in self.arguments and not self.minimal:
            raise AttackError(
                f"{self.name} was given eps={self.arguments['eps']}, but the radius is searched for; leave eps out"
            )
        if self.arguments.get("eps", 1.0) is None:
            raise AttackError(
                f"{self.name} reads eps=None as 1.0; give the largest distance to search as eps, or leave eps out"
            )


def panel(names: Sequence[str] = PANEL) -> dict[str, Attack]:
    """Return attacks with default arguments by the names that ``--dmm-attacks`` takes.

    Raises:
        AttackError: See `TorchAttack`.
    """
    return {name: TorchAttack(name) for name in names}
