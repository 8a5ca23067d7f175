"""Files: regular ones are read, new ones are whole, and no link is written through."""

import os
import stat

import pytest

from opdsl import files

FULL = OSError(28, "No space left on device")


@pytest.fixture
def fifo(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def test_a_fifo_is_refused_and_not_waited_for(fifo):
    with pytest.raises(OSError, match="not a regular file") as caught:
        files.read_regular(fifo, 100)
    assert caught.value.filename == str(fifo)


def test_a_device_is_refused():
    with pytest.raises(OSError, match="not a regular file"):
        files.read_regular(files.Path("/dev/zero"), 100)


def test_a_folder_is_told_as_a_folder(tmp_path):
    with pytest.raises(IsADirectoryError):
        files.read_text(tmp_path)


def test_a_file_larger_than_allowed_is_not_read(tmp_path):
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="more than 1,000 bytes"):
        files.read_regular(path, 1000)


def test_a_link_to_a_regular_file_is_read(tmp_path):
    (tmp_path / "a").write_text("\ufeffone\r\ntwo\n", encoding="utf-8")
    (tmp_path / "b").symlink_to("a")
    assert files.read_text(tmp_path / "b") == "one\ntwo\n"


def test_json_too_deep_for_python_is_a_value_error(tmp_path):
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested"):
        files.read_json(tmp_path / "deep.json")


@pytest.mark.parametrize("name", ["a", ".tmp-a"])
def test_what_a_link_points_to_is_never_written(tmp_path, name):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / name).symlink_to(victim)
    files.write_whole(tmp_path / "a", b"new")
    assert victim.read_text() == "precious"
    assert (tmp_path / "a").read_bytes() == b"new"
    assert not (tmp_path / "a").is_symlink()


def test_a_temporary_name_that_is_taken_by_a_link_is_not_followed(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    monkeypatch.setattr(files, "temporary_name", lambda: ".tmp-guessed")
    (tmp_path / ".tmp-guessed").symlink_to(victim)
    with pytest.raises(FileExistsError):
        files.write_whole(tmp_path / "a", b"new")
    assert victim.read_text() == "precious"


def test_temporary_names_differ_each_time():
    assert len({files.temporary_name() for _ in range(100)}) == 100


def writers(folder):
    def replacing(path):
        with files.replacing(path) as part:
            part.write_bytes(b"new")
            raise FULL

    def whole(path):
        files.write_whole(path, b"new")

    def new_folder(path):
        files.write_folder(path, {"x": b"new"})

    return ((whole, folder / "a"), (new_folder, folder / "b"), (replacing, folder / "c"))


@pytest.mark.parametrize("number", range(3))
def test_a_full_disk_leaves_nothing_and_names_the_file(tmp_path, monkeypatch, number):
    def full(_handle, _data):
        raise FULL

    monkeypatch.setattr(files.os, "write", full)
    write, path = writers(tmp_path)[number]
    with pytest.raises(OSError, match="No space") as caught:
        write(path)
    assert number == 2 or caught.value.filename == str(path)  # the third is the caller's own
    assert list(tmp_path.iterdir()) == []


def test_a_new_folder_is_whole(tmp_path):
    files.write_folder(tmp_path / "new", {"x": b"1", "y": b"2"})
    assert {x.name: x.read_bytes() for x in (tmp_path / "new").iterdir()} == {"x": b"1", "y": b"2"}
    assert [x.name for x in tmp_path.iterdir()] == ["new"]


def test_what_a_library_writes_has_the_rights_of_any_new_file(tmp_path):
    with files.replacing(tmp_path / "a") as part:
        part.write_bytes(b"x")
    (tmp_path / "b").write_bytes(b"x")
    modes = {stat.S_IMODE((tmp_path / x).stat().st_mode) for x in "ab"}
    assert len(modes) == 1
