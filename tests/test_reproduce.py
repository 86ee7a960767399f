"""Shipped weights can be made again: their data are listed, found, and refused when they are others."""

import hashlib
import shlex

import numpy as np
import pytest
import torch

from unrolling.cli import reproduce as command
from unrolling.systems import data_sources
from unrolling.systems.catalogue import catalogue
from unrolling.systems.data_sources import Source, named_data, sources, sources_of, weights_licence
from unrolling.training.weights import read_weights

HOMES = sorted({system.home for system in catalogue().values()})
FILES = {path.stem: path for home in HOMES for path in sorted((home / "weights").glob("*.safetensors"))}


@pytest.fixture(scope="module")
def cards():
    return {name: read_weights(path)[2] for name, path in FILES.items()}


@pytest.mark.parametrize("name", FILES)
def test_the_data_of_all_shipped_weights_are_listed(name, cards):
    card = cards[name]
    held = sources_of(card)
    assert held
    for source in held:
        assert source.title
        assert source.address
        assert source.licence
    if named_data(card) is not None:
        assert held[-1].layout
        assert held[-1].files or held[-1].arrays or held[-1].folders
    assert weights_licence(card) == card.get("licence", "BSD-3-Clause")
    if "from" in card:  # the weights that it started from are shipped themselves
        assert card["from"]["command"] in {other["command"] for other in cards.values()}


def test_hashes_are_hashes_and_every_entry_is_used(cards):
    used = {source.name for card in cards.values() for source in sources_of(card)}
    assert used == {source.name for source in sources()}
    for source in sources():
        for digest in (*source.files.values(), *source.arrays.values(), *source.folders.values()):
            assert len(digest) == 64
            int(digest, 16)


def test_weights_whose_data_are_missing_list_them_and_end_with_status_1(unroll, tmp_path):
    for data, why in ((), "say where they are, --data PLACE"), (("--data", tmp_path), "does not exist"):
        status, output, errors = unroll("reproduce", "imaging/tnrd", *data)
        assert status == 1
        assert errors.count("\n") == 1
        assert errors.startswith(
            "unroll: tnrd-denoising-sigma25-5.safetensors was trained on ten photographs of Debian"
        )
        assert why in errors
        for text in ("deb.debian.org", "CC-BY-4.0", "bfb425545e77e9f0", "extra/umang", "scikit-image"):
            assert text in output


def test_data_for_weights_that_need_none_are_refused(unroll, tmp_path):
    status, _, errors = unroll("reproduce", "sparse_coding/alista", "--data", tmp_path)
    assert status == 2
    assert "leave --data out" in errors


def test_a_folder_of_recordings_is_checked_as_a_whole(tmp_path):
    for place in ("train/b.wav", "test/a.wav", "note.txt"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_bytes(place.encode())
    lines = [f"{hashlib.sha256(p.encode()).hexdigest()}  {p}\n" for p in ("test/a.wav", "train/b.wav")]
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    source = Source("digits", "digits", "here", "CC-BY-SA-4.0", called="digits", folders={"*/*.wav": digest})
    source.check(tmp_path)
    assert f"{digest}  of all */*.wav" in str(source)
    (tmp_path / "train" / "c.wav").write_bytes(b"one more")
    with pytest.raises(ValueError, match="are others, or more or fewer"):
        source.check(tmp_path)


def test_weights_are_licensed_as_their_data_ask_for(monkeypatch):
    source = Source("digits", "digits", "here", "CC-BY-SA-4.0", called="digits", weights="CC-BY-SA-4.0")
    monkeypatch.setattr(data_sources, "sources", lambda: (source,))
    card = {"task": {"name": "separation"}, "command": "unroll train speech/misi --data digits"}
    assert weights_licence(card) == "CC-BY-SA-4.0"
    assert "weights   CC-BY-SA-4.0" in str(source)
    assert weights_licence({**card, "command": "unroll train speech/misi --data mine"}) == "BSD-3-Clause"
    assert weights_licence({**card, "command": "unroll train speech/misi"}) == "BSD-3-Clause"


@pytest.fixture
def ours(tmp_path, monkeypatch):
    """The listed photographs are files of ours."""
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "a.jpg").write_bytes(b"a photograph")
    digest = hashlib.sha256(b"a photograph").hexdigest()
    source = Source(
        "ours", "photographs", "here", "CC0", called="free", layout="a folder", files={"extra/a.jpg": digest}
    )
    monkeypatch.setattr(data_sources, "sources", lambda: (source,))
    return tmp_path


def test_the_recorded_command_runs_on_the_data_and_from_the_shipped_weights(ours, unroll, monkeypatch):
    run = []

    class StoppedError(ValueError):
        pass

    def recorded(words, **options):
        run.append(words)
        raise StoppedError("enough")

    monkeypatch.setattr(command, "recorded", recorded)
    unroll("reproduce", "imaging/dublid", "--set", "kind=both", "--data", ours)
    (words,) = run
    assert words[words.index("--data") + 1] == str(ours)
    assert words[words.index("--from") + 1].endswith("weights/dublid-deblurring-linear-10.safetensors")
    assert shlex.join(words).startswith("train imaging/dublid")


@pytest.mark.parametrize("content", [b"another photograph", None])
def test_other_data_are_refused(content, ours, unroll):
    path = ours / "extra" / "a.jpg"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    status, _, errors = unroll("reproduce", "imaging/tnrd", "--data", ours)
    assert status == 1
    assert str(path) in errors
    assert ("does not exist" if content is None else "SHA-256 is not the one") in errors


def test_images_are_known_by_their_numbers_whatever_their_file_is(tmp_path):
    images = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0)).numpy()
    digest = hashlib.sha256(images.tobytes()).hexdigest()
    source = Source("ours", "images", "here", "CC0", arrays={"images.npz": digest})
    np.savez(tmp_path / "images.npz", images)
    np.save(tmp_path / "other.npy", images)
    for place in (tmp_path, tmp_path / "images.npz", tmp_path / "other.npy"):
        source.check(place)
    assert source.place(tmp_path) == tmp_path / "images.npz"
    assert source.place(tmp_path / "other.npy") == tmp_path / "other.npy"
    np.savez_compressed(tmp_path / "images.npz", images[::-1])
    with pytest.raises(ValueError, match="holds other images"):
        source.check(tmp_path)
