"""Splits that a source declares: read, kept by convert and merge, honoured by training; wrong ones refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from damage import edit_json
from episodes import seeds

from jepa_robot.data.convert import convert
from jepa_robot.data.dataset import open_trajectories
from jepa_robot.data.format import Episode
from jepa_robot.data.merge import merge
from jepa_robot.data.reader import TrajectoryReader
from jepa_robot.data.repair import repair
from jepa_robot.data.sources import open_source
from jepa_robot.data.splits import Role, roles_of, split_by_role, split_episodes, splits_from_names
from jepa_robot.data.streamed import SourceSpec
from jepa_robot.data.writer import TrajectoryWriter
from jepa_robot.errors import DataError
from jepa_robot.spec import Contract

SAMPLES = Path(__file__).parent / "samples"
ROBOMIMIC = SAMPLES / "robomimic" / "image.hdf5"
DECLARED = {"train": [0, 3], "valid": [1], "worse": [0, 1]}

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, contract: Contract, make_episode: Callable[..., Episode]) -> Write:
    """Write a file of so many episodes; ``splits`` has numbers of episodes."""

    def make(name: str, count: int, splits: dict[str, list[int]] = {}) -> Path:
        with TrajectoryWriter(tmp_path / name, contract, {"env_name": name}) as writer:
            for i in range(count):
                writer.append(make_episode(i, steps=3 + i), splits=[s for s, members in splits.items() if i in members])
        return tmp_path / name

    return make


def declared(path: Path) -> dict[str, list[int]]:
    with open_source(path) as source:
        return {split: members.tolist() for split, members in source.splits.items()}


def masks(path: Path) -> dict[str, list[str]]:
    """As robomimic's reader reads filter keys."""
    with h5py.File(path, "r") as file:
        return {split: [name.decode("utf-8") for name in np.array(file[f"mask/{split}"][:])] for split in file["mask"]}


# -- our own files --------------------------------------------------------------------------


def test_a_file_keeps_the_splits_of_its_episodes(write: Write) -> None:
    path = write("a.h5", 4, DECLARED)
    assert declared(path) == DECLARED
    names = {split: [f"demo_{i}" for i in members] for split, members in DECLARED.items()}
    assert masks(path) == names
    assert declared(write("none.h5", 2)) == {}


def test_a_split_becomes_permanent_with_its_episode(tmp_path, contract, make_episode) -> None:
    path = tmp_path / "a.h5"
    with TrajectoryWriter(path, contract, {}) as writer:
        for i in range(3):
            writer.append(make_episode(i), splits=["train"])
            shutil.copyfile(path, tmp_path / f"killed_{i}.h5")  # what kill -9 leaves here
            if i == 1:
                writer.flush()
    for i, kept in enumerate((0, 0, 2)):
        with TrajectoryReader(tmp_path / f"killed_{i}.h5", allow_empty=True) as reader:
            assert len(reader) == kept
            assert {split: len(members) for split, members in reader.splits.items()} == ({"train": 2} if kept else {})
    assert declared(path) == {"train": [0, 1, 2]}


def test_more_episodes_than_lie_in_a_chunk_of_names(tmp_path, contract, make_episode) -> None:
    episode = make_episode(0, steps=1)
    with TrajectoryWriter(tmp_path / "a.h5", contract, {}, compression="none") as writer:
        for i in range(600):
            writer.append(episode, splits=["valid" if i % 3 == 0 else "train"])
    found = declared(tmp_path / "a.h5")
    assert found["valid"] == list(range(0, 600, 3)) and len(found["train"]) == 400


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda mask: mask.create_dataset("okay", data=np.array([b"demo_9"])), r"mask/okay: names 'demo_9'"),
        (lambda mask: mask.create_dataset("okay", data=np.arange(3)), r"mask/okay: is int64 \[3\]"),
        (lambda mask: mask.create_dataset("okay", data=np.array([[b"demo_0"]])), r"mask/okay: is \|S6 \[1, 1\]"),
        (lambda mask: mask.create_group("okay"), r"mask/okay: is a group"),
        (lambda mask: mask.__setitem__("okay", h5py.ExternalLink("b.h5", "x")), r"mask/okay: is a link"),
    ],
)
def test_a_bad_list_is_one_clear_error(write: Write, change: Callable, message: str) -> None:
    path = write("a.h5", 2, {"train": [0]})
    with h5py.File(path, "r+") as file:
        change(file["mask"])
    with pytest.raises(DataError, match=message) as error:
        TrajectoryReader(path)
    assert "\n" not in str(error.value) and "a.h5" in str(error.value)


def test_training_and_validation_may_not_share_an_episode(write: Write) -> None:
    path = write("a.h5", 3, {"train": [0, 2], "valid": [1, 2]})
    with pytest.raises(DataError, match=r"a\.h5:mask: train and valid share 1 episodes, the first is 'demo_2'"):
        TrajectoryReader(path)
    assert declared(write("b.h5", 3, {"easy": [0, 2], "hard": [1, 2]})) == {"easy": [0, 2], "hard": [1, 2]}


def test_an_empty_list_says_nothing_and_a_repeated_name_nothing_new() -> None:
    found = splits_from_names({"train": ["b", "a", "b"], "valid": []}, ["a", "b"], "here")
    assert {split: members.tolist() for split, members in found.items()} == {"train": [0, 1]}


# -- other formats --------------------------------------------------------------------------


def test_robomimic_s_masks(tmp_path: Path) -> None:
    assert declared(ROBOMIMIC) == {"train": [0, 2], "valid": [1]}  # demo_0 and demo_10, demo_2
    for name, message in (("demo_7", "mask/train: names 'demo_7'"), ("demo_2", "mask: train and valid share 1")):
        path = Path(shutil.copyfile(ROBOMIMIC, tmp_path / "bad.hdf5"))
        with h5py.File(path, "r+") as file:
            del file["mask/train"]
            file["mask/train"] = np.array([b"demo_0", name.encode()])
        with pytest.raises(DataError, match=message):
            open_source(path)


@pytest.fixture
def lerobot(tmp_path: Path) -> Callable[[object], Path]:
    """LeRobot's sample of three episodes with other splits."""

    def make(splits: object) -> Path:
        root = tmp_path / "lerobot"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(SAMPLES / "lerobot" / "video", root)
        edit_json(root / "meta" / "info.json", lambda info: info.update(splits=splits))
        return root

    return make


def test_lerobot_s_splits(lerobot: Callable[[object], Path]) -> None:
    assert declared(SAMPLES / "lerobot" / "video") == {"train": [0, 1, 2]}
    assert declared(lerobot({"train": "0:2", "val": "2:3"})) == {"train": [0, 1], "valid": [2]}
    assert declared(lerobot({})) == declared(lerobot(None)) == {}


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": "0:4"}, "splits/train: names 'episode_3'"),
        ({"train": "0:99999999999999"}, "splits/train: names 'episode_3'"),
        ({"train": "0:2", "valid": "1:3"}, "train and valid share 1"),
        ({"train": "all"}, "split 'train' is 'all'"),
        ({"train": [0, 1]}, r"split 'train' is \[0, 1\]"),
        ("0:3", "splits are '0:3'; expected a table"),
        ({"a/b": "0:1"}, "there is a list 'a/b'"),
    ],
)
def test_bad_splits_of_lerobot(lerobot: Callable[[object], Path], splits: object, message: str) -> None:
    root = lerobot(splits)
    with pytest.raises(DataError, match=message) as error:
        open_source(root)
    assert "info.json" in str(error.value)


# -- convert and merge ----------------------------------------------------------------------


def test_converting_keeps_splits(tmp_path: Path) -> None:
    path = tmp_path / "out.h5"
    convert(ROBOMIMIC, path)
    assert masks(path) == {"train": ["demo_0", "demo_2"], "valid": ["demo_1"]}  # by their new names
    again = tmp_path / "again.h5"
    convert(path, again)
    assert masks(again) == masks(path)


def test_episodes_that_are_left_out_are_in_no_split(write: Write, tmp_path: Path) -> None:
    source, path = write("a.h5", 5, {"train": [0, 2, 4], "valid": [1, 3], "worse": [2]}), tmp_path / "out.h5"
    with h5py.File(source, "r+") as file:
        for i in (1, 2):
            file[f"data/demo_{i}/actions"][0, 0] = np.nan
    assert convert(source, path, skip_broken=True).broken == 2
    assert seeds(path) == [0, 3, 4]
    assert declared(path) == {"train": [0, 2], "valid": [1]}


def test_an_interrupted_conversion_goes_on_with_right_splits(write: Write, tmp_path: Path) -> None:
    source, path = write("a.h5", 4, DECLARED), tmp_path / "out.h5"

    def stop(done: int, total: int, error: DataError | None) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(source, path, report=stop)
    assert declared(path) == {"train": [0], "valid": [1], "worse": [0, 1]}
    assert convert(source, path).new_episodes == 2
    assert declared(path) == DECLARED
    assert convert(source, path).new_episodes == 0
    with h5py.File(source, "r+") as file:
        file["mask/train"][1] = b"demo_2"
    with pytest.raises(DataError, match="other episodes in the split 'train' than the source"):
        convert(source, path)


def test_merging_keeps_splits(write: Write, tmp_path: Path) -> None:
    parts = [write("a.h5", 3, {"train": [0, 2], "valid": [1]}), write("b.h5", 2, {"valid": [1], "worse": [0]})]
    merge(parts, tmp_path / "all.h5")
    # What b holds out leaves the rest of it for training, which has to be said beside a's list.
    assert declared(tmp_path / "all.h5") == {"train": [0, 2, 3], "valid": [1, 4], "worse": [3]}


def test_parts_without_a_split_do_not_become_unused(write: Write, tmp_path: Path) -> None:
    parts = [write("a.h5", 3, {"train": [0, 2], "valid": [1]}), write("b.h5", 2)]
    with pytest.raises(DataError, match=r"b\.h5.*which episodes are for training, as .*a\.h5 does.*--without-splits"):
        merge(parts, tmp_path / "all.h5")
    assert not (tmp_path / "all.h5").exists()
    merge(parts, tmp_path / "all.h5", keep_splits=False)
    assert declared(tmp_path / "all.h5") == {}
    merge([write("c.h5", 1, {"worse": [0]}), parts[1]], tmp_path / "more.h5")
    assert declared(tmp_path / "more.h5") == {"worse": [0]}


@pytest.mark.parametrize("damaged", [False, True])
def test_repairing_keeps_what_is_saved_in_its_splits(write: Write, damaged: bool) -> None:
    path = write("a.h5", 5, {"train": [0, 2, 4], "valid": [1, 3], "worse": [1]})
    with h5py.File(path, "r+") as file:
        file["data/demo_1/actions"][0, 0] = np.nan
        if damaged:
            file["mask/okay"] = h5py.SoftLink("/data")
    result = repair(path)
    assert seeds(result.path) == [0, 2, 3, 4]
    assert declared(result.path) == ({} if damaged else {"train": [0, 1, 3], "valid": [2]})


def test_repairing_keeps_robomimic_s_masks(tmp_path: Path) -> None:
    path = Path(shutil.copyfile(ROBOMIMIC, tmp_path / "image.hdf5"))
    with h5py.File(path, "r+") as file:
        file["data/demo_10"].attrs["num_samples"] = 100
    assert masks(repair(path).path) == {"train": ["demo_0"], "valid": ["demo_2"]}


# -- training -------------------------------------------------------------------------------


def test_roles() -> None:
    def roles(**splits: list[int]) -> list[int]:
        return roles_of({name: np.array(members) for name, members in splits.items()}, 4).tolist()

    drawn, train, valid, unused = Role.DRAWN, Role.TRAIN, Role.VALID, Role.UNUSED
    assert roles() == roles(worse=[0, 1]) == [drawn] * 4
    assert roles(train=[0, 1], valid=[3]) == [train, train, unused, valid]
    assert roles(train=[0, 1, 3]) == [drawn, drawn, unused, drawn]
    assert roles(valid=[2]) == [train, train, valid, train]


def test_declared_splits_are_taken_and_the_rest_is_drawn() -> None:
    roles = np.array([Role.TRAIN, Role.UNUSED, Role.VALID, *[Role.DRAWN] * 10])
    train, valid = split_by_role(roles, 0.2, seed=5)
    drawn_train, drawn_valid = split_episodes(10, 0.2, seed=5)
    assert train.tolist() == [0, *(drawn_train + 3)] and valid.tolist() == [2, *(drawn_valid + 3)]
    assert len(drawn_valid) == 2
    undeclared = split_by_role(np.zeros(10, np.int8), 0.2, seed=5)
    assert [part.tolist() for part in undeclared] == [drawn_train.tolist(), drawn_valid.tolist()]


@pytest.mark.parametrize("memory_gb", [0.0, 1.0])
def test_every_source_has_its_own_split(write: Write, memory_gb: float) -> None:
    paths = [write("a.h5", 2), write("b.h5", 3, {"train": [0], "valid": [2]}), write("c.h5", 2)]
    data = open_trajectories([SourceSpec(path) for path in paths], memory_gb)
    train, valid = split_by_role(data.roles, 0.25, seed=0)
    drawn = np.array([0, 1, 5, 6])  # a and c, which say nothing
    drawn_train, drawn_valid = split_episodes(4, 0.25, seed=0)
    assert train.tolist() == sorted([2, *drawn[drawn_train].tolist()])
    assert valid.tolist() == sorted([4, *drawn[drawn_valid].tolist()])
