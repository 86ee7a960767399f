"""One system for each family of operators: `make test` compiles and exports these, the nightly run every system."""

import pytest

from unrolling.systems.catalogue import catalogue

REPRESENTATIVES = {
    "communications/ep_net": "matrices factored for each sample (Cholesky), learned damping",
    "communications/oamp_net": "eigenvectors of complex channels, posterior means over an alphabet",
    "communications/viterbinet": "trellis",
    "imaging/tnrd": "convolutions with tables of radial basis functions",
    "medical/admm_csnet": "Fourier transforms of complex images, piecewise linear functions",
    "sparse_coding/hyperlista": "sorting, the largest entries, support selection",
    "sparse_coding/lcod": "one entry of many: argmax, gather, scatter",
    "sparse_coding/lista": "dense matrices, soft threshold",
    "sparse_coding/na_alista": "recurrent networks (LSTM cells)",
    "speech/misi": "short-time Fourier transforms, strided and transposed convolutions",
}


def by_system(*skip):
    """Parameters of a test: the representatives, and in the nightly run all other systems and those named here."""
    return [
        pytest.param(name, marks=() if name in REPRESENTATIVES and name not in skip else pytest.mark.nightly)
        for name in catalogue()
    ]
