"""A store gives back what was measured, notices every changed byte, and is shared by processes."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from torch import nn

import dmmcheck
from dmmcheck import cli
from dmmcheck.attacks.base import Crossing
from dmmcheck.checks.energy import off_manifold_energy
from dmmcheck.config.settings import Settings
from dmmcheck.errors import OutOfTimeError
from dmmcheck.inference.cost import Cost
from dmmcheck.manifolds import PCA, LocalPCA
from dmmcheck.measurement import nulls
from dmmcheck.measurement.address import UnaddressableError, address_of
from dmmcheck.measurement.measure import SEARCHED
from dmmcheck.measurement.packing import pack, unpack
from dmmcheck.measurement.store import BusyError, Store, clear, info
from dmmcheck.measurement.view import View
from dmmcheck.registry import GATES
from dmmcheck.report.model import RunCost, Soundness
from dmmcheck.run import Run

CPU = torch.device("cpu")
ADDRESS = "ab" * 20


def measured(store, value, address=ADDRESS):
    """A measurement that is asked for, and whether it was measured anew."""
    calls = []
    result, spent = store.measured(address, lambda: (calls.append(1), (value, 7))[1], CPU)
    assert spent == 7 * len(calls)
    return result, bool(calls)


@pytest.mark.parametrize(
    "value",
    [
        (1, -0.0, float("inf"), "text", None, True, ["list"], {"key": ()}),
        Soundness(name="a", family="model", ok=None, value=float("inf"), limit=0.1, message="m"),
    ],
    ids=["plain", "record"],
)
def test_plain_values_come_back_as_they_were(tmp_path, value):
    assert measured(Store(tmp_path), value) == (value, True)
    assert measured(Store(tmp_path), None) == (value, False)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.bool, torch.int64], ids=str)
def test_tensors_come_back_bit_by_bit(dtype):
    value = torch.tensor([[0.0, 1.0], [-0.0, 3.0]]).to(dtype)
    crossing = Crossing(*[value] * 8)
    (back,) = unpack(pack((crossing,)), CPU)
    assert torch.equal(back.point, value)
    assert back.point.dtype == dtype
    assert np.array_equal(unpack(pack(np.array([np.nan, 1.0])), CPU), [np.nan, 1.0], equal_nan=True)


@pytest.mark.parametrize("value", [object(), lambda: 0, np.array([object()])], ids=["object", "function", "array"])
def test_what_is_no_data_is_refused(value):
    with pytest.raises(TypeError, match="cannot be stored"):
        pack(value)


def flipped(path: Path, position: int, change: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= change
    path.write_bytes(content)


def corruptions(count):
    return [pytest.param(seed, marks=pytest.mark.heavy if seed >= count else ()) for seed in range(500)]


@pytest.mark.parametrize("seed", corruptions(40))
def test_a_changed_byte_is_noticed_and_the_measurement_made_anew(tmp_path, seed):
    value, choose = torch.arange(50.0), random.Random(seed)
    measured(Store(tmp_path), value)
    (path,) = Store(tmp_path).entries()
    flipped(path, choose.randrange(path.stat().st_size), choose.randrange(1, 256))
    store = Store(tmp_path)
    result, anew = measured(store, value)
    assert (torch.equal(result, value), anew, store.damaged) == (True, True, 1)
    assert measured(Store(tmp_path), None)[1] is False


@pytest.mark.parametrize("length", [0, 10, 60, 200])
def test_a_file_that_is_cut_off_or_of_another_address_is_noticed(tmp_path, length):
    measured(Store(tmp_path), torch.arange(50.0))
    (path,) = Store(tmp_path).entries()
    other = path.with_name("ab" * 19 + "cd.dmm")
    other.write_bytes(path.read_bytes())
    path.write_bytes(path.read_bytes()[:length])
    assert measured(Store(tmp_path), 1)[1]
    assert measured(Store(tmp_path), 1, address=other.stem)[1]


def test_the_entries_used_least_recently_are_removed_where_the_store_is_too_large(tmp_path):
    value = torch.zeros(1000)
    size = len(pack(value))
    store = Store(tmp_path, limit=4 * size)
    addresses = [f"{number:02x}" * 20 for number in range(12)]
    for age, address in enumerate(addresses):
        measured(store, value, address)
        os.utime(store._path(address), (age, age))
        if age > 0 and store._path(addresses[0]).exists():
            measured(store, value, addresses[0])  # which is used all the time
    left = {path.stem for path in store.entries()}
    assert addresses[0] in left
    assert addresses[-1] in left
    assert addresses[1] not in left
    assert sum(path.stat().st_size for path in store.entries()) <= 4 * size + 200 * 4


def test_info_and_clear_say_what_they_did_and_leave_other_files(tmp_path, capsys):
    measured(Store(tmp_path), 1)
    (tmp_path / "mine").write_text("kept")
    assert "holds 1 measurements" in info(tmp_path)
    assert cli.main(["cache", "info", str(tmp_path)]) == 0
    assert "holds 1 measurements" in capsys.readouterr().out
    assert cli.main(["cache", "clear", str(tmp_path)]) == 0
    assert "1 measurements removed" in capsys.readouterr().out
    assert clear(tmp_path) == 0
    assert (tmp_path / "mine").read_text() == "kept"


def test_a_folder_that_cannot_be_written_stops_nothing_and_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "below")
    assert measured(store, 5) == (5, True)
    assert "the store cannot be used" in store.summary()


def _slow(folder, calls):
    def compute():
        calls.put(1)
        time.sleep(0.5)
        return 5, 7

    assert Store(folder).measured(ADDRESS, compute, CPU)[0] == 5


def test_of_two_processes_that_ask_for_the_same_at_once_one_measures(tmp_path):
    context = multiprocessing.get_context("fork")
    calls = context.Queue()
    both = [context.Process(target=_slow, args=(tmp_path, calls)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(30)
    assert [process.exitcode for process in both] == [0, 0]
    assert calls.get() == 1
    assert calls.empty()


def test_what_another_one_measures_is_not_waited_for_where_the_caller_says_so(tmp_path):
    store, calls = Store(tmp_path), []
    measured = partial(store.measured, ADDRESS, lambda: (calls.append(1), 7), CPU)
    with Store(tmp_path)._locked(ADDRESS, wait=True), pytest.raises(BusyError):
        measured(wait=False)
    assert (calls, store.error) == ([], "")
    assert [measured(wait=False)[1] for _ in range(2)] == [7, 0]


@pytest.mark.parametrize("shares", ["store", "session"])
def test_blocks_that_another_process_measures_come_last(tmp_path, shares):
    measured, held, release = [], threading.Event(), threading.Event()
    world = dmmcheck.worlds.sphere(ambient_dim=12, dim=3, samples=200, seed=0).subject
    shared, busy = Store(tmp_path), slice(128, 192)
    measure = Run(world, Settings(samples=200), **{shares: shared}).measure
    addresses = {
        "session": measure._address_in_session(SEARCHED, busy),
        "store": measure._address(shared, SEARCHED, busy, None),
    }

    def block(rows):
        measured.append(rows.start)
        if rows.start == 192:
            release.set()
        return rows.start, 1

    def hold():
        with Store(tmp_path)._locked(addresses[shares], wait=True):
            held.set()
            release.wait(20)

    other = threading.Thread(target=hold)
    other.start()
    assert held.wait(20)
    starts = measure.cached_blocks(SEARCHED, 200, block)
    other.join()
    assert starts == [0, 32, 64, 128, 192]
    assert measured == [0, 32, 64, 192, 128]
    assert measure.cost(SEARCHED, 200).gradient_evaluations == 5


@pytest.mark.parametrize("shares", ["store", "session", None])
@pytest.mark.parametrize("key", [SEARCHED, ("nearest other class",)], ids=["stored", "not stored"])
def test_what_was_measured_before_an_error_is_kept(tmp_path, shares, key):
    measured = []
    world = dmmcheck.worlds.sphere(ambient_dim=12, dim=3, samples=200, seed=0).subject
    measure = Run(world, Settings(samples=200), **({shares: Store(tmp_path)} if shares else {})).measure

    def block(rows):
        measured.append(rows.start)
        if rows.start == 64:
            raise OutOfTimeError("the time is over")
        return rows.start, 1

    for n in (200, 200, 128):
        with pytest.raises(OutOfTimeError):
            measure.cached_blocks(key, n, block)
        assert measure.cost(key, 64).gradient_evaluations == 2
    assert measured == [0, 32, 64, 64, 64]
    assert measure.cached_blocks(key, 64, None) == [0, 32]


def subject(seed=0, weights=0):
    """A small network on data near a plane of four dimensions."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(80, 12, generator=generator) * torch.tensor([1.0] * 4 + [0.05] * 8)
    net = nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 2))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1 + weights)))
        y = net(x).argmax(1)
    return dmmcheck.Subject(model=net, x=x, y=y, manifold=PCA(dim=4).fit(x), bounds=None)


def untimed(report):
    findings = tuple(replace(finding, cost=Cost()) for finding in report.findings)
    return replace(report, created="", run="", cost=RunCost(), findings=findings)


OPTIONS = {
    "samples": 16,
    "checks": ["on-manifold-distance", "off-manifold-energy"],
    "effort": "quick",
    "tiers": ["stated"],
}


@pytest.fixture
def few_gates(own_registries):
    """Gates that leave the measurement sound, so that draws of controls are searched."""
    for name in list(GATES):
        if name != "forward_repeats":
            GATES._things.pop(name)


@pytest.mark.usefixtures("few_gates")
def test_a_second_run_reads_everything_and_gives_an_equal_report(tmp_path):
    first, second = (dmmcheck.run(subject(), cache=str(tmp_path), **OPTIONS) for _ in range(2))
    assert untimed(first) == untimed(second)
    assert first.cost.parts["nulls"].gradient_evaluations > 0
    assert second.cost.total.gradient_evaluations == 2 * second.subject.inputs  # the probe of the model's speed
    assert "0 written" in second.cost.store


@pytest.mark.usefixtures("few_gates")
def test_a_clock_that_jumps_by_decades_changes_nothing(tmp_path, monkeypatch):
    expected = untimed(dmmcheck.run(subject(), max_time="10 min", **OPTIONS))
    clock = itertools.cycle([4e9, 0.0, 1e9])
    monkeypatch.setattr(time, "time", lambda: next(clock))
    for number in range(2):
        report = dmmcheck.run(subject(), max_time="10 min", cache=str(tmp_path), **OPTIONS)
        assert (untimed(report), report.complete) == (expected, True)
        assert all(finding.cost.seconds >= 0 for finding in report.findings)
        assert (", 0 written" in report.cost.store) == (number == 1)
    assert not list(tmp_path.glob("*/*.tmp"))


@pytest.mark.usefixtures("few_gates")
@pytest.mark.parametrize(
    "change",
    [{"model": subject(weights=1).model}, {"manifold": PCA(dim=3).fit(subject().x)}, {"x": subject().x + 1e-6}],
    ids=["weights", "manifold", "inputs"],
)
def test_another_model_manifold_or_input_is_measured_anew(tmp_path, change):
    settings = {"cache": str(tmp_path), "samples": 40, "checks": ["off-manifold-energy"], "tiers": ["stated"]}
    dmmcheck.run(subject(), **settings)
    other = replace(subject(), **change)
    assert dmmcheck.run(other, **settings).cost.parts["search"].gradient_evaluations > 0


@pytest.mark.usefixtures("few_gates")
def test_a_function_is_not_stored_and_the_report_says_so(tmp_path):
    net = subject().model
    report = dmmcheck.run(replace(subject(), model=lambda x: 2 * net(x)), cache=str(tmp_path), **OPTIONS)
    assert "not stored" in report.cost.store
    assert "is a function, which can depend on anything" in report.cost.store
    assert Store(tmp_path).entries() == []


@pytest.mark.usefixtures("few_gates")
def test_measurements_of_a_forest_are_kept(tmp_path):
    x, y = load_iris(return_X_y=True)
    forest = RandomForestClassifier(3, random_state=0).fit(x, y)
    subject = dmmcheck.Subject(model=forest, x=x[::5], y=y[::5], x_train=x, y_train=y, manifold=x, units="standard")
    settings = {"cache": str(tmp_path), "checks": ["on-manifold-distance"], "tiers": ["stated"], "queries": 100}
    first, again = (dmmcheck.run(subject, **settings) for _ in range(2))
    assert again.findings[0].estimate == first.findings[0].estimate
    assert ", 0 written" in again.cost.store
    assert again.cost.parts["search"].forward_evaluations == 0


IN_A_PROCESS = """
import sys
sys.path.insert(0, {tests!r})
from test_store import OPTIONS, subject
import dmmcheck
print("ready", flush=True)
print(dmmcheck.run(subject(), cache={folder!r}, **OPTIONS).cost.store, flush=True)
"""


def started(folder):
    """A process that runs on the store of a folder, and has imported what it needs."""
    script = IN_A_PROCESS.format(tests=str(Path(__file__).parent), folder=str(folder))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def files_of(folder):
    """The number of the file of each entry, by address: another one where the entry was written anew."""
    return {path.stem: path.stat().st_ino for path in Store(folder).entries()}


@pytest.mark.parametrize("seed", [pytest.param(s, marks=pytest.mark.heavy if s else ()) for s in range(5)])
def test_a_run_that_is_killed_leaves_a_store_that_the_next_run_continues(tmp_path, seed):
    with started(tmp_path) as process:
        while process.poll() is None and not Store(tmp_path).entries():
            time.sleep(0.01)
        time.sleep(random.Random(seed).uniform(0, 1.5))
        process.kill()
    left = files_of(tmp_path)
    report = dmmcheck.run(subject(), cache=str(tmp_path), **OPTIONS)
    undisturbed = dmmcheck.run(subject(), cache=str(tmp_path / "other"), **OPTIONS)
    assert untimed(report) == untimed(undisturbed)
    whole = files_of(tmp_path / "other")
    assert f"{len(left)} measurements read from the store, {len(whole) - len(left)} written" in report.cost.store
    assert "damaged" not in report.cost.store
    assert files_of(tmp_path).keys() == whole.keys()
    assert files_of(tmp_path).items() >= left.items()


@pytest.mark.heavy
def test_two_runs_at_once_share_a_store_and_measure_what_one_does(tmp_path):
    with started(tmp_path) as one, started(tmp_path) as other:
        said = [process.stdout.read() for process in (one, other)]
    alone = dmmcheck.run(subject(), cache=str(tmp_path / "other"), **OPTIONS)
    written = [int(text.partition(" from the store, ")[2].partition(" written")[0]) for text in said]
    whole = files_of(tmp_path / "other")
    assert files_of(tmp_path).keys() == whole.keys()
    assert sum(written) == len(whole)
    again = dmmcheck.run(subject(), cache=str(tmp_path), **OPTIONS)
    assert untimed(again) == untimed(alone)
    assert ", 0 written" in again.cost.store


def test_draws_that_were_searched_together_are_read_from_the_store(tmp_path):
    subject = dmmcheck.worlds.dimpled(seed=0, samples=32).subject
    first, again = (
        dmmcheck.run(subject, checks=["on-manifold-distance"], tiers=["controlled"], cache=str(tmp_path))
        for _ in range(2)
    )
    assert [(one.verdict, one.estimate, one.control, one.chance) for one in again.findings] == [
        (one.verdict, one.estimate, one.control, one.chance) for one in first.findings
    ]
    probe = 2 * 32  # of the model's speed
    assert again.cost.total.gradient_evaluations == probe < first.cost.total.gradient_evaluations


@pytest.mark.usefixtures("few_gates")
def test_draws_that_permute_all_inputs_are_searched_anew_where_there_are_other_inputs(tmp_path):
    """A draw is searched at some of the inputs, and gives each of them the tangent space of any of the inputs."""
    settings = {"checks": ["on-manifold-distance"], "tiers": ["controlled"], "effort": "quick"}
    local = replace(subject(), manifold=LocalPCA(dim=3).fit(subject().x))
    dmmcheck.run(local, cache=str(tmp_path), samples=32, **settings)
    again, anew = (dmmcheck.run(local, cache=cache, samples=48, **settings) for cache in (str(tmp_path), False))
    assert untimed(again) == untimed(anew)


@pytest.mark.parametrize(("own", "again"), [(True, 0), (False, 12)], ids=["own model", "other models"])
def test_draws_are_kept_where_they_depend_on_the_measured_model_alone(tmp_path, own, again):
    asked = []

    def run():
        seen = View.of(Run(subject(), Settings(cache=str(tmp_path))).measure)
        return nulls.null_draws(seen, off_manifold_energy, "rotation", 12, searched=False, own=own)

    first = run()
    drawn = nulls._drawn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nulls, "_drawn", lambda *given: asked.append(given) or drawn(*given))
        assert np.array_equal(run(), first)
    assert len(asked) == again


def test_a_class_whose_code_came_from_another_process_has_no_address(monkeypatch):
    sent = type("Sent", (nn.Module,), {"__module__": "test_store"})
    with pytest.raises(UnaddressableError, match="the source of the class Sent is not known"):
        address_of(sent())
    local = type("Sent", (nn.Module,), {"__module__": "test_store", "__qualname__": "f.<locals>.Sent"})
    assert address_of(local()) == address_of(local())
    local.__module__ = "__main__"
    with pytest.raises(UnaddressableError, match="is not known"):
        address_of(local())


@pytest.mark.parametrize("check", ["noise-like", "projection-restores", "shared-sheet"])
def test_what_a_claim_says_beside_chance_is_the_same_from_the_store(tmp_path, check):
    world = dmmcheck.worlds.sphere(ambient_dim=12, dim=3, samples=48, seed=0).subject
    first, second = (
        dmmcheck.run(world, checks=[check], seed=0, effort="quick", cache=str(tmp_path / "kept")) for _ in range(2)
    )
    assert not second.cost.store.startswith("0 measurements read")
    assert len(first.findings) == len(second.findings) > 0
    for one, other in zip(first.findings, second.findings, strict=True):
        assert (one.id, one.verdict, one.meaningless, one.dims) == (
            other.id,
            other.verdict,
            other.meaningless,
            other.dims,
        )


def test_the_span_of_the_data_is_computed_by_one_process_of_a_session(tmp_path, monkeypatch):
    asked, data_span = [], nulls.data_span
    monkeypatch.setattr(nulls, "data_span", lambda *values: asked.append(1) or data_span(*values))
    world = dmmcheck.worlds.sphere(ambient_dim=12, dim=3, samples=48, seed=0).subject
    session = Store(tmp_path)
    one, other = (View.of(Run(world, Settings(), session=session).measure) for _ in range(2))
    drawn = [nulls._drawn(view, "rotation", 0).field.basis(slice(0, 1)) for view in (one, other)]
    assert asked == [1]
    assert torch.equal(*drawn)
