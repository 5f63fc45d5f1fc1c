"""Time V-JEPA 2's encoder and one step of its masked pretraining against Hugging Face's VJEPA2Model.

    python scripts/bench_vjepa2.py                                     # a small model, two threads, float32 and bf16
    python scripts/bench_vjepa2.py --width 1024 --depth 24 --heads 16 --image-size 256 --frames 16 --batch 8 \
        --device cuda --dtypes bf16 --compile

Both have the same architecture, weights, batch and optimizer, and take turns, so that the ratio of each round is of
one moment; the medians are printed. A training step is: encode all tokens of the clips, predict the hidden ones from the
visible ones, L1, backward, AdamW. A pretraining step is V-JEPA 2's: a teacher encodes all tokens, a student the visible
ones, the predictor the hidden ones, backward, AdamW, and the teacher follows. VJEPA2Model cannot leave tokens out, so
its student encodes all of them. The share of the peak is of the fastest product of
two 2048 x 2048 matrices in the same run.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import VJEPA2Config, VJEPA2Model

from jepa_robot.models.attention import set_checkpointing
from jepa_robot.models.encoder import EncoderConfig, VideoEncoder
from jepa_robot.models.linear import FLOP_FORMULAS, linear
from jepa_robot.models.masked_predictor import MaskedPredictor, MaskedPredictorConfig
from jepa_robot.models.vjepa2 import plan_hf_encoder, plan_hf_predictor
from jepa_robot.training.optim import adamw, ema_update

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
VISIBLE = 0.25  # of a clip's tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--batch", type=int, default=32, help="clips; default: %(default)s")
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--predictor", type=int, nargs=3, default=(96, 3, 3), metavar=("WIDTH", "DEPTH", "HEADS"))
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=list(DTYPES), help="bf16 is autocast")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--compile", action="store_true", help="compile both")
    parser.add_argument("--checkpointing", action="store_true", help="recompute activations, in both")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    ours, theirs = Ours.build(options), Theirs.build(options)
    ours.take_weights(theirs.model)
    for name in options.dtypes:
        with torch.autocast(torch.device(options.device).type, DTYPES[name], enabled=name != "fp32"):
            report(name, options, ours, theirs)


@dataclass
class Batch:
    """Clips and masks: frames uint8 [B, T, H, W, 3], the same as normalised pixels, token indices [B, V] and [B, M]."""

    frames: Tensor
    pixels: Tensor
    visible: Tensor
    hidden: Tensor


@dataclass
class Ours:
    encoder: VideoEncoder
    predictor: MaskedPredictor
    teacher: VideoEncoder
    optimizer: torch.optim.Optimizer

    @classmethod
    def build(cls, o: argparse.Namespace) -> Ours:
        sizes = EncoderConfig(o.image_size, 16, o.width, o.depth, o.heads, 4.0, True)
        encoder = VideoEncoder(sizes, MEAN, STD).to(o.device)
        predictor = MaskedPredictor(o.width, MaskedPredictorConfig(*o.predictor, mask_tokens=10, tiled_rope=True))
        predictor = predictor.to(o.device)
        for part in (encoder, predictor):
            set_checkpointing(part, o.checkpointing)
            if o.compile:
                for block in part.blocks:
                    block.compile()
        return cls(encoder, predictor, copy.deepcopy(encoder), adamw([encoder, predictor], 1e-4, 0.04))

    @torch.no_grad()
    def take_weights(self, model: VJEPA2Model) -> None:
        c, weights = model.config, model.state_dict()
        names = {part: [n for n in weights if n.startswith(f"{part}.")] for part in ("encoder", "predictor")}
        heads = c.num_attention_heads
        self.encoder.load_state_dict(
            plan_hf_encoder(names["encoder"], heads, c.hidden_size // heads).tensors(weights)
        )
        self.teacher.load_state_dict(self.encoder.state_dict())
        heads = c.pred_num_attention_heads
        self.predictor.load_state_dict(
            plan_hf_predictor(names["predictor"], heads, c.pred_hidden_size // heads).tensors(weights)
        )

    def encode(self, batch: Batch) -> Tensor:
        e = self.encoder
        return e.run(e.patch_embed(e.tubelets(batch.frames)), e.positions(batch.frames.shape[1] // 2))

    def predict(self, batch: Batch) -> Tensor:
        positions = self.encoder.positions(batch.frames.shape[1] // 2)
        latents = self.encode(batch)
        return self.predictor(pick(latents, batch.visible), positions[batch.visible], positions[batch.hidden], 1)

    def pretrain_step(self, batch: Batch) -> None:
        """As `jepa_robot.training.pretrain`: student on the visible tokens, teacher on all, and the teacher follows."""
        positions = self.encoder.positions(batch.frames.shape[1] // 2)
        with torch.no_grad():
            pixels = self.encoder.tubelets(batch.frames)
            target = self.teacher.run(self.teacher.patch_embed(pixels), positions)
            target = F.layer_norm(pick(target, batch.hidden).float(), target.shape[-1:])
        latents = self.encoder.run(self.encoder.patch_embed(pick(pixels, batch.visible)), positions[batch.visible])
        predicted = self.predictor(latents, positions[batch.visible], positions[batch.hidden], 1)
        descend(self.optimizer, predicted, target)
        ema_update(self.teacher, self.encoder, 0.999)


@dataclass
class Theirs:
    model: VJEPA2Model
    teacher: VJEPA2Model
    optimizer: torch.optim.Optimizer

    @classmethod
    def build(cls, o: argparse.Namespace) -> Theirs:
        width, depth, heads = o.predictor
        config = VJEPA2Config(
            patch_size=16, crop_size=o.image_size, frames_per_clip=o.frames, hidden_size=o.width,
            num_attention_heads=o.heads, num_hidden_layers=o.depth, pred_hidden_size=width,
            pred_num_attention_heads=heads, pred_num_hidden_layers=depth,
        )
        model = VJEPA2Model(config).to(o.device)
        if o.checkpointing:
            model.gradient_checkpointing_enable()
        if o.compile:
            for layer in (*model.encoder.layer, *model.predictor.layer):
                layer.compile()
        return cls(model, copy.deepcopy(model), adamw([model], 1e-4, 0.04))

    def encode(self, batch: Batch) -> Tensor:
        return self.model(batch.pixels, skip_predictor=True).last_hidden_state

    def predict(self, batch: Batch) -> Tensor:
        out = self.model(batch.pixels, context_mask=[batch.visible], target_mask=[batch.hidden])
        return out.predictor_output.last_hidden_state

    def pretrain_step(self, batch: Batch) -> None:
        with torch.no_grad():
            target = pick(self.teacher(batch.pixels, skip_predictor=True).last_hidden_state, batch.hidden)
            target = F.layer_norm(target.float(), target.shape[-1:])
        descend(self.optimizer, self.predict(batch), target)
        ema_update(self.teacher, self.model, 0.999)


def pick(x: Tensor, index: Tensor) -> Tensor:
    """[B, L, D] at indices [B, n] -> [B, n, D]."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))


def descend(optimizer: torch.optim.Optimizer, predicted: Tensor, target: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    (predicted.float() - target).abs().mean().backward()
    optimizer.step()


def make_batch(o: argparse.Namespace) -> Batch:
    frames = torch.randint(256, (o.batch, o.frames, o.image_size, o.image_size, 3), dtype=torch.uint8)
    pixels = ((frames.float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 1, 4, 2, 3).contiguous()
    tokens = o.frames // 2 * (o.image_size // 16) ** 2
    order = torch.stack([torch.randperm(tokens) for _ in range(o.batch)])
    visible, hidden = (part.sort(1).values for part in order.tensor_split([int(VISIBLE * tokens)], dim=1))
    return Batch(*(x.to(o.device) for x in (frames, pixels, visible, hidden)))


def report(dtype: str, o: argparse.Namespace, ours: Ours, theirs: Theirs) -> None:
    batch = make_batch(o)
    with torch.no_grad():
        gap = (ours.predict(batch).float() - theirs.predict(batch).float()).abs().max()
    print(f"{dtype}: {o.width} x {o.depth}, {o.image_size} px, {o.frames} frames, batch {o.batch}, {o.device};", end=" ")
    peak = matrix_peak(o, DTYPES[dtype])
    print(f"largest difference of outputs {float(gap):.1e}; peak {peak / 1e9:.0f} GFLOP/s")
    target = torch.randn_like(batch.hidden[..., None].expand(-1, -1, o.width), dtype=torch.float32)

    def encode(side: Ours | Theirs) -> Callable[[], None]:
        def run() -> None:
            with torch.inference_mode():
                side.encode(batch)
        return run

    def step(side: Ours | Theirs) -> Callable[[], None]:
        return lambda: descend(side.optimizer, side.predict(batch), target)

    for title, make in (("encoder, inference", encode), ("training step", step)):
        compare(title, make(ours), make(theirs), peak, o)
    memory_before_step(o)
    compare("pretraining step", lambda: ours.pretrain_step(batch), lambda: theirs.pretrain_step(batch), peak, o)
    tokens = batch.visible.shape[1] + batch.hidden.shape[1]
    seconds = statistics.median(timed(lambda: ours.pretrain_step(batch), o) for _ in range(o.rounds))
    print(f"  our pretraining step takes {o.batch * tokens / seconds:.0f} tokens/s{memory(o)}")


def compare(title: str, ours: Callable[[], None], theirs: Callable[[], None], peak: float, o: argparse.Namespace) -> None:
    for run in (ours, theirs):
        for _ in range(3):
            run()
    with FlopCounterMode(display=False, custom_mapping=FLOP_FORMULAS) as counter:
        ours()
    rounds = [(timed(ours, o), timed(theirs, o)) for _ in range(o.rounds)]
    ratio = statistics.median(b / a for a, b in rounds)
    mine, other = (statistics.median(column) for column in zip(*rounds))
    share = counter.get_total_flops() / mine / peak
    print(
        f"  {title:20s} ours {1e3 * mine:8.1f} ms, theirs {1e3 * other:8.1f} ms, {ratio:.2f} times;"
        f" ours at {100 * share:.0f}% of the peak, {100 * (1 - share):.0f}% is not in matrix products"
    )


def timed(run: Callable[[], None], o: argparse.Namespace) -> float:
    """Seconds of one run."""
    wait(o)
    start = time.perf_counter()
    run()
    wait(o)
    return time.perf_counter() - start


def wait(o: argparse.Namespace) -> None:
    if o.device != "cpu":
        torch.cuda.synchronize()


def memory_before_step(o: argparse.Namespace) -> None:
    if o.device != "cpu":
        torch.cuda.reset_peak_memory_stats()


def memory(o: argparse.Namespace) -> str:
    return "" if o.device == "cpu" else f", {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB at most"


def matrix_peak(o: argparse.Namespace, dtype: torch.dtype) -> float:
    """Fastest product of two square matrices by any of the libraries that are used, FLOP/s."""
    n = 2048 if o.device == "cpu" else 8192
    a, b = (torch.randn(n, n, device=o.device).to(dtype) for _ in range(2))
    with torch.no_grad():
        return 2 * n**3 / min(timed(way, o) for _ in range(8) for way in (lambda: a @ b, lambda: linear(a, b)))


if __name__ == "__main__":
    main()
