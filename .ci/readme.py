"""The parts of README.md that are made from the code: `python .ci/readme.py` writes them, `--check` only compares.

Each lies between two comments, `<!-- NAME: ... -->` and `<!-- end of NAME -->`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from dmmcheck.checks.base import registry
from dmmcheck.checks.explain import reference

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


def checks() -> str:
    """Every check in full, from the text it is declared with, folded up."""
    known = registry()
    return f"<details><summary>All {len(known)} checks in full</summary>\n\n{reference(known.values())}\n\n</details>"


def calibration() -> str:
    """The short table of benchmarks/CALIBRATION.md."""
    text = (ROOT / "benchmarks" / "CALIBRATION.md").read_text(encoding="utf-8")
    return between("short form", text)


PARTS: Mapping[str, Callable[[], str]] = {"checks": checks, "calibration": calibration}


def pattern(name: str) -> re.Pattern[str]:
    """The comments around a part, and what is between them."""
    return re.compile(rf"(<!-- {name}[^>]*-->\n).*?(\n<!-- end of {name} -->)", re.DOTALL)


def between(name: str, text: str) -> str:
    """What stands between the comments of a part."""
    found = pattern(name).search(text)
    if found is None:
        sys.exit(f"no part named {name!r}: expected <!-- {name} --> ... <!-- end of {name} -->")
    return found.group(0)[len(found.group(1)) : -len(found.group(2))]


def rewritten(text: str) -> str:
    """The README with every part made anew."""
    for name, make in PARTS.items():
        text = text.replace(between(name, text), make(), 1)
    return text


if __name__ == "__main__":
    before = README.read_text(encoding="utf-8")
    after = rewritten(before)
    if "--check" not in sys.argv:
        README.write_text(after, encoding="utf-8")
    elif before != after:
        sys.exit("README.md is not what the code says: run `python .ci/readme.py` and commit the result")
