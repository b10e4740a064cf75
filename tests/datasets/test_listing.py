import os
from pathlib import Path

from helpers.datasets.listing import add_inner_folders, list_folder


def test_folders_inside_are_listed_to_the_last_but_in_no_circle(tmp_path, monkeypatch):
    for name in ("a/1.jpg", "a/b/2.jpg", "a/b/notes.txt", "a/secret/4.jpg", "elsewhere/3.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name, target in (("back", "a"), ("nowhere", "gone"), ("away", "elsewhere")):
        (tmp_path / "a/b" / name).symlink_to(tmp_path / target)
    scandir = os.scandir

    def scandir_of_another_user(path):  # whoever runs the tests may be allowed everything
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scandir_of_another_user)
    found = list_folder(tmp_path / "a")
    add_inner_folders(found, {os.path.realpath(tmp_path / "a")})
    listed = {
        kind: [Path(path).relative_to(tmp_path / "a").as_posix() for path in paths]
        for kind, paths in found._asdict().items()
    }
    assert listed == {
        "images": ["1.jpg", "b/2.jpg", "b/away/3.jpg"],
        "folders": [],
        "others": ["b/notes.txt"],
        "dead_links": ["b/nowhere", "b/back"],
        "unlistable": ["secret"],
    }
