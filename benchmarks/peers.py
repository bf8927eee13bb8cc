"""Minimal-L2 attacks of other libraries, with one signature: from images z in [0, 1] and labels to adversarial images.

None of them searches a subspace. For a search space they get coordinates instead of images (the wrapper
`dmmcheck.attacks.torchattacks.coordinates`), in which a length of one in the data is `unit`. Arguments that are lengths
are converted with it; all others are the library's defaults unless the name of the attack gives them. A library is
imported when its attack is called, so that the report has a row for a library that is not installed.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

Call = Callable[[nn.Module, Tensor, Tensor, float], Tensor]
REFERENCE = "adv-lib FMN 100"


@dataclass(frozen=True)
class Peer:
    """One attack: its call, whether it is slow and runs on few inputs, and whether it is a long run for d* alone."""

    name: str
    call: Call
    slow: bool = False
    long: bool = False


def adv_lib() -> Any:
    """The attacks of adv-lib; two of its imports that these attacks do not use are replaced where they are missing.

    These are torchvision, for perceptual distances, whose build has to fit that of torch, and visdom, for plots.
    """
    for name, parts in (("torchvision", ("models",)), ("visdom", ())):
        try:
            import_module(name)
        except (ImportError, RuntimeError):  # torchvision raises the latter beside a torch it was not built for
            absent = ModuleType(name)
            for part in parts:
                setattr(absent, part, ModuleType(f"{name}.{part}"))
            sys.modules[name] = absent
    return import_module("adv_lib.attacks")


def ddn(steps: int) -> Call:
    def call(model: nn.Module, z: Tensor, y: Tensor, unit: float) -> Tensor:
        return adv_lib().ddn(model, z, y, steps=steps, init_norm=unit, levels=None)

    return call


def fmn(steps: int) -> Call:
    def call(model: nn.Module, z: Tensor, y: Tensor, unit: float) -> Tensor:
        return adv_lib().fmn(model, z, y, norm=2, steps=steps, α_init=unit)

    return call


def pdgd(steps: int) -> Call:
    def call(model: nn.Module, z: Tensor, y: Tensor, unit: float) -> Tensor:
        return adv_lib().pdgd(model, z, y, num_steps=steps, primal_lr=0.1 * unit)

    return call


def superdeepfool(model: nn.Module, z: Tensor, y: Tensor, unit: float) -> Tensor:
    return adv_lib().sdf(model, z, y)


def fab(model: nn.Module, z: Tensor, y: Tensor, unit: float) -> Tensor:
    return adv_lib().fab(model, z, y, norm=2, n_iter=20)


def foolbox_deepfool(model: nn.Module, z: Tensor, y: Tensor, unit: float) -> Tensor:
    from foolbox import PyTorchModel  # noqa: PLC0415
    from foolbox.attacks import L2DeepFoolAttack  # noqa: PLC0415

    return L2DeepFoolAttack()(PyTorchModel(model, bounds=(0, 1)), z, y, epsilons=None)[1]


def foolbox_cw(model: nn.Module, z: Tensor, y: Tensor, unit: float) -> Tensor:
    from foolbox import PyTorchModel  # noqa: PLC0415
    from foolbox.attacks import L2CarliniWagnerAttack  # noqa: PLC0415

    attack = L2CarliniWagnerAttack(binary_search_steps=9, steps=500, stepsize=0.01 * unit)
    return attack(PyTorchModel(model, bounds=(0, 1)), z, y, epsilons=None)[1]


def _art(model: nn.Module, z: Tensor) -> object:
    from art.estimators.classification import PyTorchClassifier  # noqa: PLC0415

    return PyTorchClassifier(
        model, F.cross_entropy, input_shape=tuple(z.shape[1:]), nb_classes=10, clip_values=(0, 1), device_type="cpu"
    )


def art_deepfool(model: nn.Module, z: Tensor, y: Tensor, unit: float) -> Tensor:
    from art.attacks.evasion import DeepFool  # noqa: PLC0415

    made = DeepFool(_art(model, z), max_iter=50, batch_size=len(z), verbose=False).generate(z.numpy())
    return z.new_tensor(made)


def art_carlini(model: nn.Module, z: Tensor, y: Tensor, unit: float) -> Tensor:
    from art.attacks.evasion import CarliniL2Method  # noqa: PLC0415

    attack = CarliniL2Method(_art(model, z), batch_size=len(z), verbose=False)
    return z.new_tensor(attack.generate(z.numpy(), F.one_hot(y, 10).numpy()))


PEERS = (
    Peer(REFERENCE, fmn(100)),
    Peer("adv-lib DDN 100", ddn(100)),
    Peer("adv-lib PDGD 500", pdgd(500)),
    Peer("adv-lib SuperDeepFool", superdeepfool),
    Peer("adv-lib FAB 20", fab),
    Peer("foolbox DeepFool", foolbox_deepfool),
    Peer("foolbox CW 9 x 500", foolbox_cw, slow=True),
    Peer("ART DeepFool", art_deepfool, slow=True),
    Peer("ART CarliniL2", art_carlini, slow=True),
    Peer("adv-lib FMN 500", fmn(500), long=True),
)


def quietly(call: Call, model: nn.Module, z: Tensor, y: Tensor, unit: float) -> Tensor:
    """The attack without the warnings of its library."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call(model, z, y, unit).detach()
