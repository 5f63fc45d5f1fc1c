"""Where does the planner's energy have its minimum? Over positions of the gripper, against the true goal.

    python scripts/energy_map.py [CHECKPOINT] [--task panda_reach] [--goals 20] [--positions 400]

For each goal picture the energy of pictures at random positions of the workspace is measured, in the
metric space and in the flattened latents. A good energy has its minimum at the goal, and grows with the
distance (Spearman's rank correlation).
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from scipy.stats import spearmanr

from jepa_robot.evaluation.goal_picture import start_and_goal
from jepa_robot.evaluation.tasks import Task, episode_seed
from jepa_robot.models import load
from jepa_robot.planning.energy import LatentDistance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", default="panda_reach")
    parser.add_argument("--task", default="panda_reach")
    parser.add_argument("--goals", type=int, default=20)
    parser.add_argument("--positions", type=int, default=400, help="pictures at random positions of the workspace")
    args = parser.parse_args()
    model = load(args.checkpoint)
    rng = np.random.default_rng(0)
    with Task(args.task) as task, torch.inference_mode():

        def encode(states: list[dict]) -> torch.Tensor:
            frames = np.stack([task.env.render_goal(state) for state in states])
            return model.encode(torch.from_numpy(frames)[:, None])[:, 0]

        states = [task.env.sample_start_and_goal(rng)[1] for _ in range(args.positions)]
        positions = np.stack([task.proprioception(state) for state in states])
        goals = [start_and_goal(task.env, episode_seed(0, i))[1] for i in range(args.goals)]
        goal_positions = np.stack([task.proprioception(goal) for goal in goals])
        latents, goal_latents = encode(states), encode(goals)
        metres = np.array([d.unit == "m" for d in model.contract.states])
        distances = np.linalg.norm(positions[None, :, metres] - goal_positions[:, None, metres], axis=-1)
        print(f"{args.goals} goals, {args.positions} pictures; nearest picture to a goal: median "
              f"{100 * np.median(distances.min(1)):.1f} cm")
        for space, measure in (("metric", model.metric), ("latent", lambda x: x.flatten(-2))):
            for name in ("l2", "l1", "cosine"):
                energy = LatentDistance(name)
                x, g = measure(latents), measure(goal_latents)
                energies = np.stack([energy(x[:, None], goal, torch.empty(0)).numpy() for goal in g])
                found = distances[np.arange(args.goals), energies.argmin(1)]
                rank = np.mean([spearmanr(e, d).statistic for e, d in zip(energies, distances)])
                print(
                    f"{space:7s} {name:7s} minimum at: median {100 * np.median(found):5.1f} cm, 95% "
                    f"{100 * np.quantile(found, 0.95):5.1f} cm; rank correlation with distance {rank:.3f}"
                )


if __name__ == "__main__":
    main()
