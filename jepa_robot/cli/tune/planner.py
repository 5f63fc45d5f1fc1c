"""``jepa-robot tune planner``: the settings with the most success for the least time."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jepa_robot.cli.options import SEED, Option, json_option, planning_options, require_subgoals, subgoal_options
from jepa_robot.errors import ConfigError, OutputError
from jepa_robot.files import atomic_path

if TYPE_CHECKING:
    from jepa_robot.cli.planning import Setup
    from jepa_robot.evaluation.tuning import Outcome, Settings

SEARCHED = ("cem", "icem", "mppi", "predictive_sampling", "gradient", "hybrid")


@click.command("planner")
@planning_options
@click.option("--trials", type=click.IntRange(1, 100_000), default=40, show_default=True, help="Settings to try.")
@click.option(
    "--episodes", type=click.IntRange(1, 100_000), default=20, show_default=True, help="Start/goal pairs of a trial."
)
@click.option(
    "--optimizer", "optimizers", multiple=True, type=click.Choice(SEARCHED), default=SEARCHED[:4], show_default=True,
    help="To choose from; can be repeated.",
)
@click.option("--horizon", type=click.IntRange(1, 100), default=2, show_default=True, help="At most.")
@click.option(
    "--within", type=click.FloatRange(0, 1), default=0.05, show_default=True,
    help="Success that may be lost, against the best found, for less time.",
)
@subgoal_options
@click.option("--seed", type=SEED, default=1000, show_default=True, help="Which pairs; evaluate with others.")
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path),
    help="Preset to write, for --planner; beside it stands OUT.trials, with which an interrupted search goes on.",
)
@json_option
def command(
    task: str | None,
    camera: str | None,
    task_options: dict[str, Option],
    variation: tuple[str, ...],
    checkpoint: str | None,
    max_steps: int | None,
    planner: Path | None,
    trials: int,
    episodes: int,
    optimizers: tuple[str, ...],
    horizon: int,
    within: float,
    subgoals: int,
    goal_steps: int,
    seed: int,
    out: Path,
    as_json: bool,
    overrides: tuple[str, ...],
) -> None:
    """Search the planner's settings for a task and a checkpoint by success and time, with Optuna.

    Searched are optimizer, samples, elites, iterations, horizon, width of the search, distance and action cost; what is
    given as KEY=VALUE or with --planner is where the others stay. The first trial is those settings as they are. Of all
    that no other beats in both success and time, the fastest within --within of the best success is written to OUT, with
    all in which it differs from the shipped settings, and measured again on pairs that the search has not seen. Times are
    those of this machine: let nothing else run on it.
    """
    require_subgoals(subgoals, goal_steps)
    if out.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"is {out.name}", where="--out", expected="a name that ends in .yaml")
    if out.exists():
        raise OutputError("exists already", where=out, mend="choose another name")

    import yaml
    from omegaconf import OmegaConf

    from jepa_robot.cli.planning import configuration, prepare  # loads torch and Hydra
    from jepa_robot.evaluation.tasks import LAST_EVALUATION_SEED
    from jepa_robot.planning.goal_latents import encoder_digest
    from jepa_robot.planning.presets import changed, differing

    try:
        from jepa_robot.evaluation.tuning import Outcome, fastest, tune
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"Optuna cannot be loaded ({error})", where="tune planner", mend="pip install 'jepa-robot[tune]'"
        ) from error

    if seed >= LAST_EVALUATION_SEED:
        raise ConfigError(f"is {seed}", where="--seed", expected=f"0 to {LAST_EVALUATION_SEED - 1}")
    config = configuration("evaluate", overrides, task, camera, task_options, variation, max_steps, planner)
    setup = prepare(config, checkpoint)
    with setup.task:
        front = tune(
            lambda settings: _measure(setup, settings, episodes, seed, subgoals, goal_steps),
            trials, optimizers, horizon, setup.settings, seed, out.with_name(f"{out.name}.trials"),
            lambda number, outcome: click.echo(f"trial {number + 1}/{trials}  {_line(outcome)}", err=True),
            {
                "task": OmegaConf.to_container(config.task), "--episodes": episodes, "--subgoals": subgoals,
                "--goal-steps": goal_steps,
                "checkpoint": encoder_digest(setup.planner.engine.model),
            },
        )
        chosen = fastest(front, within)
        measured = _measure(setup, chosen.settings, episodes, seed + 1, subgoals, goal_steps)
        again = Outcome(chosen.settings, *measured)
    with atomic_path(out) as path:
        written = differing(changed(setup.settings, chosen.settings))
        path.write_text(yaml.safe_dump(written, sort_keys=False))
    if as_json:
        facts = {"out": str(out), "front": [_facts(o) for o in front], "chosen": _facts(chosen), "again": _facts(again)}
        click.echo(json.dumps(facts))
    else:
        click.echo("\n".join(["not beaten in both success and time:", *(f"  {_line(outcome)}" for outcome in front)]))
        click.echo(f"written to {out}: {_line(chosen)}")
        click.echo(f"on other pairs:  {_line(again)}")


def _measure(
    setup: Setup, settings: Settings, episodes: int, seed: int, subgoals: int, goal_steps: int
) -> tuple[int, int, float]:
    """Successes, episodes and the median time of a planning step in ms."""
    from jepa_robot.evaluation.episodes import attempt
    from jepa_robot.evaluation.policies import PlannerPolicy
    from jepa_robot.evaluation.tasks import episode_seed
    from jepa_robot.evaluation.way import shown_episode
    from jepa_robot.planning import build_planner
    from jepa_robot.planning.presets import changed

    planner = build_planner(setup.planner.engine.model, changed(setup.settings, settings))
    policy = PlannerPolicy(planner, subgoal_steps=goal_steps or None)
    successes, latencies = 0, []
    for i in range(episodes):
        number = episode_seed(seed, i)
        start, goal = shown_episode(setup.task, number, subgoals, setup.max_steps)
        result = attempt(setup.task, policy, start, goal, setup.max_steps, number)
        successes += bool(result.success)
        latencies += result.latencies_s
    if not latencies:
        raise ConfigError(
            f"refuses all {episodes} goals", where="planner.max_novelty", mend="planner.max_novelty=inf takes any"
        )
    return successes, episodes, 1000 * statistics.median(latencies)


def _line(outcome: Outcome) -> str:
    optimizer = outcome.settings.get("optimizer", {})
    others = {k: v for k, v in outcome.settings.items() if k not in ("optimizer", "energy")}
    said = {**optimizer, **others, **outcome.settings.get("energy", {})}
    text = " ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in said.items())
    rate = f"{100 * outcome.rate:.0f}% of {outcome.episodes}"
    return f"{rate}  {outcome.latency_ms:.1f} ms  {100 * outcome.per_ms:.2f} %/ms  {text or 'as they were'}"


def _facts(outcome: Outcome) -> dict[str, Any]:
    return {
        "settings": outcome.settings,
        "successes": outcome.successes,
        "episodes": outcome.episodes,
        "latency_ms": outcome.latency_ms,
        "success_per_ms": outcome.per_ms,
    }
