import numpy as np
import pytest
import scipy.optimize
import torch
from optimizer_cases import assert_possible, random_space

from jepa_robot.errors import ConfigError
from jepa_robot.planning.actions import ActionSpace, NormLimit, onto_ball

LOW, HIGH = torch.tensor([-1.0, -0.5, 0.0]), torch.tensor([1.0, 2.0, 1.0])


@pytest.mark.parametrize("seed", range(40))
def test_projections_are_possible_and_move_nothing_twice(seed):
    space = random_space(seed)
    g = torch.Generator().manual_seed(seed)
    for size in (0.01, 1.0, 100.0):
        plans = size * torch.randn(2, 50, space.blocks, space.dims, generator=g)
        before = plans.clone()
        projected = space.project(plans)
        assert_possible(space, projected)
        assert torch.equal(space.project(projected), projected)
        assert torch.equal(plans, before)


def test_what_is_possible_stays():
    space = ActionSpace(LOW, HIGH, 2, levels={2: [0.0, 1.0]}, fixed={1: 0.25}, limit=NormLimit((0,), 2, 0.5))
    plans = torch.tensor([[0.5, 0.25, 1.0], [-0.4, 0.25, 0.0]])
    assert torch.equal(space.project(plans), plans)
    wild = torch.tensor([[9.0, 9.0, 0.4], [-9.0, -9.0, 0.6]])
    torch.testing.assert_close(
        space.project(wild), torch.tensor([[0.5, 0.25, 0.0], [-0.5, 0.25, 1.0]]), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("order", [1, 2])
def test_the_ball_projection_is_the_nearest_point(order):
    rng = np.random.default_rng(0)
    for _ in range(20):
        point, radius = rng.normal(size=3), float(rng.uniform(0.1, 1.5))
        projected = onto_ball(torch.tensor(point), order, radius).numpy()
        solved = scipy.optimize.minimize(
            lambda x, point=point: np.square(x[:3] - x[3:] - point).sum(),
            np.full(6, 0.01),
            bounds=[(0, None)] * 6,  # positive and negative parts, so that the constraint is smooth
            constraints={
                "type": "ineq",
                "fun": lambda x, r=radius: r - x.sum() if order == 1 else r**2 - np.square(x[:3] - x[3:]).sum(),
            },
            options={"ftol": 1e-14, "maxiter": 500},
        )
        np.testing.assert_allclose(projected, solved.x[:3] - solved.x[3:], atol=1e-4)


def test_blocks_are_held_and_the_last_is_cut_to_the_horizon():
    space = ActionSpace(LOW, HIGH, horizon=5, hold=2)
    assert space.blocks == 3
    plan = torch.tensor([[0.1, 0.1, 0.1], [0.2, 0.2, 0.2], [0.3, 0.3, 0.3]])
    assert space.expand(plan[None])[0, :, 0].tolist() == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.3])


@pytest.mark.parametrize(
    ("hold", "steps", "expected"),
    [(1, 1, [1, 2, 3, 3]), (1, 3, [3, 3, 3, 3]), (1, 9, [3, 3, 3, 3]), (2, 1, [0, 1, 2, 3]), (2, 2, [1, 2, 3, 3])],
)
def test_plans_are_shifted_by_whole_blocks_and_their_last_goes_on(hold, steps, expected):
    space = ActionSpace(LOW, HIGH, horizon=4 * hold, hold=hold)
    plan = torch.arange(4.0)[:, None].expand(4, 3) / 10
    assert space.shift(plan[None, None], steps)[0, 0, :, 0].tolist() == pytest.approx([e / 10 for e in expected])


def test_the_middle_is_possible_and_fixed_dimensions_have_no_range():
    space = ActionSpace(LOW, HIGH, 2, fixed={0: -0.5}, levels={2: [0.9, 0.2]})
    assert space.middle()[0].tolist() == pytest.approx([-0.5, 0.75, 0.2])
    assert space.half.tolist() == pytest.approx([0.0, 1.25, 0.5])
    assert ActionSpace(LOW, HIGH, 1).half.tolist() == pytest.approx([1.0, 1.25, 0.5])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"low": HIGH, "high": LOW}, "low < high"),
        ({"high": torch.tensor([1.0, 2.0])}, "low < high"),
        ({"high": torch.tensor([1.0, torch.inf, 1.0])}, "finite"),
        ({"low": torch.tensor([-1.0, torch.nan, 0.0])}, "low < high"),
        ({"horizon": 0}, "horizon is 0"),
        ({"hold": 0}, "hold is 0"),
        ({"fixed": {0: 1.5}}, "dimension 0 is fixed at 1.5; expected -1 to 1"),
        ({"fixed": {0: float("nan")}}, "dimension 0 is fixed at nan"),
        ({"fixed": {3: 0.0}}, "no dimension 3; expected 0 to 2"),
        ({"levels": {-1: [0.0]}}, "no dimension -1"),
        ({"levels": {1: []}}, "dimension 1 has levels"),
        ({"levels": {1: [0.0, 3.0]}}, "dimension 1 has levels .*; expected at least one, all of -0.5 to 2"),
        ({"levels": {1: [0.0]}, "fixed": {1: 0.0}}, "dimension 1 is fixed and has levels"),
        ({"limit": NormLimit((0, 1), 3, 0.1)}, "norm 3"),
        ({"limit": NormLimit((0, 1), 1, 0.0)}, "radius 0"),
        ({"limit": NormLimit((0, 1), 1, float("nan"))}, "radius nan"),
        ({"limit": NormLimit((), 1, 0.1)}, r"norm is of \[\]"),
        ({"limit": NormLimit((0, 0), 1, 0.1)}, r"norm is of \['dimension 0', 'dimension 0'\]"),
        ({"limit": NormLimit((0, 5), 1, 0.1)}, "no dimension 5"),
        ({"limit": NormLimit((0,), 1, 0.1), "fixed": {0: 0.0}}, "neither fixed nor discrete"),
        ({"limit": NormLimit((0,), 1, 0.1), "low": torch.tensor([0.5, -0.5, 0.0])}, "bounds exclude 0"),
    ],
)
def test_spaces_that_make_no_sense(changed, message):
    values = {"low": LOW, "high": HIGH, "horizon": 2, **changed}
    with pytest.raises(ConfigError, match=message):
        ActionSpace(**values)
