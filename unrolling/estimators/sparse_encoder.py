"""Lasso codes by a trained network, with the interface of scikit-learn's ``SparseCoder``."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolling._extras import extra
from unrolling.algorithms import FISTA, GramISTA, ThinISTA
from unrolling.core import Unrolled, solve, unroll
from unrolling.core.scale import norm
from unrolling.tasks.base import Samples, Task
from unrolling.training.fit import fit as train
from unrolling.training.stages import Cosine, Stage

with extra("an estimator of scikit-learn"):
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
    from sklearn.decomposition import MiniBatchDictionaryLearning
    from sklearn.utils import check_random_state
    from sklearn.utils._param_validation import Interval
    from sklearn.utils.validation import check_array, check_is_fitted, validate_data

_DOUBLE: Any = np.float64
_PRECISIONS: Any = [np.float64, np.float32]  # what is kept; all else becomes the first


class SparseEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """LISTA in the place of ``sparse_encode``: x ~ argmin 0.5 |y - x D|^2 + alpha |x|_1 in a few layers, trained on
    your data.

    ``SparseEncoder(D, alpha=0.1).fit(Y).transform(Y)`` is what ``sparse_encode(Y, D, algorithm="lasso_cd", alpha=0.1)``
    approximates by iterating. ``fit`` computes the converged codes of the training data by FISTA and trains the network
    to predict them (Gregor and LeCun 2010); ``transform`` runs its layers. The weights are coupled where there are more
    than twice as many atoms as features (``ThinISTA``), else free (``GramISTA``).

    Parameters
    ----------
    dictionary : array of shape (n_components, n_features), default=None
        Atoms as rows, as scikit-learn has them. None: learned from the training data by
        ``MiniBatchDictionaryLearning``.
    n_components : int, default=None
        Number of atoms to learn; as many as features by default. Ignored when a dictionary is given.
    alpha : float, default=0.1
        Weight of the l1 norm.
    layers : int, default=5
        Depth of the network.
    steps : int, default=1000
        Optimizer steps.
    batch_size : int, default=256
        Samples per step.
    learning_rate : float, default=3e-3
        Of the matrices; thresholds have ten times as much.
    tolerance : float, default=1e-4
        Relative change at which the codes to predict have converged.
    random_state : int, RandomState instance or None, default=None
        Of batches and of the dictionary.

    Attributes
    ----------
    dictionary_ : array of shape (n_components, n_features)
        The atoms in use.
    network_ : Unrolled
        The trained network, (batch, n_features) -> (batch, n_components).
    validation_nmse_ : float
        20 log10(|x' - x| / |x|) on a tenth of the training data that was not trained on; NaN where there were too few.
    n_features_in_ : int
        Number of features.
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's name and form)
        "dictionary": ["array-like", None],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "layers": [Interval(Integral, 1, None, closed="left")],
        "steps": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "tolerance": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        dictionary: Any = None,
        *,
        n_components: int | None = None,
        alpha: float = 0.1,
        layers: int = 5,
        steps: int = 1000,
        batch_size: int = 256,
        learning_rate: float = 3e-3,
        tolerance: float = 1e-4,
        random_state: Any = None,
    ) -> None:
        self.dictionary = dictionary
        self.n_components = n_components
        self.alpha = alpha
        self.layers = layers
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.tolerance = tolerance
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> SparseEncoder:
        """Compute converged codes of the training data and train the network on them.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Training data.
        y : ignored
            For pipelines.
        """
        self._validate_params()
        samples: Any = validate_data(self, X, dtype=_PRECISIONS)
        random = check_random_state(self.random_state)
        self.dictionary_ = self._atoms(samples, random)
        data = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
        network = self._untrained()
        fista = FISTA(GramISTA(network.parent.dictionary, float(self.alpha)))  # pyright: ignore[reportArgumentType]
        codes = torch.cat(
            [solve(fista, part, tolerance=self.tolerance, max_iterations=5000).estimate for part in data.split(4000)]
        )
        task = _Codes(data, codes)
        rate = float(self.learning_rate)
        stage = Stage(
            int(self.steps),
            rate=rate,
            rates={"threshold": 10 * rate},
            batch=int(self.batch_size),
            annealing=Cosine(0.05, 1e-3),
            clip=1.0,
        )
        train(network, task, [stage], seed=int(random.randint(2**31 - 1)), validations=0, quiet=True)
        self.network_ = network
        with torch.no_grad():
            held = task.validation[0]
            error, energy = (network(held.data) - held.target).square().sum(), held.target.square().sum()
        self.validation_nmse_ = (
            float(10 * torch.log10(error / energy)) if task.held_out and float(energy) > 0 else float("nan")
        )
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Codes of shape (n_samples, n_components), in the precision of ``X``.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Data.
        """
        check_is_fitted(self)
        samples: Any = validate_data(self, X, dtype=_PRECISIONS, reset=False)
        with torch.no_grad():
            codes = self.network_(torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32)))
        return codes.numpy().astype(samples.dtype, copy=False)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Data from codes, X D.

        Parameters
        ----------
        X : array of shape (n_samples, n_components)
            Codes.
        """
        check_is_fitted(self)
        codes = check_array(X, dtype=_PRECISIONS)
        if codes.shape[1] != len(self.dictionary_):
            raise ValueError(f"X has {codes.shape[1]} columns; codes of this dictionary have {len(self.dictionary_)}")
        return codes @ self.dictionary_.astype(codes.dtype, copy=False)

    def _atoms(self, samples: np.ndarray, random: Any) -> np.ndarray:
        """The dictionary that was given, or one learned from the data; rows of norm one stay, others are as they
        are.
        """
        if self.dictionary is None:
            count = self.n_components or samples.shape[1]
            options: dict[str, Any] = {
                "alpha": self.alpha,
                "random_state": random,
                "batch_size": min(256, len(samples)),
                "max_iter": 20,
            }
            learner = MiniBatchDictionaryLearning(count, **options)
            atoms = learner.fit(samples).components_
        else:
            atoms = check_array(self.dictionary, dtype=_DOUBLE)
            if atoms.shape[1] != samples.shape[1]:
                raise ValueError(
                    f"dictionary has atoms of {atoms.shape[1]} features, and X has {samples.shape[1]}; "
                    "atoms are rows, (n_components, n_features)"
                )
        norms = np.linalg.norm(atoms, axis=1)
        if not np.all(norms > 0):
            raise ValueError(f"atom {int(np.argmin(norms))} of the dictionary is zero: remove it")
        return np.asarray(atoms, dtype=np.float64)

    def _untrained(self) -> Unrolled:
        dictionary = torch.from_numpy(np.ascontiguousarray(self.dictionary_.T, dtype=np.float32))
        features, atoms = dictionary.shape
        if atoms > 2 * features:
            return unroll(ThinISTA(dictionary, float(self.alpha)), int(self.layers), untied=("encoder", "threshold"))
        return unroll(
            GramISTA(dictionary, float(self.alpha)), int(self.layers), untied=("encoder", "inhibition", "threshold")
        )

    @property
    def _n_features_out(self) -> int:
        return len(self.dictionary_)

    def __getstate__(self) -> dict[str, Any]:
        # torch cannot pickle modules with constraints; the learned values are enough to build the network again.
        state: Any = super().__getstate__()
        if "network_" in state:
            state = {**state, "network_": {name: value.numpy() for name, value in self.network_.learned().items()}}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        values = state.get("network_")
        super().__setstate__({name: value for name, value in state.items() if name != "network_"})
        if values is not None:
            self.network_ = self._untrained()
            self.network_.load_learned({name: torch.from_numpy(value) for name, value in values.items()})
            self.network_.eval()


class _Codes(Task):
    """Data with their converged codes, a tenth of them held out."""

    name = "encoding"
    grains = 1

    def __init__(self, data: Tensor, codes: Tensor) -> None:
        from unrolling.tasks.base import NMSE

        self.metric = NMSE
        self.held_out = len(data) // 10
        cut = len(data) - self.held_out
        self.training = Samples(data[:cut], codes[:cut])
        self.validation = self.test = [Samples(data[cut:], codes[cut:]) if self.held_out else self.training]
        self.timing = self.test[0]
        level = norm(codes.flatten(), 0) * max(codes.numel(), 1) ** -0.5
        self.level = torch.where(level == 0, 1, level)

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        index = torch.randint(len(self.training.data), (batch,), generator=generator)
        return Samples(self.training.data[index], self.training.target[index])

    def loss(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Squared error in units of the codes' mean square, so that rates mean the same for data of every scale."""
        return ((estimate - target) / self.level).square().mean()
