"""What one attack finds, and at what cost: the measurements that `benchmarks.search` makes a report of."""

from __future__ import annotations

import ctypes
import gc
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.networks import BUILD, Case, load, network
from benchmarks.peers import PEERS, REFERENCE, Peer, quietly
from dmmcheck.attacks.minimal_norm.search import EFFORTS, boundary_search
from dmmcheck.attacks.torchattacks.attack import TorchAttack
from dmmcheck.attacks.torchattacks.coordinates import Coordinates, RowsLostError, Space
from dmmcheck.errors import AttackError
from dmmcheck.manifolds import PCA
from dmmcheck.models.torch import TorchClassifier, adapt

ROOT = Path(__file__).parents[1]
SLOW_INPUTS = 4  # of the attacks that take thousands of passes, or one input at a time
DIM = {"digits": 8, "Fashion-MNIST": 16}
WALLS = 4.0  # side of the peers' unit cube in median distances: what is shorter than twice the median meets no wall
OURS = "dmmcheck "
TIMED = ("quick", "default") * 4  # more runs of these, for their times


@dataclass(frozen=True, eq=False)
class Question:
    """Where the nearest label change of some inputs is asked for."""

    classifier: TorchClassifier
    x: Tensor  # (n, D)
    y: Tensor
    basis: Tensor | None
    normal: bool
    bounds: tuple[float, float] | None

    def rows(self, rows: slice) -> Question:
        """The same of some of the inputs."""
        return Question(self.classifier, self.x[rows], self.y[rows], self.basis, self.normal, self.bounds)

    def first(self, n: int) -> Question:
        """The same of the first inputs."""
        return self.rows(slice(n))


@dataclass(frozen=True)
class Answer:
    """What an attack found; passes are means an input."""

    distance: list[float]
    forwards: float = 0.0
    backwards: float = 0.0
    seconds: float = 0.0
    megabytes: float = 0.0
    long: bool = False
    note: str = ""


class Counted(nn.Module):
    """A model that counts the rows it is asked for, forward and backward."""

    def __init__(self, model: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.call = (model,)
        self.forwards = self.backwards = 0

    def forward(self, z: Tensor) -> Tensor:
        logits = self.call[0](z)
        self.forwards += len(z)
        if logits.requires_grad:
            logits.register_hook(self._count)
        return logits

    def _count(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


def questions(case: Case, inputs: int) -> dict[str, Question]:
    """The four arms for the first correctly classified test images, in an order drawn from the seed."""
    images = load(case.data)
    classifier = adapt(network(case), images.x_test)
    order = torch.randperm(len(images.x_test), generator=torch.Generator().manual_seed(case.seed))[: 4 * inputs]
    x, y = classifier.flat(images.x_test[order]), images.y_test[order]
    with torch.no_grad():
        right = torch.nonzero(classifier.logits(x).argmax(1) == y).reshape(-1)[:inputs]
    x, y = x[right], y[right]
    basis = PCA(dim=DIM[case.data]).fit(images.x_train).tangent_basis(x)
    return {
        "anywhere": Question(classifier, x, y, None, False, None),
        "normal": Question(classifier, x, y, basis, True, None),
        "tangent": Question(classifier, x, y, basis, False, None),
        "boxed": Question(classifier, x, y, None, False, (0.0, 1.0)),
    }


def ours(question: Question, effort: str, seed: int = 0, *, long: bool = False) -> Answer:
    """Our search."""
    before, start = resident(reset=True), time.process_time()
    found = boundary_search(
        question.classifier,
        question.x,
        question.y,
        subspace=question.basis,
        normal=question.normal,
        bounds=question.bounds,
        effort=effort,
        generator=torch.Generator().manual_seed(seed),
    )
    seconds = time.process_time() - start
    forwards, backwards = float(found.forwards.double().mean()), float(found.backwards.double().mean())
    distance = confirmed(question, found.point).tolist()
    return Answer(distance, forwards, backwards, seconds, resident() - before, long)


def theirs(peer: Peer, question: Question, typical: float) -> Answer:
    """A peer: on the images themselves where it is asked for the box, else in coordinates."""
    classifier = question.classifier
    shape = (len(question.x), *classifier.input_shape)
    cube, unit = None, 1.0
    if question.bounds is None:
        unit = 1 / (WALLS * typical)
        space = Space(question.basis, question.normal)
        cube = Coordinates(classifier, question.x, question.y, scale=torch.tensor(1 / unit), space=space)
    model = Counted(cube if cube is not None else classifier.forward).eval()
    z = question.x.reshape(shape) if cube is None else cube.start()
    before, start = resident(reset=True), time.process_time()
    try:
        made = quietly(peer.call, model, z, question.y, unit)
    except ImportError as error:
        return Answer([], note=f"not installed: {error}")
    except RowsLostError:
        alone = [question.rows(slice(i, i + 1)) for i in range(min(SLOW_INPUTS, len(question.x)))]
        return together([theirs(peer, one, typical) for one in alone])
    seconds, used = time.process_time() - start, resident() - before
    point = made.reshape(len(made), -1) if cube is None else cube.point(made)
    n = len(question.x)
    distance = confirmed(question, point.detach()).tolist()
    return Answer(distance, model.forwards / n, model.backwards / n, seconds, used, peer.long)


def together(answers: list[Answer]) -> Answer:
    """One answer of attacks on one input each, for those that do not keep a batch together."""
    return Answer(
        [length for answer in answers for length in answer.distance],
        float(np.mean([answer.forwards for answer in answers])),
        float(np.mean([answer.backwards for answer in answers])),
        sum(answer.seconds for answer in answers),
        max(answer.megabytes for answer in answers),
        answers[0].long,
    )


def torchattack(name: str, question: Question) -> Answer:
    """An attack of torchattacks, by our adapter."""
    before, start = resident(reset=True), time.process_time()
    try:
        found = TorchAttack(name)(
            question.classifier,
            question.x,
            question.y,
            subspace=question.basis,
            normal=question.normal,
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
    """Lengths (n,) of the steps to points (n, D); inf where the label has not changed or the point left the box."""
    with torch.no_grad():
        changed = question.classifier.logits(point).argmax(1) != question.y
    if question.bounds is not None:
        low, high = question.bounds
        changed &= ((point >= low - 1e-6) & (point <= high + 1e-6)).all(1)
    return torch.where(changed, (point - question.x).norm(dim=1), torch.inf)


def resident(*, reset: bool = False) -> float:
    """Largest resident memory since the last reset, MB; after a reset what is resident now. 0 where not Linux."""
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
    """Every attack in every arm, for one network."""
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
    """What to run on a question, in order: the reference between the others; slow peers only where asked for."""
    ours(question.first(2), "quick")  # what is compiled or cached at the first call belongs to nobody
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
    """`measured`, or what an earlier run of the same code and peers left."""
    own = [Path(__file__).with_name(name) for name in ("measuring.py", "peers.py", "networks.py")]
    sources = sorted([*(ROOT / "dmmcheck" / "attacks").glob("*.py"), *own])
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
