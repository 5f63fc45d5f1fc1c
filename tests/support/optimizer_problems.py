"""Problems whose optimum is known without any optimizer of this project, E instances of each side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import torch
from torch import Tensor

from jepa_robot.planning.actions import ActionSpace


@dataclass(frozen=True)
class Problem:
    """E instances.

    Attributes:
        space: the possible plans.
        energy: actions [E, S, H, A] -> energies [E, S].
        optimum: [E], the lowest energies possible.
        tolerance: [E], an energy at most this far above the optimum is a success.
        alone: instance e as a problem of one.
    """

    space: ActionSpace
    energy: Callable[[Tensor], Tensor]
    optimum: Tensor
    tolerance: Tensor
    alone: Callable[[int], Problem]


def _problem(
    space: ActionSpace, energy: Callable[..., Tensor], data: Sequence[Tensor], optimum: Tensor, tolerance: Tensor
) -> Problem:
    """``energy(actions, *data)``; the data's first dimension is E, and stays when one instance is taken alone."""

    def alone(e: int) -> Problem:
        return _problem(space, energy, [d[e : e + 1] for d in data], optimum[e : e + 1], tolerance[e : e + 1])

    return Problem(space, lambda actions: energy(actions, *data), optimum, tolerance, alone)


def quadratic(instances: int, box: bool = False, seed: int = 0) -> Problem:
    """Coupled dimensions and steps, condition number 30; with ``box`` the unconstrained minimum is outside."""
    rng = np.random.default_rng(seed)
    low, high, horizon = np.array([-1.0, -0.5]), np.array([1.0, 2.0]), 3
    n = horizon * len(low)
    lows, highs = np.tile(low, horizon), np.tile(high, horizon)
    middle, half = (lows + highs) / 2, (highs - lows) / 2
    factors, targets, optima, starts = [], [], [], []
    for _ in range(instances):
        rotation = np.linalg.qr(rng.normal(size=(n, n)))[0]
        factor = np.geomspace(1, 30**0.5, n)[:, None] * rotation / half
        target = middle + (2.0 if box else 0.8) * half * rng.uniform(-1, 1, n)
        solved = scipy.optimize.lsq_linear(factor, factor @ target, (lows, highs), tol=1e-12)
        factors.append(factor), targets.append(target)
        optima.append(2 * solved.cost), starts.append(np.square(factor @ (middle - target)).sum())
    factor, target, optimum, start = (
        torch.tensor(np.array(x), dtype=torch.float32) for x in (factors, targets, optima, starts)
    )

    def energy(actions: Tensor, factor: Tensor, target: Tensor) -> Tensor:
        away = actions.flatten(-2) - target[:, None]
        return (away[:, :, None] * factor[:, None]).sum(-1).square().sum(-1)

    space = ActionSpace(torch.tensor(low).float(), torch.tensor(high).float(), horizon)
    return _problem(space, energy, [factor, target], optimum, 0.01 * (start - optimum))


def valleys(instances: int, seed: int = 0) -> Problem:
    """Three valleys as wide as each other, of which one is deepest."""
    g = torch.Generator().manual_seed(seed)
    ends = 1.4 * torch.rand(instances, 3, 2, 2, generator=g) - 0.7
    height = torch.tensor([0.0, 0.5, 1.0])

    def energy(actions: Tensor, ends: Tensor) -> Tensor:
        away = (actions[:, :, None] - ends[:, None]).square().sum((-2, -1))  # [E, S, 3]
        return (away + height).amin(-1)

    space = ActionSpace(-torch.ones(2), torch.ones(2), 2)
    return _problem(space, energy, [ends], torch.zeros(instances), torch.full((instances,), 0.003))


def ripples(instances: int, seed: int = 0) -> Problem:
    """A bowl with ripples (Rastrigin's function): a local minimum every 0.5, 5 * 5 * 5 * 5 of them."""
    g = torch.Generator().manual_seed(seed)
    deepest = 1.4 * torch.rand(instances, 2, 2, generator=g) - 0.7

    def energy(actions: Tensor, deepest: Tensor) -> Tensor:
        away = actions - deepest[:, None]
        return (away.square() + 0.1 * (1 - torch.cos(4 * torch.pi * away))).sum((-2, -1))

    space = ActionSpace(-torch.ones(2), torch.ones(2), 2)
    # The lowest of the other minima is 0.23 above.
    return _problem(space, energy, [deepest], torch.zeros(instances), torch.full((instances,), 0.1))


def gripper(instances: int, seed: int = 0) -> Problem:
    """Go somewhere with a thing that a gripper, open 0 or closed 1, has to hold in the right steps of four."""
    g = torch.Generator().manual_seed(seed)
    horizon, weight = 4, 0.3
    goal = 1.2 * torch.rand(instances, 2, generator=g) - 0.6
    right = torch.randint(0, 2, (instances, horizon), generator=g).float()

    def energy(actions: Tensor, goal: Tensor, right: Tensor) -> Tensor:
        wrong = (actions[..., 2] - right[:, None]).abs()  # [E, S, H]
        moved = (actions[..., :2] * (1 - 0.5 * wrong[..., None])).sum(-2)
        return (moved - goal[:, None]).square().sum(-1) + weight * wrong.mean(-1)

    space = ActionSpace(
        torch.tensor([-0.3, -0.3, 0.0]), torch.tensor([0.3, 0.3, 1.0]), horizon, levels={2: [0.0, 1.0]}
    )
    # One wrong step of the gripper costs 0.075.
    return _problem(space, energy, [goal, right], torch.zeros(instances), torch.full((instances,), 0.0005))


def far(instances: int, seed: int = 0) -> Problem:
    """Sixteen steps to a goal that twelve full ones reach."""
    goal = 12 * (2.0 * torch.randint(0, 2, (instances, 2), generator=torch.Generator().manual_seed(seed)) - 1)

    def energy(actions: Tensor, goal: Tensor) -> Tensor:
        return (actions.sum(-2) - goal[:, None]).square().sum(-1)

    space = ActionSpace(-torch.ones(2), torch.ones(2), 16)
    return _problem(space, energy, [goal], torch.zeros(instances), torch.full((instances,), 0.1))


def lqr(instances: int, seed: int = 0) -> Problem:
    """A point mass in the plane, x' = A x + B u over 6 steps; sum of x'Qx + u'Ru, and the last x'Q_H x.

    The least energy is x_0'P x_0 by the Riccati recursion: P = Q + A'P (A - B K), K = (R + B'PB)^-1 B'P A. The bounds
    are wider than the best actions.
    """
    rng = np.random.default_rng(seed)
    dt, horizon = 0.2, 6
    one, zero = np.eye(2), np.zeros((2, 2))
    a = np.block([[one, dt * one], [zero, 0.9 * one]])  # position and velocity in the plane
    b = np.block([[0.5 * dt**2 * one], [dt * one]])
    q, r, last = np.diag([1.0, 1.0, 0.1, 0.1]), 0.02 * one, 10 * np.diag([1.0, 1.0, 0.1, 0.1])
    p = last
    for _ in range(horizon):
        k = np.linalg.solve(r + b.T @ p @ b, b.T @ p @ a)
        p = q + a.T @ p @ (a - b @ k)
    begin = rng.uniform(-1, 1, (instances, 4))
    optimum = np.einsum("ei,ij,ej->e", begin, p, begin)
    A, B, Q, R, QH, x0, best = (torch.tensor(x, dtype=torch.float32) for x in (a, b, q, r, last, begin, optimum))

    def times(matrix: Tensor, x: Tensor) -> Tensor:  # a matrix product's rounding depends on the batch
        return (matrix * x[..., None, :]).sum(-1)

    def energy(actions: Tensor, x0: Tensor) -> Tensor:
        x, total = x0[:, None].expand(-1, actions.shape[1], -1), 0.0
        for t in range(horizon):
            u = actions[:, :, t]
            total = total + (times(Q, x) * x).sum(-1) + (times(R, u) * u).sum(-1)
            x = times(A, x) + times(B, u)
        return total + (times(QH, x) * x).sum(-1)

    return _problem(ActionSpace(-8 * torch.ones(2), 8 * torch.ones(2), horizon), energy, [x0], best, 0.05 * best)
