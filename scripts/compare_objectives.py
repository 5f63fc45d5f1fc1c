"""Compare objectives of pretraining at equal minutes: probes, and planning with a frozen and with a joint last phase.

    python scripts/compare_objectives.py                            # everything, seed 0: about 3 hours on two cores
    python scripts/compare_objectives.py --seeds 1 2 --jobs 2
    python scripts/compare_objectives.py --table                    # only print what is there

For every scene, objective and seed: `pretrain` for a number of minutes; from that encoder a world model for as many
minutes with the encoder frozen, and another with the dynamics loss reaching it (``train=joint``); probes of all the
encoders; and `evaluate` of both world models. Minutes become steps by timing a few steps of every stage first, one
thread each, and nothing else running. What is there already is not done again, so that an interrupted comparison goes
on where it was.
"""

from __future__ import annotations

import argparse
import json
import statistics
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from verbs import run, success, told

OBJECTIVES = ("masked", "vjepa2", "vjepa", "ijepa", "cjepa", "sigreg")
PLANNED = ("panda_reach", "panda_reach_with_object")
PROBED = ("panda_push",)  # pretraining and probes alone: the short recipe does not plan pushing
TIMED_STEPS = 6
ENDS = ("frozen", "joint")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("outputs/objectives"), help="default: %(default)s")
    parser.add_argument("--objectives", nargs="+", default=OBJECTIVES, metavar="NAME", help="of configs/train")
    parser.add_argument("--scenes", nargs="+", default=[*PLANNED, *PROBED], metavar="TASK")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--episodes", type=int, default=200, help="recorded of each scene; default: %(default)s")
    parser.add_argument("--steps", type=int, default=60, help="actions of each; default: %(default)s")
    parser.add_argument("--minutes", type=float, default=5, help="of every training stage; default: %(default)s")
    parser.add_argument("--evaluate", type=int, default=50, help="start/goal pairs; default: %(default)s")
    parser.add_argument("--ends", nargs="*", default=ENDS, choices=ENDS, help="last phases; default: %(default)s")
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side, a thread each; default: %(default)s")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    options = parser.parse_args()
    if not options.table:
        compare(options)
    print("\n".join(table(options.out)))


def compare(options: argparse.Namespace) -> None:
    """Everything that is not there yet, ``--jobs`` runs at a time."""
    for scene in options.scenes:
        folder = options.out / scene
        folder.mkdir(parents=True, exist_ok=True)
        told(
            folder, "collect", f"--task={scene}", f"--episodes={options.episodes}", f"--steps={options.steps}",
            "--mix=noisy=0.5,explore=0.5", "-o", folder / "recorded.h5",
        )
    steps = timed(options)
    cells = [(scene, o, seed) for seed in options.seeds for scene in options.scenes for o in options.objectives]
    with ThreadPoolExecutor(options.jobs) as pool:
        for done in [pool.submit(cell, options, steps, *c) for c in cells]:
            done.result()


def timed(options: argparse.Namespace) -> dict[str, int]:
    """Steps of every stage that take ``--minutes``, from a few timed ones on one thread."""
    data = options.out / options.scenes[0] / "recorded.h5"
    steps = {}
    for stage in (*options.objectives, *ENDS):
        kept = options.out / "seconds_a_step" / f"{stage}.json"
        if not kept.exists():
            out = kept.parent / stage
            encoder = options.out / "seconds_a_step" / options.objectives[0] / "encoder.safetensors"
            verb = ["train", f"encoder={encoder}"] if stage in ENDS else ["pretrain"]
            shared = [f"train={stage}", f"data={data}", "threads=1", f"train.evaluate_every={10 * TIMED_STEPS}"]
            # The difference of two runs: what happens once (encoding every frame, figures) is in both.
            seconds = []
            for count in (TIMED_STEPS, 3 * TIMED_STEPS):
                run(*verb, *shared, f"train.steps={count}", f"out={out.with_name(f'{stage}_{count}')}")
                name = "world_model" if stage in ENDS else "encoder"
                made = out.with_name(f"{stage}_{count}") / f"{name}.safetensors"
                seconds.append(json.loads(run("info", made, "--json"))["recipe"][-1]["seconds"])
                if stage == options.objectives[0]:
                    encoder.parent.mkdir(parents=True, exist_ok=True)
                    encoder.write_bytes(made.read_bytes())
            kept.write_text(json.dumps((seconds[1] - seconds[0]) / (2 * TIMED_STEPS)))
        steps[stage] = max(1, round(60 * options.minutes / json.loads(kept.read_text())))
    return steps


def cell(options: argparse.Namespace, steps: dict[str, int], scene: str, objective: str, seed: int) -> None:
    """One scene, objective and seed, from pretraining to evaluation."""
    data, folder = options.out / scene / "recorded.h5", options.out / scene / objective / str(seed)
    folder.mkdir(parents=True, exist_ok=True)
    encoder = folder / "pretrain" / "encoder.safetensors"
    shared = [f"data={data}", f"seed={seed}", "threads=1"]
    if not encoder.exists():
        run("pretrain", f"train={objective}", f"train.steps={steps[objective]}", f"out={encoder.parent}", *shared)
    told(folder, "probe pretrain", encoder, f"--data={data}", f"--seed={seed}")
    ends = [end for end in options.ends if scene in PLANNED]
    for end in ends:
        model = folder / end / "world_model.safetensors"
        if not model.exists():
            run("train", f"train={end}", f"train.steps={steps[end]}", f"encoder={encoder}", f"out={model.parent}", *shared)
        told(
            folder, f"evaluate {end}", f"--task={scene}", f"--checkpoint={model}", f"--episodes={options.evaluate}",
            f"--seed={seed}", "planner.max_novelty=inf",
        )
    if "joint" in ends:
        told(folder, "probe joint", folder / "joint" / "world_model.safetensors", f"--data={data}", f"--seed={seed}")


def table(out: Path) -> list[str]:
    """Markdown of what is in the folder: the mean over seeds, and the lowest and highest of them."""
    lines = [
        "| Scene | Objective | Seeds | R2 hand, pretrained | R2 object | R2 hand, joint | R2 object | Frozen | Joint |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for scene in sorted(p for p in out.iterdir() if (p / "recorded.h5").exists()):
        baselines: dict[str, list[dict[str, float]]] = {}
        for objective in sorted(p for p in scene.iterdir() if p.is_dir()):
            found = [_found(seed) for seed in sorted(objective.iterdir())]
            found = [f for f in found if "probe_pretrain" in f]
            if not found:
                continue
            for name in ("random weights", "pixels"):
                baselines.setdefault(name, []).extend(f["probe_pretrain"][name] for f in found)
            cells = [scene.name, objective.name, str(len(found))]
            for probe in ("probe_pretrain", "probe_joint"):
                columns = [f[probe]["encoder"] for f in found if probe in f]
                cells += [_spread(columns, "mean_r2_effector"), _spread(columns, "mean_r2_object")]
            for end in ENDS:
                rates = [success(f[f"evaluate_{end}"]["planner"]) for f in found if f"evaluate_{end}" in f]
                cells.append("; ".join(rates) or "-")
            lines.append(f"| {' | '.join(cells)} |")
        for name, columns in baselines.items():
            cells = [scene.name, f"({name})", str(len(columns))]
            cells += [_spread(columns, "mean_r2_effector"), _spread(columns, "mean_r2_object"), "", "", "", ""]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _found(folder: Path) -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


def _spread(columns: list[dict[str, float]], key: str) -> str:
    values = [column[key] for column in columns if key in column]
    if not values:
        return "-"
    middle = f"{statistics.mean(values):.3f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.3f} - {max(values):.3f})"


if __name__ == "__main__":
    main()
