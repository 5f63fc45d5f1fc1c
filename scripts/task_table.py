"""Record, train and evaluate every task once, with a short recipe of the tiny model, and print the table.

    python scripts/task_table.py                                   # this package's tasks
    python scripts/task_table.py fetch_push metaworld_door_open    # others, in an environment that has them
    python scripts/task_table.py --table                           # only print what is there

Each task has a folder outputs/tasks/TASK with its recording, its runs and what the verbs printed; what is there already
is not done again, so that an interrupted table goes on where it was. The tiny recipe is that of the README's "How the
model was made", with fewer episodes and steps. Planning is measured in the metric space, which knows the
proprioception, and between the latents, which see objects as well.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import jepa_envs
from verbs import run, success, told

SPACES = ("metric", "latent")
MIX = "noisy=0.5,explore=0.5"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="default: all of this package's")
    parser.add_argument("--out", type=Path, default=Path("outputs/tasks"), help="default: %(default)s")
    parser.add_argument("--episodes", type=int, default=200, help="recorded of each task; default: %(default)s")
    parser.add_argument("--steps", type=int, default=60, help="actions of each; default: %(default)s")
    parser.add_argument("--pretrain", type=int, default=100, help="steps of pretraining; default: %(default)s")
    parser.add_argument("--train", type=int, default=400, help="steps of joint training; default: %(default)s")
    parser.add_argument("--evaluate", type=int, default=20, help="start/goal pairs; default: %(default)s")
    parser.add_argument("--threads", type=int, default=0, help="of training; default: one a core")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    options = parser.parse_args()
    tasks = options.tasks or list(jepa_envs.TASKS)
    if not options.table:
        for task in tasks:
            make(task, options)
    print("\n".join(table(options.out)))


def make(task: str, options: argparse.Namespace) -> None:
    """Everything of one task, from recording to evaluation."""
    folder = options.out / task
    folder.mkdir(parents=True, exist_ok=True)
    data, threads = folder / "recorded.h5", f"threads={options.threads}"
    encoder, model = folder / "pretrain" / "encoder.safetensors", folder / "joint" / "world_model.safetensors"
    length = f"--steps={options.steps}"
    told(folder, "collect", f"--task={task}", f"--episodes={options.episodes}", length, f"--mix={MIX}", "-o", data)
    if not encoder.exists():
        run("pretrain", f"train.steps={options.pretrain}", f"data={data}", f"out={encoder.parent}", threads)
    if not model.exists():
        start = [f"data={data}", f"encoder={encoder}", f"out={model.parent}", threads]
        run("train", "train=joint", f"train.steps={options.train}", *start)
    told(folder, "info", model)
    for space in SPACES:
        chosen = [f"--task={task}", f"--checkpoint={model}", f"--episodes={options.evaluate}"]
        told(folder, f"evaluate {space}", *chosen, f"planner.energy.space={space}")


def table(out: Path) -> list[str]:
    """Markdown of what is in the folder."""
    lines = [
        "| `--task` | Frames | Object moves | Training | Success, metric space | latents | Expert | Random |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for folder in sorted(out.iterdir()):
        found = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
        if {"collect", "info", *(f"evaluate_{space}" for space in SPACES)} <= set(found):
            lines.append(_row(folder.name, found))
    return lines


def _row(task: str, found: dict[str, dict[str, Any]]) -> str:
    moves, metric = found["collect"]["object_moves"], found["evaluate_metric"]
    cells = [
        f"`{task}`",
        str(found["collect"]["frames"]),
        "-" if moves is None else f"{100 * moves:.0f}%",
        f"{sum(stage['seconds'] for stage in found['info']['recipe']) / 60:.1f} min",
        *(success(found[f"evaluate_{space}"]["planner"]) for space in SPACES),
        success(metric["ceiling"]) if "ceiling" in metric else "-",
        success(metric["random"]),
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
