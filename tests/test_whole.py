"""The one writer: whole or not at all, followed into no link, and the files of others stay."""

import errno
import os
import stat

import pytest
import torch

from unrolling.files import whole
from unrolling.files.gate import checked


def write(text, *paths):
    """The same into several files."""
    with whole.writing(*paths) as made:
        for path in made:
            path.write_text(text)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_on_a_full_disk_all_old_files_stay_and_nothing_else(broken, tmp_path, monkeypatch):
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("old")

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, broken, full)
        with pytest.raises(OSError, match="No space left on device") as caught:
            write("new", first, second)
    assert caught.value.filename == str(first)
    assert names(tmp_path) == ["a.txt"]
    assert first.read_text() == "old"


def test_several_files_appear_together_or_not_at_all(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(UnicodeEncodeError):
        write("\udc80", *paths)
    assert names(tmp_path) == []
    with whole.writing(*paths) as made:
        for path in made:
            path.write_text("whole")
        assert not any(path.exists() for path in paths)
    assert names(tmp_path) == ["a", "b"]


def test_while_it_is_written_a_file_is_its_users_alone(tmp_path):
    old = os.umask(0o022)
    try:
        with whole.writing(tmp_path / "a") as (temporary,):
            assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644
        os.umask(0o077)
        whole.write_bytes(tmp_path / "b", b"x")
        assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o600
    finally:
        os.umask(old)


def test_a_link_is_refused_wherever_it_leads(tmp_path):
    (tmp_path / "secret").write_text("kept")
    for name, target in (("there", "secret"), ("nowhere", "none")):
        (tmp_path / name).symlink_to(target)
        with pytest.raises(ValueError, match="is a link"):
            whole.write_bytes(tmp_path / name, b"x")
    assert (tmp_path / "secret").read_text() == "kept"
    assert names(tmp_path) == ["nowhere", "secret", "there"]


def test_a_temporary_name_that_somebody_took_is_not_opened(tmp_path, monkeypatch):
    (tmp_path / "secret").write_text("kept")
    monkeypatch.setattr(whole.secrets, "token_hex", lambda _: "guessed")
    (tmp_path / f"{whole.PREFIX}guessed.txt").symlink_to("secret")
    with pytest.raises(OSError, match="exists"):
        whole.write_bytes(tmp_path / "a.txt", b"x")
    assert (tmp_path / "secret").read_text() == "kept"


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_stays(kind, tmp_path):
    path = tmp_path / "a"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(ValueError, match=r"is a folder|is no ordinary file"):
        whole.write_bytes(path, b"x")


def test_only_what_was_written_inside_is_replaced(tmp_path):
    theirs, own = tmp_path / "theirs", tmp_path / "own"
    theirs.write_text("kept")
    with whole.keeping_others():
        with pytest.raises(ValueError, match=r"theirs exists; it stays as it is \(--overwrite replaces it\)"):
            whole.write_bytes(theirs, b"x")
        for content in (b"one", b"two"):
            whole.write_bytes(own, content)
    assert theirs.read_text() == "kept"
    assert own.read_bytes() == b"two"
    with whole.keeping_others(), pytest.raises(ValueError, match="own exists"):
        whole.write_bytes(own, b"x")
    with whole.keeping_others(keep=False):
        whole.write_bytes(own, b"three")
    assert own.read_bytes() == b"three"


def test_a_file_that_came_while_ours_was_written_stays(tmp_path):
    path = tmp_path / "a"

    def meanwhile():
        with whole.keeping_others(), whole.writing(path) as (temporary,):
            temporary.write_text("ours")
            path.write_text("theirs")

    with pytest.raises(ValueError, match="exists"):
        meanwhile()
    assert path.read_text() == "theirs"
    assert names(tmp_path) == ["a"]


def test_without_links_on_the_file_system_nothing_is_replaced_either(tmp_path, monkeypatch):
    def none(*arguments):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", none)
    with whole.keeping_others():
        whole.write_bytes(tmp_path / "a", b"one")
    with whole.keeping_others(), pytest.raises(ValueError, match="exists"):
        whole.write_bytes(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"one"


def test_a_probe_meets_no_file_of_anybodys(tmp_path):
    (tmp_path / ".probe").write_text("kept")
    whole.probe_folder(tmp_path)
    assert names(tmp_path) == [".probe"]


def test_what_is_not_finite_or_not_there_passes_no_gate():
    values = torch.ones(2, 3)
    assert checked(values, "the estimates", (2, None)) is values
    large = torch.full((4,), 3e38)
    assert checked(large, "the estimates") is large  # a sum that overflows is no infinite value
    for bad, words in (
        (torch.tensor([1.0, torch.nan]), "1 of 2 values are NaN or infinite"),
        (torch.tensor([1 + 1j, torch.inf + 0j]), "1 of 2 values"),
        (torch.tensor([torch.inf, -torch.inf]).numpy(), "2 of 2 values"),
        (torch.ones(0, 3), "there is nothing to write"),
    ):
        with pytest.raises(ValueError, match=words):
            checked(bad, "the estimates")
    with pytest.raises(ValueError, match=r"have the shape \(2, 3\), and \(2, 4\) is right"):
        checked(values, "the estimates", (2, 4))
