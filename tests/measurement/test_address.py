"""The address of fitted estimators and of other objects that are no networks."""

import tracemalloc

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from dmmcheck.measurement.address import UnaddressableError, address_of

X, Y = load_iris(return_X_y=True)
ESTIMATORS = {
    "forest": lambda: RandomForestClassifier(3, random_state=0),
    "boosting": lambda: HistGradientBoostingClassifier(max_iter=2, random_state=0),
    "neighbours": lambda: make_pipeline(StandardScaler(), KNeighborsClassifier()),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_address_of_a_fitted_estimator_is_that_of_its_content(name):
    one, same, other = (ESTIMATORS[name]().fit(x, Y) for x in (X, X.copy(), X[::-1].copy()))
    assert address_of(one) == address_of(same) != address_of(other)


def test_an_estimator_with_a_function_of_the_user_has_no_address():
    pipeline = make_pipeline(FunctionTransformer(lambda x: 2 * x), ESTIMATORS["forest"]()).fit(X, Y)
    with pytest.raises(UnaddressableError, match="is a function, which can depend on anything"):
        address_of(pipeline)


def test_an_object_that_cannot_be_pickled_has_no_address():
    with pytest.raises(UnaddressableError, match=r"the content of a generator is not known \(.*cannot pickle"):
        address_of(one for one in ())


class Slots:
    __slots__ = ("directions",)


class Kept(Slots):
    """Has attributes of its own, beside the slot of its base class."""

    def __init__(self, directions):
        self.directions, self.name = directions, "kept"


def test_attributes_in_slots_of_a_base_class_are_part_of_the_address():
    assert address_of(Kept(1)) == address_of(Kept(1)) != address_of(Kept(2))


def test_objects_without_attributes_have_the_address_of_what_is_pickled():
    assert address_of(range(3)) == address_of(range(3)) != address_of(range(4))


@pytest.mark.parametrize("make", [torch.Tensor.numpy, torch.Tensor.clone], ids=["array", "tensor"])
def test_large_content_is_hashed_without_a_copy(make):
    large = make(torch.arange(2e6))
    address_of(large[:2])
    tracemalloc.start()
    whole = address_of(large)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < large.nbytes / 4
    assert whole != address_of(large[1:])


@pytest.mark.parametrize(
    "value", [np.array(3.0), np.empty((0, 3)), np.array(["a", "b"]), np.arange(6).reshape(2, 3).T], ids=str
)
def test_arrays_of_any_kind_and_layout_have_the_address_of_their_copy(value):
    assert address_of(value) == address_of(value.copy())
    assert address_of(value) != address_of(value[None])
