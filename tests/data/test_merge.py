"""Joining files: every byte of the compressed pictures is the same, and wrong parts are refused."""

from __future__ import annotations

import dataclasses

import h5py
import numpy as np
import pytest
from damage import attribute, damage, zero_chunk
from episodes import assert_same_episode, seeds

from jepa_robot.data.merge import merge
from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.errors import ConfigError, ContractError, DataError, OutputError


@pytest.fixture
def write(tmp_path, contract, make_episode):
    """Write a file of the episodes with these seeds."""

    def make(name, numbers, compression="blosc", **changes):
        path = tmp_path / name
        changed = dataclasses.replace(contract, **changes)
        recipe = {"task": "toy", "seed": numbers[0] if numbers else 0}
        with TrajectoryWriter(path, changed, {"env_name": name}, recipe, compression=compression) as writer:
            for seed in numbers:
                episode = make_episode(seed, steps=3 + seed)
                if seed == 4:
                    episode = dataclasses.replace(episode, times=np.arange(8.0))
                writer.append(episode, f"original_{seed}")
        return path

    return make


def chunks(path, key):
    """Stored bytes of every chunk, as they lie in the file."""
    with h5py.File(path, "r") as file:
        array = file[key].id
        infos = [array.get_chunk_info(i) for i in range(array.get_num_chunks())]
    content = path.read_bytes()
    return [(i.chunk_offset, i.filter_mask, content[i.byte_offset : i.byte_offset + i.size]) for i in infos]


def test_merge(write, tmp_path, make_episode, contract):
    parts = [write("a.h5", [0, 1]), write("b.h5", [2], "gzip"), write("c.h5", [3, 4], "none")]
    path, calls = tmp_path / "out" / "all.h5", []
    assert merge(parts, path, lambda *call: calls.append(call)) == (5, 3 + 4 + 5 + 6 + 7)
    assert calls == [(i, 5) for i in range(1, 6)]
    with TrajectoryReader(path) as reader:
        assert reader.names == [f"demo_{i}" for i in range(5)] and reader.contract == contract
        assert reader.env_args == {"env_name": "a.h5"}
        assert reader.recipe == {
            "merged_from": [
                {"file": "a.h5", "episodes": 2, "recipe": {"task": "toy", "seed": 0}},
                {"file": "b.h5", "episodes": 1, "recipe": {"task": "toy", "seed": 2}},
                {"file": "c.h5", "episodes": 2, "recipe": {"task": "toy", "seed": 3}},
            ]
        }
        for i in range(5):
            found = reader.read(i)
            assert_same_episode(found, make_episode(i, steps=3 + i))
            assert (found.times is not None) == (i == 4)
    with h5py.File(path, "r") as file:
        assert file["data"].attrs["total"] == 25
        for i in range(5):
            assert file[f"data/demo_{i}"].attrs["source"].decode() == f"original_{i}"


def test_chunks_are_copied_as_they_are(write, tmp_path):
    """Also where reading them would fail: nothing is decompressed on the way."""
    parts = [write("a.h5", [20, 1]), write("b.h5", [2], "gzip")]
    zero_chunk(parts[1], "data/demo_0/obs/front", part=0.02)
    path = tmp_path / "all.h5"
    merge(parts, path)
    places = [(parts[0], "demo_0"), (parts[0], "demo_1"), (parts[1], "demo_0")]
    for i, (part, name) in enumerate(places):
        for key in ("obs/front", "final_obs/front"):
            before, after = chunks(part, f"data/{name}/{key}"), chunks(path, f"data/demo_{i}/{key}")
            assert before == after and sum(len(data) for _, _, data in before) > 500
    with TrajectoryReader(path) as reader, pytest.raises(DataError, match="data/demo_2/obs/front cannot be read"):
        reader.read(2)


def test_incomplete_episodes_are_left_behind(write, tmp_path, make_episode):
    parts = [write("a.h5", [0, 1, 2]), write("b.h5", [3])]
    damage(parts[0], attribute("data/demo_1", "complete", False))
    assert merge(parts, tmp_path / "all.h5")[0] == 3
    assert seeds(tmp_path / "all.h5") == [0, 2, 3]


def test_a_merged_file_is_continued(write, tmp_path, contract, make_episode):
    merge([write("a.h5", [0]), write("b.h5", [1])], tmp_path / "all.h5")
    with TrajectoryWriter(tmp_path / "all.h5", contract, {}) as writer:
        writer.append(make_episode(2))
    with TrajectoryReader(tmp_path / "all.h5") as reader:
        assert reader.lengths.tolist() == [3, 4, 6]


def test_other_contract(write, tmp_path):
    parts = [write("a.h5", [0]), write("b.h5", [1], fps=10.0)]
    with pytest.raises(ContractError, match="fps is 10.0 in .*b.h5 but 5.0 in .*a.h5; merge only files of the same"):
        merge(parts, tmp_path / "all.h5")
    assert not (tmp_path / "all.h5").exists()


def test_wrong_parts(write, tmp_path):
    a, b, out = write("a.h5", [0]), write("b.h5", [1]), tmp_path / "all.h5"
    (tmp_path / "link.h5").symlink_to(a)
    with pytest.raises(ConfigError, match="expected at least two files"):
        merge([a], out)
    with pytest.raises(ConfigError, match="link.h5: is given twice"):
        merge([a, b, tmp_path / "link.h5"], out)
    with pytest.raises(DataError, match="none.h5: no such file"):
        merge([a, tmp_path / "none.h5"], out)
    with pytest.raises(DataError, match="empty.h5: holds no complete episode"):
        merge([a, write("empty.h5", [])], out)
    before = b.read_bytes()
    with pytest.raises(OutputError, match="b.h5: exists; choose another output file"):
        merge([a, b], b)
    assert b.read_bytes() == before
    assert not out.exists()


def external_link(demo, folder):
    with h5py.File(folder / "outside.h5", "w") as outside:
        outside["x"] = demo["actions"][:]
    del demo["actions"]
    demo["actions"] = h5py.ExternalLink(str(folder / "outside.h5"), "x")


def external_storage(demo, folder):
    data = demo["actions"][:]
    data.tofile(folder / "outside.bin")
    del demo["actions"]
    demo.create_dataset("actions", data.shape, data.dtype, external=[(str(folder / "outside.bin"), 0, data.nbytes)])


def virtual(demo, folder):
    layout = h5py.VirtualLayout(demo["actions"].shape, demo["actions"].dtype)
    layout[:] = h5py.VirtualSource(str(folder / "outside.h5"), "x", demo["actions"].shape)
    del demo["actions"]
    demo.create_virtual_dataset("actions", layout)


def soft_link(demo, folder):
    demo["extra"] = h5py.SoftLink("/data/demo_0/actions")


def own_parent(demo, folder):
    demo["obs/again"] = demo


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (external_link, "data/demo_1/actions: is a link"),
        (external_storage, "data/demo_1/actions: has its values in another file"),
        (virtual, "data/demo_1/actions: has its values in another file"),
        (soft_link, "data/demo_1/extra: is a link"),
        (own_parent, "data/demo_1/obs/again/.*: is nested too deep"),
        (lambda demo, _: demo.pop("actions"), "data/demo_1/actions: is missing"),
        (lambda demo, _: demo.pop("final_obs"), "data/demo_1/final_obs/front: is missing"),
        (lambda demo, _: demo["obs"].move("front", "back"), "data/demo_1/obs/front: is missing"),
        (
            lambda demo, _: demo.attrs.modify("num_samples", 3),
            r"data/demo_1/actions: is float32 \[4, 2\]; expected float32 \[3, 2\]",
        ),
        (
            lambda demo, _: demo.create_dataset("timestamps", data=np.zeros(4)),
            r"data/demo_1/timestamps: is float64 \[4\]; expected float64 \[5\]",
        ),
    ],
)
def test_wrong_episodes(write, tmp_path, change, message):
    parts = [write("a.h5", [0, 1]), write("b.h5", [2])]
    damage(parts[0], lambda file: change(file["data/demo_1"], tmp_path))
    with pytest.raises(DataError, match=f"a.h5:.*{message}"):
        merge(parts, tmp_path / "all.h5")
    assert not [p for p in tmp_path.iterdir() if "all" in p.name]


def test_damaged_parts(write, tmp_path):
    """Zeros anywhere in a part's index: one error or a good file, and never anything else."""
    a, b = write("a.h5", [0, 1]), write("b.h5", [2, 3])
    whole, refused = b.read_bytes(), 0
    for start in range(0, len(whole), len(whole) // 40):
        b.write_bytes(whole[:start] + bytes(64) + whole[start + 64 :])
        out = tmp_path / "all.h5"
        try:
            assert merge([a, b], out)[0] <= 4
            out.unlink()
        except (DataError, ContractError) as error:
            refused += 1
            assert "b.h5" in str(error) and "\n" not in str(error)
    assert refused > 2 and sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "b.h5"]
