"""The video encoder against loops over pixels and against a 3D convolution."""

import pytest
import torch
import torch.nn.functional as F

from jepa_robot.models.encoder import EncoderConfig, VideoEncoder

PATCH, GRID, WIDTH = 4, 2, 12
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def clips(batch=2, frames=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, frames, 8, 8, 3), dtype=torch.uint8, generator=generator)


def normalised(frames):
    return (frames.double() / 255 - torch.tensor(MEAN).double()) / torch.tensor(STD).double()


def test_patchify_equals_loops(encoder):
    frames = clips()
    patches, pixels = encoder.patchify(frames), normalised(frames)
    assert patches.shape == (2, 4, GRID * GRID, 3, PATCH * PATCH)
    for n in range(GRID * GRID):
        for channel in range(3):
            for i in range(PATCH * PATCH):
                row, column = n // GRID * PATCH + i // PATCH, n % GRID * PATCH + i % PATCH
                expected = pixels[:, :, row, column, channel]
                torch.testing.assert_close(patches[:, :, n, channel, i].double(), expected, atol=1e-5, rtol=0)


def test_tubelet_embedding_is_a_3d_convolution(encoder):
    frames = clips(frames=6)
    tokens = encoder.patch_embed(encoder.tubelets(frames))
    kernel = encoder.patch_embed.weight.reshape(WIDTH, 3, 2, PATCH, PATCH)
    video = normalised(frames).float().permute(0, 4, 1, 2, 3)  # [B, 3, T, H, W]
    expected = F.conv3d(video, kernel, encoder.patch_embed.bias, stride=(2, PATCH, PATCH)).flatten(2).transpose(1, 2)
    assert tokens.shape == (2, 3 * GRID * GRID, WIDTH)
    torch.testing.assert_close(tokens, expected, atol=1e-4, rtol=0)


@torch.no_grad()
def test_a_frame_is_encoded_like_itself_twice_in_one_tubelet(encoder):
    frames = clips()
    latents = encoder(frames)
    assert latents.shape == (2, 4, GRID * GRID, WIDTH)
    for b in range(2):
        for t in range(4):
            twice = torch.stack([frames[b, t], frames[b, t]])[None]
            tokens = encoder.run(encoder.patch_embed(encoder.tubelets(twice)), encoder.positions(1))
            expected = F.layer_norm(tokens[0], (WIDTH,))
            torch.testing.assert_close(latents[b, t], expected, atol=1e-4, rtol=0)


@torch.no_grad()
def test_frames_do_not_see_each_other_but_patches_do(encoder):
    frames = clips()
    latents = encoder(frames)
    changed = frames.clone()
    changed[1, 2, 0, 0] = 255 - changed[1, 2, 0, 0]
    difference = (encoder(changed) - latents).abs().amax(-1)  # [B, T, N]
    assert difference[1, 2].min() > 1e-5
    difference[1, 2] = 0
    assert difference.max() < 1e-5


@torch.no_grad()
def test_tubelets_of_a_clip_see_each_other(encoder):
    frames = clips(batch=1)
    before = encoder.run(encoder.patch_embed(encoder.tubelets(frames)), encoder.positions(2))
    frames[0, 3, 7, 7] = 255 - frames[0, 3, 7, 7]
    after = encoder.run(encoder.patch_embed(encoder.tubelets(frames)), encoder.positions(2))
    assert (after - before).abs().amax(-1).min() > 1e-5


@torch.no_grad()
def test_a_subset_of_tokens_keeps_its_positions(encoder):
    """Visible tokens only, in any order, with positions of each sample's own."""
    tokens = encoder.patch_embed(encoder.tubelets(clips()))
    positions = encoder.positions(2)
    chosen = torch.tensor([[6, 1, 3], [0, 2, 7]])
    picked = tokens.gather(1, chosen[..., None].expand(-1, -1, WIDTH))
    together = encoder.run(picked, positions[chosen])
    for b in range(2):
        alone = encoder.run(tokens[b : b + 1, chosen[b]], positions[chosen[b]])
        torch.testing.assert_close(together[b : b + 1], alone, atol=1e-5, rtol=0)
    wrong = encoder.run(picked, positions[chosen.flip(1)])
    assert (wrong - together).abs().max() > 1e-3


def test_positions_are_time_row_column(encoder):
    expected = [[t, r, c] for t in range(3) for r in range(GRID) for c in range(GRID)]
    assert encoder.positions(3).tolist() == expected


@torch.no_grad()
def test_latents_are_layer_normalised(encoder):
    latents = encoder(clips())
    torch.testing.assert_close(latents.mean(-1), torch.zeros(2, 4, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(latents.std(-1, correction=0), torch.ones(2, 4, 4), atol=1e-3, rtol=0)


def test_gradients_reach_both_halves_of_the_tubelet_weights(encoder):
    encoder(clips()).square().mul(torch.arange(WIDTH)).sum().backward()
    gradient = encoder.patch_embed.weight.grad.reshape(WIDTH, 3, 2, PATCH * PATCH)
    assert gradient.abs().max() > 1e-6
    torch.testing.assert_close(gradient[:, :, 0], gradient[:, :, 1])


def test_wrong_clips_and_sizes_are_refused(encoder):
    with pytest.raises(ValueError, match="clip has 3 frames; expected a multiple of 2"):
        encoder.tubelets(clips(frames=3))
    with pytest.raises(ValueError, match="frames are 16x8 pixels; expected 8x8"):
        encoder(torch.zeros(1, 1, 16, 8, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match="image_size 10 is not a multiple of patch_size 4"):
        EncoderConfig(image_size=10, patch_size=4, width=12, depth=1, heads=2, mlp_ratio=2.0)


def test_sizes():
    config = EncoderConfig(image_size=12, patch_size=4, width=16, depth=1, heads=2, mlp_ratio=2.0)
    assert (config.grid, config.tokens) == (3, 9)
    encoder = VideoEncoder(config, MEAN, STD)
    assert encoder(torch.zeros(2, 3, 12, 12, 3, dtype=torch.uint8)).shape == (2, 3, 9, 16)
