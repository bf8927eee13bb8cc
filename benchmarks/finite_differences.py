"""What a run costs and finds with finite differences in place of gradients, on the network of the demo.

    python -m benchmarks.finite_differences            32 inputs; fails where estimates differ by more than 2 %, or the
                                                       processor time is more than 6 times that with gradients
    python -m benchmarks.finite_differences --smoke    8 inputs and quick searches, without bounds

The network is given as a module, and as a function over numpy arrays, whose gradients are finite differences. Times are
processor times of one thread, of whole runs with their soundness items.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import torch
from tabulate import tabulate

import dmmcheck
from examples.digits import subject as digits

CHECKS = ("off-manifold-energy", "on-manifold-distance")
MOST_APART, MOST_TIMES = 0.02, 6.0


def over_arrays(x: Any) -> Any:
    """The logits of the network as an array, of an array of inputs."""
    return digits.model()(torch.as_tensor(x)).numpy()


def measured(model: Any, smoke: bool) -> tuple[dict[str, float], float]:
    """The estimates of a run by check, and its processor seconds."""
    x, y = digits.split().test
    subject = dmmcheck.Subject(model=model, x=x, y=y, manifold=digits.manifold(), bounds=(0, 1))
    start = time.process_time()
    report = dmmcheck.run(
        subject,
        checks=CHECKS,
        tiers=["stated"],
        seed=0,
        samples=8 if smoke else 32,
        effort="quick" if smoke else "default",
    )
    found = {one.check: one.estimate for one in report.findings if one.variant == "builtin"}
    return {
        name: float("nan") if value is None else value for name, value in found.items()
    }, time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true")
    smoke = parser.parse_args().smoke
    torch.set_num_threads(1)
    model = digits.model().eval()
    exact, seconds = measured(model, smoke)
    differences, longer = measured(over_arrays, smoke)
    table = [
        {
            "estimate": name,
            "with gradients": f"{exact[name]:.4g}",
            "finite differences": f"{differences[name]:.4g}",
            "apart by": f"{abs(differences[name] / exact[name] - 1):.2%}",
        }
        for name in CHECKS
    ]
    print(tabulate(table, headers="keys", tablefmt="github"))
    print(f"{seconds:.1f} s with gradients, {longer:.1f} s with finite differences: {longer / seconds:.1f} times")
    if smoke:
        return
    wrong = [
        f"{name}: apart by more than {MOST_APART:.0%}" for name in CHECKS if not _agree(exact[name], differences[name])
    ]
    wrong += [f"more than {MOST_TIMES:g} times the cost"] * (longer > MOST_TIMES * seconds)
    sys.exit("\n".join(wrong) or 0)


def _agree(one: float, other: float) -> bool:
    return abs(other / one - 1) <= MOST_APART


if __name__ == "__main__":
    main()
