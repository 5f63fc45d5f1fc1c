"""Success, time and nearness of planner settings on the same start/goal pairs.

    python scripts/compare_planners.py energies
    python scripts/compare_planners.py optimizers --task panda_reach --episodes 100
    python scripts/compare_planners.py "planner.horizon=2" "planner/optimizer=icem planner.optimizer.samples=32"

A row is one or more KEY=VALUE, as `evaluate` takes them; the first row is the settings as shipped. All rows run an
episode before the next begins, so that a machine's slow moments are everyone's. Seeds are not those of `evaluate
--seed 0`, on which the shipped checkpoint is reported.
"""

from __future__ import annotations

import argparse
import statistics

import torch
from omegaconf import OmegaConf
from tqdm import tqdm
from verbs import success

from jepa_robot.cli.planning import configuration, prepare
from jepa_robot.evaluation.episodes import EpisodeResult, attempt
from jepa_robot.evaluation.policies import PlannerPolicy
from jepa_robot.evaluation.statistics import summary
from jepa_robot.evaluation.tasks import episode_seed
from jepa_robot.evaluation.way import shown_episode
from jepa_robot.planning import PlannerSettings, build_planner

TABLES = {
    "energies": [
        f"planner.energy.space={space} planner.energy.distance={distance}"
        for space in ("metric", "latent")
        for distance in ("l2", "l1", "cosine")
    ],
    "optimizers": [
        f"planner/optimizer={name}"
        for name in ("vjepa2_ac", "icem", "mppi", "predictive_sampling", "gradient", "hybrid")
    ],
    "samples": [
        f"planner.optimizer.samples={samples} planner.optimizer.iterations={iterations}"
        for samples, iterations in ((64, 3), (48, 3), (32, 4), (32, 2), (16, 4), (16, 3), (16, 2), (8, 3))
    ],
    "horizons": [
        f"planner.horizon={horizon} planner.energy.steps={steps}" for horizon in (1, 2, 4) for steps in ("all", "last")
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="+", help=f"a table ({', '.join(TABLES)}), or rows of KEY=VALUE")
    parser.add_argument("--task", default="panda_reach", help="default: %(default)s")
    parser.add_argument("--checkpoint", help="default: the task's shipped one")
    parser.add_argument("--episodes", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--subgoals", type=int, default=0, help="pictures of the expert's way; default: %(default)s")
    parser.add_argument("--goal-steps", type=int, help="actions after which to go on to the next; default: on arrival")
    parser.add_argument("--max-steps", type=int, help="actions before an episode ends; default: the task's")
    parser.add_argument("--seed", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    options = parser.parse_args()
    rows = ["", *(row for given in options.rows for row in TABLES.get(given, [given]))]
    configs = [configuration("evaluate", row.split(), options.task, max_steps=options.max_steps) for row in rows]
    setup = prepare(configs[0], options.checkpoint)
    torch.set_num_threads(options.threads)
    model = setup.planner.engine.model
    settings = [PlannerSettings.from_dict(OmegaConf.to_container(config.planner)) for config in configs]
    policies = [PlannerPolicy(build_planner(model, one), subgoal_steps=options.goal_steps) for one in settings]
    results: list[list[EpisodeResult]] = [[] for _ in rows]
    with setup.task:
        for i in tqdm(range(options.episodes), unit="episode"):
            number = episode_seed(options.seed, i)
            start, goal = shown_episode(setup.task, number, options.subgoals, setup.max_steps)
            for policy, found in zip(policies, results):
                found.append(attempt(setup.task, policy, start, goal, setup.max_steps, number).without_images())
    print("| Settings | Success (95%) | Steps, median | End, median / 95% (cm) | A step, median / 95% (ms) | Time |")
    print("|---|---|---|---|---|---|")
    first = None
    for row, found in zip(rows, results):
        facts = summary(found)
        end, latency = facts["final_distance_m"], facts["latency_ms"]
        total = statistics.fmean(sum(result.latencies_s) for result in found)
        first = first or total
        print(
            f"| {f'`{row}`' if row else 'as shipped'} | {success(facts)} | {facts['steps']['p50']:.0f} "
            f"| {100 * end['p50']:.2f} / {100 * end['p95']:.2f} "
            f"| {latency['p50']:.0f} / {latency['p95']:.0f} | {total / first:.2f} |"
        )


if __name__ == "__main__":
    main()
