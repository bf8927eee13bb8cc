"""Which inputs are measured, and how labels are predicted."""

from __future__ import annotations

import hashlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dmmcheck import worlds
from dmmcheck.errors import ModelError, SubjectError
from dmmcheck.measurement import sample as sample_module
from dmmcheck.measurement.sample import CANDIDATES, draw_sample, predict
from dmmcheck.models.memory import out_of_memory
from dmmcheck.models.torch import adapt


def signs(x):
    """Two classes by the sign of the first coordinate."""
    return torch.stack([-x[:, 0], x[:, 0]], 1)


def data(n=40, seed=0):
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))
    return x, (x[:, 0] > 0).long()


def drawn(x, y, *, seed=0, limit=512, model=signs):
    return draw_sample(adapt(model, x), x, y, seed=seed, limit=limit)


def rows(x):
    return [row.numpy().tobytes() for row in x]


@given(order=st.permutations(range(40)), limit=st.integers(8, 50), seed=st.integers(-5, 5))
@settings(max_examples=20, deadline=None)
def test_the_sample_does_not_depend_on_the_order_of_the_inputs(order, limit, seed):
    x, y = data()
    plain, permuted = drawn(x, y, seed=seed, limit=limit), drawn(x[list(order)], y[list(order)], seed=seed, limit=limit)
    assert torch.equal(plain.x, permuted.x)
    assert torch.equal(plain.y, permuted.y)


def test_a_smaller_sample_is_the_beginning_of_a_larger_one():
    x, y = data()
    assert torch.equal(drawn(x, y, limit=10).x, drawn(x, y).x[:10])


@pytest.mark.parametrize(("limit", "judged"), [(8, 12), (20, 20)])
def test_only_the_inputs_that_a_sample_is_drawn_among_pass_through_the_model(monkeypatch, limit, judged):
    monkeypatch.setattr(sample_module, "CANDIDATES", 12)
    x, y = data()
    seen = []

    def model(points):
        seen.append(len(points))
        return signs(points)

    whole = drawn(x, y, limit=limit)
    seen.clear()
    few = draw_sample(adapt(model, x[:1]), x, y, seed=0, limit=limit, are_all_judged=False)
    assert seen[-1] == judged
    assert torch.equal(few.x, whole.x)
    assert (few.accuracy, few.labelled, whole.labelled) == (1.0, judged, 40)


@pytest.mark.parametrize(("wrong", "judged"), [(0, 16), (8, 16), (9, 32), (25, 40)])
def test_inputs_pass_through_the_model_until_the_sample_is_full(wrong, judged):
    x, y = data()
    first = drawn(x, y).x[:wrong]

    def model(points):
        is_wrong = (points[:, None] == first[None]).all(2).any(1)
        return torch.where(is_wrong[:, None], -signs(points), signs(points))

    classifier = adapt(model, x[:1])
    few = draw_sample(classifier, x, y, seed=0, limit=8, are_all_judged=False)
    assert torch.equal(few.x, draw_sample(classifier, x, y, seed=0, limit=8).x)
    assert few.labelled == judged


@pytest.mark.parametrize("wrong", [0, 6])
def test_the_sample_is_full_when_enough_groups_have_a_correct_input(wrong):
    x, y = data()
    groups = torch.arange(len(x)) // 4
    first = drawn(x, y).x[:wrong]

    def model(points):
        is_wrong = (points[:, None] == first[None]).all(2).any(1)
        return torch.where(is_wrong[:, None], -signs(points), signs(points))

    given = {"seed": 0, "limit": 8, "groups": groups}
    few = draw_sample(adapt(model, x[:1]), x, y, are_all_judged=False, **given)
    assert torch.equal(few.x, draw_sample(adapt(model, x[:1]), x, y, **given).x)
    assert len(few.x) == 8


@pytest.mark.parametrize("copies", [2, 5])
def test_an_input_given_several_times_counts_once(copies):
    x, y = data()
    y[:10] = 1 - y[:10]
    one, many = drawn(x, y), drawn(x.repeat(copies, 1), y.repeat(copies))
    assert torch.equal(one.x, many.x)
    assert (one.accuracy, one.majority, one.labelled) == (many.accuracy, many.majority, many.labelled)
    with pytest.raises(
        SubjectError, match=r"only 1 input differs from all others, at least 8 are needed.*pass inputs that differ"
    ):
        drawn(x[-1:].repeat(20, 1), y[-1:].repeat(20))


def test_an_input_with_two_labels_counts_as_correct_once():
    x, y = data()
    sample = drawn(torch.cat([x, x[:5]]), torch.cat([y, 1 - y[:5]]))
    assert len(sample.x) == 40
    assert sample.labelled == 45


def test_another_seed_takes_other_inputs():
    x, y = data()
    assert set(rows(drawn(x, y, seed=0, limit=10).x)) != set(rows(drawn(x, y, seed=1, limit=10).x))


def test_the_order_is_that_of_a_keyed_hash_of_each_input_and_label():
    x, y = data(12)
    key = (3).to_bytes(8, "big", signed=True)
    digests = [
        hashlib.blake2b(row + str(label).encode(), key=key, digest_size=16).digest()
        for row, label in zip(rows(x), y.tolist(), strict=True)
    ]
    expected = sorted(range(12), key=digests.__getitem__)
    assert rows(drawn(x, y, seed=3).x) == [rows(x)[index] for index in expected]


@pytest.mark.parametrize("constant", [0.0, 1.0])
@pytest.mark.parametrize("is_standard", [False, True])
def test_constant_features_change_nothing_of_what_is_drawn(constant: float, is_standard: bool):
    x, y = data()
    wider = torch.cat([x[:, :2], torch.full((40, 192), constant), x[:, 2:]], 1)
    plain, more = (
        draw_sample(adapt(signs, one), one, y, seed=0, limit=20, is_standard=is_standard) for one in (x, wider)
    )
    assert torch.equal(more.x[:, [0, 1, -1]], plain.x)


def test_a_feature_that_varies_in_the_last_input_alone_tells_it_from_others():
    x = torch.ones(2 * CANDIDATES + 1, 3)
    x[:-1, 0] = torch.arange(2 * CANDIDATES) // 2 + 1  # pairs of copies
    x[-1, :2] = torch.tensor([1.0, 2.0])
    assert drawn(x, torch.ones(len(x), dtype=torch.long)).labelled == CANDIDATES + 1


def test_misclassified_inputs_count_in_the_accuracy_and_are_not_measured():
    x, y = data()
    wrong = y.clone()
    wrong[:10] = 1 - wrong[:10]
    sample = drawn(x, wrong)
    assert len(sample.x) == 30
    assert set(rows(sample.x)) == set(rows(x[10:]))
    assert sample.accuracy == 0.75
    assert sample.labelled == 40
    assert sample.majority == float(torch.bincount(wrong).max()) / 40


def test_fewer_than_eight_correct_inputs_are_too_few():
    x, y = data()
    y[7:] = 1 - y[7:]
    with pytest.raises(
        SubjectError, match=r"classifies 7 of 40 distinct inputs correctly, at least 8 are needed; check that"
    ):
        drawn(x, y)
    y[7] = 1 - y[7]
    assert len(drawn(x, y).x) == 8


def test_logits_that_are_no_numbers_are_an_error():
    x, y = data()

    def model(points):
        return torch.where(points[:, 1:2] > 1.0, torch.nan, signs(points))

    bad = int((x[:, 1] > 1.0).sum())
    assert bad > 0
    with pytest.raises(ModelError, match=rf"logits of the model are NaN or infinite on {bad} of 40 inputs; check"):
        drawn(x, y, model=model)


def test_a_model_that_takes_no_large_batches_is_an_error_with_the_batch():
    def model(points):
        if len(points) > 2:
            raise ValueError("only two")
        return signs(points)

    x, y = data()
    with pytest.raises(
        ModelError,
        match=r"raised ValueError in forward on a batch of shape \(40, 3\): only two; it did not raise",
    ):
        drawn(x, y, model=model)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_where_memory_runs_out_batches_are_halved(error):
    sizes = []

    def model(points):
        sizes.append(len(points))
        if len(points) > 6:
            raise error
        return signs(points)

    x, y = data()
    assert torch.equal(predict(adapt(model, x), x), y)
    assert max(sizes[-8:]) == 5
    assert out_of_memory(error)


def test_predictions_are_made_in_evaluation_mode_and_flags_are_restored():
    model = torch.nn.Sequential(torch.nn.Dropout(0.9), torch.nn.Linear(3, 2))
    model.train()
    x, _ = data()
    first, second = (predict(adapt(model, x), x) for _ in range(2))
    assert torch.equal(first, second)
    assert model.training
    assert model[1].weight.requires_grad
    assert model[1].weight.grad is None


def test_inputs_follow_the_dtype_of_the_model():
    world = worlds.random_subspace(samples=32, seed=0)
    subject = world.subject
    classifier = adapt(subject.model.double(), subject.x)
    assert draw_sample(classifier, subject.x, subject.y, seed=0, limit=16).x.dtype == torch.float64


def copied(x, y, times=6, noise=1e-5):
    generator = torch.Generator().manual_seed(3)
    many = x.repeat(times, 1)
    return many + noise * torch.randn(many.shape, generator=generator), y.repeat(times)


def test_one_of_the_near_duplicates_is_measured():
    x, y = data()
    sample = drawn(*copied(x, y))
    assert len(sample.x) == len(x) == sample.labelled
    assert len(torch.cdist(sample.x, x).argmin(1).unique()) == len(x)
    assert (sample.independence.inputs, sample.independence.groups, sample.independence.near) == (240, 40, 200)


def test_the_first_correctly_classified_input_of_each_group_is_measured():
    x, y = data(80)
    groups = torch.arange(80) // 2
    y[::2] = 1 - y[::2]  # one input of each group is misclassified
    sample = draw_sample(adapt(signs, x), x, y, seed=0, limit=512, groups=groups)
    assert set(rows(sample.x)) == set(rows(x[1::2]))
    assert (sample.labelled, sample.independence.declared, sample.accuracy) == (40, 40, 0.5)


def test_groups_do_not_depend_on_the_order_of_the_inputs():
    x, y = data(80)
    groups, order = torch.arange(80) // 3, torch.randperm(80, generator=torch.Generator().manual_seed(1))
    one = draw_sample(adapt(signs, x), x, y, seed=0, limit=512, groups=groups)
    other = draw_sample(adapt(signs, x), x[order], y[order], seed=0, limit=512, groups=groups[order])
    assert torch.equal(one.x, other.x)


def test_fewer_than_eight_groups_are_one_clear_error():
    x, y = data(7)
    with pytest.raises(
        SubjectError, match=r"42 distinct inputs form 7 independent groups, and in 7 of these the model"
    ):
        drawn(*copied(x, y))


def test_few_copies_of_training_data_are_replaced_and_many_are_kept():
    x, y = data(200)
    plain = drawn(x, y, limit=50)
    classifier = adapt(signs, x)
    few = draw_sample(
        classifier, x, y, seed=0, limit=50, training=[torch.cat([plain.x[:2], data(60, seed=9)[0]]) + 1e-6]
    )
    assert rows(few.x[:48]) == rows(plain.x[2:])
    assert len(few.x) == 50
    assert (few.independence.compared, few.independence.copies, few.independence.dropped) == (53, 2, True)
    many = draw_sample(classifier, x, y, seed=0, limit=50, training=[plain.x + 1e-6])
    assert torch.equal(many.x, plain.x)
    assert (many.independence.copies, many.independence.dropped) == (50, False)
