"""Coordinates in the unit cube are those of their points, and the model sees nothing but points of its search space."""

from __future__ import annotations

import pytest
import torch
from library_cases import BOX, SPACES, D, Linear, generator, inputs, labels

from dmmcheck.attacks.search_space import spread
from dmmcheck.attacks.torchattacks.coordinates import SCALED_MARGIN, Coordinates, RowsLostError
from dmmcheck.models.torch import adapt


def cube_of(model, x, **options):
    options = {"scale": torch.tensor(4.0), "space": SPACES["free"]} | options
    return Coordinates(adapt(model, x), x, labels(model, x), **options)


def moved(n, seed=0):
    return 0.3 * torch.randn(n, 1, 1, D, generator=generator(seed))


@pytest.mark.parametrize("space", SPACES)
def test_the_start_is_the_input_and_every_point_lies_in_the_search_space(space):
    x = inputs()
    cube = cube_of(Linear(), x, space=SPACES[space])
    torch.testing.assert_close(cube.point(cube.start()), x)
    assert cube.start().shape == (10, 1, 1, D)
    delta = cube.point(cube.start() + moved(10)) - x
    torch.testing.assert_close(delta, 4 * SPACES[space].project(moved(10).reshape(10, D)))


def test_each_input_may_have_a_scale():
    x, scale = inputs(3), torch.tensor([1.0, 2.0, 5.0])
    cube = cube_of(Linear(), x, scale=scale)
    torch.testing.assert_close(cube.point(cube.start() + 0.1) - x, 0.1 * scale[:, None].expand(-1, D))


def test_points_are_clipped_to_the_box_and_with_walls_the_cube_is_the_box():
    x = inputs()
    clipped = cube_of(Linear(), x, bounds=BOX).point(torch.ones(10, 1, 1, D))
    assert float(clipped.max()) == 1
    walls = cube_of(Linear(), x, scale=torch.tensor(2.0), bounds=(-1.0, 1.0), walls=True)
    torch.testing.assert_close(walls.point(torch.zeros(10, 1, 1, D)), torch.full((10, D), -1.0))
    torch.testing.assert_close(walls.point(torch.ones(10, 1, 1, D)), torch.ones(10, D))
    torch.testing.assert_close(walls.point(walls.start()), x)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1e3, 0.0), (1e-3, 7.0)])
def test_logits_at_the_inputs_have_the_least_at_zero_and_the_margin_fixed(scale, shift):
    x, model = inputs(), Linear(scale, shift)
    logits = cube_of(model, x)(cube_of(model, x).start())
    two = logits.topk(2, dim=1).values
    torch.testing.assert_close(two[:, 0] - two[:, 1], torch.full((10,), SCALED_MARGIN), rtol=1e-3, atol=0)
    assert logits.amin(1).tolist() == [0] * 10
    assert torch.equal(logits.argmax(1), labels(model, x))


def test_gradients_reach_the_coordinates_and_no_parameter():
    x, model = inputs(), Linear()
    cube = cube_of(model, x)

    def difference(z):
        logits = cube(z)
        return logits[:, 0] - logits[:, 1]  # without the shift, which takes no part in gradients

    z = cube.start().requires_grad_(True)
    difference(z).sum().backward()
    assert all(parameter.grad is None for parameter in model.parameters())
    shift = 0.1
    for entry in (0, 7):
        delta = torch.zeros(1, 1, 1, D)
        delta[..., entry] = shift
        slope = (difference(cube.start() + delta) - difference(cube.start() - delta)) / (2 * shift)
        torch.testing.assert_close(z.grad[:, 0, 0, entry], slope, rtol=1e-3, atol=0)


def test_passes_of_each_input_are_counted():
    cube = cube_of(Linear(), inputs(3))
    z = cube.start().requires_grad_(True)
    cube(z).sum().backward()
    cube(cube.start())
    assert (cube.forwards, cube.backwards) == (2, 1)


def test_a_part_of_the_batch_is_an_error_that_the_attack_answers_by_single_inputs():
    cube = cube_of(Linear(), inputs(4))
    with pytest.raises(RowsLostError):
        cube(cube.start()[:2])
    single = cube_of(Linear(), inputs(1))
    single(single.start().expand(5, -1, -1, -1))  # several points of one input are told apart
    assert single.forwards == 5


@pytest.mark.parametrize(
    ("x", "expected"),
    [(torch.tensor([[1.0, -2.0]]), 3.0), (torch.full((2, 3), -4.0), 4.0), (torch.zeros(2, 3), 1.0)],
    ids=["range", "constant", "zero"],
)
def test_the_unit_of_length_is_positive_for_any_data(x, expected):
    assert float(spread(x)) == expected
