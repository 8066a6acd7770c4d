"""What counts as open: each descriptor of a file of the folder, also of one that is gone, and the devices that are named."""

from tests.open_files import open_below


def test_open_and_removed_files_of_the_folder_and_named_devices_are_found(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    assert open_below(inside, "/dev/zero") == []
    with (inside / "a").open("wb"), (inside / "b").open("wb"), outside.open("wb"), open("/dev/zero", "rb"):
        (inside / "b").unlink()
        assert open_below(inside, "/dev/zero") == sorted(["/dev/zero", f"{inside}/a", f"{inside}/b (deleted)"])
        assert open_below(inside) == [f"{inside}/a", f"{inside}/b (deleted)"]
    assert open_below(inside, "/dev/zero") == []
