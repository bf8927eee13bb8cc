"""Do two versions of the code find the same? Write the reports of nineteen subjects, and compare two such sets.

    python -m benchmarks.same_reports write build/before
    python -m benchmarks.same_reports compare build/before build/after

It uses public names alone, so that one script measures both versions: check one out, write; check the other out, write;
compare. Compared are ids, verdicts and every number to the last digit, with one thread a process. Texts, costs and
versions are not compared. ``--smoke`` writes three of the subjects twice and compares them.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import dmmcheck
from dmmcheck import worlds
from examples.digits import subject as digits

SMOKE = ("hyperplane", "half way", "decoder")  # not the user check, which stays registered in the process
IGNORED = {"statement", "statistic", "reason", "message", "reference", "cost", "unit"}
USER_CHECK = "far-from-the-origin"
NO_SEARCHED_NULLS = ("on-manifold-distance", "boundary-clings")  # four fifths of the time of the digits demo


def _digits(**more: Any) -> dmmcheck.Subject:
    split = digits.split()
    return dmmcheck.Subject(
        x=split.test.x,
        y=split.test.y,
        x_train=split.train.x,
        y_train=split.train.y,
        bounds=digits.BOUNDS,
        **{"model": digits.model(), "manifold": digits.manifold(), **more},
    )


def demo() -> dmmcheck.Report:
    """The subject of `make demo`, with all that its conftest gives."""
    whole = _digits(robust=digits.robust(), checkpoints=digits.checkpoints(), factory=digits.factory)
    return dmmcheck.run(whole)


def quick_start() -> dmmcheck.Report:
    """A small fully connected network on the same digits, flat."""
    split = digits.split()
    x, x_train = split.test.x.flatten(1), split.train.x.flatten(1)
    network = _perceptron(64, 128, 10, seed=0)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(200):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(x_train), split.train.y).backward()
        optimiser.step()
    manifold = dmmcheck.manifolds.LocalPCA(dim=16).fit(x_train)
    subject = dmmcheck.Subject(
        model=network, x=x, y=split.test.y, manifold=manifold, x_train=x_train, y_train=split.train.y
    )
    return dmmcheck.run(subject, samples=96, exclude=NO_SEARCHED_NULLS)


def pca() -> dmmcheck.Report:
    """A shared tangent space, in float64."""
    split = digits.split()
    subject = _digits(
        model=_perceptron(64, 32, 10, seed=3).double(), manifold=dmmcheck.manifolds.PCA(dim=12).fit(split.train.x)
    )
    return dmmcheck.run(subject, samples=64, exclude=NO_SEARCHED_NULLS)


def decoder() -> dmmcheck.Report:
    """A linear decoder of the digits, its tangent spaces by Jacobians."""
    flat = digits.split().train.x.flatten(1)
    mean = flat.mean(0)
    basis = torch.linalg.svd(flat - mean, full_matrices=False).Vh[:6].T.contiguous()

    def encode(x: Tensor) -> Tensor:
        return (x.flatten(1) - mean) @ basis

    def decode(code: Tensor) -> Tensor:
        bent = code + 0.1 * torch.sin(code)
        return mean + bent @ basis.T

    subject = _digits(manifold=dmmcheck.manifolds.Decoder(encode, decode, dim=6))
    return dmmcheck.run(subject, samples=48, exclude=NO_SEARCHED_NULLS)


def attacks() -> dmmcheck.Report:
    """Variants by two attacks of torchattacks."""
    wanted = ["off-manifold-energy", "on-manifold-distance"]
    return dmmcheck.run(_digits(), checks=wanted, tiers=["stated"], samples=48, attacks=("fab", "pgdl2"))


def user_check() -> dmmcheck.Report:
    """A check of the user's own, with a control."""

    @dmmcheck.check(
        USER_CHECK, statement="perturbations are short", threshold=1.0, direction="less", controls=("rotation",)
    )
    def shorter_than_the_input(view: Any) -> dmmcheck.Evidence:
        """Tangent share of the input times the distance to the boundary over the norm of the input."""
        share = view.tangent_share(view.x)
        return dmmcheck.Evidence.of(share * view.distance("free") / view.x.norm(dim=1).cpu().numpy())

    return dmmcheck.run(_digits(), checks=[USER_CHECK, "boundary-parallel"], samples=64)


def trainer() -> dmmcheck.Report:
    """Training on adversarial images with wrong labels."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(300, 6, generator=generator)
    y = (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()

    def fit(x: Tensor, y: Tensor, seed: int) -> nn.Module:
        network = _perceptron(6, 16, 4, seed=seed)
        optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
        for _ in range(60):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(x), y).backward()
            optimiser.step()
        return network

    manifold = dmmcheck.manifolds.PCA(dim=3).fit(x[150:])
    subject = dmmcheck.Subject(
        model=fit(x[150:], y[150:], 0),
        x=x[:150],
        y=y[:150],
        x_train=x[150:],
        y_train=y[150:],
        manifold=manifold,
        trainer=fit,
        factory=lambda seed: _perceptron(6, 16, 4, seed=seed),
    )
    return dmmcheck.run(subject, samples=64)


def _perceptron(inputs: int, hidden: int, outputs: int, *, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    network = nn.Sequential(nn.Flatten(), nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
    with torch.no_grad():
        for weights in network.parameters():
            weights.copy_(torch.randn(weights.shape, generator=generator) / inputs**0.5)
    return network.eval()


def _world(name: str, **settings: Any) -> dmmcheck.Report:
    return dmmcheck.run(worlds.WORLDS[name](seed=0).subject, samples=64, **settings)


SUBJECTS: Mapping[str, Callable[[], dmmcheck.Report]] = {
    "hyperplane": partial(_world, "normal nearly in N"),
    "random subspace": partial(_world, "random subspace"),
    "sphere": partial(_world, "sphere"),
    "shallow dimples": partial(_world, "shallow dimples"),
    "smooth dimples": partial(_world, "smooth dimples"),
    "blind off-manifold": partial(_world, "blind off-manifold"),
    "half way": partial(_world, "half way"),
    "pair": partial(_world, "standard and robust"),
    "swapped pair": partial(_world, "robust and standard"),
    "checkpoints": partial(_world, "two phases"),
    "masked": partial(_world, "quantised"),
    "other seed and alpha": partial(_world, "Haar normal", seed=7, alpha=0.2, gate=("stated", "controlled")),
    "decoder": decoder,
    "torchattacks": attacks,
    "trainer": trainer,
    "pca": pca,
    "quick start": quick_start,
    "demo": demo,
    "user check": user_check,  # last: what it registers would be planned in every run after it
}


def write(folder: Path, names: list[str]) -> None:
    """One JSON report a subject."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        report = SUBJECTS[name]()
        (folder / f"{name.replace(' ', '-')}.json").write_text(json.dumps(report.as_dict(), indent=1, default=float))
        print(f"{name}: {len(report.findings)} findings", flush=True)


def compare(before: Path, after: Path) -> list[str]:
    """What differs, one line each."""
    files = sorted({path.name for folder in (before, after) for path in folder.glob("*.json")})
    lines = []
    for name in files:
        if not ((before / name).exists() and (after / name).exists()):
            lines.append(f"{name}: in one folder alone")
            continue
        contents = (json.loads((folder / name).read_text()) for folder in (before, after))
        lines += [f"{name}: {line}" for line in _differences(*map(_comparable, contents))]
    return lines


def _comparable(report: dict[str, Any]) -> dict[str, Any]:
    kept = {name: report[name] for name in ("seed", "alpha", "subject", "distances", "summary")}
    kept["findings"] = {f"{one['check']}-{one['tier']}-{one['variant']}": one for one in report["findings"]}
    kept["soundness"] = {one["name"]: one for one in report["soundness"]}
    return kept


def _differences(before: Any, after: Any, path: str = "") -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys([*before, *after]):
            if name not in IGNORED and not (path.endswith(".control") and name == "name"):
                yield from _differences(before.get(name), after.get(name), f"{path}.{name}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _differences(one, other, f"{path}[{number}]")
    elif before != after and not (_is_nan(before) and _is_nan(after)):
        yield f"{path[1:]}: {before!r} -> {after!r}"


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def main() -> None:
    """Write or compare, as asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", nargs="?", choices=("write", "compare"))
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--only", action="append", choices=sorted(SUBJECTS))
    parser.add_argument("--smoke", action="store_true")
    given = parser.parse_args()
    if given.smoke:
        with tempfile.TemporaryDirectory() as folder:
            for side in ("before", "after"):
                write(Path(folder, side), list(SMOKE))
            sys.exit(_told(compare(Path(folder, "before"), Path(folder, "after"))))
    if given.action == "write":
        write(given.folders[0], [name for name in SUBJECTS if name in (given.only or SUBJECTS)])
    elif given.action == "compare":
        sys.exit(_told(compare(*given.folders)))
    else:
        parser.error("say write FOLDER, or compare BEFORE AFTER")


def _told(lines: list[str]) -> int:
    print("\n".join(lines) or "the same: every id, verdict and number")
    return bool(lines)


if __name__ == "__main__":
    main()
