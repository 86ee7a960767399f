"""LVAMP: VAMP with learned shrinkages (Borgerding, Schniter and Rangan 2017)."""

from __future__ import annotations

from unrolling.prox.denoisers import PiecewiseLinear
from unrolling.systems.base import System
from unrolling.systems.sparse_coding._common import bernoulli_gaussian, grown, vamp_recipe

REFERENCES = ("borgerding2017amp", "rangan2019vector")

SYSTEM = System(
    name="sparse_coding/lvamp",
    title="LVAMP",
    paradigm="objective",
    summary="sparse recovery near the Bayesian limit, for ill-conditioned dictionaries too: VAMP with a learned "
    "Bernoulli-Gaussian prior in each layer.",
    equations=(
        "linear stage, A = U S V^T: d = s^2 v2 / (s^2 v2 + sigma^2), z = n / sum(d), r1 = r2 + z V (d / s) (U^T y - S "
        "V^T r2), v1 = (z - 1) v2\nshrinkage: x = eta[t](r1; v1), a = <eta'[t]>, r2 = (x - a r1) / (1 - a), v2 = v1 a "
        "/ (1 - a)\neta[t]: the posterior mean of x ~ p N(0, s^2) + (1 - p) delta_0, p and s^2 learned for each "
        "layer; sigma^2 is fitted to each signal in each layer."
    ),
    references=REFERENCES,
    recipes={"recovery": vamp_recipe(bernoulli_gaussian, grown(300, 5e-2, batch=128))},
    variants=(
        System(
            name="sparse_coding/lvamp_pwl",
            title="LVAMP, piecewise linear",
            paradigm="objective",
            summary="sparse recovery by VAMP with a learned piecewise linear shrinkage in each layer, with no prior "
            "behind it.",
            equations=(
                "the linear stage of LVAMP, and x = eta[t](r1; v1) with eta[t] odd, of slope s1 up to k1 sqrt(v1), s2 "
                "up to k2 sqrt(v1) and s3 beyond,\nfive learned numbers for each layer; sigma^2 is fitted to each "
                "signal in each layer."
            ),
            references=REFERENCES,
            recipes={"recovery": vamp_recipe(PiecewiseLinear, grown(1000, 3e-2, batch=128))},
        ),
    ),
)
