"""All gates together: sound networks pass, masked ones fail, and gates that users add."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import contexts
import pytest
import torch
import views
from contexts import Masked
from torch import nn

import dmmcheck
from dmmcheck import worlds
from dmmcheck.attacks.base import Crossing
from dmmcheck.errors import CheckError, ModelError, RegistryError
from dmmcheck.registry import GATES
from dmmcheck.report.model import Soundness
from dmmcheck.soundness import assess, bounded, info, judged

GRADIENTS, SEGMENT = {"gradients": "gradients"}, {"segment": "segment-probe"}
MASKED: dict[str, tuple[Callable[[nn.Module], nn.Module], dict[str, str]]] = {
    "saturated softmax": (lambda f: Masked(f, after=lambda z: (50 * z).softmax(1)), GRADIENTS | SEGMENT),
    "quantised input": (lambda f: Masked(f, lambda x: (16 * x).round() / 16), GRADIENTS | SEGMENT),
    "rounded logits": (lambda f: Masked(f, after=lambda z: z.round()), GRADIENTS | SEGMENT),
    "step": (
        lambda f: Masked(f, lambda x: (x > 0.5).to(x.dtype)),
        {**GRADIENTS, "transfer": "transfer", "planted-tangent": "planted-boundaries"},
    ),
    "ripple": (
        lambda f: Masked(f, lambda x: x + 0.02 * torch.sin(400 * x)),
        {"finite-differences": "finite-differences"},
    ),
    "noise": (contexts.noise, {"deterministic": "deterministic", "found-free": "found"}),
    "constant": (
        lambda f: Masked(f, after=lambda z: 0 * z + torch.eye(10)[3]),
        {"not-constant": "not-constant", "above-chance": "above-chance"},
    ),
}
"""A mask, and the items that fail behind it, each with its gate: the other gates need not run, and they take long."""
HARMLESS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "plain": lambda f: f,
    "softmax": lambda f: Masked(f, after=lambda z: z.softmax(1)),
    "x 1000": lambda f: Masked(f, after=lambda z: 1000 * z),
    "/ 1000": lambda f: Masked(f, after=lambda z: z / 1000),
}
BUILT_IN = (
    *("evaluation-mode", "deterministic", "batch-independent", "finite", "not-constant", "above-chance"),
    *(
        "model-in-place",
        "probabilities",
        "labels-confirmed",
        "gradients",
        "finite-differences",
        "found",
        "effort",
        "nesting",
        "kkt",
    ),
    *("flatness", "box", "segment-probe", "random-ray-probe", "transfer", "independent-attack"),
    *("planted-boundaries", "orthonormal", "residual", "label-agreement", "effective-rank", "linearity"),
    *("tangent-angles", "intrinsic-dimension", "along-manifold"),
    *(
        "in-place",
        "tangent-repeats",
        "batch-independent-manifold",
        "disjoint",
        "independent-inputs",
        "training-scale",
        "training-data",
        "feature-units",
        "constant",
        "ignored",
    ),
)


def test_the_built_in_gates_are_registered_in_report_order():
    assert tuple(GATES)[: len(BUILT_IN)] == BUILT_IN
    families = [GATES[name].family for name in BUILT_IN]
    assert list(dict.fromkeys(families)) == ["model", "attack", "manifold"]
    assert families == sorted(families, key=("model", "attack", "manifold").index)


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        *((name, 0) for name in HARMLESS if name not in {"plain", "x 1000"}),
        pytest.param("x 1000", 0, marks=pytest.mark.heavy),
        pytest.param("plain", 1, marks=pytest.mark.heavy),
        pytest.param("softmax", 1, marks=pytest.mark.heavy),
    ],
)
def test_a_sound_network_fails_no_gate(name: str, seed: int):
    assert_sound(assess(contexts.digits_context(HARMLESS[name](contexts.network(seed)), 32)))


def test_the_network_that_the_other_tests_start_from_fails_no_gate():
    assert_sound(tuple(contexts.sound().values()))


def assert_sound(items: tuple[Soundness, ...]) -> None:
    assert contexts.failed(items) == set()
    assert sum(item.ok is True for item in items) >= 18


@pytest.mark.parametrize(("name", "seed"), [*((name, 0) for name in MASKED), ("ripple", 1), ("noise", 1)])
def test_a_masked_network_is_caught(name: str, seed: int):
    mask, expected = MASKED[name]
    assert_caught(mask(contexts.network(seed)), expected)


def assert_caught(model: Callable[..., object], expected: dict[str, str], n: int = 24, effort: str = "default") -> None:
    context = contexts.digits_context(model, n, effort)
    items = {
        item: said for gate in expected.values() for item, said in contexts.asked(GATES[gate].ask, context).items()
    }
    assert contexts.failed(items.values()) >= set(expected)


@pytest.mark.parametrize("name", ["ripple", "noise", "rounded logits"])
def test_a_masked_network_behind_a_function_on_tensors_is_caught(name: str):
    mask, expected = MASKED[name]
    network = mask(contexts.network())
    assert_caught(network.__call__, expected, 8, "quick")


@pytest.mark.parametrize("name", ["ripple", "noise"])
def test_a_masked_network_behind_a_function_over_arrays_is_caught(name: str):
    mask, expected = MASKED[name]
    network = mask(contexts.network())
    assert_caught(lambda x: network(torch.as_tensor(x)).numpy(), expected, 8, "quick")


def test_every_item_has_value_and_limit_and_a_failed_one_the_remedy():
    items = assess(contexts.digits_context(MASKED["quantised input"][0](contexts.network()), 16))
    assert len({item.name for item in items}) == len(items)
    for item in items:
        assert item.message
        assert item.family in {"model", "attack", "manifold"}
        if item.ok is not None:
            assert item.value is not None
            assert item.limit is not None
    said = contexts.by_name(items)
    assert "vanishes in 100% of inputs (limit 1%); give logits before saturation" in said["gradients"].message
    assert (
        "found anywhere for 0% of inputs (at least 95%); check whether gradients vanish" in said["found-free"].message
    )
    assert "nearer in 100% of inputs (limit 5%); gradients mislead the search" in said["segment"].message


def test_items_depend_neither_on_the_order_nor_on_the_batch_of_inputs():
    context = contexts.plain()
    order = torch.randperm(len(context.x), generator=torch.Generator().manual_seed(1))
    crossings = {
        arm: Crossing(**{name: value[order] for name, value in vars(crossing).items()})
        for arm, crossing in context.crossings.items()
    }
    permuted = replace(context, x=context.x[order], y=context.y[order], crossings=crossings)
    a, b = contexts.sound(), contexts.by_name(assess(permuted))
    assert {name: item.ok for name, item in a.items()} == {name: item.ok for name, item in b.items()}
    for name in ("gradients", "finite-differences", "segment", "random-rays", "transfer", "nesting", "residual"):
        assert a[name].value == pytest.approx(b[name].value, rel=1e-3, abs=1e-6)


def sound_subject():
    return worlds.hyperplane(angle=85, ambient_dim=16, dim=3, samples=48, seed=0).subject


@pytest.mark.usefixtures("fewer_gates")
@pytest.mark.parametrize("family", ["model", "attack", "manifold"])
def test_an_own_gate_that_fails_makes_the_checks_inconclusive_that_require_its_family(family):
    @dmmcheck.gate(family)
    def bright_enough(context):
        value = float(context.x.mean())
        return bounded("bright-enough", value, least=9.0, finding=f"brightness {value:.1f} (at least 9)", remedy="lamp")

    @dmmcheck.check("anyway", statement="s", threshold=-1.0, direction="greater", requires=())
    def anyway(view):
        """d_free."""
        return dmmcheck.Evidence.of(view.distance("free"))

    @dmmcheck.check("only-then", statement="s", threshold=-1.0, direction="greater", requires=(family,))
    def only_then(view):
        """d_free."""
        return dmmcheck.Evidence.of(view.distance("free"))

    report = dmmcheck.run(sound_subject(), checks=["anyway", "only-then"])
    item = next(item for item in report.soundness if item.name == "bright-enough")
    assert (item.family, item.ok, item.limit) == (family, False, 9.0)
    assert item.message.endswith("(at least 9); lamp")
    assert report.soundness[-1] == item
    verdicts = {finding.check: (finding.verdict, finding.reason) for finding in report.findings}
    assert verdicts["anyway"][0] == "supported"
    assert verdicts["only-then"] == ("inconclusive", f"unsound: {item.message}")


@pytest.mark.usefixtures("fewer_gates")
def test_an_own_gate_that_passes_or_informs_changes_no_verdict():
    @dmmcheck.gate("model")
    def several(context):
        yield info("first", "for your information", 1.0)
        yield judged("second", True, 1.0, None, finding="fine", remedy="none needed")

    report = dmmcheck.run(sound_subject(), checks=["off-manifold-energy"], tiers=["stated"])
    assert [(item.name, item.family, item.ok) for item in report.soundness[-2:]] == [
        ("first", "model", None),
        ("second", "model", True),
    ]
    assert report.findings[0].verdict == "supported"


def raising(context):
    raise ZeroDivisionError("by nothing")


def raising_late(context):
    yield info("first", "m")
    raise ZeroDivisionError("by nothing")


@pytest.mark.usefixtures("fewer_gates")
@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (raising, "the gate 'raising' raised ZeroDivisionError: by nothing"),
        (raising_late, "the gate 'raising-late' raised ZeroDivisionError: by nothing"),
        (
            lambda context: None,
            "returned a NoneType, expected a Soundness item; return dmmcheck.soundness.bounded(...)",
        ),
        (lambda context: True, "returned a bool, expected a Soundness item"),
        (lambda context: "fine", "returned a str, expected a Soundness item"),
        (lambda context: [info("first", "m"), 3.0], "returned a float, expected a Soundness item"),
    ],
    ids=["raises", "raises late", "nothing", "bool", "text", "mixed"],
)
def test_a_gate_that_raises_or_returns_something_else_is_one_clear_error(ask, words):
    dmmcheck.gate("model")(ask)
    with pytest.raises(CheckError, match=re.escape(words)):
        dmmcheck.run(views.subject(), checks=["off-manifold-energy"], tiers=["stated"])


@pytest.mark.usefixtures("own_registries")
def test_an_error_of_dmmcheck_that_a_gate_raises_keeps_its_words():
    GATES._things.clear()  # the built-in ones would take most of the time

    @dmmcheck.gate("model")
    def refusing(context):
        raise ModelError("the model has no name")

    with pytest.raises(ModelError, match=r"^the model has no name$"):
        assess(contexts.plain())


def test_an_unknown_family_is_one_clear_error():
    with pytest.raises(RegistryError, match="the family of a gate is 'modle'; valid: model, attack, manifold"):
        dmmcheck.gate("modle")


@pytest.mark.usefixtures("own_registries")
def test_a_gate_cannot_take_the_name_of_another_one():
    def deterministic(context):
        return info("deterministic", "m")

    with pytest.raises(RegistryError, match=r"the gate 'deterministic' exists already \(in .*model.py:deterministic\)"):
        dmmcheck.gate("model")(deterministic)
