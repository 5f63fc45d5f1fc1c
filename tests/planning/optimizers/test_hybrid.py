import torch
from optimizer_cases import generators, make, solve, success_rate
from optimizer_problems import gripper, lqr

from jepa_robot.planning.actions import ActionSpace

SPACE = ActionSpace(-torch.ones(2), torch.ones(2), 3)
SMALL = dict(samples=24, elites=6, keep_elites=3, sampling_iterations=2, sample_decay=1.0)


def energy(plans):
    return (plans - 0.3).square().sum((2, 3))


def run(optimizer, iterations):
    """State before each iteration, and the candidates."""
    state = optimizer.init(generators([0, 1]))
    for _ in range(iterations):
        plans = optimizer.ask(state)
        yield state, plans
        state = optimizer.tell(state, plans, energy(plans), 2 * (plans - 0.3))


def test_samples_then_descends_from_the_elites():
    optimizer = make("hybrid", SPACE, **SMALL)
    assert optimizer.uses_gradients
    steps = list(run(optimizer, 4))
    assert [optimizer.wants_gradients(state) for state, _ in steps] == [False, False, True, True]
    assert [plans.shape[1] for _, plans in steps] == [24, 24, 3, 3]
    told = torch.cat([plans for _, plans in steps[:2]], 1)
    for e in range(2):
        told_best_first = energy(told)[e].argsort()
        distinct = torch.unique_consecutive(told[e, told_best_first].flatten(1), dim=0)[:3]
        assert torch.equal(steps[2][1][e].flatten(1), distinct)
    assert (energy(steps[3][1]) < energy(steps[2][1])).all()


def test_without_kept_elites_it_descends_from_the_best():
    optimizer = make("hybrid", SPACE, **{**SMALL, "keep_elites": 0})
    steps = list(run(optimizer, 3))
    assert torch.equal(steps[2][1][:, 0], optimizer.best(steps[2][0])[0])
    assert steps[2][1].shape[1] == 1


def test_descent_makes_sampling_finer():
    problem = lqr(20)
    settings = dict(samples=64, elites=8, keep_elites=3, sampling_iterations=4)
    sampled = solve(make("hybrid", problem.space, **settings), problem, 4)
    refined = solve(make("hybrid", problem.space, **settings), problem, 24)
    excess = [(found.energy / problem.optimum - 1).median() for found in (sampled, refined)]
    assert excess[1] < 0.2 * excess[0]


def test_sampling_finds_levels_that_descent_cannot():
    problem = gripper(20)
    hybrid = solve(make("hybrid", problem.space), problem, 60)
    descent = solve(make("gradient", problem.space, starts=3), problem, 60)
    assert success_rate(problem, hybrid.actions) >= 0.95 > 0.5 >= success_rate(problem, descent.actions)
