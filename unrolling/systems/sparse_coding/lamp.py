"""LAMP: AMP with learned shrinkages (Borgerding, Schniter and Rangan 2017)."""

from __future__ import annotations

from unrolling.prox.denoisers import PiecewiseLinear, SoftDenoiser
from unrolling.systems.base import System
from unrolling.systems.sparse_coding._common import amp_recipe, bernoulli_gaussian, grown

REFERENCES = ("borgerding2017amp", "donoho2009message")

SYSTEM = System(
    name="sparse_coding/lamp",
    title="LAMP",
    paradigm="objective",
    summary="sparse recovery near the Bayesian limit: AMP with a learned Bernoulli-Gaussian prior in each layer.",
    equations=(
        "v[t+1] = y - A x[t] + (n/m) <eta'[t]> v[t],  x[t+1] = eta[t](x[t] + B v[t+1]; tau^2 = |v[t+1]|^2 / m)\n"
        "eta[t]: the posterior mean of x ~ p N(0, s^2) + (1 - p) delta_0 in noise of variance tau^2, p and s^2 "
        "learned for each layer; B, the same in all\nlayers, starts at A^T."
    ),
    references=REFERENCES,
    recipes={"recovery": amp_recipe(bernoulli_gaussian, grown(600, 5e-2, {"encoder": 1e-4}, batch=128))},
    variants=(
        System(
            name="sparse_coding/lamp_l1",
            title="LAMP-l1",
            paradigm="objective",
            summary="sparse recovery by AMP with learned soft thresholds: ISTA with an Onsager term.",
            equations=(
                "v[t+1] = y - A x[t] + beta[t] (|x[t]|_0 / m) v[t],  x[t+1] = beta[t] S_theta(x[t] + B v[t+1]),  "
                "theta = alpha[t] |v[t+1]| / sqrt(m)\n"
                "alpha and beta, a number each, are learned for each layer; B, the same in all, starts at A^T. At the "
                "start alpha = 1.14, beta = 1: AMP."
            ),
            references=REFERENCES,
            recipes={
                "recovery": amp_recipe(lambda: SoftDenoiser(1.14), grown(1000, 3e-2, {"encoder": 3e-4}, batch=128))
            },
        ),
        System(
            name="sparse_coding/lamp_pwl",
            title="LAMP, piecewise linear",
            paradigm="objective",
            summary="sparse recovery by AMP with a learned piecewise linear shrinkage in each layer, which no prior is "
            "behind.",
            equations=(
                "v[t+1] = y - A x[t] + (n/m) <eta'[t]> v[t],  x[t+1] = eta[t](x[t] + B v[t+1]; tau = |v[t+1]| / "
                "sqrt(m))\n"
                "eta[t] is odd and has the slope s1 up to k1 tau, s2 up to k2 tau and s3 beyond, five learned numbers "
                "for each layer; B starts at A^T."
            ),
            references=REFERENCES,
            recipes={"recovery": amp_recipe(PiecewiseLinear, grown(1000, 3e-2, {"encoder": 1e-4}, batch=128))},
        ),
    ),
)
