"""Codes of patches: the lasso's, of patches that are what the task says."""

import numpy as np
import pytest
import torch
from PIL import Image
from test_tasks import copied, generator
from test_tasks import pictures as pictures
from tiny import picture

from unrolling.tasks.sparse.codes import RIDGE, Codes


@pytest.fixture(scope="module")
def codes(pictures):
    dictionary = torch.randn(100, 120, generator=generator(5))
    dictionary /= torch.linalg.vector_norm(dictionary, dim=0)
    return Codes(atoms=120, train_patches=2000, held_out=50, data=pictures, fixed={"dictionary": dictionary})


@pytest.mark.parametrize("part", ["validation", "test", "train"])
def test_codes_satisfy_the_optimality_conditions_of_the_lasso(codes, part):
    """|A^T (y - A x)| <= alpha, with equality and the sign of x where x is not zero."""
    y, x = codes.draw(50, generator()) if part == "train" else getattr(codes, part)[0]
    tolerance = 3e-3 if part == "train" else 2e-5
    correlation = (y - x @ codes.dictionary.T) @ codes.dictionary
    assert correlation.abs().max().item() <= codes.alpha + tolerance
    active = x.abs() > 1e-3
    assert 1 < active.sum(1).double().mean() < 100
    assert (correlation - codes.alpha * x.sign())[active].abs().max().item() <= tolerance


def test_patches_have_no_mean_and_norm_one_before_whitening(codes):
    raw = codes._raw("train", 500, 0)
    assert raw.shape == (500, 100)
    assert raw.mean(1).abs().max().item() < 1e-6
    torch.testing.assert_close(torch.linalg.vector_norm(raw, dim=1), torch.ones(500))
    torch.testing.assert_close(torch.linalg.vector_norm(codes.test[0].data, dim=1), torch.ones(50))


def test_whitening_evens_out_the_spectrum_as_far_as_its_ridge_allows(codes):
    """Eigenvalue v of the covariance becomes v / (v + 0.1 mean)."""
    raw = codes._raw("train", 2000, 0).double()
    before = torch.linalg.eigvalsh(raw.T @ raw / len(raw))
    white = raw @ codes.whitening.double()
    after = torch.linalg.eigvalsh(white.T @ white / len(white))
    torch.testing.assert_close(after, before / (before + RIDGE * before.mean()), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(codes.whitening, codes.whitening.T, atol=1e-4, rtol=0)
    assert after[-1] / after[50] < 2 < 5 < before[-1] / before[50]


def test_without_whitening_patches_stay_as_they_are(codes, pictures):
    plain = Codes(
        atoms=120, train_patches=500, held_out=20, whiten=0, data=pictures, fixed={"dictionary": codes.dictionary}
    )
    assert torch.equal(plain.test[0].data, plain._raw("test", 20, 2))
    assert plain.test[0].data.mean(1).abs().max().item() < 1e-6


def test_patches_are_pieces_of_their_photographs(codes):
    """Up to mean and scale, and of the right part."""
    raw = codes._raw("validation", 20, 1)
    windows = codes.photographs["validation"]["validation0.png"].unfold(0, 10, 1).unfold(1, 10, 1).reshape(-1, 100)
    windows = windows - windows.mean(1, keepdim=True)
    windows = windows / torch.linalg.vector_norm(windows, dim=1, keepdim=True).clamp_min(1e-9)
    assert (raw @ windows.T).amax(1).min().item() > 0.9999


def test_the_same_seed_gives_the_same_patches(codes, pictures):
    again = Codes(atoms=120, train_patches=2000, held_out=50, data=pictures, fixed={"dictionary": codes.dictionary})
    other = Codes(
        atoms=120, train_patches=2000, held_out=50, seed=1, data=pictures, fixed={"dictionary": codes.dictionary}
    )
    assert torch.equal(again.test[0].target, codes.test[0].target)
    assert again.identity() == codes.identity()
    assert not torch.equal(other.test[0].data, codes.test[0].data)


def test_the_loss_of_codes_is_relative_to_their_energy(codes):
    _, x = codes.test[0]
    assert codes.loss(torch.zeros_like(x), x).item() == pytest.approx(1)
    assert codes.loss(0.9 * x, x).item() == pytest.approx(0.01)


@pytest.mark.slow
def test_the_learned_dictionary_codes_patches_with_fewer_coefficients_than_a_random_one(codes, pictures):
    learned = Codes(atoms=100, train_patches=1500, held_out=50, data=pictures)
    torch.testing.assert_close(torch.linalg.vector_norm(learned.dictionary, dim=0), torch.ones(100))
    random = Codes(
        atoms=100, train_patches=1500, held_out=50, data=pictures, fixed={"dictionary": codes.dictionary[:, :100]}
    )
    y = learned.test[0].data
    assert torch.equal(y, random.test[0].data)

    def objective(task):
        x = task.test[0].target
        return (0.5 * (y - x @ task.dictionary.T).square().sum(1) + task.alpha * x.abs().sum(1)).mean().item()

    assert objective(learned) < 0.9 * objective(random)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"alpha": 0.0}, "alpha must be positive; got 0.0"),
        ({"atoms": 99}, "atoms is 99; a dictionary of 10 x 10 patches has at least 100"),
        ({"atoms": 130}, r"the dictionary given is \(100, 120\), and 130 atoms were asked for"),
    ],
)
def test_bad_options_of_the_codes_are_refused(values, message, codes, pictures):
    with pytest.raises(ValueError, match=message):
        Codes(
            **{
                "atoms": 120,
                "train_patches": 100,
                "held_out": 5,
                "data": pictures,
                "fixed": {"dictionary": codes.dictionary},
                **values,
            }
        )


@pytest.mark.parametrize("values", [picture(9, 30), np.full((40, 40), 100, np.uint8)], ids=["small", "flat"])
def test_a_picture_that_gives_no_patch_is_refused_by_name(values, codes, pictures, tmp_path):
    copied(pictures, tmp_path)
    for file in (tmp_path / "test").iterdir():
        file.unlink()
    Image.fromarray(values).save(tmp_path / "test" / "useless.png")
    with pytest.raises(ValueError, match=r"useless.png"):
        Codes(atoms=120, train_patches=100, held_out=5, data=tmp_path, fixed={"dictionary": codes.dictionary})
