"""Every optimizer on problems whose optimum is known: how often it is found, over 20 instances with a seed each."""

import pytest
import torch
from optimizer_cases import ITERATIONS, NAMES, above_optimum, make, solve, success_rate
from optimizer_problems import Problem, far, gripper, lqr, quadratic, ripples, valleys

INSTANCES = 20


def random_search(problem: Problem, evaluations: int) -> torch.Tensor:
    """The best actions [E, H, A] of as many uniform ones."""
    space, count = problem.space, len(problem.optimum)
    uniform = torch.rand(count, evaluations, space.horizon, space.dims, generator=torch.Generator().manual_seed(1))
    actions = space.expand(space.project(space.low + (space.high - space.low) * uniform))
    return actions[torch.arange(count), problem.energy(actions).argmin(1)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("box", [False, True], ids=["inside", "on the bounds"])
def test_quadratic(name, box):
    problem = quadratic(INSTANCES, box)
    optimizer = make(name, problem.space)
    found = solve(optimizer, problem, ITERATIONS[name])
    assert success_rate(problem, found.actions) == 1
    assert (above_optimum(problem, found.actions) > -1e-4).all()  # the optimum is one
    assert success_rate(problem, random_search(problem, found.evaluated)) <= 0.1


def test_the_bounds_are_what_limits_the_boxed_quadratic():
    assert (quadratic(INSTANCES, box=False).optimum < 1e-6).all()
    assert (quadratic(INSTANCES, box=True).optimum > 1e-3).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("make_problem", [valleys, ripples])
def test_many_minima(name, make_problem):
    problem = make_problem(INSTANCES)
    found = solve(make(name, problem.space), problem, ITERATIONS[name])
    assert success_rate(problem, found.actions) >= 0.95
    assert success_rate(problem, random_search(problem, found.evaluated)) <= 0.5


def test_a_single_descent_ends_in_the_nearest_of_many_minima():
    problem = ripples(INSTANCES)
    single = solve(make("gradient", problem.space, starts=1, learning_rate=0.02), problem, ITERATIONS["gradient"])
    assert success_rate(problem, single.actions) <= 0.3


# Descent keeps the levels it starts with: 8 starts look at 8 of 16 patterns, drawn with replacement.
@pytest.mark.parametrize(("name", "rate"), [(name, 0.2 if name == "gradient" else 0.95) for name in NAMES])
def test_discrete_gripper(name, rate):
    problem = gripper(INSTANCES)
    found = solve(make(name, problem.space), problem, ITERATIONS[name])
    assert success_rate(problem, found.actions) >= rate
    if name != "gradient":
        assert success_rate(problem, random_search(problem, found.evaluated)) <= 0.5


def test_enough_starts_find_the_gripper_by_descent():
    problem = gripper(INSTANCES)
    found = solve(make("gradient", problem.space, starts=64), problem, 40)
    assert success_rate(problem, found.actions) >= 0.9  # 1 - (15 / 16)^64 = 0.98 of the patterns are among them


# How much above the closed-form optimum's cost a plan's may be.
@pytest.mark.parametrize(
    ("name", "excess"),
    [
        ("cem", 0.005),
        ("icem", 0.01),
        ("mppi", 0.005),
        ("predictive_sampling", 0.005),
        ("gradient", 0.005),
        ("hybrid", 0.005),
    ],
)
def test_linear_system_against_the_riccati_recursion(name, excess):
    problem = lqr(INSTANCES)
    found = solve(make(name, problem.space), problem, ITERATIONS[name])
    ratio = 1 + above_optimum(problem, found.actions) / problem.optimum
    assert (ratio >= 1 - 1e-4).all()
    assert ratio.median() <= 1 + excess and ratio.max() <= 1 + 5 * excess
    by_chance = 1 + above_optimum(problem, random_search(problem, found.evaluated)) / problem.optimum
    assert by_chance.min() > ratio.max()


def test_smooth_noise_reaches_far_goals_sooner():
    problem = far(INSTANCES)
    left = {}
    for beta in (0.0, 2.0):
        found = solve(make("icem", problem.space, samples=64, elites=8, beta=beta), problem, iterations=4)
        left[beta] = above_optimum(problem, found.actions)
    assert left[2.0].median() < 0.1 * left[0.0].median()
