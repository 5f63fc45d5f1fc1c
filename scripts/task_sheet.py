"""A sheet of all tasks: for some seeds a start, the goal picture, and the end of the scripted expert's episode.

    python scripts/task_sheet.py -o datasets/tasks.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gymnasium as gym
import jepa_envs
import numpy as np
from PIL import Image, ImageDraw, ImageFont

MARGIN, LABEL = 4, 16  # pixels: around pictures, and for the line above each task


def triple(env: gym.Env, seed: int, steps: int) -> tuple[list[np.ndarray], bool]:
    """Start, goal and end uint8 [H, W, 3], and whether the end is a success."""
    rng = np.random.default_rng(seed)
    start, goal = env.sample_start_and_goal(rng)
    env.reset(seed=seed, options={"state": start, "goal_state": goal})
    expert = env.make_demonstrator("expert", rng)
    pictures = [env.render_goal(start), env.render_goal(goal)]
    for _ in range(steps):
        *_, info = env.step(expert.act(env.state(), goal))
    return [*pictures, env.render_goal(env.state())], bool(info["success"])


def row(task: str, seeds: int, size: int) -> Image.Image:
    """One task: its name above, then the pictures of every seed side by side."""
    made = jepa_envs.make(task, image_size=size)
    steps, env = made.spec.max_episode_steps, made.unwrapped
    font = ImageFont.load_default(12)
    image = Image.new("RGB", (seeds * 3 * (size + MARGIN) + MARGIN, LABEL + size + MARGIN), "white")
    reached = 0
    for seed in range(seeds):
        pictures, success = triple(env, seed, steps)
        reached += success
        for i, picture in enumerate(pictures):
            image.paste(Image.fromarray(picture), (MARGIN + (3 * seed + i) * (size + MARGIN), LABEL))
    env.close()
    text = f"{task}: start, goal, expert's end ({reached} of {seeds} reached)"
    ImageDraw.Draw(image).text((MARGIN, 1), text, fill="black", font=font)
    return image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=list(jepa_envs.TASKS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--size", type=int, default=128, help="pixels of a picture")
    args = parser.parse_args()
    rows = [row(task, args.seeds, args.size) for task in args.tasks]
    sheet = Image.new("RGB", (rows[0].width, sum(image.height for image in rows)), "white")
    top = 0
    for image in rows:
        sheet.paste(image, (0, top))
        top += image.height
    sheet.save(args.output, optimize=True)


if __name__ == "__main__":
    main()
