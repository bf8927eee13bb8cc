"""Any L2 attack of the torchattacks library, inside any subspace: an oracle that shares no code with our own search.

The library is an optional dependency (``pip install 'dmmcheck[attacks]'``). Its attacks are handed coordinates instead
of inputs (`coordinates`), and what they return is confirmed by a forward pass of the classifier and drawn back along
the ray to the boundary (`confirmed`). Attacks that move within a given radius are repeated with each input's own
radius, doubled until they succeed and bisected between success and failure after. What the library leaves behind
elsewhere does not happen here: global random state is put back, and neither gradients nor a training mode reach the
user's model.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dmmcheck.attacks.base import Attack, Crossing
from dmmcheck.attacks.torchattacks.confirmed import HALVINGS, SCALE, Found, Task
from dmmcheck.attacks.torchattacks.coordinates import Coordinates, RowsLostError, Space, spread
from dmmcheck.attacks.torchattacks.library import constructor, own_random_state
from dmmcheck.errors import AttackError
from dmmcheck.models.torch import adapt

PANEL = ("fab", "pgdl2")
ROUNDS = 10  # repetitions of an attack with a given radius
ROWS = 256  # inputs at a time

_CUBE_RADIUS = 0.25  # radius in z of attacks with a given radius: the cube's walls are out of reach
_MINIMAL = {"CW", "DeepFool", "EADEN", "FAB"}  # look for the smallest step themselves; the others are given a radius
_KNOWS_WALLS = {"FAB"}  # projects onto hyperplane and box at once; all others step and clip
_FOUR_CLASSES = {"APGDT", "AutoAttack"}  # their loss compares four logits
_LENGTHS = {
    "lr": 1,
    "c": 2,
    "initial_const": 2,
}  # powers of a length in an argument's unit, for attacks that look for the smallest step
_DEFAULTS: dict[str, dict[str, Any]] = {
    "FAB": {"steps": 20},
    "PGDL2": {"steps": 40, "alpha": 2.5 / 40, "random_start": False},
    "CW": {"steps": 200, "lr": 0.05},
}


class TorchAttack:
    """One attack of torchattacks as an `Attack`.

    Args:
        name: Its name in the library, in any case: ``"FAB"``, ``"pgdl2"``.
        **arguments: Of its constructor, in units of x and of a classifier with margin 10 at the inputs. The step
            `alpha` of an attack with a given radius is a share of that radius; the radius `eps` itself is searched for.

    Raises:
        AttackError: The library is missing, the attack unknown, its distance not L2, or an argument cannot be used.
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
        """Looks for the smallest step itself, and needs no search for a radius."""
        return self.name in _MINIMAL

    def __call__(
        self,
        model: Any,
        x: Tensor,
        y: Tensor,
        *,
        subspace: Tensor | None = None,
        normal: bool = False,
        bounds: tuple[float, float] | None = None,
        generator: torch.Generator,
    ) -> Crossing:
        """See `Attack`.

        Raises:
            AttackError: A subspace and a box at once, or the library's attack raised.
        """
        if subspace is not None and bounds is not None:
            raise AttackError(
                f"torchattacks' {self.name} cannot stay inside a subspace and the box {bounds} at once; "
                "leave out subspace or bounds, or use dmmcheck.boundary_search, which can"
            )
        classifier = adapt(model, x)
        if self.name in _FOUR_CLASSES and classifier.classes < 4:
            raise AttackError(
                f"torchattacks' {self.name} needs 4 classes or more, the model has {classifier.classes}; use FAB"
            )
        flat, labels = classifier.flat(x), y.to(classifier.device)
        space = Space(None if subspace is None else subspace.to(flat), normal, bounds)
        unit = flat.new_tensor(bounds[1] - bounds[0]) if bounds else spread(flat)
        seed = int(torch.randint(2**31, (), generator=generator))
        with classifier.evaluation(), own_random_state(seed), torch.enable_grad():
            parts = [
                self._part(Task(classifier, flat[rows], labels[rows], space.rows(rows), unit), seed)
                for rows in torch.split(torch.arange(len(flat), device=flat.device), ROWS)
            ]
        return Crossing(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _part(self, task: Task, seed: int) -> tuple[Tensor, ...]:
        """The fields of a Crossing for some of the inputs."""
        with torch.no_grad():
            right = torch.nonzero(task.labels(task.x) == task.y).reshape(-1)
        done = Found.nothing(task)
        done.looked = task.radius()
        if len(right):
            done.put(right, self._attack(task.take(right), seed))
        misclassified = torch.ones_like(done.found)
        misclassified[right] = False
        return done.fields(task, misclassified)

    def _attack(self, task: Task, seed: int) -> Found:
        """Confirmed points, batched where the attack keeps the batch together, else one input at a time."""
        search = self._smallest if self.minimal else self._by_radius
        try:
            return search(task, seed)
        except RowsLostError:
            done = Found.nothing(task)
            for row in torch.split(torch.arange(len(task.x), device=task.x.device), 1):
                done.put(row, search(task.take(row), seed))
            return done

    def _smallest(self, task: Task, seed: int) -> Found:
        """One call of an attack that looks for the smallest step."""
        walls = task.space.bounds is not None and self.name in _KNOWS_WALLS
        scale = task.unit if walls else SCALE * task.unit
        found = Found.nothing(task)
        found.looked = task.radius()
        self._step(task, found, scale, walls, seed)
        return found

    def _by_radius(self, task: Task, seed: int) -> Found:
        """An attack with a given radius, repeated: the radius is doubled until it succeeds, then bisected."""
        found = Found.nothing(task)
        far = task.radius()
        near, radius = torch.zeros_like(far), torch.minimum(2 * task.flat_distance(), far)
        for _ in range(ROUNDS):
            hit = self._step(task, found, radius / _CUBE_RADIUS, False, seed)
            near = torch.where(hit, near, radius)
            found.looked = torch.maximum(found.looked, radius)
            grown = torch.minimum(2 * radius, far)
            radius = torch.where(found.found, (near + found.distance) / 2, grown)
        return found

    def _step(self, task: Task, found: Found, scale: Tensor, walls: bool, seed: int) -> Tensor:
        """One call of the library; keeps what is nearer, says which inputs succeeded (n,)."""
        cube = Coordinates(task.classifier, task.x, task.y, scale=scale, space=task.space, walls=walls)
        attack = self._built(cube, task, float(scale.max()), seed)
        try:
            z = attack(cube.start(), task.y)
        except RowsLostError:
            raise
        except Exception as error:
            raise AttackError(
                f"torchattacks' {self.name} raised {type(error).__name__}: {error}; on {len(task.x)} inputs of shape "
                f"{task.classifier.input_shape}, with {self.arguments}; check its arguments, or leave it out"
            ) from error
        with torch.no_grad():
            hit = found.improve(task, cube.point(z.detach()))
        found.forwards += cube.forwards + HALVINGS + 2
        found.backwards += cube.backwards
        return hit

    def _built(self, cube: Coordinates, task: Task, scale: float, seed: int) -> Any:
        """The library's object, its arguments in units of z."""
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
                f"{self.name} was given norm {self.arguments['norm']!r}, distances here are L2; leave norm out"
            )
        if "eps" in self.arguments and not self.minimal:
            raise AttackError(
                f"{self.name} was given eps={self.arguments['eps']}, but the radius is searched for; leave eps out"
            )
        if self.arguments.get("eps", 1.0) is None:
            raise AttackError(
                f"{self.name} reads eps=None as 1.0; give the largest distance to look for, or leave it out"
            )


def panel(names: Sequence[str] = PANEL) -> dict[str, Attack]:
    """Attacks by the names that ``--dmm-attacks`` takes, with default arguments.

    Raises:
        AttackError: See `TorchAttack`.
    """
    return {name: TorchAttack(name) for name in names}
