"""Wrong settings and unusable subjects: one clear error each, by its words, whoever finds it."""

from __future__ import annotations

import pytest
from projects import ONE, SETTINGS, SUFFICES, configure, said

CHECK = f"[tool.dmmcheck.checks.{SUFFICES}]\n"
WORKERS = pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["plain", "n2"])

BEFORE = {
    "unknown-key": (
        'modle = "world:off"',
        ["unknown key 'modle' in [tool.dmmcheck] of pyproject.toml", "did you mean 'model'?", "valid: model, data"],
    ),
    "wrong-type": (
        'alpha = "small"',
        ["[tool.dmmcheck] of pyproject.toml: alpha is 'small', expected a finite number"],
    ),
    "out-of-range": ("alpha = 1.5", ["alpha is 1.5, expected a number above 0 and below 1"]),
    "threshold-type": (
        f'{CHECK}threshold = "high"',
        [f"checks.{SUFFICES} in [tool.dmmcheck] of pyproject.toml: threshold is 'high'", "a finite number"],
    ),
    "unknown-check": (
        "[tool.dmmcheck.checks.off-manifold-sufices]\nthreshold = 1.0",
        ["unknown check 'off-manifold-sufices'", f"did you mean '{SUFFICES}'?"],
    ),
    "unknown-check-key": (f"{CHECK}treshold = 1.0", ["unknown key 'treshold' of checks.", "did you mean 'threshold'?"]),
    "no-stated-claim": (
        "[tool.dmmcheck.checks.component-flips]\nthreshold = 1.0",
        ["'component-flips', which has no stated claim", "remove it"],
    ),
    "expired": (
        f'{CHECK}expected-failure = "#12"\nexpires = 2020-01-31',
        ["expected failure (#12) expired on 2020-01-31", "set a later date"],
    ),
    "malformed-date": (
        f'{CHECK}expected-failure = "#12"\nexpires = "soon"',
        ["expires is 'soon', expected a date without quotes"],
    ),
    "lone-date": (f"{CHECK}expires = 2099-01-31", ["has expires without expected-failure"]),
    "empty-reason": (f'{CHECK}expected-failure = ""', ["expected-failure is '', expected a text"]),
    "two-twins": (
        'reference = "world:on"\nrobust = "world:on"',
        ["both reference 'world:on'", "and robust", "keep reference where"],
    ),
}


@pytest.mark.parametrize(("more", "words"), BEFORE.values(), ids=BEFORE)
def test_a_wrong_setting_ends_the_run_before_it_starts(project, more, words):
    configure(project, more, SETTINGS)
    expect(project.runpytest_inprocess(*ONE), words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["--dmm-checks", "off-manifold-sufices"],
            ["unknown check 'off-manifold-sufices'", f"did you mean '{SUFFICES}'?"],
        ),
        (["--dmm-exclude", "nothing"], ["unknown check 'nothing'; valid: off-manifold-energy, "]),
        (["--dmm-tier", "contrlled"], ["unknown tier 'contrlled'; did you mean 'controlled'?"]),
        (["--dmm-samples", "many"], ["--dmm-samples: the value is 'many', expected a whole number"]),
        (["--dmm-samples", "3"], ["--dmm-samples: the value is 3, expected a whole number from 8"]),
        (["--dmm-gate", "stated,all"], ["--dmm-gate: the value is ['stated', 'all']", "'all' is none"]),
        (["--dmm-on-inconclusive", "stop"], ["--dmm-on-inconclusive: the value is 'stop', expected 'warn' or 'fail'"]),
        (["--dmm-bounds", "1,0"], ["--dmm-bounds: the value is [1.0, 0.0]", "the lower one first"]),
        (["--dmm-manifold-options", "dim: 3"], ["--dmm-manifold-options", "options as in TOML, e.g. 'dim = 16"]),
        (
            ["--dmm-manifold", "locl-pca"],
            ["manifold = 'locl-pca' (--dmm-manifold) is not built in; did you mean 'local-pca'?"],
        ),
        (["--dmm-report", "report.docx"], ["unknown from its suffix '.docx'"]),
        (["--dmm-report", "."], ["unknown from its suffix"]),
    ],
    ids=lambda value: (
        value[0].removeprefix("--dmm-")
        if isinstance(value, list) and value[0].startswith("--dmm-") and len(value) == 2
        else ""
    ),
)
def test_a_wrong_option_ends_the_run_before_it_starts(project, options, words):
    expect(project.runpytest_inprocess("--dmm-only", *options), words)


def test_a_wrong_setting_is_one_error_under_xdist_too(project):
    configure(project, 'modle = "world:off"')
    expect(project.runpytest_inprocess(*ONE, "-n", "2"), ["did you mean 'model'?"])


def test_two_files_of_settings_conflict(project):
    project.makefile(".toml", dmmcheck="seed = 1\n")
    expect(project.runpytest_inprocess(*ONE), ["both dmmcheck.toml and [tool.dmmcheck] in pyproject.toml", "keep one"])


def test_a_file_of_settings_that_does_not_parse_is_named_with_the_line(empty):
    empty.makefile(".toml", dmmcheck="seed = 1\nmodel = world:off\n")
    expect(empty.runpytest_inprocess(*ONE), ["dmmcheck.toml does not parse as TOML", "line 2"])


LATER = {
    "no-module": (
        {"model": "wrld:off"},
        ["model = 'wrld:off' (--dmm-model): there is no module 'wrld'", "did you mean 'world'?"],
    ),
    "no-file": ({"model": "wrld.py:off"}, ["there is no file", "did you mean 'world.py'?", "paths start from"]),
    "no-attribute": ({"model": "world:of"}, ["world has no 'of'; did you mean 'off'?"]),
    "no-reference": ({"model": "world"}, ["model = 'world'", "not of the form pkg.mod:attr or path.py:attr"]),
    "none": ({"model": "other:nothing"}, ["is None; return or assign the object"]),
    "arguments": (
        {"data": "other:deep"},
        ["data = 'other:deep' (--dmm-data) takes arguments (x) and is called without"],
    ),
    "unlabelled": ({"data": "world:x"}, ["data has no labels", "give (x, y)"]),
    "three": ({"data": "other:three"}, ["data is a tuple of 3, not of two"]),
    "labels-length": ({"data": "other:short"}, ["y has shape (39,), expected (40,)"]),
    "labels-dtype": ({"data": "other:real"}, ["y has dtype torch.float32, expected integers"]),
    "labels-range": ({"data": "other:high"}, ["y holds labels from 0 to 2, the model has 2 classes"]),
    "nan": ({"data": "other:nan"}, ["x holds 1 NaN or infinite values"]),
    "integers": ({"data": "other:bytes"}, ["x has dtype torch.uint8", "/ 255.0"]),
    "few": ({"data": "other:few"}, ["x holds 7 inputs, at least 8"]),
    "wrong-labels": ({"data": "other:swapped"}, ["classifies 0 of 40 ", "at least 8"]),
    "model-shape": ({"model": "other:deep"}, ["the model returned shape (2, 1, 2)"]),
    "model-nan": ({"model": "other:blind"}, ["the logits of the model are NaN or infinite on 40 of 40 inputs"]),
    "model-half": ({"model": "other:half"}, ["computes in torch.float16", "convert it with .float()"]),
    "model-meta": ({"model": "other:meta"}, ["meta device"]),
    "basis": ({"manifold": "other:Skewed"}, ["tangent_basis is off orthonormal by", "torch.linalg.qr"]),
    "full": ({"manifold": "other:Full"}, ["dimension k = 8, inputs have D = 8"]),
    "other-d": ({"manifold": "other:Other"}, ["tangent_basis returned shape (9, 2)"]),
    "rank": (
        {"manifold": "pca", "manifold-data": "other:flat", "manifold-options": "{dim = 3}"},
        ["dim is 3, the 40 points have rank 2"],
    ),
    "no-points": ({"manifold": "pca"}, ["'pca' is fitted on training inputs", "manifold-data"]),
    "no-option": ({"manifold": "pca", "manifold-options": "{k = 3}"}, ["has no option 'k'"]),
    "own-options": (
        {"manifold-options": "{dim = 3}"},
        ["manifold-options are set (dim), but the manifold is an object of your own, Plane"],
    ),
    "bounds": ({"bounds": "[0.0, 1.0]"}, ["values outside the bounds [0.0, 1.0]"]),
    "device": ({"device": "cuda:99"}, ["device 'cuda:99' cannot be used here"]),
    "attack": ({"attacks": '["no-such"]'}, ["no-such"]),
    "checkpoints": ({"checkpoints": "weights/*.pt"}, ["files of weights", "set factory too"]),
    "twin-classes": (
        {"reference": "other:three_classes"},
        ["the reference twin has 3 classes, the model under test 2"],
    ),
    "checkpoint-shape": (
        {"checkpoints": "other:history"},
        ["the checkpoint of step 5 raised RuntimeError in forward", "it must take the inputs of the model under test"],
    ),
    "training-labels": (
        {"manifold-data": "other:short"},
        ["the training data (x_train and y_train, in settings manifold-data): y_train has shape (39,), expected (40,)"],
    ),
}
OTHER = """
    import torch
    from world import Plane, data, off, x

    nothing = None
    y = data[1]
    three = x, y, y
    short = x, y[1:]
    real = x, y.float()
    high = x, torch.where(torch.arange(40) == 3, 2, y)
    nan = x.clone(), y
    nan[0][3, 3] = torch.nan
    bytes = (x > 0).byte(), y
    few = x[:7], y[:7]
    swapped = x, 1 - y
    flat = x[:, :2] @ torch.eye(8)[:2], y
    half = torch.nn.Linear(8, 2).half()
    meta = torch.nn.Linear(8, 2, device="meta")

    history = [(0, torch.nn.Linear(8, 2)), (5, torch.nn.Linear(7, 2))]

    def three_classes(x):
        return torch.cat([off(x), off(x)[:, :1]], 1)

    def factory(seed):
        return torch.nn.Linear(8, 3)

    def deep(x):
        return off(x)[:, None]

    def blind(x):
        return off(x) * torch.nan

    class Skewed(Plane):
        def tangent_basis(self, x):
            return 2 * super().tangent_basis(x)

    class Full(Plane):
        dim = 8

    class Other(Plane):
        def tangent_basis(self, x):
            return torch.eye(9)[:, :2]
"""


@pytest.mark.parametrize(("changes", "words"), LATER.values(), ids=LATER)
def test_what_cannot_be_used_is_one_clear_error(project, changes, words):
    project.makepyfile(other=OTHER)
    expect(project.runpytest_inprocess("--dmm-only", "-x", *as_options(changes)), words)


def as_options(changes: dict[str, str]) -> list[str]:
    """Settings as options; messages name the file, so what is in the file's own words is put there."""
    return [
        word
        for name, text in changes.items()
        for word in (f"--dmm-{name}", text.strip("{}[]\"'") if text[0] in "{[" else text)
    ]


@WORKERS
def test_a_module_that_raises_is_shown_with_its_own_traceback(project, workers):
    project.makepyfile(broken="import world\n\n\ndef load():\n    return open('missing.pt')\n\n\nnet = load()\n")
    result = project.runpytest_inprocess(*ONE, "--dmm-model", "broken:net", *workers)
    expect(
        result,
        [
            "model = 'broken:net' (--dmm-model) raised FileNotFoundError while it was imported",
            "broken.py:5",
            "return open('missing.pt')",
        ],
    )
    assert "importlib" not in said(result)


@WORKERS
def test_a_model_that_raises_is_shown_with_its_own_traceback(project, workers):
    project.makepyfile(broken="def net(x):\n    return x.reshape(3, -1)\n")
    result = project.runpytest_inprocess(*ONE, "--dmm-model", "broken:net", *workers)
    expect(
        result,
        [
            "the model raised RuntimeError in forward on an input of shape (2, 8)",
            "broken.py:2",
            "return x.reshape(3, -1)",
        ],
    )


def test_a_check_that_raises_fails_with_its_own_traceback_and_nothing_else_stops(project):
    project.makeconftest(
        """
        import dmmcheck

        @dmmcheck.check("is-broken", statement="s", threshold=1.0, direction="greater")
        def is_broken(measure):
            return {}["margin"]

        @dmmcheck.check("is-number", statement="s", threshold=1.0, direction="greater")
        def is_number(measure):
            return 3.0
        """
    )
    result = project.runpytest_inprocess("--dmm-only", "--dmm-checks", f"is-broken,is-number,{SUFFICES}")
    assert result.ret == 1
    result.assert_outcomes(failed=2, passed=1)
    text = said(result)
    for words in (
        "conftest.py:5: KeyError",
        "check 'is-broken-stated-builtin' raised KeyError: 'margin'",
        "returned a float, expected Evidence",
    ):
        assert words in text
    assert "dmmcheck/run.py" not in text


@WORKERS
def test_an_untrained_model_that_does_not_fit_fails_the_tests_that_ask_for_it_and_no_others(project, workers):
    project.makepyfile(other=OTHER)
    chosen = ("--dmm-only", "--dmm-checks", f"normal-gradient-growth,{SUFFICES}", "--dmm-factory", "other:factory")
    result = project.runpytest_inprocess(*chosen, *workers)
    assert result.ret == 1
    result.assert_outcomes(failed=2, passed=1)
    assert "the model of factory(0) has 3 classes, the model under test 2; give a model of the same task" in said(
        result
    )


def test_a_broken_conftest_is_pytests_own_error(project):
    project.makeconftest(
        "import dmmcheck\n\n"
        "@dmmcheck.check('Is Bad', statement='s', threshold=1.0, direction='greater')\ndef bad(m): ...\n"
    )
    result = project.runpytest_inprocess(*ONE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "check id 'Is Bad' is malformed" in said(result)


def expect(result, words) -> None:
    """Exit status 4, the words, and none of the signs of an error that is nobody's."""
    text = said(result)
    for word in words:
        assert word in text
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    for sign in ("INTERNALERROR", "pytest_plugin", "Traceback (most recent call last)"):
        assert sign not in text
