"""The pages as the tests see them: their code blocks, in order, and a folder to run them in."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
EXECUTED = ("README.md", "docs/tutorial.md", "docs/extending.md", "docs/classifiers.md", "docs/strategies.md")
SMALL = (
    "--dmm-samples",
    "32",
    "--dmm-effort",
    "quick",
)  # what makes a run short; everything else is what a reader types

_FENCE = re.compile(r"^```(?P<language>\S*)[^\n]*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"`([\w./]+\.(?:py|toml))`")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: Its page, relative to the repository.
        line: The line of its opening fence.
        language: The word after the fence.
        text: What is in it.
        file: The file that the sentence before it names, or "".
        appended: It is added to the file.
    """

    page: str
    line: int
    language: str
    text: str
    file: str
    appended: bool

    @property
    def commands(self) -> list[str]:
        """The lines of a block of shell commands."""
        return self.text.splitlines() if self.language == "sh" else []


def read(page: str) -> str:
    """The text of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, directives of the site left out."""
    text = read(page)
    found = []
    for match in _FENCE.finditer(text):
        if match["language"].startswith("{"):
            continue
        sentence = text[: match.start()].rstrip().rpartition("\n\n")[2]
        named = _FILE.findall(sentence) if sentence.endswith(":") else []
        found.append(
            Block(
                page=page,
                line=text.count("\n", 0, match.start()) + 1,
                language=match["language"],
                text=match["text"],
                file=named[-1] if named and match["language"] in {"python", "toml"} else "",
                appended="Add to `" in sentence,
            )
        )
    return found


class Folder:
    """A folder outside the repository, in which a reader follows a page.

    Args:
        pytester: Of the test; its folder is the one.
    """

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.path = pytester.path
        self._pytest = pytester.runpytest_inprocess

    def write(self, block: Block) -> None:
        """Write the file of a block, or add to it."""
        target = self.path / block.file
        before = target.read_text(encoding="utf-8") + "\n\n" if block.appended else ""
        target.write_text(before + block.text, encoding="utf-8")

    def run(self, command: str) -> tuple[int, str]:
        """The exit status of a command, and what it prints."""
        program, *arguments = shlex.split(command)
        if program == "python":
            return 0, self._script(arguments[0])
        if program != "pytest":
            raise ValueError(f"{command!r} is neither pytest nor python; list its block with a reason")
        with _own_modules(self.path):
            done = self._pytest(*arguments, *(SMALL if "--dmm" in arguments else ()))
        return int(done.ret), f"{done.stdout}\n{done.stderr}"

    def _script(self, name: str) -> str:
        with _own_modules(self.path), contextlib.redirect_stdout(io.StringIO()) as printed:
            runpy.run_path(str(self.path / name), run_name="__main__")
        return printed.getvalue()


@contextlib.contextmanager
def _own_modules(path: Path) -> Iterator[None]:
    """Modules of the folder can be imported, even where others of their names were, and are forgotten after."""
    names = [file.stem for file in path.glob("*.py") if file.stem != "conftest"]
    hidden = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    known = set(sys.modules)
    sys.path.insert(0, str(path))
    try:
        yield
    finally:
        sys.path.remove(str(path))
        for name in set(sys.modules) - known:
            if str(path) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]
        sys.modules.update(hidden)
