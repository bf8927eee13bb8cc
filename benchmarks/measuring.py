"""The distances that an attack finds, and their cost: the measurements in the report of `benchmarks.search`."""

from __future__ import annotations

import ctypes
import gc
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.networks import BUILD, Case, load, network
from benchmarks.peers import PEERS, REFERENCE, Peer, quietly
from dmmcheck.attacks.minimal_norm.search import boundary_search
from dmmcheck.attacks.search_space import Everywhere, SearchSpace, spanned
from dmmcheck.attacks.torchattacks.attack import TorchAttack
from dmmcheck.attacks.torchattacks.coordinates import Coordinates, RowsLostError
from dmmcheck.errors import AttackError
from dmmcheck.inference.types import EffortName
from dmmcheck.manifolds import PCA
from dmmcheck.models.base import flat
from dmmcheck.models.torch import TorchClassifier, adapt

ROOT = Path(__file__).parents[1]
SLOW_INPUTS = 4  # for attacks that need thousands of passes, or take one input at a time
DIM = {"digits": 8, "Fashion-MNIST": 16, "Fashion-MNIST in colour": 32}
WALLS = 4.0  # side of the peers' unit cube in median distances: steps below twice the median distance meet no wall
OURS = "dmmcheck "
EFFORTS = get_args(EffortName)
TIMED = ("quick", "default") * 4  # more runs of these, for their times


@dataclass(frozen=True, eq=False)
class Question:
    """Inputs, and where to search for their nearest label changes."""

    classifier: TorchClassifier
    x: Tensor  # (n, D)
    y: Tensor
    space: SearchSpace
    bounds: tuple[float, float] | None = None
    examples: tuple[Tensor, Tensor] | None = None  # training images (m, D) and labels, as a run has them

    def rows(self, rows: slice) -> Question:
        """The same for some of the inputs."""
        return replace(self, x=self.x[rows], y=self.y[rows], space=self.space.rows(rows))

    def first(self, n: int) -> Question:
        """The same for the first inputs."""
        return self.rows(slice(n))


@dataclass(frozen=True)
class Answer:
    """The distances that an attack found; passes are means over the inputs."""

    distance: list[float]
    forwards: float = 0.0
    backwards: float = 0.0
    seconds: float = 0.0
    megabytes: float = 0.0
    long: bool = False
    note: str = ""


class Counted(nn.Module):
    """A model that counts the rows of its forward and backward passes."""

    def __init__(self, model: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.call = model
        self.forwards = self.backwards = 0

    def forward(self, z: Tensor) -> Tensor:
        logits = self.call(z)
        self.forwards += len(z)
        if logits.requires_grad:
            logits.register_hook(self._count)
        return logits

    def _count(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


def questions(case: Case, inputs: int) -> dict[str, Question]:
    """The four searches for the first correctly classified test images, in an order drawn from the seed."""
    images = load(case.data)
    classifier = adapt(network(case), images.x_test)
    order = torch.randperm(len(images.x_test), generator=torch.Generator().manual_seed(case.seed))[: 4 * inputs]
    x, y = flat(classifier, images.x_test[order]), images.y_test[order]
    with torch.no_grad():
        correct = torch.nonzero(classifier.logits(x).argmax(1) == y).reshape(-1)[:inputs]
    x, y = x[correct], y[correct]
    basis = PCA(dim=DIM[case.data]).fit(images.x_train).tangent_basis(x)
    anywhere = Question(classifier, x, y, Everywhere(), examples=(flat(classifier, images.x_train), images.y_train))
    return {
        "anywhere": anywhere,
        "normal": replace(anywhere, space=spanned(basis, normal=True)),
        "tangent": replace(anywhere, space=spanned(basis)),
        "boxed": replace(anywhere, bounds=(0.0, 1.0)),
    }


def ours(question: Question, effort: str, seed: int = 0, *, long: bool = False) -> Answer:
    """The built-in search."""
    before, start = resident(reset=True), time.process_time()
    found = boundary_search(
        question.classifier,
        question.x,
        question.y,
        space=question.space,
        bounds=question.bounds,
        examples=question.examples,
        effort=effort,
        generator=torch.Generator().manual_seed(seed),
    )
    seconds = time.process_time() - start
    forwards, backwards = float(found.forwards.double().mean()), float(found.backwards.double().mean())
    distance = confirmed(question, found.point).tolist()
    return Answer(distance, forwards, backwards, seconds, resident() - before, long)


def theirs(peer: Peer, question: Question, typical: float) -> Answer:
    """A peer: on the images themselves if the search is in the box, else in coordinates."""
    classifier = question.classifier
    shape = (len(question.x), *classifier.input_shape)
    cube, unit = None, 1.0
    if question.bounds is None:
        unit = 1 / (WALLS * typical)
        cube = Coordinates(classifier, question.x, question.y, scale=torch.tensor(1 / unit), space=question.space)
    model = Counted(cube if cube is not None else in_layout_of(classifier)).eval()
    z = question.x.reshape(shape) if cube is None else cube.start()
    before, start = resident(reset=True), time.process_time()
    try:
        made = quietly(peer.call, model, z, question.y, unit)
    except ImportError as error:
        return Answer([], note=f"not installed: {error}")
    except RowsLostError:
        single = [question.rows(slice(i, i + 1)) for i in range(min(SLOW_INPUTS, len(question.x)))]
        return together([theirs(peer, one, typical) for one in single])
    seconds, used = time.process_time() - start, resident() - before
    point = made.reshape(len(made), -1) if cube is None else cube.point(made)
    n = len(question.x)
    distance = confirmed(question, point.detach()).tolist()
    return Answer(distance, model.forwards / n, model.backwards / n, seconds, used, peer.long)


def in_layout_of(classifier: TorchClassifier) -> Callable[[Tensor], Tensor]:
    """The classifier's own function of images, called in the memory layout in which our searches call it."""
    return lambda images: classifier.forward(images.to(memory_format=classifier.layout))


def together(answers: list[Answer]) -> Answer:
    """The answer of an attack that was run for one input at a time."""
    return Answer(
        [length for answer in answers for length in answer.distance],
        float(np.mean([answer.forwards for answer in answers])),
        float(np.mean([answer.backwards for answer in answers])),
        sum(answer.seconds for answer in answers),
        max(answer.megabytes for answer in answers),
        answers[0].long,
    )


def torchattack(name: str, question: Question) -> Answer:
    """An attack of torchattacks, by the adapter."""
    before, start = resident(reset=True), time.process_time()
    try:
        found = TorchAttack(name)(
            question.classifier,
            question.x,
            question.y,
            space=question.space,
            bounds=question.bounds,
            generator=torch.Generator().manual_seed(0),
        )
    except AttackError as error:
        return Answer([], note=f"not installed: {error}")
    seconds, used = time.process_time() - start, resident() - before
    distance = confirmed(question, found.point).tolist()
    return Answer(
        distance, float(found.forwards.double().mean()), float(found.backwards.double().mean()), seconds, used
    )


def confirmed(question: Question, point: Tensor) -> Tensor:
    """Distances (n,) of points (n, D); inf where the label is the same or the point lies outside the box."""
    with torch.no_grad():
        changed = question.classifier.logits(point).argmax(1) != question.y
    if question.bounds is not None:
        low, high = question.bounds
        changed &= ((point >= low - 1e-6) & (point <= high + 1e-6)).all(1)
    return torch.where(changed, (point - question.x).norm(dim=1), torch.inf)


def resident(*, reset: bool = False) -> float:
    """Largest resident memory in MB since the last reset, or now after a reset; 0 on other systems than Linux."""
    status, control = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not status.exists():
        return 0.0
    if reset:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        try:
            control.write_text("5")
        except OSError:
            return 0.0
    return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024


def measured(case: Case, inputs: int, *, peers: bool, say: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """Every attack in every search, for one network."""
    found: dict[str, dict[str, Any]] = {}
    for arm, question in questions(case, inputs).items():
        answers: dict[str, Answer] = {}
        times: dict[str, list[float]] = {}
        for name, run in runs(question, peers=peers, slow=case.seed == 0):
            say(f"{case}, {arm}: {name}")
            answers[name] = run()
            times.setdefault(name, []).append(answers[name].seconds)
        found[arm] = {
            name: {**asdict(answer), "seconds": float(np.median(times[name]))} for name, answer in answers.items()
        }
    return found


def runs(question: Question, *, peers: bool, slow: bool) -> Iterator[tuple[str, Callable[[], Answer]]]:
    """The runs for a question, in order: the reference alternates with the others; slow peers run only if asked for."""
    ours(question.first(2), "quick")  # a first call, whose compilation and caching count for no run
    typical = float(torch.tensor(ours(question, "quick").distance).quantile(0.5))
    for effort in (*EFFORTS, *TIMED) if peers else EFFORTS:
        yield OURS + effort, partial(ours, question, effort)
        if peers:
            yield REFERENCE, partial(theirs, PEERS[0], question, typical)
    yield f"{OURS}thorough, another seed", partial(ours, question, "thorough", 1, long=True)
    for peer in [peer for peer in PEERS[1:] if slow or not peer.slow] if peers else ():
        asked = question.first(SLOW_INPUTS) if peer.slow else question
        yield peer.name, partial(theirs, peer, asked, typical)
    if peers:
        yield "torchattacks FAB", partial(torchattack, "FAB", question)
    if peers and slow:
        yield "torchattacks PGDL2", partial(torchattack, "PGDL2", question.first(SLOW_INPUTS))


def kept(case: Case, inputs: int, *, fresh: bool, peers: bool) -> dict[str, dict[str, Any]]:
    """The result of `measured`, or that of an earlier run of the same code and peers."""
    own = [Path(__file__).with_name(name) for name in ("measuring.py", "peers.py", "networks.py")]
    sources = sorted([*(ROOT / "dmmcheck" / "attacks").rglob("*.py"), *own])
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sources))
    code.update(f"{case} {inputs} {peers} {find_spec('adv_lib') is not None}".encode())
    path = BUILD / f"search-{code.hexdigest()[:16]}.json"
    if path.exists() and not fresh:
        return json.loads(path.read_text())
    result = measured(case, inputs, peers=peers, say=progress)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result))
    return result


def progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
    else:
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()
