"""Seconds and memory of `jepa-robot import vjepa2` and of loading what it wrote, on files of random weights.

    python scripts/bench_import.py [--folder DIR] [--preset vitl_256 ...]

For every preset a .pt file with the entries of V-JEPA 2's training (encoder, target_encoder, and then a masked
predictor, too) is made in DIR, imported, and the encoder loaded, each step in a process of its own. Memory is the
process's peak beyond what it had once its libraries were loaded; a file that is mapped counts as far as it was read.
The file of `vitl_256` takes 2.5 GB of disk beside the 1.3 GB of the checkpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from jepa_robot.cli.preset import read_preset
from jepa_robot.models import load_encoder
from jepa_robot.models.checkpoint import MASKED_PREDICTOR
from jepa_robot.models.encoder import VideoEncoder
from jepa_robot.models.masked_predictor import MaskedPredictor, MaskedPredictorConfig
from jepa_robot.models.vjepa2 import (
    ActionSpace, ImportOptions, plan_encoder, plan_masked_predictor, read_vjepa2, save_vjepa2,
)

MASKED = MaskedPredictorConfig(384, 12, 12, 4.0, 10)  # V-JEPA 2's, of all presets


def layout(module: torch.nn.Module, plan: Callable, example: list[str], heads: int, head_dim: int) -> dict[str, Tensor]:
    """Random tensors in the published names and shapes for a module on the meta device."""
    made = {}
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    for ours, origin in plan(example, heads, head_dim).origins.items():
        made |= {name: 0.02 * torch.randn(origin.shape(shapes[ours])) for name in origin.sources}
    return made


def write_source(path: Path, preset: str, with_predictor: bool) -> None:
    """A training file of the preset's sizes."""
    config = read_preset(preset, []).encoder
    with torch.device("meta"):
        encoder, predictor = VideoEncoder(config), MaskedPredictor(config.width, MASKED)
    blocks = [f"blocks.{i}.norm1.bias" for i in range(config.depth)]
    weights = layout(encoder, plan_encoder, blocks, config.heads, config.width // config.heads)
    content: dict = {"encoder": {f"module.backbone.{n}": t.clone() for n, t in weights.items()}}
    content["target_encoder"] = {f"module.backbone.{n}": t for n, t in weights.items()}
    if with_predictor:
        blocks = [f"predictor_blocks.{i}.norm1.bias" for i in range(MASKED.depth)]
        blocks += [f"mask_tokens.{i}" for i in range(MASKED.mask_tokens)]
        weights = layout(predictor, plan_masked_predictor, blocks, MASKED.heads, MASKED.width // MASKED.heads)
        content["predictor"] = {f"module.backbone.{n}": t for n, t in weights.items()}
    torch.save(content | {"epoch": 1}, path)


def memory(field: str) -> int:
    """Bytes of this process, ``VmRSS`` (now) or ``VmHWM`` (peak)."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition(f"{field}:")[2].split()[0])


def measured(work: Callable[[], object]) -> dict[str, float]:
    before, begun = memory("VmRSS"), time.perf_counter()
    work()
    return {"seconds": time.perf_counter() - begun, "gb": (memory("VmHWM") - before) / 1e9}


def child(step: str, source: Path, out: Path, size: int) -> dict[str, float]:
    """One step in this process."""
    if step == "load":
        return measured(lambda: load_encoder(out))
    options = ImportOptions(image_size=size)
    return measured(lambda: save_vjepa2(out, read_vjepa2(source, options), ActionSpace(), source.name))


def in_process_of_its_own(*args: object) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", *map(str, args)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="where files are written, and removed again")
    parser.add_argument("--preset", nargs="+", default=["vitl_256"])
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        step, source, out, size = args.child
        print(json.dumps(child(step, Path(source), Path(out), int(size))))
        return
    print(f"{'preset':12} {'networks':30} {'model GB':>9} {'file GB':>8}  import s / GB      load encoder s / GB")
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for preset in args.preset:
            for with_predictor in (False, True):
                source, out = Path(folder) / "source.pt", Path(folder) / "out.safetensors"
                write_source(source, preset, with_predictor)
                size = read_preset(preset, []).encoder.image_size
                imported, loaded = (in_process_of_its_own(step, source, out, size) for step in ("import", "load"))
                networks = "encoder, " + MASKED_PREDICTOR.replace("_", " ") if with_predictor else "encoder"
                print(
                    f"{preset:12} {networks:30} {os.path.getsize(out) / 1e9:9.2f} {os.path.getsize(source) / 1e9:8.2f}"
                    f"  {imported['seconds']:.1f} / {imported['gb']:.2f}"
                    f"         {loaded['seconds']:.1f} / {loaded['gb']:.2f}"
                )


if __name__ == "__main__":
    main()
