"""``unroll apply`` on k-space: what comes out, and how it refuses."""

import json

import numpy as np
import pytest
import torch
from test_cli_images import CSNET
from test_cli_images import apply as apply
from test_cli_images import held as held

from unrolling.files import pictures as pixels
from unrolling.files.kspace import image_origin, is_centred, read_kspace
from unrolling.operators.fourier import KSpace, fft
from unrolling.tasks.medical import phantoms, receive_coils, sampling


def measured(size=32, real=True, coils=1, rate=0.4, seed=0):
    """An image, its centred k-space and the centred mask."""
    generator = torch.Generator().manual_seed(seed)
    image = phantoms.head(size, generator)
    image = image.to(torch.complex64) if real else phantoms.with_phase(image, generator)
    mask = sampling.radial_mask(size, rate)
    maps = (
        torch.ones(1, size, size)
        if coils == 1
        else torch.stack([0.2 + torch.rand(size, size, generator=generator) for _ in range(coils)])
    )
    samples = mask * torch.fft.fftshift(fft(maps * image), (-2, -1))
    return image, samples[0] if coils == 1 else samples, mask


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("named", [True, False])
def test_kspace_becomes_what_the_network_makes_of_it_wherever_its_middle_is(apply, held, tmp_path, centred, named):
    _, samples, mask = measured()
    turned = torch.fft.ifftshift(samples)
    np.save(tmp_path / "k.npy", (samples if centred else turned).numpy())
    np.save(tmp_path / "mask.npy", mask.numpy())
    assert is_centred(samples.unsqueeze(0))
    assert not is_centred(turned.unsqueeze(0))
    words = ["--mask", tmp_path / "mask.npy"] if named else []
    assert apply(CSNET, tmp_path / "k.npy", "-o", tmp_path / "x.npy", *words)[0] == 0
    found = torch.from_numpy(np.load(tmp_path / "x.npy"))
    sampled = torch.fft.ifftshift(mask).unsqueeze(0)
    peak = torch.fft.ifft2(turned, norm="ortho").abs().max()
    with torch.no_grad():
        wanted = (
            held[CSNET][0](
                KSpace((turned / peak).unsqueeze(0), sampled if named else (turned != 0).float().unsqueeze(0))
            )[0]
            * peak
        )
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_a_scaled_scan_gives_a_scaled_image_and_pictures_of_16_bits(apply, tmp_path):
    _, samples, _ = measured()
    for name, factor in (("one", 1.0), ("many", 1000.0)):
        np.save(tmp_path / f"{name}.npy", (factor * samples).numpy())
        assert apply(CSNET, tmp_path / f"{name}.npy", "-o", tmp_path / f"{name}-x.npy")[0] == 0
    one, many = (np.load(tmp_path / f"{name}-x.npy") for name in ("one", "many"))
    np.testing.assert_allclose(many, 1000 * one, rtol=1e-3, atol=1e-2)
    assert apply(CSNET, tmp_path / "one.npy", "-o", tmp_path / "x.png")[0] == 0
    shown = pixels.read(tmp_path / "x.png")
    assert shown.depth == 16
    np.testing.assert_allclose(shown.pixels[0].numpy(), np.abs(one) / np.abs(one).max(), atol=1e-4)


@pytest.mark.parametrize(("real", "coils", "kind"), [(True, 1, "f"), (False, 1, "c"), (False, 4, "f")])
def test_complex_images_and_coils_are_recognised(apply, tmp_path, real, coils, kind):
    _, samples, _ = measured(real=real, coils=coils)
    np.save(tmp_path / "k.npy", samples.numpy())
    status, out, _ = apply(CSNET, tmp_path / "k.npy", "-o", tmp_path / "x.npy", "--json")
    assert status == 0
    facts = json.loads(out)
    assert facts["coils"] == coils
    assert facts["image"] == ("real" if real and coils == 1 else "complex")
    assert np.load(tmp_path / "x.npy").dtype.kind == kind


def test_coils_are_combined_by_maps_where_the_middle_is_measured_and_by_their_squares_elsewhere(apply, tmp_path):
    size, generator = 64, torch.Generator().manual_seed(0)
    maps = receive_coils(4, size, size, generator)
    mask = sampling.cartesian_mask(size, size, 0.4, centre=0.15, seed=1)
    noise = 0.02 * torch.view_as_complex(torch.randn(4, size, size, 2, generator=generator))
    x = phantoms.head(size, generator)
    samples = torch.fft.fftshift(fft(maps * x) + noise, (-2, -1)) * mask
    apart = samples * (torch.arange(size) % 2)  # no two lines beside each other
    for name, k, key in (("near", samples, "maps"), ("apart", apart, "coils combined by")):
        np.save(tmp_path / f"{name}.npy", k.numpy())
        status, out, _ = apply(CSNET, tmp_path / f"{name}.npy", "-o", tmp_path / f"{name}-x.npy", "--json")
        assert status == 0
        assert key in json.loads(out)
    image = np.load(tmp_path / "near-x.npy")
    assert image.dtype.kind == "f"
    assert np.linalg.norm(image - x.numpy()) < 0.2 * float(x.norm())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda k: np.where(np.arange(32) == 3, np.nan, k), "NaN or infinite"),
        (lambda k: k.real, "k-space is complex"),
        (lambda k: k[0], "k-space is (height, width)"),
        (lambda k: 0 * k, "zero everywhere"),
    ],
)
def test_kspace_that_is_none_is_refused(apply, tmp_path, change, words):
    np.save(tmp_path / "k.npy", change(measured()[1].numpy()))
    status, _, said = apply(CSNET, tmp_path / "k.npy", "-o", tmp_path / "x.png")
    assert status != 0
    assert words in said
    with pytest.raises(ValueError, match=r"k\.npy"):
        read_kspace(tmp_path / "k.npy")


def test_a_mask_of_another_shape_or_of_nothing_is_refused(apply, tmp_path):
    _, samples, mask = measured()
    np.save(tmp_path / "k.npy", samples.numpy())
    for values, words in (
        (mask[:, :30], "has 32 x 30 frequencies, and the data 32 x 32"),
        (0 * mask, "zero everywhere"),
        (0.5 * mask, "other values than 0 and 1"),
    ):
        np.save(tmp_path / "mask.npy", values.numpy())
        status, _, said = apply(CSNET, tmp_path / "k.npy", "-o", tmp_path / "x.png", "--mask", tmp_path / "mask.npy")
        assert status != 0
        assert words in said


def scanned(image, origin):
    """The centred k-space of an image by the convention of scanners, or with pixel (0, 0) as its origin."""
    return torch.fft.fftshift(fft(torch.fft.ifftshift(image) if origin == "centre" else image))


@pytest.mark.parametrize("rate", [None, 0.25])
@pytest.mark.parametrize("origin", ["centre", "corner"])
@pytest.mark.parametrize("what", ["bar", "head"])
def test_an_image_comes_out_upright_whatever_its_origin(apply, tmp_path, what, origin, rate):
    image = torch.zeros(32, 32)
    image[5:20, 8:14] = 1
    if what == "head":
        image = phantoms.head(32, torch.Generator().manual_seed(1))
    samples = scanned(image, origin) * (1 if rate is None else sampling.radial_mask(32, rate))
    np.save(tmp_path / "k.npy", samples.numpy())
    status, out, _ = apply(CSNET, tmp_path / "k.npy", "-o", tmp_path / "x.npy", "--json")
    assert status == 0
    assert json.loads(out)["image_origin"] == ("in the middle" if origin == "centre" else "at (0, 0)") + ", found"
    found = torch.from_numpy(np.abs(np.load(tmp_path / "x.npy"))).flatten()
    turned = image.roll((16, 16), (0, 1)).flatten()
    assert found @ image.flatten() > 4 * (found @ turned)


def test_an_origin_that_the_image_does_not_show_is_that_of_scanners_and_can_be_told(apply, tmp_path):
    image = torch.zeros(64, 64)
    image[5:20, 8:14] = 1  # dark borders and a dark middle
    np.save(tmp_path / "k.npy", scanned(image, "centre").numpy())
    assert image_origin(torch.fft.ifft2(scanned(image, "centre")).unsqueeze(0)) is None
    for words, wanted, place in (
        ([], "in the middle, assumed", image),
        (["--image-origin", "corner"], "at (0, 0), given", image.roll((32, 32), (0, 1))),
    ):
        status, out, _ = apply(CSNET, tmp_path / "k.npy", "-o", tmp_path / "x.npy", "--json", "--overwrite", *words)
        assert (status, json.loads(out)["image_origin"]) == (0, wanted)
        assert (np.abs(np.load(tmp_path / "x.npy")) > 0.5)[place.numpy() == 1].all()
    status, _, said = apply(CSNET, tmp_path / "k.npy", "-o", tmp_path / "y.npy", "--image-origin", "middle")
    assert status != 0
    assert "image_origin is 'middle'" in said


@pytest.fixture
def volume(tmp_path):
    """A file as fastMRI writes them: three slices of two coils, read twice as densely as needed; its images."""
    h5py = pytest.importorskip("h5py")
    generator = torch.Generator().manual_seed(3)
    images = torch.stack([phantoms.head(32, generator) for _ in range(3)])
    wide = torch.nn.functional.pad(images, (0, 0, 16, 16))
    maps = 0.2 + torch.rand(2, 64, 32, generator=generator)
    samples = torch.fft.fftshift(fft(torch.fft.ifftshift(maps * wide[:, None], (-2, -1))), (-2, -1))
    size = (
        "<matrixSize><x>{}</x><y>32</y><z>1</z></matrixSize><fieldOfView_mm><x>{}</x><y>64</y><z>5</z></fieldOfView_mm>"
    )
    header = "".join(f"<{name}>{size.format(*sizes)}</{name}>" for name, sizes in SPACES.items())
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        file["kspace"] = samples.numpy()
        file["ismrmrd_header"] = (
            f'<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>{header}</encoding></ismrmrdHeader>'
        )
    return path, images


SPACES = {"encodedSpace": (64, 128), "reconSpace": (32, 64)}


def test_a_volume_becomes_a_volume_that_viewers_open_and_a_picture(apply, volume, tmp_path):
    nibabel = pytest.importorskip("nibabel")
    path, images = volume
    status, out, _ = apply(CSNET, path, "-o", tmp_path / "x.nii.gz", tmp_path / "x.png", "--json")
    assert status == 0
    facts = json.loads(out)
    assert (facts["slices"], facts["coils"], facts["height"], facts["width"]) == (3, 2, 32, 32)
    image = nibabel.load(tmp_path / "x.nii.gz")
    assert image.shape == (32, 32, 3)
    np.testing.assert_allclose(image.header.get_zooms(), (2, 2, 5))
    for k in range(3):
        found = torch.from_numpy(np.asarray(image.dataobj)[..., k].T.copy()).flatten()
        assert torch.corrcoef(torch.stack([found, images[k].flatten()]))[0, 1] > 0.8
    assert pixels.read(tmp_path / "x.png").pixels.shape == (1, 32, 32)
    one = apply(CSNET, path, "-o", tmp_path / "one.npy", "--slice", 2)
    assert one[0] == 0
    np.testing.assert_allclose(np.load(tmp_path / "one.npy"), np.asarray(image.dataobj)[..., 2].T, rtol=1e-4, atol=1e-5)


def test_a_volume_becomes_a_dicom_series(apply, volume, tmp_path):
    pydicom = pytest.importorskip("pydicom")
    path, _ = volume
    (tmp_path / "series").mkdir()
    status, out, _ = apply(CSNET, path, "-o", tmp_path / "series" / "x.dcm", "--json")
    assert status == 0
    files = [tmp_path / "series" / f"x-000{k}.dcm" for k in (1, 2, 3)]
    assert json.loads(out)["outputs"] == list(map(str, files))
    held = [pydicom.dcmread(file) for file in files]
    assert len({each.SeriesInstanceUID for each in held}) == 1
    assert [each.InstanceNumber for each in held] == [1, 2, 3]
    assert list(held[0].PixelSpacing) == [2, 2]
    refused = apply(CSNET, path, "-o", tmp_path / "series" / "x.dcm")
    assert refused[0] == 2
    assert "x-0001.dcm exists" in refused[2]


def test_a_slice_that_is_not_there_is_refused(apply, volume, tmp_path):
    status, _, said = apply(CSNET, volume[0], "-o", tmp_path / "x.nii", "--slice", 3)
    assert status == 2
    assert "has no slice 3; it has 3" in said


def test_a_file_is_given_in_several_forms_that_agree(apply, tmp_path):
    pydicom, nibabel = pytest.importorskip("pydicom"), pytest.importorskip("nibabel")
    np.save(tmp_path / "k.npy", measured(real=False)[1].numpy())
    status, _, said = apply(
        CSNET, tmp_path / "k.npy", "-o", *(tmp_path / f"x.{kind}" for kind in ("nii", "dcm", "npy"))
    )
    assert status == 0, said
    values = np.load(tmp_path / "x.npy")
    np.testing.assert_allclose(
        np.asarray(nibabel.load(tmp_path / "x.nii").dataobj)[..., 0].T, np.abs(values), rtol=1e-5
    )
    data = pydicom.dcmread(tmp_path / "x.dcm")
    assert (data.Modality, list(data.ImageType)) == ("MR", ["DERIVED", "SECONDARY"])
    found = data.pixel_array * float(data.RescaleSlope) + float(data.RescaleIntercept)
    np.testing.assert_allclose(found, np.abs(values), atol=np.abs(values).max() / 60000)
