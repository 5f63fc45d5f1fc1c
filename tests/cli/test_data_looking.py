"""`jepa-robot data info|check|stats|preview`."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  (pictures are compressed with Blosc)
import numpy as np
import pytest
import yaml
from PIL import Image

from jepa_robot.cli.data.check import SHOWN
from jepa_robot.cli.data.source_options import read_contract
from jepa_robot.data.format import Episode
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.errors import ConfigError, ContractError
from jepa_robot.spec import Contract

SAMPLE = Path(__file__).parents[2] / "datasets" / "sample_panda_reach.h5"
VERBS = ["info", "check", "stats", "preview"]


def episode(seed: int, steps: int = 20) -> Episode:
    """Of the reach task's contract: the states are the sums of the actions."""
    rng = np.random.default_rng(seed)
    actions = rng.uniform(-0.02, 0.02, (steps, 4))
    states = np.concatenate([[[0.5, 0.0, 0.3, 0.5]], [0.5, 0.0, 0.3, 0.5] + np.cumsum(actions, axis=0)])
    return Episode(
        frames=rng.integers(0, 256, (steps + 1, 64, 64, 3), dtype=np.uint8),
        states=states.astype(np.float32), actions=actions.astype(np.float32), kind="noisy", seed=seed,
    )


@pytest.fixture
def path(tmp_path, contract) -> Path:
    """Eight episodes of 20 actions, all right."""
    with TrajectoryWriter(tmp_path / "toy.h5", contract, {}, {"made": "up"}) as writer:
        for seed in range(8):
            writer.append(episode(seed))
    return tmp_path / "toy.h5"


@pytest.fixture
def spoil(path):
    """Write into the file as the writer never would."""

    def write(key: str, at, value) -> None:
        with h5py.File(path, "r+") as file:
            file[f"data/{key}"][at] = value

    return write


def squeezed(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_info(jepa_robot, path):
    result = jepa_robot("data", "info", path)
    assert (result.code, result.err) == (0, "")
    for line in (
        "format jepa_robot", "task panda_reach", "episodes 8", "frames 168", "hours 0.008889", "rate 5 frames/s",
        "pictures 64x64 RGB", "cameras front", "actions an episode 20 to 20, median 20", "kinds noisy 8",
        "dx m base -0.05 0.05 x", "z m base 0.02 0.6", 'made: "up"',
    ):
        assert line in squeezed(result.out)


def test_info_json(jepa_robot, path, contract):
    result = jepa_robot("data", "info", path, "--json")
    assert result.code == 0 and result.out.count("\n") == 1
    facts = json.loads(result.out)
    assert facts["hours"] == pytest.approx(160 / 5 / 3600)
    assert facts["lengths"] == {"min": 20, "median": 20.0, "max": 20}
    assert facts["kinds"] == {"noisy": 8} and facts["recipe"] == {"made": "up"} and facts["frames"] == 168
    assert Contract.from_dict(facts["contract"]) == contract


def test_info_of_a_file_with_a_broken_episode(jepa_robot, path):
    with h5py.File(path, "r+") as file:
        del file["data/demo_2/actions"]
    result = jepa_robot("data", "info", path)
    assert result.code == 0 and {"kinds noisy 7", "unreadable 1 episodes"} <= set(squeezed(result.out))


def test_image_size(jepa_robot, path):
    facts = json.loads(jepa_robot("data", "info", path, "--image-size", 32, "--json").out)
    assert facts["contract"]["cameras"][0]["height"] == 32


def test_stats(jepa_robot, path):
    facts = json.loads(jepa_robot("data", "stats", path, "--valid-fraction", 0, "--json").out)
    actions = np.concatenate([episode(seed).actions for seed in range(8)]).astype(np.float64)
    frames = np.concatenate([episode(seed).frames for seed in range(8)]) / 255
    assert (facts["episodes"], facts["episodes_held_out"]) == (8, 0)
    dy = facts["actions"][1]
    assert (dy["name"], dy["unit"], dy["rows"], dy["not_finite"]) == ("dy", "m", 160, 0)
    wanted = {
        "mean": actions[:, 1].mean(), "std": actions[:, 1].std(), "min": actions[:, 1].min(),
        "max": actions[:, 1].max(), **{f"p{p}": np.percentile(actions[:, 1], p) for p in (1, 50, 99)},
    }
    assert {key: dy[key] for key in wanted} == pytest.approx(wanted, rel=1e-5)
    np.testing.assert_allclose(facts["pixels"]["mean"], frames.mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(facts["pixels"]["std"], frames.std(axis=(0, 1, 2)))


def test_stats_leave_out_what_training_holds_out(jepa_robot, path):
    facts = json.loads(jepa_robot("data", "stats", path, "--valid-fraction", 0.5, "--seed", 3, "--json").out)
    kept = np.sort(np.random.default_rng(3).permutation(8)[4:])
    actions = np.concatenate([episode(seed).actions[:, 0] for seed in kept])
    assert (facts["episodes"], facts["episodes_held_out"]) == (4, 4)
    assert facts["actions"][0]["mean"] == pytest.approx(float(actions.mean()), rel=1e-4)


def test_stats_text(jepa_robot, path, spoil):
    spoil("demo_0/actions", (3, 0), np.nan)
    result = jepa_robot("data", "stats", path, "--valid-fraction", 0)
    lines = squeezed(result.out)
    assert lines[0] == f"{path}: 8 episodes, 0 more held out"
    assert "name unit mean std min p1 p50 p99 max not_finite" in lines  # of the actions
    assert "name unit mean std min p1 p50 p99 max" in lines  # of the states, which are right
    assert next(line for line in lines if line.startswith("dx m")).endswith(" 1")
    assert any(line.startswith("blue 0.5") for line in lines)


@pytest.mark.parametrize("file", [SAMPLE, None])
def test_check_of_what_is_right(jepa_robot, path, file):
    result = jepa_robot("data", "check", file or path)
    assert result.code == 0
    count = 4 if file else 8
    assert result.err.endswith(f"{count}/{count} episodes\n")  # plain lines where there is no terminal
    assert "best with lag 0" in result.out and result.out.endswith("\nclean\n")
    result = jepa_robot("data", "check", file or path, "--json")
    facts = json.loads(result.out)
    assert result.err == "" and facts["clean"] is True and facts["findings"] == [] and facts["alignment"]["best"] == 0
    assert facts["alignment"]["r2"]["0"] > 0.99


def test_check_names_episode_key_and_step(jepa_robot, path, spoil):
    spoil("demo_3/actions", (7, 1), np.nan)
    spoil("demo_5/actions", (9, 0), 0.5)
    result = jepa_robot("data", "check", path)
    assert result.code == 1
    assert "  demo_3/actions step 7: dy is nan\n" in result.out
    assert "  demo_5/actions step 9: dx is 0.5, outside [-0.05, 0.05] m\n" in result.out
    assert result.out.endswith("\n2 findings\n")
    facts = json.loads(jepa_robot("data", "check", path, "--json").out)
    assert facts["clean"] is False
    assert facts["findings"][0] == {
        "episode": "demo_3", "key": "actions", "step": 7, "kind": "not_finite", "message": "dy is nan"
    }


def test_check_prints_a_few_of_a_kind_and_counts_the_rest(jepa_robot, path, spoil):
    for i in range(8):
        spoil(f"demo_{i}/actions", (i, 0), np.inf)
    result = jepa_robot("data", "check", path)
    assert result.code == 1 and result.out.count("dx is inf") == SHOWN
    assert "not_finite (8)\n" in result.out and f"  ... and {8 - SHOWN} more" in result.out
    assert len(json.loads(jepa_robot("data", "check", path, "--json").out)["findings"]) == 8


def test_a_shift_is_an_error(jepa_robot, path, spoil):
    for i in range(8):
        spoil(f"demo_{i}/actions", ..., np.roll(episode(i).actions, 1, axis=0))
    result = jepa_robot("data", "check", path)
    assert result.code == 1 and "actions lag behind frames by 1 step" in result.out
    facts = json.loads(jepa_robot("data", "check", path, "--json").out)
    assert facts["alignment"]["best"] == -1 and facts["findings"][0]["kind"] == "alignment"


def test_alignment_that_cannot_be_estimated_is_no_finding(jepa_robot, tmp_path, contract):
    with TrajectoryWriter(tmp_path / "short.h5", contract, {}) as writer:
        writer.append(episode(0, steps=8))
    result = jepa_robot("data", "check", tmp_path / "short.h5")
    assert result.code == 0 and "cannot be estimated: too few steps" in result.out


def test_check_of_an_episode_that_cannot_be_decoded(jepa_robot, path):
    with h5py.File(path, "r+") as file:
        del file["data/demo_2/obs/front"]
    result = jepa_robot("data", "check", path)
    assert (result.code, result.out) == (2, "")
    assert [f"{path}:data/demo_2/obs/front: is missing" in line for line in result.err.splitlines()] == [
        False, False, True  # after a plain line for each episode
    ]
    result = jepa_robot("data", "check", path, "--skip-broken", "--json")
    facts = json.loads(result.out)
    assert (result.code, facts["episodes"], facts["unreadable"]) == (1, 7, 1)
    assert [(f["episode"], f["kind"]) for f in facts["findings"]] == [("demo_2", "unreadable")]
    assert "1 more episodes cannot be decoded" in jepa_robot("data", "check", path, "--skip-broken").out


def test_preview(jepa_robot, path, tmp_path):
    out = tmp_path / "looks" / "here"
    result = jepa_robot("data", "preview", path, "--out", out, "--episodes", 3)
    assert result.code == 0 and "episodes demo_0, demo_4, demo_7" in result.out
    assert sorted(p.name for p in out.iterdir()) == ["contact_sheet.png", "episodes.rrd"]
    with Image.open(out / "contact_sheet.png") as sheet:
        assert sheet.format == "PNG" and sheet.width > 8 * 128 and sheet.height > 3 * 128
        # The last picture of the last row is the last frame of the last episode, twice as large.
        left, top = 4 + 7 * (128 + 4), 2 * (128 + 2 * 16 + 4) + 2 * 16
        last = np.asarray(sheet)[top : top + 128, left : left + 128]
    np.testing.assert_array_equal(last[::2, ::2], episode(7).frames[20])
    assert (out / "episodes.rrd").read_bytes()[:3] == b"RRF"


def test_preview_leaves_what_is_there(jepa_robot, path, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    result = jepa_robot("data", "preview", path, "--out", tmp_path / "out")
    assert result.code == 2 and "exists and is not empty" in result.err and result.err.count("\n") == 1


def test_preview_that_fails_leaves_nothing(jepa_robot, path, tmp_path):
    with h5py.File(path, "r+") as file:
        del file["data/demo_7/actions"]
    before = sorted(tmp_path.iterdir())
    result = jepa_robot("data", "preview", path, "--out", tmp_path / "out")
    assert result.code == 2 and "demo_7/actions: is missing" in result.err and result.err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("broken", ["missing", "empty", "truncated", "text", "unknown folder", "unknown format"])
def test_what_cannot_be_read_is_one_line(jepa_robot, path, tmp_path, verb, broken):
    more = ["--out", tmp_path / "out"] if verb == "preview" else []
    bad = tmp_path / "bad.h5"
    if broken == "empty":
        bad.write_bytes(b"")
    elif broken == "truncated":
        bad.write_bytes(path.read_bytes()[:5000])
    elif broken == "text":
        bad = tmp_path / "bad.txt"
        bad.write_text("hello")
    elif broken == "unknown folder":
        bad = tmp_path / "folder"
        bad.mkdir()
    elif broken == "unknown format":
        bad = path
        more += ["--format", "robomimmic"]
    result = jepa_robot("data", verb, bad, *more)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert ("'robomimmic'; expected robomimic" if broken == "unknown format" else str(bad)) in result.err
    assert "unexpected" not in result.err and not (tmp_path / "out").exists()


def test_a_contract_from_info(jepa_robot, path, tmp_path, contract):
    text = jepa_robot("data", "info", path, "--json").out
    (tmp_path / "info.json").write_text(text)
    (tmp_path / "contract.yaml").write_text(yaml.safe_dump(json.loads(text)["contract"]))
    assert read_contract(tmp_path / "info.json") == read_contract(tmp_path / "contract.yaml") == contract
    result = jepa_robot("data", "info", path, "--contract", tmp_path / "contract.yaml")
    assert result.code == 2 and "has a contract of its own" in result.err


@pytest.mark.parametrize(
    ("name", "content", "error", "text"),
    [
        ("c.json", None, ConfigError, "cannot be read"),
        ("c.json", b"\xff\xfe", ConfigError, "cannot be read"),
        ("c.json", b"{", ConfigError, "is not JSON"),
        ("c.json", b"[" * 100_000, ConfigError, "is not JSON"),
        ("c.yaml", b"a: [", ConfigError, "is not YAML"),
        ("c.yaml", b"", ContractError, "'NoneType'"),
        ("c.json", b'{"contract": 3}', ContractError, "format None"),
        ("c.yaml", b"!!python/object/apply:os.getcwd []", ConfigError, "is not YAML"),
    ],
)
def test_contracts_that_are_none(jepa_robot, path, tmp_path, name, content, error, text):
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(error) as caught:
        read_contract(file)
    assert text in str(caught.value) and str(file) in str(caught.value) and "\n" not in str(caught.value)
    result = jepa_robot("data", "info", path, "--contract", file)
    assert (result.code, result.err.count("\n")) == (2, 1)


@pytest.mark.parametrize("verb", VERBS)
def test_help(jepa_robot, verb):
    result = jepa_robot("data", verb, "--help")
    assert result.code == 0 and "--contract" in result.out and "SOURCE" in result.out
