"""What holds for every optimizer, whatever it searches with."""

import dataclasses

import pytest
import torch
from optimizer_cases import ITERATIONS, NAMES, SETTINGS, assert_possible, generators, make, random_space, solve
from optimizer_problems import gripper, lqr, quadratic

from jepa_robot.errors import ConfigError, PlanningError
from jepa_robot.planning.actions import ActionSpace

MEANS = [("cem", {"answer": "mean"}), ("icem", {"answer": "mean"}), ("mppi", {})]
BESTS = [(name, {"answer": "best"} if name == "mppi" else {}) for name in NAMES]


def loop(optimizer, energy, iterations=3, seeds=range(2), warm_start=None, told=None):
    """States after each iteration, the candidates and their energies; ``energy`` of plans [E, S, B, A]."""
    state, seen = optimizer.init(generators(seeds), warm_start), []
    for _ in range(iterations):
        plans = optimizer.ask(state)[:, :told]
        with torch.enable_grad():
            variable = plans.clone().requires_grad_()
            energies = energy(variable)
            (slope,) = torch.autograd.grad(energies.sum(), variable)
        wanted = slope if optimizer.wants_gradients(state) else None
        state = optimizer.tell(state, plans, energies.detach(), wanted)
        seen.append((state, plans, energies.detach()))
    return seen


def bowl(plans):
    return (plans - 0.2).square().sum((2, 3))


def tensors(state):
    """All tensors in a state, by path."""
    found = {}
    for field in dataclasses.fields(state):
        value = getattr(state, field.name)
        if isinstance(value, torch.Tensor):
            found[field.name] = value
        elif dataclasses.is_dataclass(value):
            found |= {f"{field.name}.{name}": inner for name, inner in tensors(value).items()}
    return found


@pytest.mark.parametrize(("name", "changed"), BESTS + MEANS)
@pytest.mark.parametrize("seed", range(12))
def test_asks_and_answers_what_is_possible(name, changed, seed):
    space = random_space(seed)
    sizes = {"starts": 4} if name == "gradient" else {"samples": 48}
    sizes |= {"sampling_iterations": 2} if name == "hybrid" else {}
    optimizer = make(name, space, **{**sizes, **changed})
    g = torch.Generator().manual_seed(seed)
    target = 3 * torch.randn(space.blocks, space.dims, generator=g)

    def energy(plans):
        distance = (plans - target).square().sum((2, 3))
        return torch.where(torch.rand(distance.shape, generator=g) < 0.1, torch.nan, distance)

    warm_start = 5 * torch.randn(2, 3, space.blocks, space.dims, generator=g)
    for state, plans, _ in loop(optimizer, energy, 5, warm_start=warm_start):
        assert_possible(space, plans)
        assert_possible(space, optimizer.best(state)[0])
        assert_possible(space, optimizer.carry(state))
        assert optimizer.spread(state).shape == (2, space.blocks, space.dims)
        assert (optimizer.spread(state)[..., list(space.fixed)] == 0).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("make_problem", [lqr, gripper])
def test_a_search_finds_the_same_alone_and_in_company(name, make_problem):
    problem = make_problem(4)
    optimizer = make(name, problem.space)
    together = solve(optimizer, problem, iterations=10)
    for e in range(4):
        alone = solve(optimizer, problem.alone(e), iterations=10, seeds=[e])
        assert torch.equal(alone.plans[0], together.plans[e]) and torch.equal(alone.energy[0], together.energy[e])
        assert torch.equal(alone.carried[0], together.carried[e])


@pytest.mark.parametrize("name", NAMES)
def test_other_seeds_ask_for_other_plans(name):
    optimizer = make(name, random_space(0))
    first, again, other = (optimizer.ask(optimizer.init(generators([seed]))) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize(("name", "changed"), BESTS)
def test_the_expected_energy_is_the_lowest_told(name, changed):
    space = random_space(3, horizon=3)
    lowest = torch.full((2,), torch.inf)
    optimizer = make(name, space, **changed)
    for state, _, energies in loop(optimizer, bowl, ITERATIONS[name] // 2):
        lowest = torch.minimum(lowest, energies.amin(1))
        plans, expected = optimizer.best(state)
        assert torch.equal(expected, lowest)
        torch.testing.assert_close(bowl(plans[:, None])[:, 0], expected)


@pytest.mark.parametrize(("name", "changed"), MEANS)
def test_a_mean_is_at_most_what_is_expected_of_it(name, changed):
    space = ActionSpace(-torch.ones(2), torch.ones(2), 3)
    momentum = {} if name == "mppi" else {"momentum": 0.0}
    optimizer = make(name, space, **changed, **momentum)
    for state, _, energies in loop(optimizer, bowl, 5):
        plans, expected = optimizer.best(state)
        assert (bowl(plans[:, None])[:, 0] <= expected).all()
        assert (expected <= energies.median(1).values).all() and (expected > energies.amin(1)).all()


@pytest.mark.parametrize(("name", "changed"), BESTS)
def test_energies_that_are_no_numbers_never_win(name, changed):
    space = ActionSpace(-torch.ones(2), torch.ones(2), 2)

    def energy(plans):
        distance = bowl(plans)
        bad = torch.tensor([torch.nan, torch.inf, -torch.inf])[: distance.shape[1] - 1]
        return torch.cat((bad.expand(len(distance), -1), distance[:, len(bad) :]), 1)

    for state, plans, energies in loop(make(name, space, **changed), energy, 8):
        best, expected = make(name, space, **changed).best(state)
        assert torch.isfinite(expected).all() and torch.isfinite(best).all() and torch.isfinite(plans).all()
        torch.testing.assert_close(bowl(best[:, None])[:, 0], expected)
        assert all(torch.isfinite(value).all() for key, value in tensors(state).items() if "energy" not in key)


@pytest.mark.parametrize("name", NAMES)
def test_no_usable_energy_at_all_is_an_error_and_names_how_many(name):
    optimizer = make(name, random_space(0))
    count = optimizer.ask(optimizer.init(generators(range(2)))).shape[1]

    def one_search_has_none(plans):
        return torch.cat((bowl(plans[:1]), bowl(plans[1:]) * torch.nan))

    with pytest.raises(PlanningError, match=f"all {count} candidate plans"):
        loop(optimizer, one_search_has_none, 1)


@pytest.mark.parametrize(("name", "changed"), BESTS)
def test_goes_on_from_the_best_plan_where_later_energies_are_unusable(name, changed):
    space = ActionSpace(-torch.ones(2), torch.ones(2), 2)
    optimizer = make(name, space, **changed)
    calls = []

    def second_fails(plans):
        calls.append(plans)
        return bowl(plans) * (torch.nan if len(calls) == 2 else 1)

    seen = loop(optimizer, second_fails, 12)
    energies = [optimizer.best(state)[1] for state, _, _ in seen]
    assert torch.equal(energies[1], energies[0])
    assert (energies[-1] < energies[0]).all()


@pytest.mark.parametrize(("name", "changed"), BESTS)
@pytest.mark.parametrize("told", [1, 3])
def test_learns_from_the_first_few_where_time_ran_out(name, changed, told):
    space = random_space(5, horizon=4)
    optimizer = make(name, space, **changed)
    warm_start = torch.zeros(2, 1, space.blocks, space.dims)
    ((state, plans, energies),) = loop(optimizer, bowl, 1, warm_start=warm_start, told=told)
    assert plans.shape[1] == told
    best, expected = optimizer.best(state)
    assert torch.equal(expected, energies.amin(1))
    assert torch.equal(best, plans[torch.arange(2), energies.argmin(1)])
    assert_possible(space, optimizer.carry(state))
    assert_possible(space, optimizer.ask(state))
    assert torch.isfinite(optimizer.spread(state)).all()


@pytest.mark.parametrize(("name", "changed"), BESTS)
def test_what_a_warm_start_holds_is_not_lost(name, changed):
    problem = quadratic(3)
    optimizer = make(name, problem.space, **changed)
    known = solve(make("cem", problem.space), problem, ITERATIONS["cem"]).plans
    others = torch.full_like(known, 0.1)
    found = solve(optimizer, problem, 1, warm_start=torch.stack((others, known), 1))
    assert torch.equal(found.plans, known)


@pytest.mark.parametrize(("name", "changed"), BESTS)
def test_carries_plans_that_help_the_next_search(name, changed):
    problem = quadratic(6)
    optimizer = make(name, problem.space, **changed)
    first = solve(optimizer, problem, ITERATIONS[name])
    again = solve(optimizer, problem, 2, warm_start=first.carried)
    afresh = solve(optimizer, problem, 2)
    assert (again.energy <= first.energy).all()
    assert (again.energy < afresh.energy).all()


@pytest.mark.parametrize("name", NAMES)
def test_more_warm_starts_than_candidates_are_no_trouble(name):
    space = random_space(1)
    size = "starts" if name == "gradient" else "samples"
    optimizer = make(name, space, **{size: 64})
    candidates = optimizer.ask(optimizer.init(generators([0]), torch.zeros(1, 500, space.blocks, space.dims)))
    assert candidates.shape[1] == 64


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_learns_the_same_without_autograd(name, mode):
    space = random_space(2, horizon=2)
    optimizer = make(name, space)

    def answer():
        state = optimizer.init(generators([0]))
        for _ in range(8):
            plans = optimizer.ask(state)
            state = optimizer.tell(state, plans, bowl(plans), 2 * (plans - 0.2))
        return optimizer.best(state)

    with mode():
        inside = answer()
    assert torch.equal(inside[0], answer()[0]) and torch.equal(inside[1], answer()[1])


@pytest.mark.parametrize("name", NAMES)
def test_telling_leaves_the_old_state_alone(name):
    optimizer = make(name, random_space(4))
    seen = loop(optimizer, bowl, 8)
    for (old, _, _), (_, plans, energies) in zip(seen, seen[1:]):
        before = {key: value.clone() for key, value in tensors(old).items()}
        optimizer.tell(old, plans, energies, torch.ones_like(plans))
        assert all(torch.equal(value, before[key]) for key, value in tensors(old).items())


@pytest.mark.parametrize("name", NAMES)
def test_the_energies_unit_does_not_matter(name):
    problem = quadratic(2)
    optimizer = make(name, problem.space)
    big = dataclasses.replace(problem, energy=lambda actions: 1024 * problem.energy(actions))
    one, other = solve(optimizer, problem, 6), solve(optimizer, big, 6)
    torch.testing.assert_close(one.plans, other.plans, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("names", "changed"),
    [
        ("cem icem mppi predictive_sampling hybrid", {"samples": 1}),
        ("cem icem mppi predictive_sampling hybrid", {"samples": 100_001}),
        ("cem icem mppi predictive_sampling hybrid gradient", {"init_std": 0.0}),
        ("cem icem mppi predictive_sampling hybrid gradient", {"init_std": float("inf")}),
        ("cem icem mppi predictive_sampling hybrid gradient", {"init_std": float("nan")}),
        ("cem icem mppi predictive_sampling hybrid", {"min_std": 2.0}),
        ("cem icem mppi predictive_sampling hybrid", {"min_std": -0.1}),
        ("cem icem hybrid", {"elites": 0}),
        ("cem icem hybrid", {"elites": 513}),
        ("icem hybrid", {"elites": 40, "samples": 79}),
        ("cem icem hybrid", {"momentum": 1.0}),
        ("cem icem hybrid", {"momentum": -0.1}),
        ("cem icem", {"momentum_std": 1.0}),
        ("mppi", {"momentum_std": 1.1}),
        ("cem icem hybrid", {"keep_elites": 100}),
        ("cem icem hybrid", {"keep_elites": -1}),
        ("cem icem mppi", {"answer": "median"}),
        ("icem hybrid mppi", {"beta": -1.0}),
        ("icem hybrid", {"sample_decay": 0.05}),
        ("mppi", {"temperature": 0.0}),
        ("predictive_sampling", {"std_decay": 0.9}),
        ("gradient", {"starts": 0}),
        ("gradient hybrid", {"method": "newton"}),
        ("gradient hybrid", {"learning_rate": 0.0}),
        ("hybrid", {"sampling_iterations": 0}),
    ],
)
def test_wrong_settings_are_named(names, changed):
    for name in names.split():
        setting = next(iter(changed))
        with pytest.raises(ConfigError, match=f"planner.optimizer: {setting} is .*; expected"):
            make(name, random_space(0), **changed)
