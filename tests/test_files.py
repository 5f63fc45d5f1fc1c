import pytest

from jepa_robot.errors import OutputError
from jepa_robot.files import atomic_folder, atomic_path


@pytest.mark.parametrize("atomic, kind", [(atomic_path, "path"), (atomic_folder, "folder")])
@pytest.mark.parametrize("below", ["new", "new/newer"])
def test_a_file_in_the_way_is_named_and_kept(tmp_path, atomic, kind, below):
    (tmp_path / "mine.txt").write_text("mine")
    target = tmp_path / "mine.txt" / below
    with pytest.raises(OutputError, match=f"{target}: .*mine.txt is a file, not a folder.*another output {kind}"):
        with atomic(target):
            raise AssertionError("nothing is begun")
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("atomic", [atomic_path, atomic_folder])
def test_a_reader_of_our_output_that_went_away_is_no_error_of_the_target(tmp_path, atomic):
    with pytest.raises(BrokenPipeError):
        with atomic(tmp_path / "new"):
            raise BrokenPipeError
    assert list(tmp_path.iterdir()) == []
