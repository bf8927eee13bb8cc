"""What a whole default run costs, beside its bare search, the bare model, and what a user would do without it.

    python -m benchmarks.suite              five subjects; writes its table into benchmarks/SUITE.md
    python -m benchmarks.suite --smoke      digits CNN with few inputs, with a bound that must hold

Each network is measured by a default run with a PCA of 32 dimensions (16 for digits), by the three searches that answer
the stated claims (anywhere, in the tangent space, in the normal space), and by FMN of adv-lib with 100 steps in each of
the three. One of them is measured with a local PCA, too, whose runs have two more controls. Passes are counted by a
hook, in rows through the model. Times are processor times of one thread. A second table says which part of the time of
a whole run goes into what.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import torch
from tabulate import tabulate
from torch import Tensor, nn
from torch.nn import functional as F

import dmmcheck
from benchmarks.measuring import Counted, Question, resident, theirs
from benchmarks.networks import Attending, Images, Residual, load, max_pooling
from benchmarks.peers import PEERS
from benchmarks.shares import ORCHESTRATION, PARTS, looks, row
from dmmcheck.attacks.minimal_norm.search import search_spaces
from dmmcheck.attacks.search_space import Everywhere, spanned
from dmmcheck.manifolds import PCA, LocalPCA
from dmmcheck.models.base import flat
from dmmcheck.models.torch import TorchClassifier, adapt
from examples.digits.network import DigitsCNN

RESULTS = Path(__file__).with_name("SUITE.md")
MOST = (3.0, 4.0)  # gradients and forwards of a default run with a shared manifold, over those of the three searches
MOST_LOCAL = (4.0, 5.0)  # the same with a local manifold
MOST_SMOKE = (15.0, 25.0)  # the same for 64 inputs, which share draws and gates of a fixed size
MOST_ORCHESTRATION = 0.1  # of the time of a whole run
STEPS, BATCH, RATE = 400, 64, 2e-3


@dataclass(frozen=True)
class Network:
    """A network of the study: its name, its data, how it is made, and the dimension and kind of its manifold."""

    name: str
    data: Callable[[], Images]
    make: Callable[[], nn.Module]
    dim: int = 32
    is_local: bool = False


def residual() -> nn.Module:
    """Four groups of two residual blocks as in ResNet-18, narrower, for 32x32 images of three colours."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    width = 16
    for group in range(4):
        if group:
            layers += [nn.Conv2d(width, 2 * width, 2, stride=2, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU()]
            width *= 2
        layers += [Residual(width), Residual(width)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


NETWORKS = (
    Network("digits CNN", lambda: load("digits"), DigitsCNN, dim=16),
    Network("max-pooling CNN, 28x28", lambda: load("Fashion-MNIST"), max_pooling),
    Network("transformer, 28x28", lambda: load("Fashion-MNIST"), lambda: Attending(28)),
    Network("ResNet-18-shaped, 32x32x3", lambda: load("Fashion-MNIST in colour"), residual),
)
LOCAL = replace(NETWORKS[1], name="max-pooling CNN, 28x28, local PCA", is_local=True)


@dataclass(frozen=True)
class Spent:
    """What something costs: rows forward and backward through the model, processor seconds, largest memory in MB."""

    forwards: float
    backwards: float
    seconds: float
    megabytes: float


def trained(network: Network, images: Images) -> nn.Module:
    """The network after a short training from a fixed seed; the global generator is put back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = network.make()
        optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
        for _ in range(STEPS):
            index = torch.randint(len(images.x_train), (BATCH,))
            loss = F.cross_entropy(model(images.x_train[index]), images.y_train[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.eval().requires_grad_(False)


def subject_of(network: Network, inputs: int) -> dmmcheck.Subject:
    """The network with twice as many test inputs as are measured, and a PCA or local PCA of its training images."""
    images, estimate = network.data(), LocalPCA if network.is_local else PCA
    return dmmcheck.Subject(
        model=trained(network, images),
        x=images.x_test[: 2 * inputs],
        y=images.y_test[: 2 * inputs],
        x_train=images.x_train,
        y_train=images.y_train,
        manifold=estimate(dim=network.dim).fit(images.x_train),
        bounds=(0.0, 1.0),
    )


def spent(model: Counted, work: Callable[[], object]) -> Spent:
    """What a piece of work costs."""
    model.forwards = model.backwards = 0
    resident(reset=True)
    start = time.process_time()
    work()
    return Spent(model.forwards, model.backwards, time.process_time() - start, resident())


def measured(network: Network, inputs: int, *, peers: bool) -> tuple[dict[str, Spent], Counter[str]]:
    """The costs of a run, of its three searches, of as many bare passes as these take, and of three times FMN.

    With them come the processor seconds of the run by part.
    """
    images = network.data()
    run: list[dmmcheck.Report] = []
    plain = subject_of(network, inputs)
    model = Counted(plain.model).eval()
    subject, manifold = replace(plain, model=model), plain.manifold
    with looks() as seconds:
        costs = {"whole run": spent(model, lambda: run.append(dmmcheck.run(subject, samples=inputs, seed=0)))}
    used = run[0].subject.inputs
    classifier = adapt(model, images.x_test)
    x, y = flat(classifier, images.x_test[: 2 * inputs]), images.y_test[: 2 * inputs]
    right = (classifier.logits(x).argmax(1) == y).nonzero().squeeze(1)[:used]
    x, y = x[right], y[right]
    basis = manifold.tangent_basis(x)
    spaces = [Everywhere(), spanned(basis), spanned(basis, normal=True)]
    examples = (flat(classifier, images.x_train), images.y_train)
    costs["three searches"] = spent(
        model,
        lambda: search_spaces(classifier, x, y, spaces, examples=examples, generator=torch.Generator().manual_seed(0)),
    )
    costs["bare passes"] = spent(model, lambda: bare(classifier, x, y, costs["three searches"]))
    if peers and find_spec("adv_lib") is None:
        print("FMN is left out: adv-lib is not installed, see benchmarks/requirements-search.txt")
    elif peers:
        costs["FMN, three times"] = fmn(model, [Question(classifier, x, y, space) for space in spaces])
    return costs, seconds


def bare(classifier: TorchClassifier, x: Tensor, y: Tensor, like: Spent) -> None:
    """As many passes through the model as a search takes, in batches of all inputs, and nothing else."""
    backwards = round(like.backwards / len(x))
    for number in range(round(like.forwards / len(x))):
        with torch.set_grad_enabled(number < backwards):
            points = x.clone().requires_grad_(number < backwards)
            logits = classifier.logits(points)
            if number < backwards:
                torch.autograd.grad(logits.gather(1, y[:, None]).sum(), points)


def fmn(model: Counted, questions: Sequence[Question]) -> Spent:
    """What FMN with 100 steps costs in some search spaces: its own time alone, without that of measuring it."""
    model.forwards = model.backwards = 0
    answers = [theirs(PEERS[0], question, typical=1.0) for question in questions]
    if note := answers[0].note:
        sys.exit(f"FMN was not measured: {note}; see benchmarks/requirements-search.txt")
    return Spent(model.forwards, model.backwards, sum(answer.seconds for answer in answers), resident())


def rows(network: Network, costs: dict[str, Spent], inputs: int) -> Iterator[dict[str, str]]:
    """A row for each piece of work, with ratios to the three searches."""
    base = costs["three searches"]
    for name, cost in costs.items():
        yield {
            "network": network.name,
            "work": name,
            "gradients an input": f"{cost.backwards / inputs:.0f}",
            "forwards an input": f"{cost.forwards / inputs:.0f}",
            "gradients, ratio": f"{cost.backwards / base.backwards:.2f}",
            "forwards, ratio": f"{cost.forwards / base.forwards:.2f}",
            "time, ratio": f"{cost.seconds / base.seconds:.2f}",
            "memory, MB": f"{cost.megabytes:.0f}",
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=200)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--only", default="", help="networks whose names contain this")
    given = parser.parse_args()
    torch.set_num_threads(1)
    inputs = 64 if given.smoke else given.inputs
    table: list[dict[str, str]] = []
    shares: list[dict[str, str]] = []
    broken = []
    for network in [one for one in (*NETWORKS, LOCAL) if given.only in one.name][: 1 if given.smoke else None]:
        costs, seconds = measured(network, inputs, peers=not given.smoke)
        table += rows(network, costs, inputs)
        shares.append({"network": network.name, **row(seconds)})
        whole, base = costs["whole run"], costs["three searches"]
        bounds = MOST_SMOKE if given.smoke else MOST_LOCAL if network.is_local else MOST
        ratios = whole.backwards / base.backwards, whole.forwards / base.forwards
        for what, ratio, most in zip(("gradients", "forwards"), ratios, bounds, strict=True):
            if ratio > most:
                broken.append(f"{network.name}: {ratio:.2f} times the {what} of the three searches (at most {most})")
        if seconds[ORCHESTRATION] > MOST_ORCHESTRATION * seconds.total():
            share = row(seconds)[ORCHESTRATION]
            broken.append(f"{network.name}: {share} of the time is orchestration (at most {MOST_ORCHESTRATION:.0%})")
        for part in (table[-len(costs) :], shares[-1:]):
            print(tabulate(part, headers="keys", tablefmt="github"), flush=True)
    if not given.smoke and not given.only:
        costs_text, shares_text = (str(tabulate(one, headers="keys", tablefmt="github")) for one in (table, shares))
        legend = "\n".join(f"- {part}: {words}" for part, words in PARTS.items())
        RESULTS.write_text(
            f"# What a whole run costs\n\nWritten by `python -m benchmarks.suite`.\n\n{costs_text}\n\n"
            f"## Where the time of a whole run goes\n\n{legend}\n\n{shares_text}\n"
        )
    sys.exit("\n".join(broken) or 0)


if __name__ == "__main__":
    main()
