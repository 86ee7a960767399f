"""Two dictionaries with common codes: of features of blurred patches, and of the sharp patches."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling._extras import extra
from unrolling.algorithms.images.coupled_patches import CoupledSparseCoding, patch_features, patch_filters
from unrolling.core.arguments import check_count, check_range
from unrolling.operators.borders import extend

FLAT = 0.04  # norm of the features below which a patch has nothing to teach


def patch_pairs(
    pictures: Iterable[tuple[Tensor, Tensor]], count: int, *, f: int = 9, p: int = 5, seed: int = 0
) -> tuple[Float[Tensor, "count features"], Float[Tensor, "count pixels"]]:
    """Random patches of pictures: the features of the blurred one of f x f pixels (``patch_features``), and the p x p
    pixels of the sharp one less the mean over the blurred one's f x f; both over the norm of the features.

    Flat patches are left out. float64.

    Args:
        pictures: (blurred, sharp), each (height, width) in [0, 1], as many pixels in both.
        count: patches, shared out evenly among the pictures.
        f: pixels along a side of a blurred patch.
        p: pixels along a side of a sharp patch.
        seed: of the places.

    Raises:
        ValueError: pictures whose sizes differ, or none with a patch that is not flat.
    """
    check_count(count, "count")
    generator = torch.Generator().manual_seed(seed)
    filters, middle = patch_features(f, p), patch_filters(f, p).reshape(p * p, -1)
    taken = middle + 1 / f**2  # the p x p pixels themselves
    lows, highs = [], []
    pairs = list(pictures)
    for blurred, sharp in pairs:
        if blurred.shape != sharp.shape:
            raise ValueError(f"a pair has as many pixels in both; got {tuple(blurred.shape)} and {tuple(sharp.shape)}")
        one, two = (extend(x.double(), (f // 2, f // 2, f // 2, f // 2), "symmetric") for x in (blurred, sharp))
        places = torch.randint(0, blurred.numel(), (3 * -(-count // len(pairs)),), generator=generator)
        rows, columns = places // blurred.shape[1], places % blurred.shape[1]
        near = torch.arange(f)
        index = (rows[:, None, None] + near[:, None], columns[:, None, None] + near)
        low, high = one[index].flatten(1), two[index].flatten(1)
        features = low @ filters.reshape(len(filters), -1).T
        norms = torch.linalg.vector_norm(features, dim=1)
        chosen = (norms > FLAT).nonzero().flatten()[: -(-count // len(pairs))]
        target = high @ taken.T - low.mean(1, keepdim=True)
        lows.append(features[chosen] / norms[chosen, None])
        highs.append(target[chosen] / norms[chosen, None])
    low, high = torch.cat(lows)[:count], torch.cat(highs)[:count]
    if len(low) == 0:
        raise ValueError("no patch has any contrast; a dictionary is learned from pictures with edges and textures")
    return low, high


def coupled_dictionaries(
    low: Float[Tensor, "count features"],
    high: Float[Tensor, "count pixels"],
    atoms: int = 128,
    weight: float = 0.1,
    *,
    epochs: int = 5,
    seed: int = 0,
) -> tuple[Float[Tensor, "features atoms"], Float[Tensor, "pixels atoms"]]:
    """D_y with columns of norm 1, and D_x of least squares on its codes, float64.

    D_y minimises 0.5 |c - D_y a|^2 + lambda |a|_1 over the features by online dictionary learning (Mairal, Bach, Ponce
    and Sapiro 2009, doi:10.1145/1553374.1553463; scikit-learn), D_x |x - D_x a|^2 over the sharp patches, a being the
    codes that the features have: what is known when a picture is enlarged (Zeyde, Elad and Protter 2010,
    doi:10.1007/978-3-642-27413-8_47).

    Args:
        low: features, a row for each patch.
        high: sharp patches.
        atoms: columns.
        weight: lambda.
        epochs: over the patches.
        seed: of the start.

    Raises:
        ValueError: fewer patches than atoms, numbers of rows that differ.
        ImportError: scikit-learn is missing.
    """
    check_count(atoms, "atoms")
    check_range(weight, "weight", 0.0, above=True)
    if len(low) != len(high) or len(low) < atoms:
        raise ValueError(f"as many features as patches, and more than {atoms} atoms; got {len(low)} and {len(high)}")
    with extra("learning a dictionary"):
        from sklearn.decomposition import MiniBatchDictionaryLearning
        from sklearn.exceptions import ConvergenceWarning

    options: dict[str, Any] = {"alpha": weight, "transform_alpha": weight, "max_iter": epochs, "random_state": seed}
    learner = MiniBatchDictionaryLearning(
        atoms, batch_size=256, fit_algorithm="cd", transform_algorithm="lasso_cd", **options
    )
    with warnings.catch_warnings():  # of early codes, which the next epoch improves
        warnings.simplefilter("ignore", ConvergenceWarning)
        codes = torch.from_numpy(learner.fit_transform(low.double().numpy()))
    found = torch.from_numpy(learner.components_).T
    norms = torch.linalg.vector_norm(found, dim=0)
    norms = torch.where(norms > 0, norms, 1)  # of an atom that was never used
    codes = codes * norms
    gram = codes.T @ codes
    ridge = 1e-6 * gram.diagonal().mean() * torch.eye(atoms, dtype=gram.dtype)
    return found / norms, torch.linalg.solve(gram + ridge, codes.T @ high.double()).T.contiguous()


@torch.no_grad()
def pursued(
    coding: CoupledSparseCoding, data: Float[Tensor, "batch height width"], atoms: int, every: int = 3
) -> Float[Tensor, "batch large_height large_width"]:
    """The larger images from codes of at most so many atoms, by orthogonal matching pursuit (scikit-learn) in the place
    of ISTA; patches at every so many pixels, and along the borders, are averaged where they overlap.

    Raises:
        ValueError: patches too far apart to cover the image, more atoms than there are.
        ImportError: scikit-learn is missing.
    """
    check_count(atoms, "atoms", 1, coding.low.shape[1])
    check_count(every, "every", 1, coding.patch)
    with extra("orthogonal matching pursuit"):
        from sklearn.linear_model import orthogonal_mp_gram

    coding.check(data)
    problem = coding.prepare(data)
    rows, columns = (torch.zeros(size, dtype=torch.bool) for size in problem.encoded.shape[1:3])
    for line in (rows, columns):
        line[::every] = line[-1] = True
    kept = rows.unsqueeze(1) & columns
    low = coding.low.double()
    correlations = (problem.encoded * coding.weight)[:, kept].reshape(-1, low.shape[1]).double()  # D_y^T c
    with warnings.catch_warnings():  # of flat patches, whose code has fewer atoms
        warnings.simplefilter("ignore", RuntimeWarning)
        found = orthogonal_mp_gram((low.T @ low).numpy(), correlations.T.numpy(), n_nonzero_coefs=atoms)
    codes = torch.from_numpy(found).reshape(low.shape[1], -1).T.reshape(len(data), -1, low.shape[1])
    state = torch.zeros_like(problem.encoded)
    state[:, kept] = codes.to(data.dtype) / coding.scale
    means = torch.nn.functional.avg_pool2d(coding.wide(data).unsqueeze(1), coding.features.shape[-1], 1)
    count = coding.patch**2
    sharp = means + coding.patches(state, problem) * (count * coding.overlap).view(-1, 1, 1)
    one = torch.ones(count).to(data)
    covered = coding.placed(kept.to(data).expand(len(data), count, -1, -1), one)
    return coding.placed(sharp * kept, one) / covered
