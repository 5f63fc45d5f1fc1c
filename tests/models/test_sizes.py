"""Counted sizes against Hugging Face's and published ones, and arithmetic against torch's own counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from jepa_robot.models.ac_predictor import ActionConditionedPredictor, PredictorConfig
from jepa_robot.models.encoder import EncoderConfig, VideoEncoder
from jepa_robot.models.linear import FLOP_FORMULAS
from jepa_robot.models.masked_predictor import MaskedPredictorConfig
from jepa_robot.models.metric_head import MetricConfig
from jepa_robot.models.sizes import encoder_flops, parts, predictor_flops
from jepa_robot.models.world_model import ModelConfig, WorldModel
from jepa_robot.spec import Camera, Contract, Dim

PUBLISHED_MASKED = MaskedPredictorConfig(384, 12, 12, 4.0, 10)
PUBLISHED_AC = PredictorConfig(1024, 24, 16, 7)
LARGE, HUGE, GIANT = (1024, 24, 16, 4.0), (1280, 32, 16, 4.0), (1408, 40, 22, 48 / 11)


def count(sizes, image_size=256):
    encoder = EncoderConfig(image_size, 16, *sizes)
    return {p.name: p for p in parts(encoder, PUBLISHED_MASKED, PUBLISHED_AC, MetricConfig(dims=4), 7, 7)}


@pytest.mark.parametrize("sizes", [LARGE, HUGE, GIANT])
def test_as_many_parameters_as_hugging_face_has(sizes):
    transformers = pytest.importorskip("transformers")
    width, depth, heads, ratio = sizes
    config = transformers.VJEPA2Config(
        hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads, mlp_ratio=ratio + 1e-9,
    )
    with torch.device("meta"):
        model = transformers.VJEPA2Model(config)
    found = count(sizes)
    assert found["encoder"].parameters == sum(p.numel() for p in model.encoder.parameters())
    assert found["masked predictor"].parameters == sum(p.numel() for p in model.predictor.parameters())


@pytest.mark.parametrize(("sizes", "published"), [(LARGE, 300e6), (HUGE, 600e6), (GIANT, 1e9)])
def test_published_sizes(sizes, published):
    assert count(sizes)["encoder"].parameters == pytest.approx(published, rel=0.06)


def test_the_published_action_conditioned_predictor():
    # 24 blocks of 12 w^2 + 13 w; linear layers in and out; action, state; and a norm
    wanted = 24 * (12 * 1024**2 + 13 * 1024) + (1408 * 1024 + 1024) + (1024 * 1408 + 1408) + 2 * 8 * 1024 + 2 * 1024
    assert count(GIANT)["predictor"].parameters == wanted == pytest.approx(305e6, rel=0.002)


def test_memory_of_training_is_four_numbers_a_parameter():
    part = count(LARGE)["encoder"]
    assert part.memory == {"fp32": 4 * part.parameters, "bf16": 2 * part.parameters, "training": 16 * part.parameters}


def counted(call):
    with FlopCounterMode(display=False, custom_mapping=FLOP_FORMULAS) as counter, torch.no_grad():
        call()
    return counter.get_total_flops()


@pytest.mark.parametrize("size", [EncoderConfig(32, 8, 24, 3, 2, 3.0), EncoderConfig(48, 16, 32, 1, 4)])
def test_an_encoder_s_arithmetic(size):
    encoder = VideoEncoder(size)
    frames = torch.zeros(1, 1, size.image_size, size.image_size, 3, dtype=torch.uint8)
    assert encoder_flops(size) == counted(lambda: encoder(frames))


@pytest.mark.parametrize("conditioning", ["tokens", "adaln"])
def test_a_predictor_s_arithmetic(conditioning):
    size, encoder = PredictorConfig(20, 2, 2, 4, 3.0, conditioning), EncoderConfig(32, 8, 24, 1, 2)
    predictor = ActionConditionedPredictor(size, 24, 4, action_dims=3, state_dims=5)
    inputs = (torch.zeros(1, 1, 16, 24), torch.zeros(1, 1, 3), torch.zeros(1, 1, 5))
    found = counted(lambda: predictor(*inputs))
    assert predictor_flops(size, encoder, 3, 5) == found


def test_the_largest_model_is_built_without_memory():
    dims = tuple(Dim(f"d{i}", "m", "base", -1.0, 1.0, mean=0.0, std=1.0) for i in range(7))
    camera = Camera("left", 384, 384, mean=(0.5,) * 3, std=(0.2,) * 3)
    config = ModelConfig(EncoderConfig(384, 16, *GIANT), PUBLISHED_AC, MetricConfig(dims=7))
    with torch.device("meta"):
        model = WorldModel(Contract("t", (camera,), 4.0, dims, dims), config)
    tensors = [*model.parameters(), *model.buffers()]
    assert all(tensor.is_meta for tensor in tensors) and sum(t.numel() for t in model.parameters()) > 1.3e9
