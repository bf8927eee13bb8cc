"""What the messages of the plugin advise is done word by word, and the run then succeeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from textwrap import dedent

import pytest
from projects import FIXTURES, ID, ONE, OPEN, SETTINGS, SUBJECT, SUFFICES, WORLD, printed

EXPECTED = f'{SETTINGS}\n[tool.dmmcheck.checks.{SUFFICES}]\nexpected-failure = "#12"\n'
TWO_PHASES = f'{SETTINGS}\n[tool.dmmcheck.checks.two-phases]\nexpected-failure = "#12"\n'
CHECKPOINTS = """
import torch
import world

history = [(0, world.hyperplane(*[0.1] * 8)), (1, world.off), (2, world.off)]
"""
TEST = f"""
import dmmcheck
import world

def subject():
    return dmmcheck.Subject(model=world.off, x=world.data[0], y=world.data[1], manifold=world.Plane())

@dmmcheck.parametrize(subject, checks=["{SUFFICES}"])
def test_geometry(dmm_check):
    dmm_check()
"""
NO_DECORATOR = "def test_geometry(dmm_check):\n    dmm_check()\n"
FORMAT = """
import dmmcheck

@dmmcheck.report_format(".txt")
def render(report):
    return {}
"""
PARTS = ("--dmm-model", "world:off", "--dmm-data", "world:data", "--dmm-manifold", "world:Plane")


@dataclass(frozen=True)
class Project:
    """The files of a project, and how pytest is called in it.

    Attributes:
        files: Texts by name.
        options: Arguments of pytest.
        folder: Where pytest is called.
        environment: Environment variables.
    """

    files: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ONE
    folder: str = "."
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.RunResult:
        """Write the files and call pytest."""
        for name, text in self.files.items():
            path = pytester.path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(dedent(text), encoding="utf-8")
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value.format(path=pytester.path))
        monkeypatch.chdir(pytester.path / self.folder)
        return pytester.runpytest_inprocess(*(option.format(path=pytester.path) for option in self.options))


@dataclass(frozen=True)
class Case:
    """A wrong project, the words of the message that say what to do, and the project after doing that.

    Attributes:
        bad: The wrong project.
        advice: The words; ``{path}`` is the project's folder.
        good: What changes; everything else stays.
        holds: Words that are then printed.
        status: The exit status then.
        repeated: Whether the message is expected again.
    """

    bad: Project
    advice: str
    good: Project
    holds: str = "1 passed"
    status: int = 0
    repeated: bool = False


def conftest(text: str) -> dict[str, str]:
    return {"conftest.py": text}


def settings(text: str) -> dict[str, str]:
    return {"pyproject.toml": text}


EMPTY = Project(settings(""))
BELOW = Project(
    {
        "pyproject.toml": "[tool.pytest.ini_options]\n",
        "below/pyproject.toml": SETTINGS.replace("world:", "../world.py:"),
    },
    folder="below",
)
REPORT = Project(
    {"below/pyproject.toml": SETTINGS.replace("world:", "../world.py:"), "pyproject.toml": "", "r.json": ""},
    options=(*ONE, "--dmm-report", "{path}/r.json"),
    folder="below",
)
NODE = f"pyproject.toml::{ID}"

CASES = {
    "set-keys": Case(
        EMPTY,
        'write model = "package.module:net", data = "package.module:test", manifold-data = "package.module:train" in '
        "[tool.dmmcheck] of pyproject.toml",
        Project(settings(SETTINGS)),
    ),
    "give-options": Case(EMPTY, "or give --dmm-model, --dmm-data, --dmm-manifold", Project(options=(*ONE, *PARTS))),
    "define-fixtures": Case(
        EMPTY,
        "define dmm_model, dmm_data, dmm_manifold as session-scoped fixtures in the conftest.py in {path}",
        Project(conftest(FIXTURES)),
    ),
    "keep-subject": Case(Project(conftest(FIXTURES + SUBJECT)), "keep the one subject", Project(conftest(SUBJECT))),
    "keep-parts": Case(Project(conftest(FIXTURES + SUBJECT)), "or its parts", Project(conftest(FIXTURES))),
    "scope": Case(
        Project(conftest(FIXTURES.replace('"session"', '"module"'))),
        'write @pytest.fixture(scope="session")',
        Project(conftest(FIXTURES)),
    ),
    "session-fixtures": Case(
        Project(conftest(FIXTURES.replace("dmm_model()", "dmm_model(tmp_path)"))),
        "let it use session-scoped fixtures only",
        Project(conftest(FIXTURES.replace("dmm_model()", "dmm_model(tmp_path_factory)"))),
    ),
    "define-fixture": Case(
        Project(conftest(FIXTURES.replace("dmm_model()", "dmm_model(weights)"))),
        "define it in the conftest.py in {path}",
        Project(
            conftest(
                FIXTURES.replace("dmm_model()", "dmm_model(weights)")
                + '\n    @pytest.fixture(scope="session")\n    def weights():\n        return {}\n'
            )
        ),
    ),
    "return": Case(
        Project(conftest(FIXTURES.replace("return world.off", "return None"))),
        "return what is under test",
        Project(conftest(FIXTURES)),
    ),
    "subject": Case(
        Project(conftest(SUBJECT.replace("dmmcheck.Subject", "dict"))),
        "expected a dmmcheck.Subject",
        Project(conftest(SUBJECT)),
    ),
    "create-file": Case(
        Project(options=(*ONE, *PARTS)),
        "create a pyproject.toml (it may be empty if options say",
        Project(settings(""), options=(*ONE, *PARTS)),
    ),
    "pytest-table": Case(
        BELOW,
        "add [tool.pytest.ini_options] to a pyproject.toml in {path}/below",
        Project(
            {"below/pyproject.toml": SETTINGS.replace("world:", "../world.py:") + "\n[tool.pytest.ini_options]\n"},
            folder="below",
        ),
    ),
    "rootdir": Case(
        BELOW,
        "or --rootdir {path}/below to the command",
        Project(options=(*ONE, "--rootdir", "{path}/below"), folder="below"),
    ),
    "join-option": Case(
        REPORT,
        "join that to its option with =",
        Project(options=(*ONE, "--dmm-report={path}/r.json"), folder="below"),
    ),
    "rootdir-beside-option": Case(
        REPORT,
        "or add --rootdir {path}/below",
        Project(options=(*REPORT.options, "--rootdir", "{path}/below"), folder="below"),
    ),
    "decorator": Case(
        Project({"pyproject.toml": "", "test_shop.py": NO_DECORATOR}, options=()),
        "add the decorator above it",
        Project({"test_shop.py": TEST}, options=()),
    ),
    "list": Case(
        Project(settings(SETTINGS), options=("--dmm-only", "--dmm-checks", SUFFICES, "--dmm-tier", "mechanism")),
        "see --dmm-list for the ids and their tiers",
        Project(options=("--dmm-list",)),
        holds=f"{SUFFICES} (stated)",
    ),
    "manifold-name": Case(
        Project(settings(SETTINGS.replace("world:Plane", "pcaa"))),
        "did you mean 'pca'?",
        Project(
            {
                "pyproject.toml": SETTINGS.replace("world:Plane", "pca")
                + 'manifold-data = "split:x"\nmanifold-options = {dim = 2}\n',
                "split.py": "import world\n\nx = 2 * world.x\n",
            }
        ),
    ),
    "manifold-reference": Case(
        Project(settings(SETTINGS.replace("world:Plane", "plane"))),
        "or pkg.mod:attr",
        Project(settings(SETTINGS)),
    ),
    "unexpected-support": Case(
        Project(settings(EXPECTED)),
        f"remove expected-failure from checks.{SUFFICES}",
        Project(settings(SETTINGS)),
    ),
    "remove-settings": Case(
        Project(settings(TWO_PHASES), options=("--dmm-only",)),
        "checks.two-phases is set, but the check did not run (needs models along training",
        Project(settings(SETTINGS), options=("--dmm-only",)),
    ),
    "give-what-is-needed": Case(
        Project(settings(TWO_PHASES), options=("--dmm-only",)),
        "remove it, or give what is needed",
        Project({"history.py": CHECKPOINTS}, options=("--dmm-only", "--dmm-checkpoints", "history:history")),
        holds="3 ran",
    ),
    "explain-id": Case(
        Project(options=("--dmm-explain", "two-phase")),
        "did you mean 'two-phases'?",
        Project(options=("--dmm-explain", "two-phases")),
        holds="two-phases ==========",
    ),
    "check-id": Case(
        Project(settings(SETTINGS), options=("--dmm-only", "--dmm-checks", "off-manifold-sufices")),
        f"did you mean '{SUFFICES}'?",
        Project(),
    ),
    "format": Case(
        Project({"pyproject.toml": SETTINGS, "conftest.py": FORMAT}, options=(*ONE, "--dmm-report", "r.txt")),
        "returned a dict, expected a text; return a str",
        Project(conftest(FORMAT.replace("{}", "report.device")), options=(*ONE, "--dmm-report", "r.txt")),
        holds="report r.txt",
    ),
    "report-folder": Case(
        Project(settings(SETTINGS), options=(*ONE, "--dmm-report", "/proc/x/r.json")),
        "cannot be written to /proc/x/r.json: no file can be made in /proc",
        Project(options=(*ONE, "--dmm-report", "r.json")),
        holds="report r.json",
    ),
    "summary": Case(
        Project(
            settings(SETTINGS), environment={"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": "{path}/none/summary.md"}
        ),
        "use --dmm-report report.md",
        Project(options=(*ONE, "--dmm-report", "report.md")),
        holds="report report.md",
        repeated=True,  # the summary still cannot be written
    ),
    "explain-more": Case(
        Project(settings(SETTINGS), options=(*ONE, "--dmm-model", "world:on")),
        f"pytest --dmm-explain {SUFFICES}",
        Project(options=("--dmm-explain", SUFFICES)),
        holds=f"{SUFFICES} =",
    ),
    "rerun": Case(
        Project(settings(SETTINGS), options=(*ONE, "--dmm-model", "world:on")),
        f"pytest --dmm --dmm-model world:on {NODE}",
        Project(options=("--dmm", "--dmm-model", "world:on", NODE)),
        holds="1 failed",  # the same verdict as before
        status=1,
        repeated=True,
    ),
    "key-of-a-need": Case(
        Project(settings(SETTINGS), options=("--dmm-only", "--dmm-checks", "normal-gradient-growth")),
        "set `factory` (seed -> model)",
        Project(
            {
                "untrained.py": "import world\n\n"
                "def make(seed):\n    return world.hyperplane(*[0.1 + 0.01 * seed] * 8)\n"
            },
            options=("--dmm-only", "--dmm-checks", "normal-gradient-growth", "--dmm-factory", "untrained:make"),
        ),
        holds="2 ran",
    ),
    "reasons-above": Case(
        Project(
            settings(SETTINGS + OPEN), options=("--dmm-only", "--dmm-checks", "boundary-clings", "--dmm-tier", "stated")
        ),
        "nothing was tested and the run fails; the reasons are above",
        Project(options=("--dmm-only", "--dmm-checks", "boundary-clings", "--dmm-tier", "stated", "-rs")),
        holds="inconclusive boundary-clings (stated): the interval holds the limit 0.272",
        status=1,
        repeated=True,
    ),
}
# "seed the training and the data, ... or add --dist loadfile" is applied in test_xdist, which starts workers.


@pytest.fixture
def few_checks(registries):
    """Complete runs test two checks only."""
    from dmmcheck.registry import CHECKS

    def keep(*ids: str) -> None:
        for id in set(CHECKS) - set(ids):
            del CHECKS._things[id]

    return keep


@pytest.mark.parametrize("name", CASES)
def test_the_advice_of_the_message_works(empty, monkeypatch, few_checks: Callable[..., None], name):
    case = CASES[name]
    if case.bad.options == ("--dmm-only",):
        few_checks(SUFFICES, "two-phases")
    (empty.path / "world.py").write_text(WORLD)
    advice = case.advice.format(path=empty.path)
    assert advice in printed(case.bad.run(empty, monkeypatch))
    result = case.good.run(empty, monkeypatch)
    assert case.holds in printed(result)
    assert result.ret == case.status
    assert (advice in printed(result)) is case.repeated
