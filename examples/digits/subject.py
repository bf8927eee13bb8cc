"""What `pytest --dmm` asks for, by the names of its keys; trained on first use and kept on disk."""

from __future__ import annotations

import os
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from examples.digits import data, training
from examples.digits.network import DigitsCNN, untrained

if TYPE_CHECKING:
    from dmmcheck.manifolds.base import Manifold

CACHE = Path(__file__).parents[2] / "build"
DIM = 8  # intrinsic dimension of the training digits: TwoNN 8.6, Levina-Bickel 6 to 7
BOUNDS = (0.0, 1.0)
SEED = 0


@cache
def split() -> data.Split:
    """Training and test digits."""
    return data.load()


def model() -> nn.Module:
    """The network under test, trained plainly."""
    return checkpoints()[-1][1]


@cache
def checkpoints() -> training.History:
    """The same network on its way there, the first one untrained."""
    return _kept("standard", training.PLAIN)


@cache
def robust() -> nn.Module:
    """Its twin, from the same initial weights, trained on adversarial images."""
    return _kept("robust", training.ADVERSARIAL)[-1][1]


@cache
def manifold() -> Manifold:
    """Local PCA of the training images."""
    from dmmcheck.manifolds import LocalPCA  # noqa: PLC0415 -- the networks alone do not need it

    return LocalPCA(dim=DIM).fit(split().train.x)


def factory(seed: int) -> nn.Module:
    """An untrained network."""
    return untrained(seed)


def trainer(x: Tensor, y: Tensor, seed: int) -> nn.Module:
    """A network trained plainly on the images and labels given."""
    return training.fit(x, y, seed)


def _kept(name: str, recipe: training.Recipe) -> training.History:
    """The training history of one recipe: from disk, or trained now and put there."""
    path = CACHE / f"digits-{name}-{_fingerprint(recipe)}.pt"
    if not path.exists():
        train = split().train
        history = training.fit_with_history(train.x, train.y, SEED, recipe=recipe, name=f"{name} digits network")
        _save([(step, network.state_dict()) for step, network in history], path)
    return [(step, _restored(weights)) for step, weights in torch.load(path, weights_only=True)]


def _fingerprint(recipe: training.Recipe) -> str:
    """Changes with whatever the weights depend on: this folder's source, the recipe, the version of torch."""
    digest = sha256(repr((recipe, SEED, torch.__version__)).encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _save(content: object, path: Path) -> None:
    """Whole or not at all: two test processes may train at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as part:
        torch.save(content, part)
    os.replace(part.name, path)


def _restored(weights: dict[str, Tensor]) -> nn.Module:
    with torch.device("meta"):
        network = DigitsCNN()
    network.load_state_dict(weights, assign=True)
    return network.eval()
