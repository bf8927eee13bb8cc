"""The setting `attacks`: names of torchattacks, references and objects become attacks under their names in reports."""

from __future__ import annotations

import pytest

from dmmcheck.attacks.base import Attack
from dmmcheck.attacks.torchattacks import TorchAttack
from dmmcheck.errors import AttackError, ConfigError
from dmmcheck.loading.attacks import load_attacks

CODE = """
class MyAttack:
    def __call__(self, model, x, y, *, space, bounds=None, generator):
        return "crossed"


class Strong(MyAttack):
    def __init__(self, steps):
        self.steps = steps


def follow(model, x, y, *, space, bounds=None, generator):
    return "followed"


def make():
    return Strong(steps=3)


def narrow(model, x, y):
    return "narrow"


ready = Strong(steps=5)
number = 3
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "own_attacks.py").write_text(CODE)
    return tmp_path


@pytest.mark.parametrize(
    ("reference", "name", "kind"),
    [
        ("own_attacks:MyAttack", "my-attack", "MyAttack"),
        ("own_attacks.py:MyAttack", "my-attack", "MyAttack"),
        ("own_attacks:ready", "ready", "Strong"),
        ("own_attacks:make", "make", "Strong"),
        ("own_attacks:follow", "follow", "function"),
    ],
)
def test_a_reference_gives_an_attack(root, reference, name, kind):
    ((found, attack),) = load_attacks([reference], root=root).items()
    assert found == name
    assert type(attack).__name__ == kind
    assert isinstance(attack, Attack)
    assert attack(None, None, None, space=None, generator=None) in {"crossed", "followed"}


def test_names_of_torchattacks_and_objects_are_attacks_too(root):
    def mine(*args, **kwargs):
        raise NotImplementedError

    attacks = load_attacks(["fab", mine, "own_attacks:ready"], root=root)
    assert list(attacks) == ["fab", "mine", "ready"]
    assert isinstance(attacks["fab"], TorchAttack)
    assert attacks["mine"] is mine


def test_no_attacks_are_none(root):
    assert load_attacks((), root=root) == {}


@pytest.mark.parametrize(
    ("attack", "error", "words"),
    [
        ("own_attacks:number", ConfigError, "attacks: 'own_attacks:number' is a int, which cannot be called; name an"),
        ("own_attacks:Strong", ConfigError, r"takes arguments \(steps\) and is called without them"),
        (
            "own_attacks:MyAtack",
            ConfigError,
            "the module 'own_attacks' has no attribute 'MyAtack'; did you mean 'MyAttack'",
        ),
        (
            "own_attacks:narrow",
            ConfigError,
            r"attacks: 'own_attacks:narrow' cannot be called with \(model, x, y, \*, space, bounds=None, generator\): "
            "got an unexpected keyword argument 'space'; give it this signature",
        ),
        (lambda x: x, ConfigError, "cannot be called with .*: too many positional arguments; give it this signature"),
        ("own_attacks:my-attack", ConfigError, "not of the form pkg.mod:attr or path.py:attr; write the module"),
        ("no-such", AttackError, "has no attack 'no-such'; use one of "),
        (3, ConfigError, "attacks: 3 is a int, which cannot be called"),
    ],
)
def test_what_is_no_attack_is_refused(root, attack, error, words):
    with pytest.raises(error, match=words):
        load_attacks([attack], root=root)
