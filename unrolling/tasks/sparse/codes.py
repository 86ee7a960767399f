"""Prediction of converged lasso codes of natural-image patches, as Gregor and LeCun (2010) posed it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling._extras import extra
from unrolling.algorithms import FISTA, GramISTA
from unrolling.core import solve
from unrolling.tasks.base import NMSE, Samples, Shift, Task
from unrolling.tasks.baselines import Baseline
from unrolling.tasks.images import sources as images
from unrolling.tasks.sparse import baselines

SIDE = 10
RIDGE = 0.1


class Codes(Task):
    """y a patch of 10 x 10 pixels, x its converged lasso code argmin 0.5 |y - A x|^2 + alpha |x|_1; predict x from y.

    Patches lose their mean, those that are nearly flat are dropped, and the rest is scaled to unit norm; ``whiten``
    (the default) then multiplies by (C + 0.1 c I)^(-1/2), C the covariance of the training patches, c its mean
    eigenvalue, and scales to unit norm again. The dictionary A (100, atoms) is learned on training patches with
    scikit-learn. Photographs for training, validation and test are disjoint.

    Args:
        atoms: columns of the dictionary.
        alpha: weight of the lasso, for patches of unit norm.
        whiten: 1 or 0.
        train_patches: number of training patches.
        held_out: number of validation and of test patches.
        seed: of the patches and of the dictionary.
        data: a folder of photographs to test on, or with sub-folders train, validation and test that replace the
            packages' photographs.
        fixed: tensors of a weights file; its ``dictionary`` is used instead of learning one.
    """

    name = "codes"
    given = "vectors, and a dictionary for them"
    sought = "their sparse codes, those of the lasso"
    metric = NMSE
    options: Mapping[str, Any] = {"atoms": 400, "alpha": 0.05, "whiten": 1, "train_patches": 100_000}
    notes = (
        "How many iterations a network saves depends on the patches: whitening brings the dictionary close to "
        "orthogonal (L = |A|^2 is about 11 for 400 atoms and 4 for 100), and FISTA then converges fast. For 100 atoms "
        "it needs 6 and 12 iterations for the error of 1 and 3 layers; without whitening (--set whiten=0, L about 14) "
        "it needs 17 and 32 (python -m benchmarks.codes).",
        "Layers are counted from x = 0; Gregor and LeCun start from S_theta(W_e y), so that their first iteration is "
        "the second layer here.",
        "A step of coordinate descent changes one coordinate and costs O(n), a step of ISTA O(m n) or O(n^2): compare "
        "times, not iterations.",
    )
    units: Mapping[str, str] = {"data": "1, a patch of unit norm", "estimate": "1"}

    def __init__(
        self,
        atoms: int = 400,
        alpha: float = 0.05,
        whiten: int = 1,
        train_patches: int = 100_000,
        held_out: int = 2000,
        seed: int = 0,
        data: str | Path | images.Drawn | None = None,
        fixed: Mapping[str, Tensor] | None = None,
    ) -> None:
        if not 0 < alpha < float("inf"):
            raise ValueError(f"alpha must be positive; got {alpha}")
        if atoms < SIDE**2:
            raise ValueError(f"atoms is {atoms}; a dictionary of 10 x 10 patches has at least {SIDE**2}")
        self.alpha, self.whiten, self.seed, self.train_patches = alpha, bool(whiten), seed, train_patches
        self._data, self._held_out = data, held_out
        if fixed is not None:
            self.dictionary = fixed["dictionary"]
            if self.dictionary.shape != (SIDE**2, atoms):
                raise ValueError(
                    f"the dictionary given is {tuple(self.dictionary.shape)}, and {atoms} atoms were asked for"
                )
        else:
            self.dictionary = learn_dictionary(self._finish(self._raw_training[:20_000]), atoms, alpha, seed)
        # what cannot be used is found before training; the packages' photographs can
        if data is not None or fixed is None:
            for part, stream in (("validation", 1), ("test", 2)):
                self._raw(part, held_out, stream)

    @cached_property
    def photographs(self) -> dict[str, dict[str, Tensor]]:
        """By part and name, read when first asked for: shipped weights need none."""
        return images.split(self._data)

    @cached_property
    def _raw_training(self) -> Tensor:
        return self._raw("train", self.train_patches, 0)

    @cached_property
    def whitening(self) -> Tensor:
        """(100, 100)."""
        return _whitening(self._raw_training) if self.whiten else torch.eye(SIDE**2)

    @cached_property
    def _training(self) -> Tensor:
        return self._finish(self._raw_training)

    @cached_property
    def validation(self) -> list[Samples]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Computed when first asked for, like the other converged codes."""
        return [self._converged("validation", 1)]

    @cached_property
    def test(self) -> list[Samples]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return [self._converged("test", 2)]

    @property
    def timing(self) -> Samples:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.test[0]

    def example(self) -> Tensor:
        """Patches, without the codes that take long to find."""
        return self._finish(self._raw("test", 32, 2))

    @property
    def summary(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        active = float((self.test[0].target != 0).sum(1).float().mean())
        kind = "whitened" if self.whiten else "zero-mean, unit-norm"
        return (
            f"Predict the converged lasso code ({self.dictionary.shape[1]} coefficients, weight {self.alpha:g}, "
            f"{active:.0f} non-zero on average) of {kind} 10 x 10 patches of photographs that were not trained on."
        )

    def _raw(self, part: str, count: int, stream: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed * 10 + stream)
        pictures = self.photographs[part]
        share = -(-count // len(pictures))
        patches = torch.cat([_patches(name, picture, share, generator) for name, picture in pictures.items()])
        return patches[torch.randperm(len(patches), generator=generator)[:count]]

    def _finish(self, raw: Tensor) -> Tensor:
        if not self.whiten:
            return raw
        white = raw @ self.whitening
        return white / torch.linalg.vector_norm(white, dim=1, keepdim=True)

    def _converged(self, part: str, stream: int) -> Samples:
        y = self._finish(self._raw(part, self._held_out, stream))
        return Samples(y, converged_codes(self.dictionary, y, self.alpha, tolerance=2e-6))

    @cached_property
    def _targets(self) -> Tensor:
        # Looser than for the test set: the error left, below -40 dB, is far below that of any network here.
        return converged_codes(self.dictionary, self._training, self.alpha, tolerance=1e-3)

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        index = torch.randint(len(self._training), (batch,), generator=generator)
        return Samples(self._training[index], self._targets[index])

    def loss(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Squared error relative to the energy of the batch's codes."""
        return (estimate - target).square().sum() / target.square().sum()

    def shifts(self) -> Sequence[Shift]:
        """Noise on the patches, and patches of another contrast; targets are converged codes of what is seen."""
        y = self._finish(self._raw("test", min(self._held_out, 300), 3))
        generator = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(y.shape, generator=generator) / y.shape[1] ** 0.5

        def seen(patches: Tensor) -> Samples:
            return Samples(patches, converged_codes(self.dictionary, patches, self.alpha, tolerance=1e-4))

        def noisy(level: float) -> Samples:
            patches = y + level * noise
            return seen(patches / torch.linalg.vector_norm(patches, dim=1, keepdim=True))

        return (
            Shift(
                "noise on the patches, relative",
                (0.0, 0.1, 0.2, 0.4, 0.8),
                noisy,
                0.0,
                "White noise is added, and the patch scaled to norm 1 again.",
            ),
            Shift(
                "norm of the patches",
                (0.25, 0.5, 1.0, 2.0, 4.0),
                lambda v: seen(v * y),
                1.0,
                "Patches of lower or higher contrast than those trained on.",
            ),
        )

    def fixed_tensors(self) -> dict[str, Tensor]:
        return {"dictionary": self.dictionary}

    @classmethod
    def small(cls) -> Codes:
        """100 atoms learned on few patches."""
        return cls(atoms=100, train_patches=400, held_out=20, data=images.few_drawn())

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """Number of atoms, and whether patches are whitened."""
        weight = "" if options["alpha"] == 0.05 else f"-alpha{options['alpha']:g}"
        return f"{options['atoms']}{'' if options['whiten'] else '-plain'}{weight}"

    def baselines(self, size: int) -> Sequence[Baseline]:
        """The lasso, whose weight the task prescribes, by several algorithms and by scikit-learn's."""
        return [
            *baselines.lasso(self.dictionary, (self.alpha,), slow=2000, fast=500),
            *(
                baselines.scikit_learn(
                    self, self.dictionary, solver, f"lasso, {words}", "alpha", (self.alpha,), limit=100
                )
                for solver, words in (("lasso_cd", "coordinate descent"), ("lasso_lars", "LARS"))
            ),
        ]

    def atoms(self, layer: Any) -> Tensor | None:
        """The rows of the encoder as patches."""
        return layer.encoder.matrix.detach().reshape(-1, SIDE, SIDE)

    def identity(self) -> dict[str, Any]:
        content = hashlib.sha256(
            self._training.numpy().tobytes() + self.dictionary.contiguous().numpy().tobytes()
        ).hexdigest()[:16]
        return {
            "name": self.name,
            "atoms": self.dictionary.shape[1],
            "alpha": self.alpha,
            "whiten": int(self.whiten),
            "train_patches": self.train_patches,
            "seed": self.seed,
            "photographs": {part: list(pictures) for part, pictures in self.photographs.items()},
            "fingerprint": content,
        }


def _patches(name: str, picture: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """About ``count`` random patches (k, 100) without mean, not flat, of unit norm."""
    height, width = picture.shape
    if min(height, width) < SIDE:
        raise ValueError(f"{name} has {height} x {width} pixels, smaller than a patch of {SIDE} x {SIDE}")
    kept: list[Tensor] = []
    for _ in range(20):
        rows = torch.randint(height - SIDE + 1, (count,), generator=generator)
        columns = torch.randint(width - SIDE + 1, (count,), generator=generator)
        offsets = torch.arange(SIDE)
        patches = picture[
            (rows.view(-1, 1, 1) + offsets.view(1, -1, 1)), (columns.view(-1, 1, 1) + offsets.view(1, 1, -1))
        ].reshape(count, -1)
        patches = patches - patches.mean(1, keepdim=True)
        kept.append(patches[patches.square().mean(1).sqrt() > 0.02])
        if sum(map(len, kept)) >= count:
            break
    patches = torch.cat(kept)[:count]
    if len(patches) == 0:
        raise ValueError(f"{name} is flat: none of its patches varies by more than 0.02")
    return patches / torch.linalg.vector_norm(patches, dim=1, keepdim=True)


def _whitening(patches: Tensor) -> Tensor:
    """(C + 0.1 mean(eigenvalues) I)^(-1/2), symmetric."""
    covariance = (patches.T @ patches / len(patches)).double()
    values, vectors = torch.linalg.eigh(covariance)
    return ((vectors * (values + RIDGE * values.mean()).rsqrt()) @ vectors.T).float()


def learn_dictionary(patches: Tensor, atoms: int, alpha: float, seed: int) -> Tensor:
    """A (m, atoms) with unit columns, by scikit-learn's online dictionary learning (Mairal et al. 2009)."""
    import warnings

    with extra("learning a dictionary"):
        from sklearn.decomposition import MiniBatchDictionaryLearning
        from sklearn.exceptions import ConvergenceWarning

    # In double precision: the coordinate descent inside stops on a duality gap that single precision never reaches.
    samples = patches[torch.randperm(len(patches), generator=torch.Generator().manual_seed(seed))].double().numpy()
    options: Any = {
        "alpha": 2 * alpha,
        "batch_size": 256,
        "max_iter": 1,
        "fit_algorithm": "cd",
        "random_state": seed,
        "shuffle": False,
    }
    learner = MiniBatchDictionaryLearning(atoms, dict_init=samples[:atoms], **options)
    with warnings.catch_warnings():
        # Codes while a dictionary is still being learned need not be exact.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for first in range(0, min(len(samples), 60 * 256), 256):
            learner.partial_fit(samples[first : first + 256])
    dictionary = torch.from_numpy(learner.components_.T.copy()).float()
    return dictionary / torch.linalg.vector_norm(dictionary, dim=0)


def converged_codes(dictionary: Tensor, y: Tensor, alpha: float, tolerance: float) -> Tensor:
    """Lasso codes by FISTA, each patch until its iterate changes by less than the tolerance."""
    fista = FISTA(GramISTA(dictionary, alpha))
    return torch.cat([solve(fista, part, tolerance=tolerance, max_iterations=5000).estimate for part in y.split(4000)])
