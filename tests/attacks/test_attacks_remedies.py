"""Every remedy that an error message of the attacks names is applied here, and works."""

from __future__ import annotations

import sys

import pytest
import torch

import dmmcheck
from dmmcheck.attacks.base import Crossing
from dmmcheck.attacks.minimal_norm.search import search_spaces
from dmmcheck.attacks.search_space import Everywhere, spanned
from dmmcheck.attacks.torchattacks import TorchAttack, panel
from dmmcheck.attacks.torchattacks.library import names
from dmmcheck.errors import DmmError
from dmmcheck.models.torch import adapt

N, D = 6, 4
X = torch.rand(N, D, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.05
Y = torch.zeros(N, dtype=torch.long)
BASIS = torch.eye(D, 2)


def model(x):
    """Three classes: 0 where the sum of the entries is small."""
    beyond = x.flatten(1).sum(1) - 2
    return torch.stack([-beyond, beyond, beyond - 5], 1)


def search(**options):
    return dmmcheck.boundary_search(model, X, Y, **options, generator=torch.Generator().manual_seed(0))


def attack(name="fab", *, arguments=None, function=model, **options):
    return TorchAttack(name, **(arguments or {}))(function, X, Y, **options, generator=torch.Generator().manual_seed(0))


def raises_at_odd_batches(x):
    if len(x) > 4:
        raise RuntimeError("a batch of four at most")
    return model(x)


def in_fours(x):
    return torch.cat([raises_at_odd_batches(part) for part in x.split(4)])


def two_classes(x):
    return model(x)[:, :2]


def own_attack(points):
    return Crossing.at(points, adapt(model, X), X, Y)


def found(crossing):
    return bool(crossing.found.all())


def distances_agree(crossing):
    return found(crossing) and bool((crossing.distance >= 0.999 * search().distance).all())


CASES = {
    "effort": (
        lambda: search(effort="heroic"),
        "effort 'heroic' is unknown; choose one of brief, quick, default, thorough, exhaustive",
        lambda: [search(effort=effort) for effort in ("brief", "quick", "default", "thorough", "exhaustive")],
        lambda crossings: all(map(found, crossings)),
    ),
    "no search space": (
        lambda: search_spaces(model, X, Y, [], generator=torch.Generator()),
        "no search space is given; pass at least one, such as Everywhere()",
        lambda: search_spaces(model, X, Y, [Everywhere()], generator=torch.Generator()),
        lambda crossings: found(crossings[0]),
    ),
    "labels of another length": (
        lambda: dmmcheck.boundary_search(model, X, Y[:2], generator=torch.Generator()),
        "y has shape (2,); pass one class for each input, (6,)",
        search,
        found,
    ),
    "targets of another length": (
        lambda: search(targets=torch.tensor(1)),
        "targets has shape (); pass one class for each input, (6,)",
        lambda: search(targets=torch.ones(N, dtype=torch.long)),
        found,
    ),
    "subspace of another shape": (
        lambda: search(subspace=BASIS.T),
        "subspace has shape (2, 4) for 6 inputs with D = 4; pass a basis (D, k) or (n, D, k), k < D",
        lambda: [search(subspace=BASIS), search(subspace=BASIS.expand(N, -1, -1))],
        lambda crossings: all(map(found, crossings)),
    ),
    "normal without a subspace": (
        lambda: search(normal=True),
        "normal=True needs a subspace whose complement to search; pass subspace=basis",
        lambda: search(normal=True, subspace=BASIS),
        found,
    ),
    "space and subspace": (
        lambda: search(space=spanned(BASIS), subspace=BASIS),
        "both space and subspace (or normal) are given; pass one of them",
        lambda: [search(space=spanned(BASIS)), search(subspace=BASIS)],
        lambda crossings: torch.equal(crossings[0].distance, crossings[1].distance),
    ),
    "a model that refuses batches": (
        lambda: dmmcheck.boundary_search(raises_at_odd_batches, X, Y, generator=torch.Generator()),
        "the model raised RuntimeError in forward on a batch of shape",
        lambda: dmmcheck.boundary_search(in_fours, X, Y, generator=torch.Generator()),  # accepts batches of any size
        found,
    ),
    "points that are not flat": (
        lambda: own_attack((X + 1).reshape(N, 2, 2)),
        "the points have shape (6, 2, 2), the inputs (6, 4); return one flat point for each input",
        lambda: own_attack((X + 1).reshape(N, 2, 2).flatten(1)),
        found,
    ),
    "too few classes": (
        lambda: attack("apgdt", function=two_classes),
        "torchattacks' APGDT needs 4 classes or more, the model has 2; use FAB",
        lambda: attack("FAB", function=two_classes),
        found,
    ),
    "an attack that raises": (
        lambda: attack("cw", arguments={"steps": "many"}),
        "check its arguments, or leave the attack out",
        lambda: attack("cw", arguments={"steps": 100}),
        found,
    ),
    "an unknown argument": (
        lambda: attack(arguments={"step": 10}),
        "torchattacks' FAB has no argument step; it has norm, eps, steps",
        lambda: attack(arguments={"steps": 10}),
        found,
    ),
    "another norm": (
        lambda: attack(arguments={"norm": "Linf"}),
        "FAB was given norm 'Linf', but distances here are L2; leave norm out",
        attack,
        distances_agree,
    ),
    "a radius for an attack whose radius is searched for": (
        lambda: attack("pgdl2", arguments={"eps": 0.5}),
        "PGDL2 was given eps=0.5, but the radius is searched for; leave eps out",
        lambda: attack("pgdl2"),
        distances_agree,
    ),
    "no radius": (
        lambda: attack(arguments={"eps": None}),
        "FAB reads eps=None as 1.0; give the largest distance to search as eps, or leave eps out",
        lambda: [attack(arguments={"eps": 3.0}), attack()],
        lambda crossings: all(map(distances_agree, crossings)),
    ),
    "an unknown attack": (
        lambda: attack("fabulous"),
        "has no attack 'fabulous'; use one of ",
        names,
        lambda listed: [TorchAttack(name).name for name in listed] == list(listed) and "FAB" in listed,
    ),
    "an attack of another norm": (
        lambda: attack("pgd"),
        "torchattacks' PGD measures Linf, but distances here are L2; use one of ",
        lambda: attack("PGDL2"),
        found,
    ),
    "an attack that looks for nothing": (
        lambda: attack("gn"),
        "torchattacks' GN does not look for the nearest label change; use one of ",
        lambda: attack("FAB"),
        found,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_remedy_works(name):
    bad, words, remedy, holds = CASES[name]
    with pytest.raises(DmmError) as error:
        bad()
    assert words in str(error.value)
    assert holds(remedy())


def test_a_missing_library_names_the_command_that_installs_it(monkeypatch):
    # the command itself needs the network; that the extra exists is read from the installed metadata
    from importlib.metadata import requires

    monkeypatch.setitem(sys.modules, "torchattacks", None)
    with pytest.raises(
        DmmError, match=r"torchattacks cannot be imported .*; install it: pip install 'dmmcheck\[attacks\]'"
    ):
        panel()
    monkeypatch.undo()
    assert any(
        line.startswith("torchattacks") and 'extra == "attacks"' in line.replace("'", '"')
        for line in requires("dmmcheck")
    )
    assert found(panel()["fab"](model, X, Y, generator=torch.Generator()))
