"""The cache of compiled kernels: whatever lies there, only what this user compiled, whole, is loaded."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support_selection import needs_kernel

from unrolling.core import kept, native
from unrolling.prox import support

pytestmark = [needs_kernel, pytest.mark.skipif(os.name != "posix", reason="modes and owners of files")]
SOURCE = Path(support.__file__).with_suffix(".cpp")
PROGRAM = (
    "import torch; from unrolling.prox import support as s; print(len(s._kernels()), "
    "s.support_select(torch.tensor([3., 2., 1.]), .5, 1).tolist())"
)


def answer(**changes):
    """What a process of its own says, which a signal would end."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=os.environ | changes, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def compiled():
    return native.build(SOURCE).read_bytes()


@pytest.fixture
def cache(monkeypatch, tmp_path, compiled):
    """An empty one; what the compiler makes is known, since it takes seconds."""
    monkeypatch.setattr(native, "_compiled", lambda source, flags, compiler: compiled)
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(kept.tempfile, "gettempdir", lambda: str(tmp_path / "other"))
    (tmp_path / "other").mkdir()
    kept._own.cache_clear()
    yield tmp_path / "cache" / "unrolling"
    kept._own.cache_clear()


def a_folder(path, content):
    path.unlink()
    path.mkdir()


def a_link(path, content):
    (path.parent.parent / "elsewhere.so").write_bytes(content)
    path.unlink()
    path.symlink_to(path.parent.parent / "elsewhere.so")


def owned_by_another(path, content):
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    os.chown(path, 12345, 12345)


DAMAGES = {
    "cut off": lambda path, content: path.write_bytes(content[: len(content) // 2]),
    "empty": lambda path, content: path.write_bytes(b""),
    "one bit": lambda path, content: path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]),
    "another library": lambda path, content: path.write_bytes(Path(torch._C.__file__).read_bytes()[:5000]),
    "unreadable": lambda path, content: path.chmod(0),
    "open to others": lambda path, content: path.chmod(0o666),
    "owned by another": owned_by_another,
    "a link": a_link,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_is_not_what_was_compiled_is_made_again(damage, cache, compiled):
    path = native.build(SOURCE)
    assert path.parent == cache
    if damage == "unreadable" and os.geteuid() == 0:
        pytest.skip("root reads everything")
    DAMAGES[damage](path, compiled)
    again = native.build(SOURCE)
    assert again.read_bytes() == path.read_bytes()
    assert kept._is_whole(again, again.name.rsplit("-", 1)[0], ".so")
    assert not again.is_symlink()


@pytest.mark.nightly
def test_a_process_survives_a_library_that_was_cut_off(cache):
    path = native.build(SOURCE)
    path.write_bytes(path.read_bytes()[:20_000])
    assert answer() == "2 [3.0, 1.5, 0.5]"


def test_a_folder_in_the_place_of_the_library_is_gone_around(cache, compiled):
    a_folder(native.build(SOURCE), compiled)
    assert native.build(SOURCE).read_bytes() == compiled
    assert native.build(SOURCE).parent != cache


def test_the_folder_is_this_users_alone(cache):
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    path = native.build(SOURCE)
    assert path.parent == cache
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("why", ["a link", "a file", "of another user", "below a folder that all may write"])
def test_a_folder_that_others_could_change_is_not_used(why, cache, tmp_path):
    cache.parent.mkdir()
    if why == "a link":
        (tmp_path / "theirs").mkdir()
        cache.symlink_to(tmp_path / "theirs")
    elif why == "a file":
        cache.touch()
    elif why == "of another user":
        cache.mkdir()
        owned_by_another(cache, b"")
    else:
        cache.parent.chmod(0o777)
    path = native.build(SOURCE)
    assert path.parent == tmp_path / "other" / f"unrolling-{os.geteuid()}"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_where_no_folder_can_be_trusted_the_process_has_its_own(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "_is_private", lambda folder, make: False)
    path = native.build(SOURCE)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert native.build(SOURCE) == path


@pytest.mark.parametrize("change", [{"CXX": "c++ -DOTHER"}, {"UNROLLING_SANITIZE": "undefined"}])
def test_other_compilers_and_flags_have_files_of_their_own(change, cache, monkeypatch):
    path = native.build(SOURCE)
    for name, value in change.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(native, "_compiled", lambda source, flags, compiler: b"another")
    assert native.build(SOURCE).read_bytes() == b"another"
    monkeypatch.undo()
    assert path.exists()


def test_another_torch_and_another_processor_have_files_of_their_own(cache, monkeypatch):
    native.build(SOURCE)
    monkeypatch.setattr(native, "_compiled", lambda source, flags, compiler: b"another")
    with monkeypatch.context() as patch:
        patch.setattr(native.torch, "__version__", "0.0")
        assert native.build(SOURCE).read_bytes() == b"another"
    with monkeypatch.context() as patch:
        patch.setattr(native.torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
        assert native.build(SOURCE).read_bytes() == b"another"


def test_a_planted_temporary_file_is_not_followed(cache, tmp_path, monkeypatch, compiled):
    cache.mkdir(parents=True, mode=0o700)
    monkeypatch.setattr(kept.secrets, "token_hex", lambda count: "x")
    (tmp_path / "precious").write_text("mine")
    (cache / ".x.tmp").symlink_to(tmp_path / "precious")
    kept.keep(compiled, "a", ".so")
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_full_disk_leaves_nothing_and_says_so(cache, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        kept.keep(b"content", "a", ".so")
    assert [path for path in cache.rglob("*") if path.is_file()] == []
