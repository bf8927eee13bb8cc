"""The networks whose boundaries are searched, for digits and Fashion-MNIST, with standard and adversarial training.

Fashion-MNIST is read from the IDX files of the Debian package ``dataset-fashion-mnist``, or from the folder that the
environment variable ``FASHION_MNIST`` names, and left out where they are missing. Networks are trained once and kept
under ``build/``.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from examples.digits import data as digits
from examples.digits.network import DigitsCNN
from examples.digits.training import Recipe, accuracy, progress, worst_within

BUILD = Path(__file__).parents[1] / "build"
FASHION_EXAMPLES = 20_000


@dataclass(frozen=True)
class Case:
    """One network: its data, its kind, its training, and the seed."""

    data: str
    kind: str
    training: str
    seed: int

    def __str__(self) -> str:
        return f"{self.data} {self.kind}, {self.training}, seed {self.seed}"

    @property
    def group(self) -> str:
        """The group of networks that medians are taken over."""
        return f"{self.data}, {self.training} training"


@dataclass(frozen=True)
class Images:
    """Images (n, channels, side, side) in [0, 1] with labels, to train on and to test on."""

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor


class Residual(nn.Module):
    """Two convolutions with batch norm, and the input added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


class Rows(nn.Module):
    """A recurrent network that reads the rows of an image, from top to bottom."""

    def __init__(self, side: int, width: int = 48) -> None:
        super().__init__()
        self.reader = nn.GRU(side, width, batch_first=True)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.reader(x.flatten(0, 1))
        return self.head(states[:, -1])


class Attending(nn.Module):
    """A transformer of one layer, with one token for each row of an image."""

    def __init__(self, side: int, width: int = 32) -> None:
        super().__init__()
        self.embed = nn.Linear(side, width)
        self.place = nn.Linear(side, width, bias=False)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.mix = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.body = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.head = nn.Linear(width, 10)
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x.flatten(0, 1)) + self.place(torch.eye(self.side, dtype=x.dtype, device=x.device))
        query, key, value = (layer(self.norms[0](tokens)) for layer in self.mix)
        weights = (query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])).softmax(-1)
        tokens = tokens + weights @ value
        tokens = tokens + self.body(self.norms[1](tokens))
        return self.head(self.norms[2](tokens).mean(1))


def max_pooling() -> nn.Module:
    """The classical CNN for 28x28 images: convolutions of 5x5 with max pooling."""
    first = [nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(32 * 49, 64), nn.ReLU(), nn.Linear(64, 10))


def smooth(side: int) -> nn.Module:
    """A CNN with batch norm and SiLU, whose boundary is smooth."""
    first = [nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.SiLU()]
    second = [nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.SiLU()]
    flat = 32 * (side // 2) ** 2
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(flat, 64), nn.SiLU(), nn.Linear(64, 10))


def architecture(kind: str, side: int) -> nn.Module:
    """A network of a kind, with torch's random weights."""
    made = {
        "max-pooling CNN": max_pooling,
        "SiLU CNN": lambda: smooth(side),
        "GRU": lambda: Rows(side),
        "transformer": lambda: Attending(side),
        "MLP": lambda: fully_connected(side),
        "CNN": DigitsCNN,
        "ResNet": lambda: small_resnet(1),
        "ResNet in colour": lambda: small_resnet(3),
    }
    return made[kind]()


def fully_connected(side: int) -> nn.Module:
    """Three layers of ReLU."""
    first = [nn.Flatten(), nn.Linear(side**2, 128), nn.ReLU()]
    return nn.Sequential(*first, nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))


def small_resnet(channels: int) -> nn.Module:
    """Two groups of a strided convolution and a residual block."""
    stem = [nn.Conv2d(channels, 16, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), Residual(16)]
    down = [nn.Conv2d(16, 32, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), Residual(32)]
    return nn.Sequential(*stem, *down, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


def untrained(kind: str, side: int, seed: int) -> nn.Module:
    """A network whose weights depend on the seed alone: uniform, within torch's default bounds."""
    with torch.device("meta"):
        network = architecture(kind, side)
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
                module.reset_parameters()
            elif isinstance(module, (nn.Conv2d, nn.Linear, nn.GRU)):
                fan_in = module.hidden_size if isinstance(module, nn.GRU) else module.weight[0].numel()
                bound = 1 / math.sqrt(fan_in)
                for parameter in module.parameters(recurse=False):
                    parameter.uniform_(-bound, bound, generator=generator)
    return network


RECIPES = {
    ("digits", "standard"): Recipe(epochs=30),
    ("digits", "adversarial"): Recipe(epochs=40, radius=0.75),
    ("Fashion-MNIST", "standard"): Recipe(epochs=6, batch=128),
    ("Fashion-MNIST", "adversarial"): Recipe(epochs=4, batch=128, radius=1.0, attack_steps=4),
    ("Fashion-MNIST in colour", "standard"): Recipe(epochs=6, batch=128),
    ("Fashion-MNIST in colour", "adversarial"): Recipe(epochs=4, batch=128, radius=1.0, attack_steps=4),
}


def network(case: Case) -> nn.Module:
    """The trained network of a case."""
    recipe = RECIPES[case.data, case.training]
    key = hashlib.sha256(f"2 {case} {recipe} {FASHION_EXAMPLES}".encode()).hexdigest()[:12]
    path = BUILD / f"benchmark-{key}.pt"
    images = load(case.data)
    model = untrained(case.kind, images.x_train.shape[-1], case.seed)
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
    else:
        fit(model, images, recipe, case)
        path.parent.mkdir(exist_ok=True)
        torch.save(model.state_dict(), path)
    return model.eval().requires_grad_(False)


def fit(model: nn.Module, images: Images, recipe: Recipe, case: Case) -> None:
    """Train a network in place with Adam, at a learning rate that falls to zero."""
    generator = torch.Generator().manual_seed(case.seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=recipe.rate)
    steps = recipe.epochs * math.ceil(len(images.x_train) / recipe.batch)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, total_iters=steps)
    for epoch in range(1, recipe.epochs + 1):
        for index in torch.randperm(len(images.x_train), generator=generator).split(recipe.batch):
            x, y = images.x_train[index], images.y_train[index]
            if recipe.radius:
                x = worst_within(model.eval(), x, y, recipe, generator)
            loss = F.cross_entropy(model.train()(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        share = accuracy(model.eval(), images.x_test, images.y_test)
        progress(
            f"training {case}: epoch {epoch} of {recipe.epochs}, accuracy {share:.3f}",
            first=epoch == 1,
            last=epoch == recipe.epochs,
        )


@cache
def load(name: str) -> Images:
    """The data of a name: ``digits``, ``Fashion-MNIST`` or ``Fashion-MNIST in colour``.

    Raises:
        FileNotFoundError: The files of Fashion-MNIST are missing.
    """
    if name == "digits":
        split = digits.load()
        return Images(split.train.x, split.train.y, split.test.x, split.test.y)
    if name == "Fashion-MNIST in colour":
        return _coloured(load("Fashion-MNIST"))
    train = slice(FASHION_EXAMPLES)
    return Images(_images("train")[train], _labels("train")[train], _images("t10k"), _labels("t10k"))


def _coloured(images: Images) -> Images:
    """The first images in a frame of 32x32, each in a random colour, which says nothing about its class."""
    generator, train, test = torch.Generator().manual_seed(0), slice(6000), slice(2000)

    def tinted(x: Tensor) -> Tensor:
        colour = 0.4 + 0.6 * torch.rand((len(x), 3, 1, 1), generator=generator)
        return F.pad(x, (2, 2, 2, 2)) * colour

    return Images(
        tinted(images.x_train[train]), images.y_train[train], tinted(images.x_test[test]), images.y_test[test]
    )


def _images(part: str) -> Tensor:
    return _idx(f"{part}-images-idx3-ubyte.gz", header=16).reshape(-1, 1, 28, 28).float() / 255


def _labels(part: str) -> Tensor:
    return _idx(f"{part}-labels-idx1-ubyte.gz", header=8).long()


def _idx(name: str, *, header: int) -> Tensor:
    path = Path(os.environ.get("FASHION_MNIST", "/usr/share/datasets/fashion-mnist")) / name
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing; apt-get install dataset-fashion-mnist, or set FASHION_MNIST to the folder of the files"
        )
    return torch.frombuffer(bytearray(gzip.decompress(path.read_bytes())[header:]), dtype=torch.uint8)
