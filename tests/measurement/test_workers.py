"""What several processes measure is what one does, and what one of them fails to measure is measured by another."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import types
from concurrent.futures import BrokenExecutor, Future
from dataclasses import replace
from functools import cache
from importlib.util import find_spec

import cloudpickle
import joblib
import pytest
import torch
import views
from joblib.externals.loky import ProcessPoolExecutor, reusable_executor

import dmmcheck
from dmmcheck.config.settings import Settings
from dmmcheck.errors import ConfigError
from dmmcheck.inference.cost import Cost
from dmmcheck.measurement import clusters, processes, sharing, workers
from dmmcheck.measurement.meter import Meter
from dmmcheck.measurement.shard_worker import ShardWorker
from dmmcheck.measurement.sharing import measure_in_processes
from dmmcheck.measurement.workers import Done, measure_shard, packed
from dmmcheck.registry import CONTROLS, GATES
from dmmcheck.report.model import RunCost
from dmmcheck.run import REPORT, Run

CHECKS = {"checks": ["boundary-clings"], "samples": 16, "effort": "quick"}
SHARDS = ["a", "b", "c"]


def untimed(report):
    findings = tuple(replace(finding, cost=Cost()) for finding in report.findings)
    return replace(report, created="", run="", cost=RunCost(), findings=findings)


class Echo:
    """A worker that measures nothing, and fails at some shards."""

    def __init__(self, broken=()):
        self.broken = broken

    def measure(self, shard):
        if shard in self.broken:
            raise ValueError(f"no {shard}")
        return Done(shard, spent={"search": Cost(gradient_evaluations=1)})


@pytest.fixture
def dask(monkeypatch):
    """What happens to a cluster of Dask, of which there is none."""
    events = []
    client = types.SimpleNamespace(close=lambda: events.append("closed"))
    distributed = types.ModuleType("distributed")
    distributed.Client = lambda *where, **local: events.append((*where, *local)) or client
    monkeypatch.setitem(sys.modules, "distributed", distributed)
    return events


class Here:
    """An executor whose processes are this one: it measures a shard when it is handed out."""

    stopped: str | None = None

    def submit(self, measure, shard):
        future = Future()
        try:
            future.set_result(measure(shard))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, *, wait, kill_workers):
        assert not wait
        Here.stopped = "killed" if kill_workers else "ended"


@pytest.fixture
def here(monkeypatch):
    """The processes are this one, one after the other."""
    config = joblib.parallel_config
    monkeypatch.setattr(joblib, "parallel_config", lambda backend: config("sequential"))
    monkeypatch.setattr(processes, "_executor", lambda others: Here())
    monkeypatch.setattr(Here, "stopped", None)
    monkeypatch.setattr(workers, "_WORKERS", {})


@pytest.fixture
def no_gates(own_registries):
    """No gates, which leaves the measurement sound, so that draws of controls are searched."""
    assert GATES.names
    GATES._things.clear()


@pytest.fixture
def measured(tmp_path):
    """Measures shards in two processes, with what was taken and shown."""

    def measured(make=Echo, jobs=2, shards=SHARDS, own=Done):
        taken, lines = [], []
        note = measure_in_processes(
            "session",
            make,
            dict.fromkeys(shards, 1.0),
            jobs=jobs,
            folder=tmp_path,
            own=own,
            progress=lines.append,
            take=taken.append,
        )
        return note, taken, lines

    return measured


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("jobs", "by"), [(2, "2 processes"), ("dask:host", "the cluster dask:host")])
def test_each_shard_is_measured_and_shown(measured, dask, jobs, by):
    note, taken, lines = measured(jobs=jobs)
    assert note == f"3 of 3 parts measured by {by}"
    assert sorted(done.shard for done in taken) == SHARDS
    assert [line.partition(",")[0] for line in lines] == [f"{count} of 3 parts measured" for count in (1, 2, 3)]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("yields", [True, False], ids=["one by one", "all at the end"])
def test_shards_of_a_cluster_are_shown_as_they_end(dask, monkeypatch, yields):
    monkeypatch.setattr(joblib.parallel.SequentialBackend, "supports_return_generator", yields)
    monkeypatch.setattr(Echo, "measure", lambda worker, shard: lines.append(shard) or Done(shard))
    lines = []
    note = measure_in_processes(
        "session",
        Echo,
        dict.fromkeys(SHARDS, 1.0),
        jobs="dask:host",
        folder=None,
        own=Done,
        progress=lambda line: lines.append(line.partition(" ")[0]),
        take=lambda done: None,
    )
    assert note == "3 of 3 parts measured by the cluster dask:host"
    assert lines == [SHARDS[0], "1", SHARDS[1], "2", SHARDS[2], "3"]


@pytest.mark.parametrize("which", ["named", "counted"])
def test_the_time_left_follows_from_what_the_shards_that_ended_were_expected_to_take(monkeypatch, which):
    now, lines = [100.0], []
    monkeypatch.setattr(sharing.time, "monotonic", lambda: now[0])
    ended = sharing._Ended({"a": 30.0, "b": 20.0, "c": 10.0}, lines.append)
    now[0] += 60.0
    ended.add("a") if which == "named" else ended.count(1)
    now[0] += 40.0
    ended.add("b") if which == "named" else ended.count(2)
    ended.add("b")
    assert lines == ["1 of 3 parts measured, about 60 s left", "2 of 3 parts measured, about 20 s left"]


@pytest.mark.usefixtures("here")
def test_this_process_takes_the_first_shard_and_what_the_others_have_left(measured, monkeypatch):
    own = []
    monkeypatch.setattr(Here, "submit", lambda executor, measure, shard: Future())  # it never ends

    def measure(shard):
        own.append(shard)
        return Done(shard)

    results = processes.measure_beside("session", None, ["a", "b", "c", "d"], others=2, own=measure)
    assert [next(results).shard for _ in range(2)] == ["a", "d"]
    assert own == ["a", "d"]
    results.close()
    assert Here.stopped == "killed"


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("jobs", [2, "dask:host"])
def test_a_shard_that_fails_is_named_and_left_to_the_process_that_asked(measured, dask, jobs):
    note, taken, _ = measured(lambda: Echo("b"), jobs=jobs)
    assert note.startswith("2 of 3 parts measured by")
    assert note.endswith("; the others by this one (ValueError: no b)")
    assert {done.shard: done.error for done in taken} == {"a": "", "b": "ValueError: no b", "c": ""}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("lost", [1, 99], ids=["once", "always"])
@pytest.mark.parametrize("jobs", [2, "dask:host"])
def test_shards_that_were_lost_are_handed_out_again(measured, dask, monkeypatch, jobs, lost):
    calls = []

    def measure(session, content, shard):
        calls.append(shard)
        if shard == "b" and calls.count("b") <= lost:
            raise BrokenPipeError("killed\nby the system")
        return measure_shard(session, content, shard)

    for module in (clusters, processes):
        monkeypatch.setattr(module, "measure_shard", measure)
    note, taken, _ = measured(jobs=jobs)
    assert sorted(done.shard for done in taken) == SHARDS
    if lost == 1:
        assert note.startswith("3 of 3 parts measured by")
        assert "the others" not in note
    else:
        assert note.endswith("; the others by this one (BrokenPipeError: killed)")
        assert calls.count("b") == workers.ATTEMPTS


@pytest.mark.usefixtures("here")
def test_processes_that_cannot_be_started_leave_all_shards_to_this_one(measured, monkeypatch):
    def refuse(executor, measure, shard):
        raise OSError("no more processes")

    monkeypatch.setattr(Here, "submit", refuse)
    note, taken, _ = measured()
    assert {done.shard for done in taken} == set(SHARDS)
    assert note.endswith("the others by this one (OSError: no more processes)")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_ends_the_other_processes(measured, stop):
    def interrupted(shard):
        raise stop

    with pytest.raises(stop):
        measured(own=interrupted)
    assert Here.stopped == "killed"


@pytest.mark.usefixtures("here")
def test_the_other_processes_end_with_the_run(measured):
    measured()
    assert Here.stopped == "ended"


@pytest.mark.usefixtures("here")
def test_new_processes_take_the_place_of_those_that_were_lost(measured, monkeypatch):
    started, submit = [], Here.submit

    def refuse_once(executor, measure, shard):
        if executor is started[0]:
            raise BrokenExecutor("a process was killed")
        return submit(executor, measure, shard)

    monkeypatch.setattr(processes, "_executor", lambda others: started.append(Here()) or started[-1])
    monkeypatch.setattr(Here, "submit", refuse_once)
    note, taken, _ = measured()
    assert sorted(done.shard for done in taken) == SHARDS
    assert note == "3 of 3 parts measured by 2 processes"
    assert len(started) == 2


def test_this_process_has_as_many_threads_as_before_afterwards(measured, here, monkeypatch):
    counts, before = [4], workers.torch.get_num_threads
    monkeypatch.setattr(workers.torch, "get_num_threads", lambda: counts[-1])
    monkeypatch.setattr(workers.torch, "set_num_threads", counts.append)
    assert before() >= 1
    measured()
    assert counts == [4, 2, 4]


def test_the_processes_are_not_those_that_joblib_keeps_for_its_own_calls():
    before = reusable_executor._executor
    pool = processes._executor(2)  # its processes start with the first shard
    assert isinstance(pool, ProcessPoolExecutor)
    assert not isinstance(pool, reusable_executor._ReusablePoolExecutor)
    assert reusable_executor._executor is before


def test_what_cannot_be_sent_is_one_clear_error():
    lock = threading.Lock()
    with pytest.raises(ConfigError, match=r"cannot be sent to another one \(TypeError.*set jobs = 1"):
        packed(lambda: lock)


def test_large_tensors_are_sent_once_and_without_the_rest_of_their_storage():
    whole = torch.arange(4_000_000.0).view(4000, 1000)
    part = whole[1000:2000]
    sent = {"images": part.view(1000, 10, 100), "rows": part, "labels": torch.arange(200_000), "two": whole[:2]}
    content = packed(lambda: sent)
    assert len(content) < part.nbytes + sent["labels"].nbytes + sent["two"].nbytes + 10_000
    back = cloudpickle.loads(content.tobytes())()
    for name, tensor in sent.items():
        torch.testing.assert_close(back[name], tensor, rtol=0, atol=0)
    assert back["images"].data_ptr() == back["rows"].data_ptr()
    back["rows"] += 1
    torch.testing.assert_close(back["images"], sent["images"] + 1)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(2_000_000.0).view(1000, 2000).T,
        torch.arange(400_000.0).requires_grad_(),
        torch.nn.Parameter(torch.arange(400_000.0)),
        torch.arange(800_000.0).to(torch.bfloat16),
        torch.zeros(400_000, dtype=torch.bool),
        torch.zeros(600, 700).to_sparse(),
        torch.zeros(0),
        torch.tensor(3.0),
    ],
    ids=["transposed", "with a gradient", "parameter", "bfloat16", "bool", "sparse", "empty", "number"],
)
def test_other_tensors_are_sent_as_torch_sends_them(tensor):
    back = cloudpickle.loads(packed(lambda: tensor).tobytes())()
    assert (type(back), back.dtype, back.layout, back.requires_grad) == (
        type(tensor),
        tensor.dtype,
        tensor.layout,
        tensor.requires_grad,
    )
    assert tensor.layout != torch.strided or back.stride() == tensor.stride()
    assert torch.equal(back.to_dense(), tensor.to_dense())


def test_a_process_makes_one_worker_for_a_session_and_forgets_it_with_the_next(monkeypatch):
    monkeypatch.setattr(workers, "_WORKERS", {})
    content = packed(Echo)
    measure_shard("one", content, "a")
    first = workers._WORKERS["one"]
    measure_shard("one", content, "b")
    assert workers._WORKERS["one"] is first
    measure_shard("two", content, "a")
    assert list(workers._WORKERS) == ["two"]


def test_a_cluster_is_joined_and_left(measured, dask, here):
    events = dask
    assert measured(jobs="dask:tcp://host:8786")[0] == "3 of 3 parts measured by the cluster dask:tcp://host:8786"
    measured(jobs="dask:2")
    local = ("n_workers", "threads_per_worker", "dashboard_address")
    assert events == [("tcp://host:8786",), "closed", local, "closed"]


@pytest.mark.parametrize("where", ["2", "host:6379"])
def test_a_cluster_of_ray_is_joined_and_left(measured, monkeypatch, here, where):
    events = []
    ray, bridge = types.ModuleType("ray"), types.ModuleType("ray.util.joblib")
    ray.init, ray.shutdown = (lambda **how: events.append(how)), (lambda: events.append("left"))
    bridge.register_ray = lambda: events.append("registered")
    for name, module in (("ray", ray), ("ray.util.joblib", bridge)):
        monkeypatch.setitem(sys.modules, name, module)
    measured(jobs=f"ray:{where}")
    how = {"num_cpus": 2, "include_dashboard": False} if where == "2" else {"address": where}
    assert events == [how, "registered", "left"]


@pytest.mark.parametrize(("kind", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_a_cluster_that_cannot_be_used_is_one_clear_error(measured, monkeypatch, kind, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"{package} is not installed; pip install 'dmmcheck\[{kind}\]'"):
        measured(jobs=f"{kind}:2")
    monkeypatch.setitem(sys.modules, package, types.ModuleType(package))  # without what is called
    words = r"this cluster cannot be used .*; correct the address, or set a number"
    with pytest.raises(ConfigError, match=words) as caught:
        measured(jobs=f"{kind}:2")
    assert caught.value.__cause__ is None  # pytest would show the traceback of the package


def test_what_other_processes_spent_is_charged_by_its_shares_of_the_time():
    meter = Meter()
    spent = {"search": Cost(gradient_evaluations=5, seconds=30.0), "nulls": Cost(forward_evaluations=7, seconds=10.0)}
    meter.add(spent, 20.0)
    assert meter.parts["search"] == Cost(gradient_evaluations=5, seconds=15.0)
    assert meter.total == Cost(gradient_evaluations=5, forward_evaluations=7, seconds=20.0)


def test_an_own_control_travels_with_the_work(own_registries):
    @dmmcheck.control("nothing", title="the same tangent spaces")
    def nothing(view, generator):
        return view

    assert list(CONTROLS.added()) == ["nothing"]


@pytest.fixture(scope="module")
def subject():
    """A model that has no address of its own, since it is a function."""
    plain = views.subject(samples=24)
    net = plain.model
    return replace(plain, model=lambda x: 2 * net(x))


@cache
def of_one_process(subject):
    return dmmcheck.run(subject, **CHECKS)


@pytest.mark.usefixtures("here", "no_gates")
def test_the_report_is_that_of_one_process_and_nothing_is_measured_twice(subject):
    alone, several = of_one_process(subject), dmmcheck.run(subject, jobs=2, **CHECKS)
    assert untimed(alone) == untimed(several)
    assert several.cost.store == "4 of 4 parts measured by 2 processes"
    more = 2 * several.subject.inputs  # the probe of the speed, in the process that asked
    assert several.cost.total.gradient_evaluations <= alone.cost.total.gradient_evaluations + more


@pytest.mark.usefixtures("here", "no_gates")
def test_a_process_that_does_not_see_the_folder_sends_what_it_measured(subject, dask, monkeypatch):
    of = ShardWorker.of.__func__
    monkeypatch.setattr(ShardWorker, "of", classmethod(lambda cls, *a, **k: of(cls, *a, **{**k, "name": "unseen"})))
    alone, apart = of_one_process(subject), dmmcheck.run(subject, jobs="dask:host", **CHECKS)
    assert untimed(alone) == untimed(apart)
    assert apart.cost.total.gradient_evaluations <= alone.cost.total.gradient_evaluations + 2 * apart.subject.inputs


@pytest.mark.usefixtures("here", "no_gates")
def test_processes_fill_the_store_that_later_runs_read(tmp_path):
    settings = {**CHECKS, "cache": str(tmp_path)}
    dmmcheck.run(views.subject(samples=24), jobs=2, **settings)
    again = dmmcheck.run(views.subject(samples=24), **settings)
    assert "0 written" in again.cost.store
    assert again.cost.parts["search"].gradient_evaluations == 0


def test_no_work_is_handed_out_when_the_time_is_over(subject):
    run = Run(subject, Settings(jobs=2, max_time=1e-9))
    run.measure_ahead(["off-manifold-energy-stated-builtin"])
    assert run.cost.store == ""


@pytest.mark.parametrize("is_lost", [False, True])
def test_what_other_processes_could_not_measure_is_still_ahead(subject, monkeypatch, is_lost):
    def lose(session, make, shards, *, take, **how):
        for shard in shards:
            take(Done(shard, error="lost" if is_lost else ""))
        return ""

    monkeypatch.setattr(sys.modules["dmmcheck.run"], "measure_in_processes", lose)
    lines = []
    run = Run(subject, Settings(samples=16, effort="quick", jobs=2), lines.append)
    ids = [one.id for one in run.planned if one.check.id == "boundary-clings"]
    run.forecast(ids)
    run.measure_ahead(ids)
    assert " in one process (" in lines[0]
    share, _ = run._forecast.remaining(0, 0.0)
    assert share == (0.0 if is_lost else 1.0)


@pytest.mark.usefixtures("no_gates")
def test_a_test_is_measured_before_the_soundness_items_are_known_and_decided_after_them(subject, monkeypatch):
    asked = []
    monkeypatch.setattr(Run, "soundness", property(lambda run: asked.append(run) or ()))
    run = Run(subject, Settings(samples=16, effort="quick", jobs=2))
    (test,) = [one for one in run.planned if one.id == "boundary-clings-controlled-builtin"]
    run.measure_shard(test.id)
    assert not asked
    spent = run.cost.total.gradient_evaluations
    run.measure.keep(("soundness",), ())
    finding = run.finding(test)
    assert asked
    assert finding.verdict != "not-run"
    assert run.cost.total.gradient_evaluations == spent


def test_tests_that_train_are_left_to_the_process_that_asked():
    plain = views.subject(samples=24)
    makers = {"pairs": lambda seed: (plain.model, plain.model), "trainer": lambda x, y, seed: plain.model}
    run = Run(replace(plain, **makers), Settings(jobs=2))
    assert {"adversarial-training-deepens", "wrong-label-training"} <= {one.check.id for one in run.planned}
    shards = run._shards({one.id for one in run.planned})
    assert next(iter(shards)) == "soundness"
    assert REPORT in list(shards)[2:-2]  # so that no process waits while another one measures it alone at the end
    assert len(shards) > 5
    assert not [shard for shard in shards if shard.startswith(("adversarial-training", "wrong-label-training"))]
    assert shards["boundary-clings-stated-builtin"] < shards["boundary-clings-controlled-builtin"]
    assert min(shards.values()) > 0  # each takes time, with gradients or without


@pytest.mark.heavy
@pytest.mark.parametrize("killed", [False, True], ids=["two", "killed"])
def test_two_processes_of_loky_give_the_report_of_one(tmp_path, killed):
    plain, flag, parent = views.subject(samples=24), tmp_path / "flag", os.getpid()
    net = plain.model

    def model(x):
        if killed and os.getpid() != parent and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return net(x)

    given, settings = replace(plain, model=model), {**CHECKS, "checks": ["off-manifold-energy"]}
    alone, two = dmmcheck.run(given, **settings), dmmcheck.run(given, jobs=2, **settings)
    assert untimed(alone) == untimed(two)
    assert "parts measured by 2 processes" in two.cost.store
    assert "the others" not in two.cost.store
    assert flag.exists() is killed
    assert joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(-number) for number in range(3)) == [0, 1, 2]


def _process(size):
    """Return the number of the process that calls this, after it has allocated memory that it keeps, and a pause."""
    sys._kept = bytearray(size)
    sys._kept[:: 1 << 12] = b"\1" * len(sys._kept[:: 1 << 12])
    time.sleep(1.1)  # longer than loky waits before it looks at the memory of a process again
    return os.getpid()


@pytest.mark.heavy
def test_a_process_keeps_what_it_has_measured():
    pool = processes._executor(1)
    try:
        first, second, third = (pool.submit(_process, size).result() for size in (1, 400 << 20, 1))
    finally:
        pool.shutdown(wait=True, kill_workers=True)
    assert first == second == third


@pytest.mark.heavy
@pytest.mark.parametrize(("jobs", "package"), [("dask:2", "distributed"), ("ray:2", "ray")])
def test_a_cluster_on_this_machine_gives_the_report_of_one_process(jobs, package):
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    given, settings = views.subject(samples=24), {**CHECKS, "checks": ["off-manifold-energy"]}
    alone, cluster = dmmcheck.run(given, **settings), dmmcheck.run(given, jobs=jobs, **settings)
    assert untimed(alone) == untimed(cluster)
    assert "the others" not in cluster.cost.store
