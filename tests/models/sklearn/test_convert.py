"""The module of each kind of estimator computes its scores and its predictions, and has the gradient of the scores."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression, Perceptron, RidgeClassifier, SGDClassifier
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, SVR, LinearSVC, NuSVC
from sklearn.utils._param_validation import InvalidParameterError

from dmmcheck.errors import ModelError
from dmmcheck.models.numpy_function import NumpyFunction
from dmmcheck.models.reference import reference_model
from dmmcheck.models.torch import adapt

WINE = load_wine(return_X_y=True)
CANCER = tuple(part[::3] for part in load_breast_cancer(return_X_y=True))
RAW = (CANCER[0][:, :5] / CANCER[0][:, :5].max(0), CANCER[1])


def scaled(*steps):
    return make_pipeline(StandardScaler(), *steps)


MLP = {"hidden_layer_sizes": (7, 5), "max_iter": 30, "random_state": 0}
KINDS = {
    "logistic": LogisticRegression(max_iter=50),
    "sgd": SGDClassifier(random_state=0),
    "perceptron": Perceptron(random_state=0),
    "ridge": RidgeClassifier(),
    "linear-svc": LinearSVC(random_state=0),
    "lda": LinearDiscriminantAnalysis(),
    "qda": QuadraticDiscriminantAnalysis(reg_param=0.1),
    "naive-bayes": GaussianNB(),
    **{f"mlp-{name}": MLPClassifier(**MLP, activation=name) for name in ("relu", "tanh", "logistic", "identity")},
    "one-vs-rest": OneVsRestClassifier(SVC(gamma=0.1)),
    "one-vs-rest-densities": OneVsRestClassifier(make_pipeline(QuadraticDiscriminantAnalysis(reg_param=0.1))),
    "grid": GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2),
}
CALIBRATED = {
    "scores": CalibratedClassifierCV(LogisticRegression(), cv=2),
    "one-estimator": CalibratedClassifierCV(LinearSVC(random_state=0), cv=2, ensemble=False),
    "probabilities": CalibratedClassifierCV(MLPClassifier(**MLP), cv=2),
    "densities": CalibratedClassifierCV(scaled(QuadraticDiscriminantAnalysis(reg_param=0.1)), cv=2),
    "naive-bayes": CalibratedClassifierCV(GaussianNB(), cv=2),
    "one-vs-rest": CalibratedClassifierCV(OneVsRestClassifier(LogisticRegression()), cv=2),
}
KERNELS = {
    **{kernel: SVC(kernel=kernel, coef0=0.5, degree=2) for kernel in ("linear", "poly", "rbf", "sigmoid")},
    "probability": SVC(kernel="rbf", gamma=0.02),
    "nu": NuSVC(nu=0.1),
}
STEPS = {
    "standard": StandardScaler(),
    "centred": StandardScaler(with_std=False),
    "scaled": StandardScaler(with_mean=False),
    "min-max": MinMaxScaler((-1, 1)),
    "max-abs": MaxAbsScaler(),
    "robust": RobustScaler(),
    "robust-scale": RobustScaler(with_centering=False),
    "pca": PCA(3),
    "whitened": PCA(3, whiten=True),
    "incremental": IncrementalPCA(3),
    "svd": TruncatedSVD(3),
    **{norm: Normalizer(norm) for norm in ("l1", "l2", "max")},
    "polynomials": PolynomialFeatures(3),
    "interactions": PolynomialFeatures(2, interaction_only=True, include_bias=False),
    "selection": SelectKBest(k=2),
    "passthrough": "passthrough",
}


def scores(estimator, x):
    """The scores of an estimator, or the logarithms of its probabilities, by scikit-learn."""
    if hasattr(estimator, "decision_function"):
        return estimator.decision_function(x)
    return np.log(estimator.predict_proba(x))


def assert_alike(estimator, x):
    """The logits are the scores, and their gradient is that of differences of the scores."""
    classifier = adapt(estimator, torch.as_tensor(x))
    points = torch.as_tensor(x)[:40]
    logits = classifier.logits(points)
    comparable = logits if hasattr(estimator, "decision_function") else logits.log_softmax(1)
    expected = scores(estimator, points.numpy())
    own = comparable if expected.ndim == 2 else logits[:, 1] - logits[:, 0]
    np.testing.assert_allclose(own.numpy(), expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(np.asarray(estimator.classes_)[logits.argmax(1)], estimator.predict(points.numpy()))
    assert classifier.dtype == torch.float64
    leaf = points.clone().requires_grad_()
    gradient = torch.autograd.grad(classifier.logits(leaf)[:, 0].sum() - classifier.logits(leaf)[:, 1].sum(), leaf)[0]
    assert bool(torch.isfinite(gradient).all())
    step = 1e-6 * torch.randn(points.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ends = [classifier.logits(points + sign * step) for sign in (1, -1)]
    slope = (ends[0] - ends[1])[:, 0] / 2 - (ends[0] - ends[1])[:, 1] / 2
    torch.testing.assert_close((gradient * step).sum(1), slope, rtol=1e-3, atol=1e-8)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("data", [WINE, CANCER], ids=["three-classes", "two-classes"])
@pytest.mark.parametrize("name", KINDS)
def test_a_classifier_behind_a_scaler(name, data):
    assert_alike(scaled(KINDS[name]).fit(*data), data[0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("data", [WINE, CANCER], ids=["three-classes", "two-classes"])
@pytest.mark.parametrize("name", CALIBRATED)
def test_a_calibrated_classifier(name, data):
    assert_alike(scaled(CALIBRATED[name]).fit(*data), data[0])


@pytest.mark.parametrize("data", [WINE, CANCER], ids=["three-classes", "two-classes"])
def test_a_calibration_by_temperature(data):
    fitted = fit_with_temperature(scaled(LogisticRegression()), data)
    assert_alike(fitted, data[0])


def test_a_calibration_of_probabilities_by_temperature_is_called_itself():
    fitted = fit_with_temperature(GaussianNB(), CANCER)
    classifier = adapt(fitted, torch.as_tensor(CANCER[0]))
    assert isinstance(classifier.forward, NumpyFunction)


def fit_with_temperature(estimator, data):
    """An estimator that is calibrated by temperature, where scikit-learn can do so."""
    calibrated = CalibratedClassifierCV(estimator, method="temperature", cv=2)
    try:
        return calibrated.fit(*data)
    except InvalidParameterError:
        pytest.skip("this version of scikit-learn has no calibration by temperature")


def test_a_calibrated_classifier_that_was_trained_before():
    frozen = pytest.importorskip("sklearn.frozen", reason="this version of scikit-learn has no frozen estimators")
    trained = scaled(LogisticRegression()).fit(*WINE)
    assert_alike(CalibratedClassifierCV(frozen.FrozenEstimator(trained)).fit(*WINE), WINE[0])


@pytest.mark.parametrize("name", KERNELS)
def test_a_support_vector_machine_of_two_classes(name):
    assert_alike(scaled(KERNELS[name]).fit(*CANCER), CANCER[0])


@pytest.mark.parametrize("name", STEPS)
def test_a_step_before_a_classifier(name):
    assert_alike(make_pipeline(STEPS[name], LogisticRegression()).fit(*RAW), RAW[0])


def test_a_scaler_that_cuts_values_to_its_range_has_no_gradient_there():
    pipe = make_pipeline(MinMaxScaler(clip=True), LogisticRegression()).fit(*RAW)
    classifier = adapt(pipe, torch.as_tensor(RAW[0]))
    outside = torch.as_tensor(RAW[0][:8]) + 5
    np.testing.assert_allclose(classifier.logits(outside)[:, 1], pipe.decision_function(outside.numpy()))


def test_names_and_classes_reach_the_classifier():
    texts = np.array(["malignant", "benign"])[CANCER[1]]
    pipe = scaled(LogisticRegression()).fit(CANCER[0], texts)
    classifier = adapt(pipe, torch.as_tensor(CANCER[0]))
    assert classifier.name == "Pipeline"
    assert classifier.forward.classes_ == ["benign", "malignant"]


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_a_method_stands_for_its_estimator(method):
    pipe = scaled(LogisticRegression()).fit(*WINE)
    x = torch.as_tensor(WINE[0])
    torch.testing.assert_close(adapt(getattr(pipe, method), x).logits(x), adapt(pipe, x).logits(x))


def test_images_are_flattened_and_float32_inputs_are_taken():
    x = torch.as_tensor(CANCER[0])
    pipe = scaled(LogisticRegression()).fit(*CANCER)
    flat = adapt(pipe, x)
    images = adapt(pipe, x.reshape(len(x), 5, 6).float())
    assert images.input_shape == (5, 6)
    torch.testing.assert_close(images.logits(x), flat.logits(x))


def test_an_estimator_is_the_reference_model_of_a_network_in_its_dtype():
    x = torch.as_tensor(CANCER[0]).float()
    network = adapt(torch.nn.Linear(30, 2), x)
    other = reference_model(scaled(LogisticRegression()).fit(*CANCER), x, like=network, role="robust model")
    assert other.dtype == torch.float32
    assert other.logits(x[:3]).shape == (3, 2)


WITHOUT_A_CLASS = [(np.flatnonzero(WINE[1] != 1), np.arange(178))]
"""One split of the wines, whose first part lacks a class."""


class Own(ClassifierMixin, BaseEstimator):
    """A classifier of a kind that nobody knows."""

    def fit(self, x, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, x):
        return np.zeros(len(x), int)


class Foreign:
    """A classifier that scikit-learn does not know as one."""

    def fit(self, x, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, x):
        return np.zeros(len(x), int)


class Turned(LogisticRegression):
    """Scores that are not those of its coefficients."""

    def decision_function(self, x):
        return -super().decision_function(x)


@pytest.mark.parametrize(
    ("estimator", "differentiable"),
    [
        (RandomForestClassifier(3, random_state=0), False),
        (Own(), False),
        (Foreign(), False),
        (scaled(SVC()), True),  # votes broken by a smooth sum of the scores
        (make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()), True),
        (OneVsRestClassifier(GaussianNB()), True),
        (OneVsRestClassifier(scaled(MLPClassifier(**MLP))), True),
        (CalibratedClassifierCV(scaled(LogisticRegression()), cv=2, method="isotonic"), False),
        (CalibratedClassifierCV(RandomForestClassifier(3, random_state=0), cv=2), False),
        (CalibratedClassifierCV(scaled(LogisticRegression()), cv=WITHOUT_A_CLASS), False),
        (KNeighborsClassifier(), False),
        (FixedThresholdClassifier(LogisticRegression(), threshold=0.9), False),
        (SVC(kernel=lambda a, b: a @ b.T), True),
    ],
    ids=[
        *(
            "forest",
            "own",
            "foreign",
            "votes",
            "step",
            "one-vs-rest",
            "probabilities-divided",
            "isotonic",
            "calibrated-forest",
        ),
        *("class-missing", "neighbours", "threshold", "kernel"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_an_estimator_without_an_exact_form_is_called_itself(estimator, differentiable):
    x, y = RAW if isinstance(estimator, (FixedThresholdClassifier, SVC)) else WINE
    fitted = estimator.fit(x, y)
    points = torch.as_tensor(x)
    classifier = adapt(fitted, points)
    assert classifier.differentiable is differentiable
    assert classifier.name == type(fitted).__name__
    predicted = fitted.classes_[classifier.logits(points.reshape(len(x), -1)).argmax(1).numpy()]
    assert (predicted == fitted.predict(x)).all()


def test_a_regressor_is_one_clear_error():
    with pytest.raises(ModelError, match=r"the model is a SVR without classes_, which is no fitted classifier; pass a"):
        adapt(SVR().fit(*WINE), torch.as_tensor(WINE[0]))


@pytest.mark.parametrize(
    ("estimator", "data", "words"),
    [
        (scaled(LogisticRegression()), CANCER, "the model is a Pipeline that is not fitted; call fit(x, y) first"),
        (scaled(LogisticRegression()).fit(*WINE), CANCER, "the model takes 13 features, inputs have D = 30"),
        (Turned().fit(*RAW), RAW, "the differentiable form of the model, a Turned, differs from it by"),
    ],
    ids=["unfitted", "features", "other-scores"],
)
@pytest.mark.filterwarnings("ignore")
def test_an_estimator_that_does_not_fit_is_one_clear_error(estimator, data, words):
    with pytest.raises(ModelError, match=re.escape(words)):
        adapt(estimator, torch.as_tensor(data[0]))


def test_predictions_that_are_not_the_largest_score_are_refused():
    class Careful(LogisticRegression):
        def predict(self, x):
            return (self.predict_proba(x)[:, 1] > 0.9).astype(int)

    fitted = Careful().fit(*RAW)
    with pytest.raises(ModelError, match=r"predicts other classes than its largest score for \d+ of 190 inputs"):
        adapt(fitted, torch.as_tensor(RAW[0]))
