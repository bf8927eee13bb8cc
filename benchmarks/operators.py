"""How much memory tangent spaces without bases take at the size of ImageNet inputs, beside what bases would take.

    python -m benchmarks.operators            k = 25,088 at D = 150,528; fails above 2 GB beside the model
    python -m benchmarks.operators --smoke    the same with k = 784, and no bound

The decoder is convolutional, with random weights: codes of 512 x 7 x 7 values become images of 3 x 224 x 224 pixels.
Each measurement has a process of its own. Its peak is read from the operating system, and what the process held once
the model had decoded one code is subtracted. Two things are measured: a validated projection of random vectors at two
inputs, and a boundary search within the tangent space at one input.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import torch
from tabulate import tabulate
from torch import Tensor, nn

import dmmcheck
from dmmcheck.manifolds import Decoder, validate_manifold

MOST_BYTES = 2e9  # beside the model
IMAGE = (3, 224, 224)
AMBIENT_DIM = 3 * 224 * 224
CHANNELS, SMOKE_CHANNELS = 512, 16  # of the codes
INPUTS = 2
MEASUREMENTS = ("project", "search")


def network(channels: int) -> tuple[nn.Module, nn.Module]:
    """An encoder and a decoder between images of 3 x 224 x 224 pixels and codes of channels x 7 x 7 values."""
    torch.manual_seed(0)
    encode = nn.Conv2d(3, channels, 32, stride=32)
    decode = nn.Sequential(
        *(nn.ConvTranspose2d(channels, 64, 4, stride=4), nn.SiLU()),
        nn.ConvTranspose2d(64, 3, 8, stride=8),
    )
    return encode, decode


def peak() -> int:
    """The largest memory that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measured(what: str, smoke: bool) -> tuple[float, float]:
    """Peak bytes beside the model, and seconds, of one measurement in this process."""
    torch.set_num_threads(1)
    encode, decode = network(SMOKE_CHANNELS if smoke else CHANNELS)
    x = torch.rand(INPUTS, AMBIENT_DIM, generator=torch.Generator().manual_seed(1))
    decoder = Decoder(encode, decode, input_shape=IMAGE)
    decoder.project_point(x[:1])
    before, start = peak(), time.perf_counter()
    if what == "project":
        spaces = validate_manifold(decoder, x)
        assert not isinstance(spaces, Tensor)
        spaces.project(torch.randn_like(x))
    else:
        weight = torch.randn(x.shape[1], generator=torch.Generator().manual_seed(2))

        def model(points: Tensor) -> Tensor:
            margin = (points.flatten(1) @ weight)[:, None]
            return torch.cat([margin, -margin], 1)

        label = model(x[:1]).argmax(1)
        tangent = decoder.tangent_spaces(x[:1])
        generator = torch.Generator().manual_seed(3)
        found = dmmcheck.boundary_search(model, x[:1], label, space=tangent, effort="quick", generator=generator)
        assert bool(found.found.all())
    return peak() - before, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--measure", choices=MEASUREMENTS, help="one measurement, in this process")
    given = parser.parse_args()
    if given.measure:
        print(*measured(given.measure, given.smoke))
        return
    dim = 49 * (SMOKE_CHANNELS if given.smoke else CHANNELS)
    table, wrong = [], []
    for what in MEASUREMENTS:
        command = [sys.executable, "-m", "benchmarks.operators", "--measure", what]
        done = subprocess.run([*command, *["--smoke"] * given.smoke], capture_output=True, text=True, check=True)
        used, seconds = map(float, done.stdout.split())
        inputs = INPUTS if what == "project" else 1
        table.append(
            {
                "measurement": what,
                "k": dim,
                "D": AMBIENT_DIM,
                "inputs": inputs,
                "peak beside the model, GB": f"{used / 1e9:.2f}",
                "bases alone, GB": f"{inputs * dim * AMBIENT_DIM * 4 / 1e9:.2f}",
                "seconds": f"{seconds:.0f}",
            }
        )
        if used > MOST_BYTES and not given.smoke:
            wrong.append(f"{what}: {used / 1e9:.2f} GB beside the model (at most {MOST_BYTES / 1e9:.0f})")
    print(tabulate(table, headers="keys", tablefmt="github"))
    sys.exit("\n".join(wrong) or 0)


if __name__ == "__main__":
    main()
