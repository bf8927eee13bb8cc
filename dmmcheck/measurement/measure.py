"""The measurements of one model on one sample: computed on demand, in fixed blocks of inputs, and cached."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import takewhile
from typing import Any, TypeVar

import torch
from torch import Tensor

from dmmcheck.attacks import margins
from dmmcheck.attacks.base import Attack, Crossing
from dmmcheck.attacks.decision_based.search import QUERIES
from dmmcheck.attacks.minimal_norm.effort import EFFORTS
from dmmcheck.attacks.minimal_norm.input_gradients import InputGradients
from dmmcheck.attacks.minimal_norm.search import gradients_at
from dmmcheck.attacks.search import boundary_search, search_spaces
from dmmcheck.attacks.search_space import Everywhere, SearchSpace, spanned
from dmmcheck.attacks.waiting import waits
from dmmcheck.data.arrays import PIECE_VALUES
from dmmcheck.errors import CheckError, DmmError, ModelError, one_error
from dmmcheck.inference import stats
from dmmcheck.inference.cost import Cost
from dmmcheck.inference.types import ARMS, BUILTIN, MIN_INPUTS, ArmName, SearchEffort
from dmmcheck.manifolds.fields import Field, TangentField, fingerprint, tangent_of
from dmmcheck.measurement.address import SHARED, UnaddressableError, address_of, is_stored
from dmmcheck.measurement.attack_results import check_crossing
from dmmcheck.measurement.crossings import gradients, joined, joined_in_place, perturbations, replaced
from dmmcheck.measurement.meter import Meter, part_of
from dmmcheck.measurement.sample import Sample, draw_sample, predict
from dmmcheck.measurement.store import BusyError, Store
from dmmcheck.models.base import Classifier, called, evaluating, is_differentiable
from dmmcheck.models.boxed import box_at
from dmmcheck.models.memory import in_batches, lack_of_memory_named
from dmmcheck.seeding import seeded
from dmmcheck.subject import TRAINING_DATA

TRAINING = "training"
NEXT_EFFORT: Mapping[SearchEffort, SearchEffort] = {
    "quick": "thorough",
    "default": "thorough",
    "thorough": "exhaustive",
}
"""The effort that an effort is held against; ``exhaustive`` is no setting."""
TARGETED_EFFORT: Mapping[SearchEffort, SearchEffort] = {
    "quick": "brief",
    "default": "brief",
    "thorough": "default",
    "exhaustive": "thorough",
}
"""The effort of targeted searches, of which there is one for each class, by the effort of the measurement."""
PAIR = ("standard", "robust")
ALTERNATIVE = "alternative"
BASELINE = "baseline"
MOST_PAIRS = 64  # the most that a function is asked for; alpha says how many are
UNTRAINED = tuple(f"untrained {number}" for number in range(64))  # the most that are made; alpha says how many are
MAX_EXAMPLES = 4096  # most examples whose neighbours or perturbations are computed at a time
MAX_TARGETS = 10  # most target classes of targeted searches
ALL_ARMS_INPUTS = 64  # inputs whose crossings in all arms are searched together; all gates ask about these
SEARCH_BLOCK = 64  # later inputs that are searched together: as many as a search of default effort puts in one batch
MOST_GRADIENTS = 1 << 25  # most values of gradients at the first inputs that are kept: 128 MiB in float32
SEARCHED = ("search",)  # the key of a joint search
CLASS_GRADIENTS = ("class-gradients",)  # the key of the gradients at the first inputs, with which searches begin

T = TypeVar("T")


def _part_name(inputs: slice) -> str:
    return f"inputs {inputs.start} to {inputs.stop}"


def of_pair(number: int, name: str) -> str:
    """Return the name of a reference model of a pair of trainings, which count from 0: ``pair 0 robust``."""
    return f"pair {number} {name}"


@dataclass(frozen=True, eq=False)
class LabelledPool:
    """Labelled examples among which neighbours are looked up: x (m, D), y (m,)."""

    x: Tensor
    y: Tensor


class Measure:
    """The measurements of one model on one sample.

    Everything is computed for whole blocks (inputs 0-31, 32-63, 64-127, and so on; 64 inputs at most in joint searches
    by gradients on a CPU), so that a number never depends on
    which check asked for it, in which order, or in which process.

    Args:
        classifier: The model that is measured.
        sample: The inputs, (n, D), and their labels.
        field: Tangent spaces of the inputs.
        examples: Labelled examples among which neighbours are looked up.
        seed: Seed of all random streams.
        effort: Effort of the boundary searches.
        queries: Most model calls of an input in one arm, where the model has no gradients.
        attacks: Further attacks, by the names that `crossings` takes.
        reference_models: Functions that make the reference models, by the names that `paired_model` takes.
        steps: Training steps of the checkpoints, in rising order.
        pairs: Number of pairs of trainings; None where a function makes as many as are asked for.
        trainer: Function from inputs (m, D), labels (m,) and a seed to a trained model; None where there is none.
        progress: Called with a line of text before each slow part of a measurement.
        joint: Whether one search finds the crossings of all three arms of the first inputs, and those of later inputs
            anywhere and in the normal spaces, as for the model under test; otherwise each arm is searched when it is
            asked for.
        meter: Counts what is spent; one of its own where None.
        store: Keeps measurements on disk; none are kept where None.
        session: Shares measurements among the processes of one run; None where there is one process.
        role: What this measures, in words that tell it from all other measurements of a run.
    """

    def __init__(
        self,
        classifier: Classifier,
        sample: Sample,
        field: TangentField,
        *,
        examples: LabelledPool,
        seed: int,
        effort: SearchEffort = "default",
        queries: int = QUERIES,
        attacks: Mapping[str, Attack] | None = None,
        reference_models: Mapping[str, Callable[[], Classifier]] | None = None,
        steps: Sequence[int] = (),
        pairs: int | None = 0,
        trainer: Callable[[Tensor, Tensor, int], Classifier] | None = None,
        progress: Callable[[str], None] = lambda line: None,
        joint: bool = True,
        meter: Meter | None = None,
        store: Store | None = None,
        session: Store | None = None,
        role: str = "",
    ) -> None:
        self.classifier = classifier
        self.sample = sample
        self.field = field
        self.examples = examples
        self.seed = seed
        self.effort = effort
        self.queries = queries
        self.looks = stats.looks(len(sample.x))
        self._attacks = dict(attacks or {})
        self._reference_models = dict(reference_models or {})
        self.steps = tuple(steps)
        self.pairs = pairs
        self.trainer = trainer
        self.progress = progress
        self._joint = joint
        self.meter = meter or Meter()
        self._store = store
        self._session, self._role = session, role
        self._base_role = role  # without the effort that `with_effort` adds
        self._content: str | None = None
        self._whole: tuple[Measure, slice] | None = None  # what this is a part of, and the inputs of the part
        self._others: dict[str, Measure] = {}
        self._blocks: dict[tuple[object, ...], list[object]] = {}
        self._costs: dict[tuple[object, ...], list[Cost]] = {}
        # Blocks by their first inputs that were measured while another process was measuring one before them.
        self._ahead: dict[tuple[object, ...], dict[int, tuple[object, Cost]]] = {}
        self._latest: dict[tuple[object, ...], tuple[int, object]] = {}

    def paired_model(self, name: str) -> Measure:
        """Return the same measurements of a reference model on the same inputs and tangent spaces.

        Models of pairs are measured at the true labels; other reference models at their own predictions,
        since the errors of an untrained network say nothing about where its boundary is.

        Args:
            name: ``standard``, ``robust``, ``untrained 0``, ``untrained 1``, ..., ``checkpoint STEP``,
                ``baseline``, or as `of_pair` gives it.

        Raises:
            CheckError: The reference model cannot be made or used.
        """
        if self._whole is not None:
            whole, inputs = self._whole
            return whole.paired_model(name).part(inputs)
        if name not in self._others:
            try:
                model = self._reference_models[name]()
                if model is self.classifier:
                    return self
                sample = self.sample
                if name not in (*PAIR, ALTERNATIVE, BASELINE) and not name.startswith("pair "):
                    sample = replace(sample, y=predict(model, sample.x))
            except DmmError as error:
                raise CheckError(f"{error}") from (error.__cause__ or error)
            self._others[name] = self._of(name, model, sample, self.field)
        return self._others[name]

    def measured_models(self) -> dict[str, Measure]:
        """Return the measurements on the same inputs of the reference models that were asked for, by their names."""
        whole, inputs = (self, None) if self._whole is None else self._whole
        asked = {name: other for name, other in whole._others.items() if name in whole._reference_models}
        if inputs is None:
            return asked
        parts = {name: other._others.get(_part_name(inputs)) for name, other in asked.items()}
        return {name: part for name, part in parts.items() if part is not None}

    def has_reference_model(self, name: str) -> bool:
        """Return whether the subject has a reference model of this name."""
        if self._whole is not None:
            return self._whole[0].has_reference_model(name)
        return name in self._reference_models

    def correctly_classified(self) -> Measure:
        """Return the measurements at the inputs that this model classifies correctly; at all where these are under 8.

        The accuracy of the new sample is that of this model over the inputs of the present one.
        """
        sample = self.sample
        correct = predict(self.classifier, sample.x) == sample.y
        if bool(correct.all()):
            return self
        largest = float(torch.bincount(sample.y).max())
        known = replace(
            sample, accuracy=float(correct.double().mean()), majority=largest / len(correct), labelled=len(correct)
        )
        few = int(correct.sum()) < MIN_INPUTS
        kept = known if few else replace(known, x=sample.x[correct], y=sample.y[correct])
        field = TangentField(self.field.manifold, kept.x)
        return self._of("correctly classified", self.classifier, kept, field, joint=True)

    def more_thorough(self) -> Measure:
        """Return the same measurements with the next effort of the search: thorough, or exhaustive after thorough."""
        return self.with_effort(NEXT_EFFORT[self.effort])

    def with_effort(self, effort: SearchEffort) -> Measure:
        """Return the same measurements with another effort of the search, of the reference models too.

        Args:
            effort: An effort of the search, also ``exhaustive``, which is no setting.
        """
        name = f"{effort} effort"
        if effort == self.effort:
            return self
        if name not in self._others:
            other = Measure(
                self.classifier,
                self.sample,
                self.field,
                examples=self.examples,
                seed=self.seed,
                effort=effort,
                queries=self.queries,
                attacks=self._attacks,
                reference_models=self._reference_models,
                steps=self.steps,
                pairs=self.pairs,
                trainer=self.trainer,
                progress=self.progress,
                joint=self._joint,
                meter=self.meter,
                store=self._store,
                session=self._session,
                role=f"{self._base_role}, {name}",
            )
            other._base_role = self._base_role
            other.looks = self.looks
            self._others[name] = other
        return self._others[name]

    def part(self, inputs: slice) -> Measure:
        """Return the same measurements at some of the inputs, with the free crossings of the built-in search."""
        name = _part_name(inputs)
        if name not in self._others:
            x, y = self.sample.x[inputs], self.sample.y[inputs]
            other = self._of(
                name, self.classifier, replace(self.sample, x=x, y=y), TangentField(self.field.manifold, x)
            )
            other.steps, other.pairs, other._whole = self.steps, self.pairs, (self, inputs)
            found = self.crossings(inputs.stop, "free")
            kept = Crossing(**{part.name: getattr(found, part.name)[inputs] for part in fields(Crossing)})
            other.cached_blocks(other.crossing_keys("free", BUILTIN)[-1], len(x), lambda rows: (kept, 0))
            self._others[name] = other
        return self._others[name]

    def training(self) -> Measure:
        """Return the same measurements at training examples, at most as many as there are inputs.

        Raises:
            CheckError: The model classifies fewer than 8 of the examples correctly.
        """
        if TRAINING not in self._others:
            limit, examples = len(self.sample.x), self.examples
            try:
                sample = draw_sample(
                    self.classifier, examples.x, examples.y, seed=self.seed, limit=limit, are_all_judged=False
                )
            except DmmError as error:
                raise CheckError(f"{TRAINING_DATA}: {error}") from (error.__cause__ or error)
            field = TangentField(self.field.manifold, sample.x)
            self._others[TRAINING] = self._of(TRAINING, self.classifier, sample, field)
        return self._others[TRAINING]

    def _of(
        self, name: str, classifier: Classifier, sample: Sample, field: TangentField, *, joint: bool = False
    ) -> Measure:
        return Measure(
            classifier,
            sample,
            field,
            examples=self.examples,
            seed=self.seed,
            effort=self.effort,
            queries=self.queries,
            attacks=self._attacks,
            joint=joint,
            meter=self.meter,
            store=self._store,
            session=self._session,
            role=f"{self._role}, {name}",
        )

    def cached_blocks(self, key: tuple[object, ...], n: int, compute: Callable[[slice], tuple[T, int]]) -> list[T]:
        """Return the results for the blocks that cover the first n inputs, computed where they are not cached yet.

        Args:
            key: What is computed.
            n: Number of inputs.
            compute: From the rows of a block to its result and the number of gradient evaluations.

        Raises:
            OutOfTimeError: The time of ``max-time`` was over before a block began.
        """
        results, costs = self._blocks.setdefault(key, []), self._costs.setdefault(key, [])
        blocks, ahead = self._cover(n, key), self._ahead.setdefault(key, {})
        missing = blocks[len(results) :]
        try:
            if len(missing) > 1 and (self._store is not None or self._session is not None):
                self._measure_where_free(key, missing, compute)
            for rows in missing:
                if rows.start not in ahead:
                    ahead[rows.start] = self._measured(key, partial(compute, rows), rows)
        finally:  # what was measured before an error is kept
            for rows in takewhile(lambda rows: rows.start in ahead, missing):
                result, cost = ahead.pop(rows.start)
                results.append(result)
                costs.append(cost)
        return results[: len(blocks)]  # type: ignore[return-value]

    def _measure_where_free(
        self, key: tuple[object, ...], blocks: Sequence[slice], compute: Callable[[slice], tuple[object, int]]
    ) -> None:
        """Measure those blocks that no other process is measuring."""
        ahead = self._ahead[key]
        for rows in blocks:
            if rows.start not in ahead:
                with suppress(BusyError):
                    ahead[rows.start] = self._measured(key, partial(compute, rows), rows, wait=False)

    def cached(
        self, key: tuple[object, ...], compute: Callable[[], tuple[T, int]], *, beside: object = None
    ) -> tuple[T, Cost]:
        """Return the result that is cached under a key, and its cost.

        Args:
            key: What is computed; include the number of inputs where the result depends on it.
            compute: Gives the result and the number of gradient evaluations; called where nothing is cached yet.
            beside: What else the result depends on, for the store.

        Raises:
            OutOfTimeError: The time of ``max-time`` was over before it began.
        """
        if key not in self._blocks:
            result, cost = self._measured(key, compute, slice(None), beside)
            self._blocks[key], self._costs[key] = [result], [cost]
        return self._blocks[key][0], self._costs[key][0]  # type: ignore[return-value]

    def _measured(
        self,
        key: tuple[object, ...],
        compute: Callable[[], tuple[T, int]],
        rows: slice,
        beside: object = None,
        *,
        wait: bool = True,
    ) -> tuple[T, Cost]:
        """Return the result of a measurement that is not cached yet, from the store or anew, and its cost.

        Raises:
            BusyError: Another process is measuring it, and this one shall not wait.
        """

        def begin() -> tuple[T, int]:
            self.meter.refuse_late()
            return compute()

        start = time.perf_counter()
        size = len(self.sample.x[rows])
        with lack_of_memory_named(size), self.meter.measuring(part_of(key)), self.meter.reporting() as reported:
            result, evaluations = self._from_store(key, begin, rows, beside, wait=wait)
            reported.append(evaluations)
        return result, Cost(gradient_evaluations=evaluations, seconds=time.perf_counter() - start)

    def _from_store(
        self,
        key: tuple[object, ...],
        begin: Callable[[], tuple[T, int]],
        rows: slice,
        beside: object,
        *,
        wait: bool,
    ) -> tuple[T, int]:
        """Return a measurement from the store, else from the other processes of the session, else anew."""
        device, session = self.classifier.device, self._session

        def shared() -> tuple[T, int]:
            address = "" if session is None else self._address_in_session(key, rows)
            if session is None or not address:
                return begin()
            return session.measured(address, begin, device, wait=wait)

        address = "" if self._store is None else self._address(self._store, key, rows, beside)
        if self._store is None or not address:
            return shared()
        return self._store.measured(address, shared, device, wait=wait)

    def _address(self, store: Store, key: tuple[object, ...], rows: slice, beside: object) -> str:
        """Return the address of a measurement in the store; "" where it is not stored."""
        if not is_stored(key, self._attacks):
            return ""
        try:
            if self._content is None:
                self._content = ""
                self._content = address_of(*self._dependencies())
            if not self._content:
                return ""
            return address_of(self._content, key, self.sample.x[rows], self.sample.y[rows], beside)
        except UnaddressableError as error:
            store.refused.setdefault(str(error))
            return ""

    def _address_in_session(self, key: tuple[object, ...], rows: slice) -> str:
        """Return the address of a measurement among the processes of a session.

        These processes have the same subject and settings.
        """
        if key[0] not in SHARED:
            return ""
        try:
            return address_of("session", self._role, key, self.sample.x[rows], self.sample.y[rows])
        except UnaddressableError:  # a statistic of the user's own, which each process computes
            return ""

    def _dependencies(self) -> tuple[object, ...]:
        """Return what every measurement depends on: model, manifold, examples, settings, and a few answers of these.

        A draw of a control at a part of the inputs can give these the tangent spaces of any input of the whole.
        """
        classifier, x = self.classifier, self.sample.x[:8]
        with evaluating(classifier), torch.no_grad():
            answers = (called(classifier, x), fingerprint(self.field, x), self.field.manifold.project_point(x))
        settings = (self.seed, self.effort, self.queries, self._joint, self.target_classes())
        whole = None if self._whole is None else (self._whole[0].sample.x, self._whole[0].sample.y)
        return classifier, self.field.manifold, self.examples.x, self.examples.y, whole, settings, answers

    def cost(self, key: tuple[object, ...], n: int) -> Cost:
        """Return the cost of the cached blocks of a key that cover the first n inputs."""
        return total(self._costs.get(key, [])[: len(self._cover(n, key))])

    def crossings(self, n: int, arm: ArmName, attack: str = BUILTIN) -> Crossing:
        """Return the nearest crossings of the first n inputs in one arm.

        Args:
            n: Number of inputs.
            arm: ``"free"``, ``"tangent"`` or ``"normal"``.
            attack: Name of the attack; the built-in search where it is left out.

        Raises:
            AttackError: An attack of the settings raised, or returned something other than crossings.
        """
        return self._of_latest(("crossings", arm, attack), n, lambda: self._joined_crossings(n, arm, attack))

    def _joined_crossings(self, n: int, arm: ArmName, attack: str) -> Crossing:
        key = self.crossing_keys(arm, attack)[-1]
        if attack != BUILTIN:
            return joined(self.cached_blocks(key, n, lambda rows: self._attack_block(rows, arm, attack)), n)
        if self._joint:
            blocks = self.cached_blocks(SEARCHED, n, self._search_block)
            if key == SEARCHED:
                return joined_in_place([block[arm] for block in blocks], n)
            self._take_over(key, [block[arm] for block in takewhile(lambda block: arm in block, blocks)])
        return joined_in_place(self.cached_blocks(key, n, lambda rows: self._arm_block(rows, arm)), n)

    def _take_over(self, key: tuple[object, ...], results: Sequence[object]) -> None:
        """Cache results for the first blocks under a key, where they were found under another key that has their cost.

        Blocks that are cached under the key stay as they are.
        """
        kept, costs = self._blocks.setdefault(key, []), self._costs.setdefault(key, [])
        more = results[len(kept) :]
        kept += more
        costs += [Cost()] * len(more)

    def perturbations(self, n: int, arm: ArmName, attack: str = BUILTIN) -> Tensor:
        """Return the perturbations (n, D) to the nearest crossings of the first n inputs; NaN where none was found.

        The tensor is the caller's own.
        """
        x = self.sample.x[:n]
        if x.numel() > PIECE_VALUES:  # too large to be kept beside the crossings
            return perturbations(self.crossings(n, arm, attack), x)
        key = ("perturbations", arm, attack)
        return self._of_latest(key, n, lambda: perturbations(self.crossings(n, arm, attack), x)).clone()

    def _of_latest(self, key: tuple[object, ...], n: int, compute: Callable[[], T]) -> T:
        """Return a result for the first n inputs, which is kept until it is asked for another number of inputs.

        Thousands of draws of a control ask for the same one.
        """
        kept = self._latest.get(key)
        if kept is None or kept[0] != n:
            kept = self._latest[key] = (n, compute())
        return kept[1]  # type: ignore[return-value]

    def crossing_keys(self, arm: ArmName, attack: str) -> tuple[tuple[object, ...], ...]:
        """Return the keys under which the crossings of an arm are cached. The last key has the crossings of all inputs.

        A joint search finds those of the first inputs in the tangent spaces with those of the other arms, and caches
        them under the key before. The first key has the gradients that it begins with.
        """
        if attack != BUILTIN or not self._joint:
            return (("attack", attack, arm),)
        return (CLASS_GRADIENTS, SEARCHED, *([(*SEARCHED, arm)] if arm == "tangent" else []))

    def targeted(self, n: int, arm: ArmName) -> tuple[tuple[int, ...], list[Crossing]]:
        """Return at most 10 target classes, shared by all inputs, and the first n inputs' crossings into each."""
        classes = self.target_classes()

        def joined_into(label: int) -> Crossing:
            key, block = ("targeted", arm, label), partial(self._targeted_block, arm=arm, label=label)
            return joined_in_place(self.cached_blocks(key, n, block), n)

        return classes, [self._of_latest(("targeted", arm, label), n, partial(joined_into, label)) for label in classes]

    def target_classes(self) -> tuple[int, ...]:
        """Return the target classes of targeted searches: all, or ten drawn from the seed where there are more."""
        order = torch.randperm(self.classifier.classes, generator=seeded(self.seed, "targets"))
        return tuple(sorted(order[:MAX_TARGETS].tolist()))

    def search_in(self, rows: slice, arm: ArmName, field: Field, effort: SearchEffort) -> Crossing:
        """Return the nearest crossings of some inputs in one arm, in another tangent field or with another effort.

        The crossings are not cached.
        """
        return boundary_search(
            self.classifier,
            self.sample.x[rows],
            self.sample.y[rows],
            space=arm_space(field, rows, arm),
            examples=(self.examples.x, self.examples.y),
            effort=effort,
            generator=seeded(self.seed, "search"),
            queries=self.queries,
            known=self._known_at(rows),
        )

    def search_fields(self, n: int, arm: ArmName, fields: Sequence[Field], effort: SearchEffort) -> list[Crossing]:
        """Return the nearest crossings of the first n inputs in one arm of several tangent fields, by one search.

        The crossings are not cached.
        """
        rows = slice(0, n)
        return search_spaces(
            self.classifier,
            self.sample.x[rows],
            self.sample.y[rows],
            [arm_space(field, rows, arm) for field in fields],
            examples=(self.examples.x, self.examples.y),
            effort=effort,
            generator=seeded(self.seed, "search"),
            queries=self.queries,
            known=self._known_at(rows),
        )

    def has(self, key: tuple[object, ...]) -> bool:
        """Return whether a result is cached under a key."""
        return key in self._blocks

    def is_known(self, key: tuple[object, ...]) -> bool:
        """Return whether this process or another one of the session has a result for all inputs under a key."""
        if self.has(key) or self._session is None:
            return self.has(key)
        address = self._address_in_session(key, slice(None))
        return address != "" and self._session.holds(address)

    def keep(self, key: tuple[object, ...], result: object) -> None:
        """Cache a result that was found together with other results, which carry its cost."""
        self._blocks[key], self._costs[key] = [result], [Cost()]

    def prepared(self, key: tuple[object, ...], compute: Callable[[], T]) -> T:
        """Return what is computed once, and is no measurement of its own that max-time may end."""
        if not self.has(key):
            self.keep(key, compute())
        return self._blocks[key][0]  # type: ignore[return-value]

    def boundary_gradients(self, n: int, attack: str) -> Tensor:
        """Return the margin gradient (n, D) at the nearest crossings of the first n inputs; NaN where there is none."""

        def block(rows: slice) -> tuple[Tensor, int]:
            crossing = self.crossings(rows.stop, "free", attack)
            y = self.sample.y[rows]
            gradient = margin_gradient(self.classifier, crossing.point[rows].to(self.sample.x), y)
            return torch.where(crossing.found[rows].to(y.device)[:, None], gradient, torch.nan), len(y)

        return torch.cat(self.cached_blocks(("boundary-gradient", attack), n, block))[:n]

    def input_gradients(self, n: int) -> Tensor:
        """Return the margin gradient (n, D) at the first n inputs."""

        def block(rows: slice) -> tuple[Tensor, int]:
            gradient = margin_gradient(self.classifier, self.sample.x[rows], self.sample.y[rows])
            return gradient, rows.stop - rows.start

        return torch.cat(self.cached_blocks(("input-gradient",), n, block))[:n]

    def _cover(self, n: int, key: tuple[object, ...]) -> list[slice]:
        """Return the blocks that hold the first n inputs; joint searches by gradients have smaller ones.

        Several processes search these at the same time.
        """
        ends = [look for look in self.looks if look < n]
        ends.append(next(look for look in self.looks if look >= n))
        blocks = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
        if key[:1] != SEARCHED or waits(self.sample.x) or not is_differentiable(self.classifier):
            return blocks
        return [piece for block in blocks for piece in _pieces(block)]

    def _joint_arms(self, rows: slice) -> tuple[ArmName, ...]:
        """Return the arms that a joint search of some inputs covers."""
        has_all = rows.start < ALL_ARMS_INPUTS or not is_differentiable(self.classifier)
        return ARMS if has_all else ("free", "normal")

    def _search_block(self, rows: slice) -> tuple[dict[ArmName, Crossing], int]:
        """Return the crossings of some inputs in all arms or, beyond the first inputs, in all but the tangent spaces.

        Claims that ask about tangent spaces are mostly decided by then. A crossing in the tangent space that is found
        later replaces no crossing anywhere, so that no result depends on the order in which arms are asked for. A
        search by labels alone starts in each arm from the crossings anywhere, and always searches all arms together.
        """
        tangent = tangent_of(self.field, rows)
        every: dict[ArmName, SearchSpace] = {
            "free": Everywhere(),
            "tangent": spanned(tangent),
            "normal": spanned(tangent, normal=True),
        }
        spaces = {arm: every[arm] for arm in self._joint_arms(rows)}
        found = search_spaces(
            self.classifier,
            self.sample.x[rows],
            self.sample.y[rows],
            list(spaces.values()),
            examples=(self.examples.x, self.examples.y),
            effort=self.effort,
            generator=seeded(self.seed, "search"),
            queries=self.queries,
            known=self._known_at(rows),
        )
        return dict(zip(spaces, found, strict=True)), sum(gradients(crossing) for crossing in found)

    def _known_at(self, rows: slice, index: Tensor | slice = slice(None)) -> InputGradients | None:
        """Return the gradients at some of the first inputs, for their searches; None where none are kept.

        Many searches of the first inputs begin with these gradients: all arms, draws of controls, estimates of other
        dimensions, and targeted searches. They are computed for whole blocks, like everything else, so that no result
        depends on the order in which they are asked for.

        Args:
            rows: The inputs.
            index: Which of these.
        """
        if self._whole is not None:
            whole, inputs = self._whole
            return whole._known_at(slice(inputs.start + rows.start, inputs.start + rows.stop), index)
        classes = min(EFFORTS[self.effort].nearest_classes, self.classifier.classes - 1)
        is_large = ALL_ARMS_INPUTS * self.sample.x.shape[1] * classes > MOST_GRADIENTS
        if not self._joint or is_large or rows.stop > ALL_ARMS_INPUTS or not is_differentiable(self.classifier):
            return None

        def block(some: slice) -> tuple[tuple[Tensor, ...], int]:
            found = gradients_at(self.classifier, self.sample.x[some], self.sample.y[some], effort=self.effort)
            return (found.logits, found.classes, found.gradients), found.classes.numel()

        blocks = self.cached_blocks(CLASS_GRADIENTS, rows.stop, block)
        return InputGradients(*(torch.cat(column) for column in zip(*blocks, strict=True))).rows(rows).rows(index)

    def _arm_block(self, rows: slice, arm: ArmName) -> tuple[Crossing, int]:
        crossing = self.search_in(rows, arm, self.field, self.effort)
        return crossing, gradients(crossing)

    def _targeted_block(self, rows: slice, arm: ArmName, label: int) -> tuple[Crossing, int]:
        x, y = self.sample.x[rows], self.sample.y[rows]
        known = self._reached(rows, arm)
        left = torch.arange(len(y), device=y.device) if known is None else torch.nonzero(known[1] != label).squeeze(1)
        if known is not None and not len(left):
            return known[0], 0
        crossing = boundary_search(
            self.classifier,
            x[left],
            y[left],
            space=arm_space(self.field, rows, arm).rows(left),
            targets=torch.full_like(y[left], label),
            examples=(self.examples.x, self.examples.y),
            effort=TARGETED_EFFORT[self.effort],
            generator=seeded(self.seed, "search"),
            queries=self.queries,
            known=self._known_at(rows, left),
        )
        return crossing if known is None else replaced(known[0], left, crossing), gradients(crossing)

    def reused_costs(self, n: int, arm: ArmName) -> dict[tuple[object, ...], Cost]:
        """Return the keys and costs of those nearest crossings that targeted searches of the first n inputs reuse."""
        reused = min(n, self.reused_crossings())
        return {key: self.cost(key, reused) for key in self.crossing_keys(arm, BUILTIN)} if reused else {}

    def reused_crossings(self) -> int:
        """Return for how many inputs the nearest crossing replaces the search for the class that it reaches."""
        return ALL_ARMS_INPUTS if self._joint and TARGETED_EFFORT[self.effort] == "brief" else 0

    def _reached(self, rows: slice, arm: ArmName) -> tuple[Crossing, Tensor] | None:
        """Return the nearest crossings of some inputs, and the labels (r,) there; None where these are not searched.

        A nearest crossing is also the nearest one into the class that it reaches, so that no targeted search is needed
        for that class. All gates ask about the first inputs, so that their crossings are there anyway. With more effort
        the class is searched nevertheless: only few inputs of a measurement that others are held against are searched.
        """
        if rows.stop > self.reused_crossings():
            return None
        block = self.cached_blocks(SEARCHED, rows.stop, self._search_block)[-1][arm]
        nothing = torch.zeros_like(block.forwards)
        found = replace(block, forwards=nothing, backwards=nothing)  # the search of the block has counted them
        y = self.sample.y[rows]
        labels = self.prepared(
            ("reached", arm, rows.start), lambda: predict(self.classifier, found.point.to(self.sample.x)).to(y)
        )
        return found, torch.where(found.found.to(y.device) & (labels != y), labels, -1)

    def _attack_block(self, rows: slice, arm: ArmName, name: str) -> tuple[Crossing, int]:
        x, y = self.sample.x[rows], self.sample.y[rows]
        space, generator = arm_space(self.field, rows, arm), seeded(self.seed, "attack", name)
        attack, box = self._attacks[name], box_at(self.classifier, x)
        try:
            with evaluating(self.classifier), one_error(f"the attack {name}", "leave it out of attacks", CheckError):
                kept: dict[str, Any] = {} if box is None else {"bounds": box}
                crossing = attack(self.classifier, x.clone(), y.clone(), space=space, generator=generator, **kept)
        except (CheckError, ModelError):
            raise
        except DmmError as error:
            raise CheckError(f"{error}") from (error.__cause__ or error)
        check_crossing(crossing, x, space, name, box)
        return crossing, gradients(crossing)


def _pieces(block: slice) -> list[slice]:
    """Return the parts of a block that are searched one by one; one that begins within the first inputs stays whole."""
    if block.start < ALL_ARMS_INPUTS:
        return [block]
    return [slice(at, min(at + SEARCH_BLOCK, block.stop)) for at in range(block.start, block.stop, SEARCH_BLOCK)]


def arm_space(field: Field, rows: slice, arm: ArmName) -> SearchSpace:
    """Return the search space of an arm: everywhere, the tangent spaces of some inputs, or their normal spaces."""
    return Everywhere() if arm == "free" else spanned(tangent_of(field, rows), normal=arm == "normal")


def margin_gradient(classifier: Classifier, points: Tensor, y: Tensor) -> Tensor:
    """Return the gradient (m, D) of the logit margin at points (m, D); zero where the model does not depend on them."""
    with evaluating(classifier):
        return in_batches(points, lambda rows: margins.margin_gradient(classifier, points[rows], y[rows])[1])


def total(costs: Sequence[Cost]) -> Cost:
    """Return the sum of costs."""
    return Cost(
        gradient_evaluations=sum(cost.gradient_evaluations for cost in costs),
        seconds=sum(cost.seconds for cost in costs),
    )
