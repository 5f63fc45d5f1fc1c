"""Encoder and masked predictor against Hugging Face's VJEPA2Model, with the same random weights."""

import pytest
import torch

from jepa_robot.models.encoder import EncoderConfig, VideoEncoder
from jepa_robot.models.masked_predictor import MaskedPredictor, MaskedPredictorConfig
from jepa_robot.models.vjepa2 import plan_hf_encoder, plan_hf_predictor

transformers = pytest.importorskip("transformers")

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# grid, patch, frames, width, depth, heads, mlp ratio, predictor width, depth, heads
SIZES = [
    (4, 16, 4, 64, 3, 2, 4.0, 48, 2, 2),
    (3, 8, 2, 96, 2, 4, 3.0, 32, 3, 4),
    (6, 4, 8, 128, 2, 2, 48 / 11, 64, 2, 1),  # heads of 64, as published: 4 dimensions stay unrotated
    (2, 14, 6, 88, 4, 4, 2.5, 72, 1, 3),
    (5, 2, 16, 66, 1, 3, 4.0, 24, 2, 2),
]


def peer(grid, patch, frames, width, depth, heads, ratio, p_width, p_depth, p_heads):
    torch.manual_seed(grid)
    config = transformers.VJEPA2Config(
        patch_size=patch, crop_size=grid * patch, frames_per_clip=frames, hidden_size=width, num_attention_heads=heads,
        num_hidden_layers=depth, mlp_ratio=ratio, pred_hidden_size=p_width, pred_num_attention_heads=p_heads,
        pred_num_hidden_layers=p_depth, pred_num_mask_tokens=3, pred_mlp_ratio=4.0,
    )
    model = transformers.VJEPA2Model(config).eval()
    for value in model.parameters():  # biases, mask tokens and norms that matter
        torch.nn.init.normal_(value, 1.0 if value.ndim == 1 else 0.0, 0.15)
    return model


def ours(model):
    """Encoder and masked predictor with the peer's weights."""
    c, weights = model.config, model.state_dict()
    names = {part: [n for n in weights if n.startswith(f"{part}.")] for part in ("encoder", "predictor")}
    encoder = VideoEncoder(
        EncoderConfig(
            c.crop_size, c.patch_size, c.hidden_size, c.num_hidden_layers, c.num_attention_heads, c.mlp_ratio, True
        ), MEAN, STD,
    )
    plan = plan_hf_encoder(names["encoder"], c.num_attention_heads, c.hidden_size // c.num_attention_heads)
    assert not plan.unused and not plan.missing
    encoder.load_state_dict(plan.tensors(weights), strict=True)
    predictor = MaskedPredictor(
        c.hidden_size,
        MaskedPredictorConfig(
            c.pred_hidden_size, c.pred_num_hidden_layers, c.pred_num_attention_heads, c.pred_mlp_ratio,
            c.pred_num_mask_tokens, True,
        ),
    )
    plan = plan_hf_predictor(
        names["predictor"], c.pred_num_attention_heads, c.pred_hidden_size // c.pred_num_attention_heads
    )
    assert not plan.unused and not plan.missing
    predictor.load_state_dict(plan.tensors(weights), strict=True)
    return encoder.eval(), predictor.eval()


def clip(model, batch=2):
    """uint8 frames [B, T, H, W, 3], and the same as the peer wants them."""
    c = model.config
    generator = torch.Generator().manual_seed(1)
    frames = torch.randint(256, (batch, c.frames_per_clip, c.crop_size, c.crop_size, 3), generator=generator)
    frames = frames.to(torch.uint8)
    pixels = (frames.double() / 255 - torch.tensor(MEAN).double()) / torch.tensor(STD).double()
    return frames, pixels.float().permute(0, 1, 4, 2, 3)


def encode(encoder, frames):
    return encoder.run(encoder.patch_embed(encoder.tubelets(frames)), encoder.positions(frames.shape[1] // 2))


@pytest.mark.parametrize("sizes", SIZES)
@torch.no_grad()
def test_encoder_equals_hugging_face(sizes):
    model = peer(*sizes)
    encoder, _ = ours(model)
    frames, pixels = clip(model)
    theirs = model(pixels, skip_predictor=True).last_hidden_state
    assert theirs.std() > 0.1
    torch.testing.assert_close(encode(encoder, frames), theirs, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_single_frame_equals_hugging_face_which_repeats_it():
    model = peer(*SIZES[0])
    encoder, _ = ours(model)
    frames, pixels = clip(model)
    theirs = model(pixels[:, :1], skip_predictor=True).last_hidden_state
    theirs = torch.nn.functional.layer_norm(theirs, theirs.shape[-1:])
    torch.testing.assert_close(encoder(frames[:, :1])[:, 0], theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("sizes", SIZES)
@torch.no_grad()
def test_masked_predictor_equals_hugging_face(sizes):
    model = peer(*sizes)
    encoder, predictor = ours(model)
    frames, pixels = clip(model)
    count = sizes[0] ** 2 * sizes[2] // 2
    shuffled = torch.stack([torch.randperm(count, generator=torch.Generator().manual_seed(b)) for b in range(2)])
    context, target = (part.sort(1).values for part in shuffled.tensor_split([count // 3], dim=1))
    theirs = model(pixels, context_mask=[context], target_mask=[target]).predictor_output.last_hidden_state
    latents, positions = encode(encoder, frames), encoder.positions(sizes[2] // 2)
    visible = latents.gather(1, context[..., None].expand(-1, -1, latents.shape[-1]))
    predicted = predictor(visible, positions[context], positions[target], mask_index=1)  # the peer's default
    assert theirs.std() > 0.1
    torch.testing.assert_close(predicted, theirs, atol=1e-5, rtol=0)


@torch.no_grad()
def test_without_the_released_weights_frequencies_it_is_another_network():
    model = peer(*SIZES[2])
    encoder, _ = ours(model)
    frames, pixels = clip(model)
    other = VideoEncoder(EncoderConfig(**{**vars(encoder.config), "tiled_rope": False}), MEAN, STD).eval()
    other.load_state_dict(encoder.state_dict())
    theirs = model(pixels, skip_predictor=True).last_hidden_state
    assert (encode(other, frames) - theirs).abs().max() > 1e-3
