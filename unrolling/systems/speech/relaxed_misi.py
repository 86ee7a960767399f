"""Relaxed MISI: phase reconstruction that learns how far to trust masks, trained through its iterations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unrolling.algorithms.relaxed_misi import RelaxedMISI
from unrolling.systems.base import Direct, Recipe, Reference, System, Tying
from unrolling.systems.speech import misi
from unrolling.systems.speech.sound import application
from unrolling.tasks.speech import Separation
from unrolling.training.stages import Cosine, Schedule, Stage

LEARNED = ("relaxation", "emphasis")


def parent(task: Separation) -> RelaxedMISI:
    """MISI behind a mask network that has learned nothing yet."""
    return RelaxedMISI(task.stft, magnitudes=misi.MaskedMagnitudes(task.stft, len(task.sources)))


def schedule(depth: int) -> Schedule:
    """The masks with their shares of the error first, as long as those of ``speech/misi``; then how far the further layers trust them."""
    masks = Stage(2400, rate=2e-3, rates={"relaxation": 2e-3, "emphasis": 2e-2}, batch=8, depth=1, annealing=Cosine(0.05, 0.1), clip=5.0)
    if depth == 1:
        return [masks]
    return [masks, Stage(100, rate=5e-2, batch=8, parameters=LEARNED, annealing=Cosine(0.1, 0.05), clip=5.0)]


def direct(task: Separation) -> Sequence[Direct]:
    """The masks of ``speech/misi`` with the mixture's phase, where their weights are shipped."""
    if not misi.SYSTEM.weights_path("separation", 1, {}).is_file():
        return []
    return [Direct("masks, the mixture's phase", misi.SYSTEM.pretrained("separation", 1), "the same network, trained without MISI")]


SYSTEM = System(
    name="speech/relaxed_misi",
    title="Relaxed MISI",
    summary="two speakers out of their mixture: masks, and iterations that find phases for them as far as they learn to trust the masks.",
    equations=(
        "A_c = m_c(x) |STFT x|;  u_c = x at first;  S_c = U_c + alpha[t] (A_c exp(j angle U_c) - U_c), U_c = STFT u_c;  s_c = STFT^-1 S_c\n"
        "e = x - s_1 - s_2;  u_c = s_c + STFT^-1(w_c STFT e), w_c = A_c^p[t] / (A_1^p[t] + A_2^p[t]);  estimate u_c\n"
        "alpha = 1 and p = 0 in all layers before training: MISI."
    ),
    references=(
        misi.SYSTEM.references[0],
        Reference(
            "Wisdom, S., Hershey, J. R., Wilson, K., Thorpe, J., Chinen, M., Patton, B. and Saurous, R. A.",
            "Differentiable consistency constraints for improved deep speech enhancement",
            "IEEE ICASSP",
            2019,
            "10.48550/arXiv.1811.08521",
        ),
        *misi.SYSTEM.references[1:],
    ),
    home=Path(__file__).parent,
    recipes={
        "separation": Recipe(
            task=Separation,
            parent=parent,
            depth=4,
            tying=lambda task: Tying(tied=("magnitudes",), untied=LEARNED),
            schedule=schedule,
            classical=misi.classical,
            direct=direct,
            parent_name="MISI",
            generic_steps=1500,
            generic_batch=8,
            threads=1,
            notes=("SI-SDR improvement is the mean over both speakers in their better order, utterance by utterance; the interval resamples utterances.",),
            apply=application(("one speaker", "the other"), misi.context, least=2, interchangeable=True),
            options=misi.SYSTEM.recipes["separation"].options,
            tag=misi.SYSTEM.recipes["separation"].tag,
        )
    },
)
