"""The subject of `pytest --dmm`: networks that are trained on first use and kept on disk, data, and a manifold."""

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
DIM = 8  # estimates of the intrinsic dimension of the training digits: TwoNN 8.6, Levina-Bickel 6 to 7
BOUNDS = (0.0, 1.0)
SEED = 0


@cache
def split() -> data.Split:
    """Training and test digits."""
    return data.load()


def model() -> nn.Module:
    """The network under test, trained normally."""
    return checkpoints()[-1][1]


@cache
def checkpoints() -> training.History:
    """Copies of the same network during training, the first one untrained."""
    return _kept("standard", training.PLAIN)


@cache
def robust() -> nn.Module:
    """The other network of the pair: the same initial weights, trained on adversarial images."""
    return _kept("robust", training.ADVERSARIAL)[-1][1]


@cache
def manifold() -> Manifold:
    """Local PCA, fitted on the training images."""
    from dmmcheck.manifolds import LocalPCA  # noqa: PLC0415 -- not needed to load the networks

    return LocalPCA(dim=DIM).fit(split().train.x)


def factory(seed: int) -> nn.Module:
    """An untrained network."""
    return untrained(seed)


def trainer(x: Tensor, y: Tensor, seed: int) -> nn.Module:
    """A network trained normally on the given images and labels."""
    return training.fit(x, y, seed)


def _kept(name: str, recipe: training.Recipe) -> training.History:
    """The training history of one recipe, read from disk; it is trained and saved first if it is not there."""
    path = CACHE / f"digits-{name}-{_fingerprint(recipe)}.pt"
    if not path.exists():
        train = split().train
        history = training.fit_with_history(train.x, train.y, SEED, recipe=recipe, name=f"{name} digits network")
        _save([(step, network.state_dict()) for step, network in history], path)
    return [(step, _restored(weights)) for step, weights in torch.load(path, weights_only=True)]


def _fingerprint(recipe: training.Recipe) -> str:
    """A hash of all that the weights depend on: the source of this folder, the recipe, and the version of torch."""
    digest = sha256(repr((recipe, SEED, torch.__version__)).encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _save(content: object, path: Path) -> None:
    """Save to a new file and rename it, since two test processes may train at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as part:
        torch.save(content, part)
    os.replace(part.name, path)


def _restored(weights: dict[str, Tensor]) -> nn.Module:
    with torch.device("meta"):
        network = DigitsCNN()
    network.load_state_dict(weights, assign=True)
    return network.eval()
