"""``jepa-robot evaluate``: a checkpoint's success rate, between random actions and the ceiling."""

from __future__ import annotations

import contextlib
import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from jepa_robot.cli.options import SEED, Option, json_option, planning_options, require_subgoals, subgoal_options
from jepa_robot.errors import ConfigError
from jepa_robot.files import atomic_folder, atomic_path, require_free

if TYPE_CHECKING:
    from jepa_robot.cli.planning import Setup
    from jepa_robot.evaluation.episodes import EpisodeResult

Results = dict[str, list["EpisodeResult"]]


@click.command("evaluate")
@planning_options
@click.option("--episodes", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Start/goal pairs.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Which start/goal pairs.")
@subgoal_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder, new or empty, for results.json, episodes.csv and a strip of every failed episode.",
)
@click.option("--record", is_flag=True, help="Keep the figures in the checkpoint's header, where `info` shows them.")
@json_option
def command(
    task: str | None,
    camera: str | None,
    task_options: dict[str, Option],
    variation: tuple[str, ...],
    episodes: int,
    seed: int,
    subgoals: int,
    goal_steps: int,
    checkpoint: str | None,
    max_steps: int | None,
    planner: Path | None,
    out: Path | None,
    record: bool,
    as_json: bool,
    overrides: tuple[str, ...],
) -> None:
    """Measure how often a checkpoint reaches its goal.

    The same start/goal pairs are also run with random actions (the floor) and with the ceiling: the same optimizer on
    the true state of the simulator for reaching, the task's scripted expert for other tasks. Success is the task's
    verdict on the true state at the end of an episode.

    With --subgoals the planner is shown the way, as V-JEPA 2-AC is where an object has to be moved: the planner goes to
    pictures of what the task's expert does from the same start, and then to the goal's.

    Episode i has seed 1000000 + 100000 * SEED + i, which `plan --seed` and `goal --seed` understand, too. Settings
    from configs/evaluate.yaml can be given as KEY=VALUE, e.g. planner.optimizer.samples=256.

    With --variation start and goal stay those of the seed, and both are seen in a look that is drawn with them. A goal
    that the planner refuses, being unlike all that the model was trained on, counts as a failure;
    planner.max_novelty=inf has it plan for any.
    """
    require_subgoals(subgoals, goal_steps)
    if out is not None:
        require_free(out)

    from jepa_robot.cli.planning import configuration, prepare  # loads torch and Hydra
    from jepa_robot.evaluation.statistics import summary
    from jepa_robot.evaluation.tasks import LAST_EVALUATION_SEED
    from jepa_robot.models.checkpoint import record_results

    if seed > LAST_EVALUATION_SEED:
        raise ConfigError(f"is {seed}", where="--seed", expected=f"0 to {LAST_EVALUATION_SEED}")
    config = configuration("evaluate", overrides, task, camera, task_options, variation, max_steps, planner)
    setup = prepare(config, checkpoint)
    with contextlib.ExitStack() as at_end:
        # The folder is made first: what cannot be written to is refused before hours of episodes.
        with setup.task, contextlib.nullcontext() if out is None else atomic_folder(out) as folder:
            results = _run(setup, episodes, seed, subgoals, goal_steps, keep_failures=out is not None)
            facts = {
                "task": setup.task.name,
                "checkpoint": setup.checkpoint,
                "seed": seed,
                "max_steps": setup.max_steps,
                "variation": list(setup.variation),
                "subgoals": subgoals,
                "goal_steps": goal_steps,
                **{policy: summary(of_policy) for policy, of_policy in results.items()},
            }
            at_end.callback(_print, facts, list(results), as_json)  # also where the disk is full
            if folder is not None:
                _save(folder, facts, results)
    if record:
        kept = {key: value for key, value in facts.items() if key not in ("task", "checkpoint")}
        record_results(setup.checkpoint, {_title(facts): kept | {"overrides": list(overrides)}})


def _run(setup: Setup, episodes: int, seed: int, subgoals: int, goal_steps: int, keep_failures: bool) -> Results:
    """All policies on the same episodes; pictures are only kept of the planner's failures, if at all."""
    from jepa_robot.evaluation.episodes import attempt
    from jepa_robot.evaluation.policies import PlannerPolicy, RandomPolicy, ceiling
    from jepa_robot.evaluation.tasks import episode_seed
    from jepa_robot.evaluation.way import shown_episode

    task = setup.task
    policies = {
        "planner": PlannerPolicy(setup.planner, subgoal_steps=goal_steps or None),
        "random": RandomPolicy(),
        "ceiling": ceiling(task, setup.settings),
    }
    policies = {name: policy for name, policy in policies.items() if policy is not None}
    results: Results = {name: [] for name in policies}
    with tqdm(total=episodes, unit="episode", disable=not sys.stderr.isatty()) as bar:
        for i in range(episodes):
            number = episode_seed(seed, i)
            start, goal = shown_episode(task, number, subgoals, setup.max_steps)
            for name, policy in policies.items():
                result = attempt(task, policy, start, goal, setup.max_steps, number)
                keep = keep_failures and name == "planner" and not result.success
                results[name].append(result if keep else result.without_images())
            reached = sum(bool(r.success) for r in results["planner"])
            if bar.disable:
                if (i + 1) * 10 // episodes > i * 10 // episodes:
                    click.echo(f"{i + 1}/{episodes} episodes, {reached} successes", err=True)
            else:
                bar.set_postfix_str(f"{reached} successes")
                bar.update()
    return results


def _print(facts: dict[str, Any], policies: list[str], as_json: bool) -> None:
    click.echo(json.dumps(facts) if as_json else _table(facts, policies))
    planner = facts["planner"]
    if planner["refused"]:
        click.echo(
            f"note: {planner['refused']} of {planner['episodes']} goals were refused and count as failures, being "
            "unlike what the model was trained on; planner.max_novelty=inf has it plan for any",
            err=True,
        )


def _save(folder: Path, facts: dict[str, Any], results: Results) -> None:
    """Fill the output folder."""
    from jepa_robot.evaluation.statistics import row
    from jepa_robot.reporting.strip import save_strip

    rows = [row(policy, i, result) for policy, of_policy in results.items() for i, result in enumerate(of_policy)]
    with atomic_path(folder / "results.json") as path:
        path.write_text(json.dumps({**facts, "rows": rows}, indent=2) + "\n")
    with atomic_path(folder / "episodes.csv") as path, open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for result in results["planner"]:
        if not result.success:
            save_strip(folder / "failed" / f"seed_{result.seed}.png", result)


def _title(facts: dict[str, Any]) -> str:
    """The task, how its look varied, and whether the way was shown."""
    said = [*facts["variation"], *([f"{facts['subgoals']} sub-goals"] if facts["subgoals"] else [])]
    return f"{facts['task']} ({', '.join(said)})" if said else facts["task"]


def _table(facts: dict[str, Any], policies: list[str]) -> str:
    """One row a policy."""
    lines = [("", "success", "95% interval", "ever", "steps p50/p90", "end p50/p95 cm", "latency p50/p95 ms")]
    for policy in policies:
        s = facts[policy]
        low, high = s["success_interval_95"]
        lines.append(
            (
                policy,
                f"{100 * s['success_rate']:.0f}%",
                f"{100 * low:.1f}-{100 * high:.1f}%",
                f"{100 * s['ever_reached_rate']:.0f}%",
                _pair(s["steps_to_success"], 1),
                _pair(s["final_distance_m"], 100, 1),
                _pair(s["latency_ms"], 1),
            )
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    episodes = facts["planner"]["episodes"]
    head = f"{_title(facts)}, checkpoint {facts['checkpoint']}, {episodes} episodes, seed {facts['seed']}"
    return "\n".join([head, *("  ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip() for line in lines)])


def _pair(values: dict[str, float | None], scale: float, digits: int = 0) -> str:
    return " / ".join("-" if v is None else f"{scale * v:.{digits}f}" for v in values.values())
