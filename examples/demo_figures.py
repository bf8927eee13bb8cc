"""The figures of the demo's report for README and docs, out of the file that ``make demo`` writes.

::

    python -m examples.demo_figures build/dmm-report.json --out docs/figures

It prints the alt text of each figure, which states the numbers.
"""

from __future__ import annotations

import argparse
import base64
import sys
from collections.abc import Sequence
from pathlib import Path

from dmmcheck.errors import DmmError
from dmmcheck.report import figures, json
from dmmcheck.report.figures import Picture
from dmmcheck.report.model import Report

CHANCE = "off-manifold-energy-controlled-builtin"


def pictures(report: Report) -> dict[str, Picture]:
    """The figures by the name of their file: the portrait of a dimple, and a claim among its draws."""
    whole = figures.of_report(report)
    (finding,) = (one for one in report.findings if one.id == CHANCE)
    found = {
        "demo_portrait": whole.get("portrait"),
        "demo_chance": figures.draws(finding),
    }
    return {name: picture for name, picture in found.items() if picture is not None}


def write(picture: Picture, path: Path) -> None:
    """Write the image of a figure."""
    path.write_bytes(base64.b64decode(picture.source.partition(",")[2]))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="the JSON report of the demo")
    parser.add_argument("--out", type=Path, default=Path("docs/figures"), help="folder of the images")
    given = parser.parse_args(arguments)
    if not given.report.exists():
        print(f"there is no {given.report}; make demo writes it", file=sys.stderr)
        return 1
    try:
        found = pictures(json.read(given.report))
    except (DmmError, ValueError) as error:
        print(f"{given.report} is no report of the demo ({error}); run make demo again", file=sys.stderr)
        return 1
    given.out.mkdir(parents=True, exist_ok=True)
    for name, picture in found.items():
        write(picture, given.out / f"{name}.svg")
        print(f"{name}.svg: {picture.alt}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
