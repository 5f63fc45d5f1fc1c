"""Where does the planner's energy have its minimum? Over positions of the gripper, against the true goal.

For each goal picture the energy of pictures at random positions of the workspace is measured, in the
metric space and in the flattened latents. A good energy has its minimum at the goal, and grows with the
distance (Spearman's rank correlation). No minimum can be nearer to the goal than the nearest picture,
whose distance is printed first.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from scipy.stats import spearmanr

from jepa_robot.errors import JepaRobotError
from jepa_robot.evaluation.starts import start_and_goal
from jepa_robot.evaluation.tasks import Task, episode_seed
from jepa_robot.models import load
from jepa_robot.planning.energy import LatentDistance
from jepa_robot.planning.protocols import Prediction, Target


def measure(checkpoint: str, name: str, goals: int, positions: int) -> None:
    """Print one line an energy.

    Raises:
        JepaRobotError: the checkpoint or task cannot be used, or one was not made for the other.
    """
    model = load(checkpoint)
    rng = np.random.default_rng(0)
    with Task(name, model.contract.camera.height) as task, torch.inference_mode():
        model.contract.require(
            task.contract, f"checkpoint {checkpoint}", f"task {name}", "choose a checkpoint trained for this task"
        )

        def encode(states: list[dict]) -> torch.Tensor:
            """Latents [n, N, D] of the pictures of n states."""
            frames = np.stack([task.env.render_goal(state) for state in states])
            return model.encode(torch.from_numpy(frames)[:, None])[:, 0]

        # Goals are the evaluation's; pictures are drawn as goals are: evenly, with the gripper open or closed.
        goal_states = [start_and_goal(task.env, episode_seed(0, i))[1] for i in range(goals)]
        states = [task.env.sample_start_and_goal(rng)[1] for _ in range(positions)]
        # [goals, positions], metres
        distances = np.array([[task.env.distance(state, goal) for state in states] for goal in goal_states])
        latents, goal_latents = encode(states), encode(goal_states)
        nearest = 100 * np.median(distances.min(1))
        print(f"{goals} goals, {positions} pictures; nearest picture to a goal: median {nearest:.1f} cm")
        for space, measured in (("metric", model.metric), ("latent", lambda x: x.flatten(-2))):
            x, g = measured(latents), measured(goal_latents)
            nothing = x.new_zeros(1, len(x), 1, 0)
            pictures = Prediction(x[None, :, None], latents[None, :, None], nothing, nothing, x.new_zeros(1, 0))
            for distance in ("l2", "l1", "cosine"):
                energy = LatentDistance(distance)
                energies = np.stack([energy(pictures, Target(goal[None, None]))[0].numpy() for goal in g])
                found = 100 * distances[np.arange(goals), energies.argmin(1)]
                rank = np.mean([spearmanr(e, d).statistic for e, d in zip(energies, distances)])
                print(
                    f"{space:7s} {distance:7s} minimum at: median {np.median(found):5.1f} cm, "
                    f"95% {np.quantile(found, 0.95):5.1f} cm; rank correlation with distance {rank:.3f}"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", default="panda_reach", help="a .safetensors file or a shipped name")
    parser.add_argument("--task", default="panda_reach", help="task to draw in (default %(default)s)")
    parser.add_argument("--goals", type=int, default=20, help="goal pictures (default %(default)s)")
    parser.add_argument("--positions", type=int, default=400, help="pictures to compare with (default %(default)s)")
    args = parser.parse_args()
    if args.goals < 1 or args.positions < 2:
        parser.error("expected at least 1 goal and 2 positions")
    try:
        measure(args.checkpoint, args.task, args.goals, args.positions)
    except JepaRobotError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
