"""Speech: NMF beside scikit-learn, Deep NMF beside sparse NMF, the oracle ladder of MISI, and masks trained with MISI
and without it.

Bars: NMF agrees with scikit-learn to 1e-10; Deep NMF with 10 layers at least 0.7 dB SI-SDR above sparse NMF run for 200
iterations, paired over at least 200 mixtures of unseen speakers, p < 0.01; MISI with true magnitudes gains at least 10
dB in 5 iterations; masks trained through MISI at least 0.3 dB above the same network trained as long without it, on
unseen speakers. Speech is generated unless --data names a folder with recordings (sub-folders fsdd or speech, noise);
networks are trained here, or taken from the shipped weights with --pretrained.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from typing import Any

import torch

from benchmarks.speech_scores import Row, Scores, joined
from benchmarks.timing import ratio
from unrolling import Unrolled, unroll
from unrolling.algorithms.sound.misi import MISI, Magnitudes
from unrolling.algorithms.sound.nmf import NMF, NMFState, PositiveUnitNorm
from unrolling.algorithms.sound.nmf_split import SplitGradient
from unrolling.algorithms.sound.relaxed_misi import RelaxedMISI
from unrolling.evaluation.classical import steps_of
from unrolling.systems.catalogue import find
from unrolling.systems.speech import deep_nmf, misi
from unrolling.tasks.base import Samples
from unrolling.tasks.speech.enhancement import Enhancement
from unrolling.tasks.speech.separation import Separation
from unrolling.tasks.speech.speech_metrics import improvement_pieces
from unrolling.training.fit import fit
from unrolling.training.losses import PermutationInvariant, describe
from unrolling.training.multiplicative import Multiplicative
from unrolling.training.stages import Cosine, Stage, scaled

PARTS = ("agreement", "ladder", "enhancement", "separation", "relaxed")
UNSEEN = "jackson,yweweler"  # of the Free Spoken Digit Dataset


def agreement() -> list[Row]:
    """Largest difference from scikit-learn's multiplicative updates in float64, (129, 200) of rank 20 after 100
    iterations.
    """
    from sklearn import decomposition

    generator = torch.Generator().manual_seed(0)
    magnitude, W, H = (
        torch.rand(*shape, generator=generator, dtype=torch.float64) + 0.1
        for shape in ((1, 129, 200), (129, 20), (200, 20))
    )
    rows = []
    for beta in (0.5, 1.0, 1.5, 2.0, 3.0):
        ours = NMF(129, 20, beta=beta, normalise=False).double()
        state, problem = NMFState(W.unsqueeze(0), H.unsqueeze(0)), ours.prepare(magnitude)
        with torch.no_grad():
            for _ in range(100):
                state = ours(state, problem)
        theirs = decomposition.NMF(20, init="custom", solver="mu", beta_loss=beta, max_iter=100, tol=0)
        activations = theirs.fit_transform(magnitude[0].T.numpy().copy(), W=H.numpy().copy(), H=W.T.numpy().copy())
        worst = max(
            abs(state.activations[0].numpy() - activations).max(),
            abs(state.dictionary[0].numpy() - theirs.components_.T).max(),
        )
        rows.append({"what": "NMF beside scikit-learn", "beta": beta, "largest difference": float(worst)})
    return rows


def ladder(task: Separation) -> list[Row]:
    """SI-SDR improvement of MISI after k iterations with magnitudes that only an oracle knows."""
    data, target = joined(task.test)
    spectra = task.stft(target.flatten(0, 1)).unflatten(0, target.shape[:2])
    mixture = task.stft(data).unsqueeze(1)
    floor = 1e-3 * mixture.abs().mean()
    shares = spectra.abs() / spectra.abs().sum(1, keepdim=True).clamp_min(1e-8)
    aligned = (spectra * mixture.conj()).real / mixture.abs().square().clamp_min(1e-8)
    kinds = {
        "true magnitudes": spectra.abs(),
        "amplitude mask up to 5": (spectra.abs() / mixture.abs().clamp_min(floor)).clamp(0, 5) * mixture.abs(),
        "ratio mask": shares * mixture.abs(),
        "phase-sensitive mask in [0, 1]": aligned.clamp(0, 1) * mixture.abs(),
    }
    rows = []
    for name, magnitudes in kinds.items():
        iteration = MISI(task.stft)
        problem = Magnitudes(data, magnitudes)
        state, scores = iteration.start(problem), {}
        for step in range(1, 7):
            state = iteration(state, problem)
            scores[str(step - 1)] = task.metric.value(
                improvement_pieces(iteration.estimate(state, problem), target, data)
            )
        rows.append({"what": "oracle ladder", "magnitudes": name, "SI-SDR improvement by iterations": scores})
    return rows


# divergence and sparsity
GRID = [(1.0, 0.0), (1.0, 0.1), (1.0, 0.3), (1.0, 1.0), (2.0, 0.3), (2.0, 1.0), (2.0, 3.0), (2.0, 10.0)]


@torch.no_grad()
def tuned(task: Enhancement, counts: tuple[int, ...]) -> dict[int, tuple[Any, Row]]:
    """Sparse NMF with the divergence and the sparsity of ``GRID`` that are best on the validation set after so many
    iterations, for each of the counts.
    """
    data, target = (tensor[:24] for tensor in joined(task.validation))
    scores: dict[int, dict[tuple[float, float], float]] = {count: {} for count in counts}
    for setting in GRID:
        iteration = deep_nmf.parent(task, beta=setting[0], sparsity=setting[1])
        problem = iteration.prepare(data)
        state = iteration.start(problem)
        for step in range(1, max(counts) + 1):
            state = iteration(state, problem)
            if step in counts:
                scores[step][setting] = task.metric.value(
                    task.pieces(iteration.estimate(state, problem), Samples(None, target))
                )
    best = {count: max(found, key=found.__getitem__) for count, found in scores.items()}
    return {
        count: (
            deep_nmf.parent(task, beta=beta, sparsity=sparsity),
            {"beta": beta, "sparsity": sparsity, "iterations": count},
        )
        for count, (beta, sparsity) in best.items()
    }


def enhance(
    task: Enhancement, steps: int | None, seed: int, pretrained: bool, perceptual: bool, depth: int = 10
) -> list[Row]:
    """Deep NMF beside its parent, tied dictionaries and multiplicative training."""
    scores = Scores(task, perceptual)
    rows = [scores.add("the mixture", lambda x: x.unsqueeze(1).repeat(1, 2, 1))]
    peers = tuned(task, (depth, 200))
    for count, (iteration, facts) in peers.items():
        rows.append(scores.add(f"sparse NMF, {count} iterations", steps_of(iteration, count), **facts))
    system = find("speech/deep_nmf")
    recipe = system.recipes["enhancement"]
    schedule = recipe.schedule(depth)
    schedule = schedule if steps is None else scaled(schedule, steps)
    if pretrained:
        network = system.pretrained("enhancement", depth)
        rows.append(scores.add("Deep NMF", network))
    else:
        network = system.network(recipe, task, depth)
        history = fit(network, task, schedule, seed=seed, quiet=True, validations=0)
        rows.append(scores.add("Deep NMF", network, steps=history.steps, seconds=round(history.seconds)))
        norms = [torch.linalg.vector_norm(layer.dictionary.detach().double(), dim=0) for layer in network.layers]
        smallest = min(float(layer.dictionary.detach().min()) for layer in network.layers)
        worst = max(float((n - 1).abs().max()) for n in norms)
        rows.append(
            {
                "what": "enhancement",
                "method": "Deep NMF",
                "smallest entry": smallest,
                "largest deviation of a norm from 1": worst,
            }
        )
        tied = unroll(deep_nmf.parent(task), depth, tied=("dictionary", "sparsity", "reconstruction"))
        whole = [replace(stage, layers=None, parameters=None, rate=1e-2) for stage in schedule]
        history = fit(tied, task, whole, seed=seed, quiet=True, validations=0)
        rows.append(
            scores.add(
                "Deep NMF, one dictionary for all layers", tied, steps=history.steps, seconds=round(history.seconds)
            )
        )
        split = unroll(deep_nmf.parent(task, constrained=False), depth, untied="dictionary", gradient=SplitGradient())
        multiplicative = [
            replace(
                stage,
                rate=0.3,
                parameters=("dictionary",),
                optimizer=Multiplicative(),
                clip=None,
                annealing=Cosine(0.0, 0.1),
                project={"dictionary": PositiveUnitNorm()},
            )
            for stage in schedule
        ]
        history = fit(split, task, multiplicative, seed=seed, quiet=True, validations=0)
        rows.append(
            scores.add("Deep NMF, multiplicative training", split, steps=history.steps, seconds=round(history.seconds))
        )
        rows.append(scores.gain("Deep NMF", "Deep NMF, one dictionary for all layers"))
        rows.append(scores.gain("Deep NMF, multiplicative training", f"sparse NMF, {depth} iterations"))
    rows += [
        scores.gain("Deep NMF", "sparse NMF, 200 iterations"),
        scores.gain("Deep NMF", f"sparse NMF, {depth} iterations"),
    ]
    batch = scores.data[:4]
    with torch.inference_mode():
        rows.append(
            {
                "what": "time of sparse NMF, 200 iterations, over Deep NMF's",
                **ratio(lambda: steps_of(peers[200][0], 200)(batch), lambda: network(batch), seconds=4, least=5),
            }
        )
    return rows


def separate(
    task: Separation, steps: int | None, seed: int, pretrained: bool, perceptual: bool, depth: int = 4
) -> list[Row]:
    """Masks trained with the mixture's phase; then trained on, as long and on the same loss, with it and through
    MISI.
    """
    scores = Scores(task, perceptual)
    rows = [scores.add("the mixture", lambda x: x.unsqueeze(1).repeat(1, 2, 1))]
    system = find("speech/misi")
    recipe = system.recipes["separation"]
    if pretrained:
        rows.append(scores.add("masks alone, on SI-SDR", system.pretrained("separation", 1)))
        rows.append(scores.add(f"trained through {depth - 1} iterations", system.pretrained("separation", depth)))
        return [*rows, scores.gain(f"trained through {depth - 1} iterations", "masks alone, on SI-SDR")]
    schedule = recipe.schedule(depth)
    *before, last = schedule if steps is None else scaled(schedule, steps)
    last = replace(last, settings={})  # both kinds of sources are tried
    masks = system.network(recipe, task, 1)
    for stage in before:
        fit(masks, task, [stage], seed=seed, quiet=True, validations=0)
        rows.append(scores.add(f"masks alone, after {stage.steps} steps on {describe(stage.loss)}", masks))
    names = {False: "", True: ", adding up to the mixture"}
    for consistent, words in names.items():
        for count in (1, depth):
            network = unroll(
                MISI(task.stft, magnitudes=masks.layers[0].magnitudes, mixture_consistent=consistent),
                count,
                tied="magnitudes",
            )
            fit(network, task, [last], seed=seed + 1, quiet=True, validations=0)
            rows.append(scores.add(f"trained through {count - 1} iterations{words}", network, steps=last.steps))
            if count == 1:
                rows.append(
                    scores.add(
                        f"trained through 0 iterations{words}, {depth - 1} after it",
                        _behind(network, task, depth, consistent),
                    )
                )
        rows += [
            scores.gain(f"trained through {depth - 1} iterations{words}", f"trained through 0 iterations{other}")
            for other in sorted({"", words})
        ]
    return rows


def relax(task: Separation, steps: int | None, seed: int, depth: int = 4) -> list[Row]:
    """The shipped masks trained on with the mixture's phase, and as long in other ways: for sources that add up to the
    mixture, through MISI, on SI-SDR or on a loss that counts scale, and through relaxed MISI.
    """
    scores = Scores(task, False)
    rows = []
    scaled_loss = PermutationInvariant(misi.NegativeSDR())
    learned = ("emphasis", "relaxation")
    parents: dict[str, tuple[type[MISI], int, bool, tuple[str, ...], PermutationInvariant | None]] = {
        "trained on without MISI": (MISI, 1, False, (), None),
        "sources that add up to the mixture": (RelaxedMISI, 1, True, ("emphasis",), None),
        f"MISI, {depth - 1} iterations": (MISI, depth, False, (), None),
        f"MISI, {depth - 1} iterations, scale counts": (MISI, depth, False, (), scaled_loss),
        f"MISI, {depth - 1} iterations, adding up to the mixture": (MISI, depth, True, (), None),
        f"relaxed MISI, {depth - 1} iterations": (RelaxedMISI, depth, True, learned, None),
    }
    for name, (kind, count, consistent, untied, loss) in parents.items():
        masks = find("speech/misi").pretrained("separation", 1).layers[0].magnitudes
        assert isinstance(masks, misi.MaskedMagnitudes)
        network = unroll(
            kind(task.stft, magnitudes=masks, mixture_consistent=consistent), count, tied="magnitudes", untied=untied
        )
        rates = dict.fromkeys(untied, 2e-2)
        stage = Stage(steps or 300, rate=1e-3, rates=rates, batch=8, loss=loss, annealing=Cosine(0.05, 0.05), clip=5.0)
        fit(network, task, [stage], seed=seed + 1, quiet=True, validations=0)
        rows.append(scores.add(name, network, steps=stage.steps))
    first, *others = parents
    return [*rows, *(scores.gain(name, first) for name in others)]


def _behind(network: Unrolled, task: Separation, depth: int, consistent: bool) -> Unrolled:
    """The masks of a network before another number of iterations."""
    magnitudes = network.layers[0].magnitudes
    assert isinstance(magnitudes, misi.MaskedMagnitudes)
    return unroll(MISI(task.stft, magnitudes=magnitudes, mixture_consistent=consistent), depth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=PARTS)
    parser.add_argument("--data", help="folder with recordings: sub-folders fsdd (or speech) and noise")
    parser.add_argument("--unseen", help=f"speakers to test on; {UNSEEN} where they are there", default=None)
    parser.add_argument("--mixed", type=float, default=0.5, help="part of generated voices in training, with --data")
    parser.add_argument("--steps", type=int, help="training steps of Deep NMF, instead of its schedule's")
    parser.add_argument(
        "--misi-steps", type=int, help="training steps of unfolded MISI in all, instead of its schedule's"
    )
    parser.add_argument("--mixtures", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--pretrained", action="store_true", help="the shipped weights, not trained here")
    parser.add_argument("--perceptual", action="store_true", help="STOI and PESQ besides (packages pystoi and pesq)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    wanted = options.only or PARTS
    rows: list[Row] = []

    def made(kind: type[Enhancement] | type[Separation]) -> Any:
        if options.data is None:
            return kind(held_out=options.mixtures)
        settings = {"data": options.data, "mixed": options.mixed, "held_out": options.mixtures}
        if options.unseen is not None:
            return kind(unseen=options.unseen, **settings)
        try:
            return kind(unseen=UNSEEN, **settings)
        except ValueError:  # other speakers
            return kind(**settings)

    def show(found: list[Row]) -> None:
        rows.extend(found)
        if not options.json:
            for row in found:
                print("; ".join(f"{key} {_text(value)}" for key, value in row.items()), flush=True)

    if "agreement" in wanted:
        show(agreement())
    if "ladder" in wanted:
        show(ladder(made(Separation)))
    if "enhancement" in wanted:
        show(enhance(made(Enhancement), options.steps, options.seed, options.pretrained, options.perceptual))
    if "separation" in wanted:
        show(separate(made(Separation), options.misi_steps, options.seed, options.pretrained, options.perceptual))
    if "relaxed" in wanted:
        show(relax(made(Separation), options.misi_steps, options.seed))
    if options.json:
        print(
            json.dumps(
                {
                    "benchmark": "speech",
                    "threads": options.threads,
                    "torch": torch.__version__,
                    "recordings": options.data is not None,
                    "rows": rows,
                },
                indent=1,
            )
        )


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_text(item)}" for key, item in value.items())
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
