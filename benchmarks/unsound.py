"""Do runs on random, batch-dependent, in-place and masked parts end without a verdict, and leave everything as it was?

    python -m benchmarks.unsound [--tries 200]   # 200 faulty parts and 200 masked models; writes benchmarks/UNSOUND.md
    python -m benchmarks.unsound --only masked   # one group ("faulty" or "masked"); the other one's table stays
    python -m benchmarks.unsound --smoke         # three tries of either group, writes nothing

A try is a run of two stated claims on a small world of its own seed, some part of which is faulty by an amount that is
drawn at random, from 1 % to 100 % of the part's own numbers. It counts as right where each claim is inconclusive with a
reason and an item of the soundness failed, or where one error refused the part before the run. (A model that changes
its inputs in place is given copies; its report must be that of the same model that copies them.) Beside that, the
inputs, labels, weights, the modes and gradient flags of the model, the random states, and the default dtype and
gradient mode are compared bit by bit.
"""

from __future__ import annotations

import argparse
import copy
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import dmmcheck
from dmmcheck import worlds
from dmmcheck.errors import ManifoldError, ModelError
from dmmcheck.report.model import Report

RESULTS = Path(__file__).with_name("UNSOUND.md")
SHAPE = {"ambient_dim": 12, "dim": 4, "samples": 48}
CLAIMS = ("off-manifold-energy", "boundary-clings")
RIGHT = ("inconclusive", "refused", "as on a copy")
HEAD = """# Runs on faulty parts and masked models

Written by `python -m benchmarks.unsound`: each try is a run of two stated claims, fast, on a world of its own seed.
"inconclusive": both claims, each with a reason, and an item of the soundness failed. "refused": by one error that names
the fault, before the run. "as on a copy": a model that changes its inputs in place gets copies, and so the verdicts
of the same model that copies its inputs. "changed": what the run left other than it was, of inputs, labels, weights,
modes, gradient flags, random states and modes of the process.

The items `tangent-repeats` and `tangent-batch` were made stricter after two tries of faulty parts had given a verdict:
one with tangent spaces that were random by 3 %, and one where they turned by 7 % with the batch. The seeds of the
faulty parts have been looked at, therefore.

"""
Fault = Callable[[Tensor, float], Tensor]
Changes = dict[str, Any]


def noise(x: Tensor, amount: float) -> Tensor:
    """Numbers with new noise at every call, from the global random state."""
    return x + amount * x.std() * torch.randn_like(x)


def of_batch(x: Tensor, amount: float) -> Tensor:
    """Numbers that depend on the other rows of the batch."""
    return x + amount * (x.mean(0) + x.std() / len(x))


class Manifold:
    """A manifold with a fault in one of its methods."""

    name = "faulty"

    def __init__(self, inner: Any, *, points: Fault | None = None, spaces: Fault | None = None, amount: float) -> None:
        self.inner, self.points, self.spaces, self.amount = inner, points, spaces, amount
        self.dim = inner.dim

    def project_point(self, x: Tensor) -> Tensor:
        found = self.inner.project_point(x)
        return found if self.points is None else self.points(found, self.amount)

    def tangent_basis(self, x: Tensor) -> Tensor:
        basis = self.inner.tangent_basis(x)
        if self.spaces is None:
            return basis
        changed = self.spaces(basis + 0 * x.mean(), self.amount)
        return torch.linalg.qr(changed).Q


class BatchBasis(Manifold):
    """Tangent spaces that turn with the mean of the batch."""

    def tangent_basis(self, x: Tensor) -> Tensor:
        return torch.linalg.qr(self.inner.tangent_basis(x) + self.amount * x.mean(0)[:, None]).Q


class InPlace(Manifold):
    """A manifold that changes the points that it is given."""

    def project_point(self, x: Tensor) -> Tensor:
        return x.add_(self.amount * (self.inner.project_point(x) - x))

    def tangent_basis(self, x: Tensor) -> Tensor:
        basis = self.inner.tangent_basis(x)
        x.mul_(1 + self.amount)
        return basis


class Model(nn.Module):
    """A network with a fault in its logits, or one that changes its inputs."""

    def __init__(self, inner: nn.Module, fault: Fault, amount: float) -> None:
        super().__init__()
        self.inner, self.fault, self.amount = inner, fault, amount
        self.scale = nn.Parameter(torch.ones(()))
        self.frozen = nn.Parameter(torch.zeros(()), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fault(self.scale * self.inner(x) + self.frozen, self.amount)


class ModelInPlace(Model):
    """A network that scales its inputs in place; on a copy of them where that is asked for."""

    on_copy = False

    def forward(self, x: Tensor) -> Tensor:
        x = x.clone() if self.on_copy else x
        x.mul_(1 + self.amount)
        return self.scale * self.inner(x) + self.frozen


def manifold(kind: type[Manifold] = Manifold, **faults: Fault) -> Callable[[dmmcheck.Subject, float], Changes]:
    return lambda subject, amount: {"manifold": kind(subject.manifold, amount=amount, **faults)}


def model(kind: type[Model], fault: Fault = noise) -> Callable[[dmmcheck.Subject, float], Changes]:
    return lambda subject, amount: {"model": kind(subject.model, fault, amount)}


FAULTS = {
    "random tangent spaces": manifold(spaces=noise),
    "random projection": manifold(points=noise),
    "tangent spaces of the batch": manifold(BatchBasis),
    "projection of the batch": manifold(points=of_batch),
    "manifold in place": manifold(InPlace),
    "random model": model(Model, noise),
    "model of the batch": model(Model, of_batch),
    "model in place": model(ModelInPlace),
}


def faulty(name: str, seed: int) -> tuple[dmmcheck.Subject, Changes]:
    """A sound subject and the part that takes the place of one of its own, faulty by 1 % to 100 %."""
    subject = worlds.neighbours(classes=3, seed=seed, **SHAPE).subject
    return subject, FAULTS[name](subject, 10 ** random.Random(seed).uniform(-2, 0))


def masked(name: Any, seed: int) -> tuple[dmmcheck.Subject, Changes]:
    """A subject whose model is masked, noisy or knows nothing."""
    return worlds.unsound(kind=name, classes=3, seed=seed, **SHAPE).subject, {}


@dataclass
class Tally:
    """What came of the tries of a kind.

    Attributes:
        tries: How many there were.
        ends: How often each end came.
        gates: How often each item of the soundness failed.
        changed: How often each part of the user's was changed.
    """

    tries: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    gates: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)

    @property
    def right(self) -> int:
        return sum(count for end, count in self.ends.items() if end in RIGHT)

    def row(self, name: str) -> str:
        gates = ", ".join(f"{gate} {count}" for gate, count in self.gates.most_common(4))
        others = ", ".join(f"{end} {count}" for end, count in self.ends.items() if end not in RIGHT)
        changed = ", ".join(f"{part} {count}" for part, count in self.changed.items())
        cells = (name, self.tries, *(self.ends[end] for end in RIGHT), others or "-", changed or "nothing", gates)
        return f"| {' | '.join(map(str, cells))} |"


Groups = dict[str, dict[str, Tally]]
GROUPS: dict[str, tuple[Sequence[str], Callable[[Any, int], tuple[dmmcheck.Subject, Changes]]]] = {
    "Faulty parts": (tuple(FAULTS), faulty),
    "Masked models": (worlds.KINDS, masked),
}


def state(subject: dmmcheck.Subject, network: Any) -> dict[str, bytes]:
    """Everything of the user's and of the process, as bytes by name."""
    modules = list(network.modules()) if isinstance(network, nn.Module) else []
    weights = [*network.parameters(), *network.buffers()] if isinstance(network, nn.Module) else []
    numpy_state = np.random.get_state()  # noqa: NPY002  # that it is left alone
    return {
        "inputs": subject.x.numpy().tobytes(),
        "labels": subject.y.numpy().tobytes(),
        "training inputs": b"" if subject.x_train is None else subject.x_train.numpy().tobytes(),
        "weights": b"".join(weight.detach().numpy().tobytes() for weight in weights),
        "modes": bytes(module.training for module in modules),
        "gradient flags": bytes(weight.requires_grad for weight in weights),
        "gradients": bytes(weight.grad is not None for weight in weights),
        "random states": torch.get_rng_state().numpy().tobytes()
        + repr((random.getstate(), numpy_state[1].tobytes(), numpy_state[2:])).encode(),
        "process": repr(
            (torch.get_default_dtype(), torch.is_grad_enabled(), torch.is_inference_mode_enabled())
        ).encode(),
    }


def attempt(tally: Tally, subject: dmmcheck.Subject, changes: Changes, seed: int) -> None:
    """Run the claims on a subject, and count how it ended and what it changed."""
    network = changes.get("model", subject.model)
    if isinstance(network, nn.Module):
        network.train(bool(seed % 2))
    torch.manual_seed(seed)
    before = state(subject, network)
    end = ended(tally, subject, changes, seed)
    after = state(subject, network)
    tally.tries += 1
    tally.ends[end] += 1
    tally.changed.update(name for name in before if before[name] != after[name])


def ended(tally: Tally, subject: dmmcheck.Subject, changes: Changes, seed: int) -> str:
    """How the run on a subject ended, one of `RIGHT` or something else."""
    try:
        given = replace(subject, **changes)
    except (ManifoldError, ModelError):
        return "refused"
    try:
        report = tested(given, seed)
    except dmmcheck.DmmError as error:
        return str(error)[:80]
    failed = [item.name for item in report.soundness if item.ok is False]
    tally.gates.update(failed)
    if all(found.verdict == "inconclusive" and found.reason for found in report.findings):
        return "inconclusive" if failed else "inconclusive, and sound"
    if not isinstance(given.model, ModelInPlace):
        return "a verdict"
    copied = copy.deepcopy(given.model)
    copied.on_copy = True
    pure = tested(replace(given, model=copied), seed)
    return "as on a copy" if numbers(pure) == numbers(report) else "a verdict"


def tested(subject: dmmcheck.Subject, seed: int) -> Report:
    """The report of a run of the claims."""
    return dmmcheck.run(subject, checks=CLAIMS, tiers=["stated"], samples=32, seed=seed, fast=True)


def numbers(report: Report) -> list[tuple[Any, ...]]:
    """What a report says of each claim."""
    return [(found.id, found.verdict, found.estimate, found.interval) for found in report.findings]


def rounds(tries: int, groups: Sequence[str]) -> Iterator[Groups]:
    """The counts after each round, which is one try of each group."""
    chosen = {title: GROUPS[title] for title in groups}
    found: Groups = {title: {kind: Tally() for kind in kinds} for title, (kinds, _) in chosen.items()}
    for seed in range(tries):
        for title, (kinds, make) in chosen.items():
            kind = kinds[seed % len(kinds)]
            attempt(found[title][kind], *make(kind, seed), seed)
            print(f"{seed + 1}/{tries} {kind}: {dict(found[title][kind].ends)}", file=sys.stderr, flush=True)
        yield found


def table(found: dict[str, Tally]) -> str:
    """One row for each kind, and the sums."""
    columns = "kind", "tries", *RIGHT, "otherwise", "changed", "items that failed"
    head = f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|"
    right, total = (sum(getattr(one, name) for one in found.values()) for name in ("right", "tries"))
    rows = [one.row(name) for name, one in found.items() if one.tries]
    when = f"{time.strftime('%Y-%m-%d')}: {right} of {total} as they should."
    return "\n".join([head, *rows, f"\n{when}"])


def written() -> dict[str, str]:
    """The tables in the file, by the titles of their groups."""
    parts = RESULTS.read_text(encoding="utf-8").split("\n## ")[1:] if RESULTS.exists() else []
    return {title: body.strip() for title, _, body in (part.partition("\n") for part in parts)}


def main() -> None:
    """Try faulty parts and masked models, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=200)
    parser.add_argument("--only", choices=[title.split()[0].lower() for title in GROUPS], help="one group")
    parser.add_argument("--smoke", action="store_true", help="three tries of either group")
    options = parser.parse_args()
    groups = [title for title in GROUPS if title.lower().startswith(options.only or "")]
    start, found, sections = time.monotonic(), {}, {} if options.smoke else written()
    for found in rounds(3 if options.smoke else options.tries, groups):
        sections |= {title: table(kinds) for title, kinds in found.items()}
        text = "\n\n".join(f"## {title}\n\n{sections[title]}" for title in GROUPS if title in sections)
        if not options.smoke:
            RESULTS.write_text(f"{HEAD}{text}\n", encoding="utf-8")
    print(f"{text}\n\n{time.monotonic() - start:.0f} s")
    every = [one for kinds in found.values() for one in kinds.values()]
    if any(one.right < one.tries or one.changed for one in every):
        sys.exit("a try ended otherwise, or changed what is the user's")


if __name__ == "__main__":
    main()
