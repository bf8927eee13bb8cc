"""The lines of progress: where they are written between pytest's letters, and how many there are."""

from __future__ import annotations

import json

import pytest

from dmmcheck.pytest_plugin import progress
from dmmcheck.pytest_plugin.workers_progress import WorkersProgress
from dmmcheck.report.wording import duration


class Screen:
    """A reporter and its writer, as far as progress uses them, that keep what is written."""

    def __init__(self, terminal: bool, verbosity: int = 0) -> None:
        self.hasmarkup, self.text, self.fullwidth = terminal, "", 80
        self.showfspath, self.showlongtestinfo = verbosity >= 0, verbosity > 0
        self.in_a_line = True

    def ensure_newline(self):
        self.text += "\n" * self.in_a_line
        self.in_a_line = False

    def write(self, text, flush=False):
        self.text += text

    def line(self):
        self.text += "\n"

    @property
    def width_of_current_line(self):
        return len(self.text.rpartition("\n")[2])

    def rewrite(self, text, erase):
        self.text = self.text.rpartition("\n")[0] + "\n" + text

    def write_fspath_result(self, nodeid, letter):
        self.text += f"\n{nodeid.partition('::')[0]} {letter}"


class Config:
    """A configuration with that screen."""

    def __init__(self, screen: Screen, worker: bool = False) -> None:
        self._screen, self.pluginmanager, self.stash = screen, self, pytest.Stash()
        if worker:
            self.workerinput = {}

    def get_plugin(self, name):
        return self._screen if name == "terminalreporter" else None

    def get_terminal_writer(self):
        return self._screen


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def written(screen: Screen, clock: list[float], times: list[float]) -> str:
    screen.text = "a.py ."
    line = progress.progress_line(Config(screen))
    for time in times:
        clock[0] = time
        line(f"at {time:g}")
    line.close("a.py::b")
    return screen.text


def test_in_a_file_the_first_line_comes_at_once_and_then_one_every_ten_seconds(clock):
    assert written(Screen(terminal=False), clock, [0, 1, 9, 11, 12]) == "a.py .\ndmmcheck: at 0\ndmmcheck: at 11\na.py "


def test_on_a_terminal_each_line_replaces_the_one_before(clock):
    assert written(Screen(terminal=True), clock, [0, 1, 2]) == "a.py .\ndmmcheck: at 2\na.py "


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.usefixtures("clock")
def test_on_a_terminal_a_line_is_one_row_and_keeps_its_end(width):
    screen = Screen(terminal=True)
    screen.fullwidth = width
    line = "off-manifold-energy-stated-builtin: draws of controls, 5% done, about 48 s left"
    progress.progress_line(Config(screen))(line)
    row = screen.text.strip()
    assert len(row) <= width - 1
    assert (row == f"dmmcheck: {line}") == (width == 200)
    assert row.endswith("draws of controls, 5% done, about 48 s left" if width >= 80 else " s left")


@pytest.mark.parametrize(("verbosity", "end"), [(-1, "\n"), (0, "\na.py "), (1, "")])
def test_pytest_goes_on_where_it_would_write(clock, verbosity, end):
    assert written(Screen(terminal=False, verbosity=verbosity), clock, [0]) == f"a.py .\ndmmcheck: at 0{end}"


def test_nothing_is_written_without_a_line_or_in_a_worker(clock):
    assert written(Screen(terminal=False), clock, []) == "a.py ."
    screen = Screen(terminal=False)
    progress.progress_line(Config(screen, worker=True))("busy")
    assert screen.text == ""


@pytest.mark.parametrize("terminal", [False, True])
def test_a_line_that_is_kept_is_neither_replaced_nor_left_out(clock, terminal):
    screen = Screen(terminal=terminal)
    screen.text, line = "a.py .", progress.progress_line(Config(screen))
    line.keep("too few inputs")
    clock[0] = 11.0
    line("at 11")
    assert screen.text == "a.py .\ndmmcheck: too few inputs\ndmmcheck: at 11"
    workers = Screen(terminal=terminal)
    progress.progress_line(Config(workers, worker=True)).keep("too few inputs")
    assert workers.text == ""


def test_a_process_has_one_line():
    config = Config(Screen(terminal=False))
    assert progress.progress_line(config) is progress.progress_line(config)


def sent(expected: dict[str, int], label: str = "") -> str:
    return json.dumps({"label": label, "expected": expected, "per_gradient": 0.1, "workers": 2})


def record(test: str, label: str = "") -> str:
    return json.dumps({"label": label, "test": test, "selected": 3})


def test_the_controlling_process_says_what_its_workers_are_expected_to_take(clock):
    screen = Screen(terminal=True)
    workers = WorkersProgress(Config(screen), [])
    clock[0] = 100.0
    workers.begin(sent({"": 200, "a": 600, "b": 100, "c": 100}))
    workers.begin(sent({"": 200, "a": 600, "b": 100, "c": 100}))
    assert screen.text == (
        "\ndmmcheck: about 1,000 gradients expected, 50 s in 2 workers (10 a second on this model in each)\n"
    )


@pytest.mark.parametrize(
    ("ended", "spent", "share", "left"),
    [
        (["a"], 32.5, 54, 27.5),  # as fast as expected: 300 + 600 + 400 of 2,400, by gradients and their mean, in 60 s
        (["b"], 25.0, 42, 35.0),
        (["b"], 50.0, 42, 56.9),  # half as fast, of which one test tells little
        (["b", "a"], 50.0, 83, 10.0),
        (["b", "a", "none"], 60.0, 100, 0.0),
        (["none"], 17.5, 29, 42.5),  # nothing was expected of it, and what all tests share is measured
    ],
)
def test_the_time_left_follows_from_what_the_tests_that_workers_have_decided_were_expected_to_take(
    clock, ended, spent, share, left
):
    screen = Screen(terminal=True)
    workers = WorkersProgress(Config(screen), [])
    clock[0] = 100.0
    workers.begin(sent({"": 300, "a": 600, "b": 300, "none": 0}))
    clock[0] += spent
    for test in ended:
        workers.end(record(test))
    line = screen.text.splitlines()[-1]
    assert line == f"dmmcheck: {len(ended)} of 3 tests decided, {share}% done, about {duration(left)} left"


@pytest.mark.parametrize("terminal", [False, True])
def test_letters_of_workers_and_lines_stand_on_lines_of_their_own(clock, terminal):
    screen = Screen(terminal=terminal)
    screen.in_a_line = False  # pytest knows no line that is open, where workers write letters
    workers = WorkersProgress(Config(screen), [])
    workers.begin(sent({"": 0, "a": 100, "b": 100}))
    for test in "ab":
        workers.close()
        screen.text += "."
        clock[0] += 11.0
        workers.end(record(test))
    lines = [line.partition(",")[0] for line in screen.text.splitlines()]
    assert lines[1:] == [".", "dmmcheck: 1 of 3 tests decided", ".", "dmmcheck: 2 of 3 tests decided"]


def test_subjects_that_have_not_begun_or_cannot_be_used_have_tests_too(clock):
    screen = Screen(terminal=True)
    workers = WorkersProgress(Config(screen), [record("a", label="unusable")])
    clock[0] = 100.0
    workers.begin(sent({"": 0, "a": 100}, label="one"))
    clock[0] += 5.0
    workers.end(record("a", label="one"))
    assert screen.text.endswith("dmmcheck: 2 of 3 tests decided, 67% done, about 3.2 s left")
    workers.begin(sent({"": 0, "a": 100}, label="two"))
    lines = screen.text.split("dmmcheck: ")
    assert [line.partition(" gradients")[0] for line in lines if "gradients" in line] == [
        "one: about 100",
        "two: about 100",
    ]
