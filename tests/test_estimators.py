"""SparseEncoder: what scikit-learn asks of an estimator, and what its users ask of codes."""

import pickle

import numpy as np
import pytest
import torch
from families import by_day
from sklearn.base import clone
from sklearn.decomposition import sparse_encode
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from unrolling.estimators import SparseEncoder


@parametrize_with_checks([SparseEncoder(steps=3, layers=2)])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def problem(features=20, atoms=30, samples=1500, seed=0, scale=1.0):
    random = np.random.default_rng(seed)
    dictionary = random.normal(size=(atoms, features))
    dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)
    codes = random.normal(size=(samples, atoms)) * (random.random((samples, atoms)) < 0.1)
    return dictionary, scale * (codes @ dictionary + 0.01 * random.normal(size=(samples, features)))


def nmse(estimate, target):
    return 10 * np.log10(np.sum((estimate - target) ** 2) / np.sum(target**2))


@pytest.mark.parametrize(("atoms", "scale"), by_day((30, 100.0), (30, 1.0), (50, 1.0)))
def test_it_stands_in_for_sparse_encode(atoms, scale):
    dictionary, data = problem(atoms=atoms, scale=scale)
    encoder = SparseEncoder(dictionary, alpha=0.1 * scale, steps=600, random_state=0, learning_rate=3e-3).fit(
        data[:1200]
    )
    unseen = data[1200:]
    target = sparse_encode(unseen, dictionary, algorithm="lasso_cd", alpha=0.1 * scale, max_iter=5000)
    # Five steps of ISTA, from which it started, are much farther away.
    with torch.no_grad():
        parent = encoder._untrained()(torch.from_numpy(unseen).float()).numpy()
    assert nmse(encoder.transform(unseen), target) < nmse(parent, target) - 4
    assert nmse(encoder.transform(unseen), target) == pytest.approx(encoder.validation_nmse_, abs=1.0)


@pytest.mark.nightly
def test_codes_put_the_data_together_again():
    dictionary, data = problem()
    encoder = SparseEncoder(dictionary, alpha=0.02, steps=400, layers=8, random_state=0).fit(data)
    assert nmse(encoder.inverse_transform(encoder.transform(data)), data) < -8
    np.testing.assert_allclose(encoder.inverse_transform(np.eye(30)), dictionary)
    with pytest.raises(ValueError, match="X has 7 columns; codes of this dictionary have 30"):
        encoder.inverse_transform(np.zeros((2, 7)))


def test_the_same_random_state_gives_the_same_codes_and_clones_and_pickles_keep_them():
    dictionary, data = problem(samples=300)
    first = SparseEncoder(dictionary, steps=20, random_state=3).fit(data)
    again = clone(first).fit(data)
    other = SparseEncoder(dictionary, steps=20, random_state=4).fit(data)
    np.testing.assert_array_equal(first.transform(data), again.transform(data))
    assert np.any(first.transform(data) != other.transform(data))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(first)).transform(data), first.transform(data))
    assert pickle.loads(pickle.dumps(SparseEncoder(layers=7))).layers == 7


@pytest.mark.nightly
def test_it_works_in_a_pipeline_and_learns_a_dictionary_where_none_is_given():
    _, data = problem(samples=300)
    pipe = make_pipeline(StandardScaler(), SparseEncoder(n_components=12, steps=20, random_state=0)).fit(data)
    assert pipe.transform(data[:5]).shape == (5, 12)
    assert pipe[-1].dictionary_.shape == (12, 20)
    assert list(pipe.get_feature_names_out())[:2] == ["sparseencoder0", "sparseencoder1"]


def test_precision_of_the_data_is_kept():
    dictionary, data = problem(samples=60)
    encoder = SparseEncoder(dictionary, steps=3).fit(data)
    assert encoder.transform(data).dtype == np.float64
    assert encoder.transform(data.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -1.0}, "alpha"),
        ({"layers": 0}, "layers"),
        ({"dictionary": np.ones((30, 7))}, r"atoms of 7 features, and X has 20; atoms are rows"),
        ({"dictionary": np.zeros((30, 20))}, "atom 0 of the dictionary is zero"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    _, data = problem(samples=30)
    with pytest.raises(ValueError, match=message):
        SparseEncoder(**{"steps": 2, **options}).fit(data)


def test_an_encoder_that_was_not_fitted_says_so():
    with pytest.raises(NotFittedError):
        SparseEncoder().transform(np.zeros((2, 3)))
    assert not hasattr(SparseEncoder(), "network_")
