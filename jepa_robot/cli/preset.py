"""What the preset of a model takes, for `jepa-robot info --preset`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from jepa_robot.cli.config import compose
from jepa_robot.cli.report import pairs, section, table
from jepa_robot.cli.starting import predictor_config
from jepa_robot.cli.training import check_heads
from jepa_robot.errors import ConfigError
from jepa_robot.models.encoder import EncoderConfig
from jepa_robot.models.masked_predictor import MaskedPredictorConfig
from jepa_robot.models.metric_head import MetricConfig
from jepa_robot.models.sizes import Part, parts


@dataclass(frozen=True)
class Preset:
    """A preset, its overrides applied."""

    name: str
    encoder: EncoderConfig
    parts: list[Part]

    def facts(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "preset": self.name, "image_size": self.encoder.image_size, "patch_size": self.encoder.patch_size,
            "tokens": self.encoder.tokens,
            "parts": {
                part.name: {"parameters": part.parameters, "flops": part.flops, "bytes": part.memory}
                for part in self.parts
            },
        }

    def lines(self) -> Iterator[str]:
        """The report for a terminal."""
        size, patch = self.encoder.image_size, self.encoder.patch_size
        yield from pairs({
            "preset": self.name, "pictures": f"{size}x{size} px in patches of {patch}x{patch}",
            "tokens": f"{self.encoder.tokens} a frame",
        })
        rows = [("", "parameters", "FLOPs a frame", "weights fp32", "bf16", "training")]
        for part in self.parts:
            flops = None if part.flops is None else _unit(part.flops)
            rows.append((part.name, _unit(part.parameters), flops, *(f"{_unit(n)}B" for n in part.memory.values())))
        yield from section("networks", table(rows))
        yield from ("", "training: weights, gradients and AdamW's state in fp32; activations come on top")


def read_preset(name: str, overrides: Sequence[str]) -> Preset:
    """The preset ``configs/model/<name>.yaml`` with ``KEY=VALUE`` applied.

    Raises:
        ConfigError: there is no such preset or key, or the sizes make no network.
    """
    config = compose("info", [f"model={name}", *overrides])
    check_heads(config, "encoder", "masked_predictor", "predictor")
    if not config.model.image_size:
        raise ConfigError(
            "leaves the size of the pictures to the data", where=f"preset {name}",
            mend=f"say one: jepa-robot info --preset {name} model.image_size=64",
        )
    try:
        encoder = EncoderConfig(image_size=config.model.image_size, **OmegaConf.to_container(config.model.encoder))
        found = parts(
            encoder, MaskedPredictorConfig(**config.model.masked_predictor), predictor_config(config),
            MetricConfig(dims=config.states, **config.model.metric), config.actions, config.states,
        )
    except (RuntimeError, ValueError) as error:
        raise ConfigError(str(error), where=f"preset {name}", expected="sizes that make a network") from error
    return Preset(name, encoder, found)


def _unit(number: float) -> str:
    """Three digits and a decimal prefix."""
    for prefix in ("", "k", "M", "G", "T"):
        if number < 999.5 or prefix == "T":
            return f"{number:.3g} {prefix}"
        number /= 1000
