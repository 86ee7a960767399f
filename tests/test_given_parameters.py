"""What asks for a gradient and is given to an algorithm is kept and learned, or refused; never copied in silence."""

import inspect

import pytest
import torch
from torch import nn

from unrolling import Matrix, algorithms, unroll
from unrolling.algorithms import (
    AMP,
    IHT,
    ISTA,
    LAMA,
    OAMP,
    PDHG,
    VAMP,
    AugmentedISTA,
    BeliefPropagation,
    BlindDeblurring,
    BlockProjections,
    ChambollePock,
    ConjugateGradient,
    ConvolutionalISTA,
    CoordinateDescent,
    CoupledISTA,
    CoupledSparseCoding,
    DenoisedLeastSquares,
    DenoisedPrimalDual,
    DenseProximalGradient,
    DenseProxLinear,
    DenseProxMaps,
    Detector,
    DetNetLayer,
    DouglasRachford,
    ExpectationPropagation,
    ExtendedKalmanFilter,
    FieldOfExperts,
    GatedISTA,
    GaussNewton,
    GramHardISTA,
    GramIHT,
    GramISTA,
    HalfQuadraticSplitting,
    HyperLISTA,
    KalmanFilter,
    KnownBlur,
    LeastSquares,
    LinearModel,
    MinSum,
    MMNetLayer,
    NMFActivations,
    NMFEnhancement,
    NMFSeparation,
    NonLocalExperts,
    NormalisedSparseCoding,
    ParityBeliefPropagation,
    PotentialDescent,
    PowerMeasurement,
    ProjectedGradient,
    ProximalGradient,
    ProxLinear,
    RainKernels,
    RatedProximalGradient,
    RecurrentForecaster,
    SelectiveGramISTA,
    StateCells,
    StateEstimator,
    SteadyKalmanFilter,
    StridedISTA,
    SynthesisISTA,
    ThinISTA,
    VectorAutoregression,
    metered,
    pam,
)
from unrolling.core import Iteration
from unrolling.operators import STFT, FiniteDifferences, StridedDictionary
from unrolling.prox import GradientStep, SoftDenoiser, soft_threshold
from unrolling.tasks.power.cases import case14


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def balanced(*shape):
    """Filters of zero mean."""
    filters = rand(*shape)
    return filters - filters.mean(tuple(range(1, len(shape))), keepdim=True)


def atoms():
    return StridedDictionary(rand(5, 1, 4, 4), 2)


def unit(m, n):
    value = rand(m, n)
    return value / value.norm(dim=0)


D = unit(6, 9)
LEVELS = pam(2).float()
STFT_ = STFT(8, 4)
BINS = unit(5, 3).abs() / unit(5, 3).norm(dim=0)
TERM = LeastSquares(Matrix(D))
MOTION = LinearModel(0.9 * torch.eye(2), torch.eye(2), torch.eye(2), torch.eye(2))
PATCHES = {"features": rand(6, 3, 3), "low": D, "high": rand(1, 9), "weight": torch.tensor(0.1)}
METERS, STATE, MAPS = PowerMeasurement(case14(), metered(case14(), 2.0)), torch.ones(28), DenseProxMaps(54, 28)
# By class and argument: the tensor, and what is made with it.
CASES = {
    "ISTA dictionary": (D, lambda p: ISTA(p, 0.1)),
    "ISTA weight": (torch.tensor(0.1), lambda p: ISTA(D, p)),
    "IHT dictionary": (D / 3, lambda p: IHT(p, 2)),
    "GramISTA dictionary": (D, lambda p: GramISTA(p, 0.1)),
    "GramISTA weight": (torch.full((9,), 0.1), lambda p: GramISTA(D, p)),
    "ThinISTA dictionary": (D, lambda p: ThinISTA(p, 0.1)),
    "ThinISTA weight": (torch.full((9,), 0.1), lambda p: ThinISTA(D, p)),
    "SelectiveGramISTA dictionary": (D, lambda p: SelectiveGramISTA(p, 0.1, selection=(1, 10))),
    "SelectiveGramISTA weight": (torch.full((9,), 0.1), lambda p: SelectiveGramISTA(D, p, selection=(1, 10))),
    "GramHardISTA dictionary": (D, lambda p: GramHardISTA(p, 0.1)),
    "GramHardISTA threshold": (torch.tensor(0.1), lambda p: GramHardISTA(D, p)),
    "GramIHT dictionary": (D, lambda p: GramIHT(p, 2)),
    "CoupledISTA dictionary": (D, lambda p: CoupledISTA(p, 0.1)),
    "CoupledISTA weight": (torch.tensor(0.1), lambda p: CoupledISTA(D, p)),
    "CoupledISTA encoder": (D.T.clone(), lambda p: CoupledISTA(D, 0.1, encoder=p)),
    "GatedISTA dictionary": (D, lambda p: GatedISTA(p, 0.1)),
    "GatedISTA weight": (torch.tensor(0.1), lambda p: GatedISTA(D, p)),
    "GatedISTA encoder": (D.T.clone(), lambda p: GatedISTA(D, 0.1, encoder=p)),
    "CoordinateDescent dictionary": (D, lambda p: CoordinateDescent(p, 0.1)),
    "CoordinateDescent weight": (torch.full((9,), 0.1), lambda p: CoordinateDescent(D, p)),
    "AugmentedISTA dictionary": (D, lambda p: AugmentedISTA(p)),
    "HyperLISTA dictionary": (D, lambda p: HyperLISTA(p)),
    "AMP dictionary": (D, lambda p: AMP(p, SoftDenoiser(1.0))),
    "VAMP dictionary": (D, lambda p: VAMP(p, SoftDenoiser(1.0))),
    "SynthesisISTA weight": (torch.tensor(0.1), lambda p: SynthesisISTA(Matrix(D), Matrix(rand(9, 9)), p)),
    "ConvolutionalISTA weight": (torch.tensor(0.1), lambda p: ConvolutionalISTA(Matrix(D), Matrix(rand(9, 9)), p)),
    "StridedISTA weight": (torch.tensor(0.1), lambda p: StridedISTA(atoms(), p)),
    "FieldOfExperts filters": (balanced(3, 3, 3), lambda p: FieldOfExperts(TERM, p)),
    "FieldOfExperts amplitude": (torch.ones(3), lambda p: FieldOfExperts(TERM, balanced(3, 3, 3), amplitude=p)),
    "NonLocalExperts filters": (balanced(3, 2, 3, 3), lambda p: NonLocalExperts(TERM, p)),
    "NonLocalExperts amplitude": (torch.ones(3), lambda p: NonLocalExperts(TERM, balanced(3, 2, 3, 3), amplitude=p)),
    "RainKernels kernels": (rand(4, 3, 3, 3), lambda p: RainKernels(p, first=lambda o: 0.5 * o)),
    "ProximalGradient weight": (torch.tensor(0.1), lambda p: ProximalGradient(TERM, soft_threshold, p)),
    "RatedProximalGradient weight": (
        torch.tensor(0.1),
        lambda p: RatedProximalGradient(BlockProjections(2), lambda z, t, g: soft_threshold(z, t), p, channels=1),
    ),
    "DenseProximalGradient weight": (
        torch.tensor(0.1),
        lambda p: DenseProximalGradient(TERM, soft_threshold, 2, weight=p),
    ),
    "ChambollePock weight": (torch.tensor(0.1), lambda p: ChambollePock(TERM, Matrix(rand(9, 9)), soft_threshold, p)),
    "PDHG weight": (torch.tensor(0.1), lambda p: PDHG(Matrix(D), Matrix(rand(9, 9)), soft_threshold, p)),
    "PDHG image_weight": (torch.tensor(0.1), lambda p: PDHG(Matrix(D), image_prox=soft_threshold, image_weight=p)),
    "PDHG primal_step": (torch.tensor(0.1), lambda p: PDHG(Matrix(D), primal_step=p)),
    "PDHG dual_step": (torch.tensor(0.1), lambda p: PDHG(Matrix(D), dual_step=p)),
    "PDHG transform_step": (
        torch.tensor(0.1),
        lambda p: PDHG(Matrix(D), Matrix(rand(9, 9)), soft_threshold, 0.1, transform_step=p),
    ),
    "DouglasRachford weight": (torch.tensor(0.1), lambda p: DouglasRachford(TERM, soft_threshold, p)),
    "DenoisedPrimalDual weight": (torch.tensor(0.1), lambda p: DenoisedPrimalDual(TERM, soft_threshold, p)),
    "PotentialDescent weight": (
        torch.tensor(0.1),
        lambda p: PotentialDescent(TERM, GradientStep(nn.Identity()), p),
    ),
    "ConjugateGradient weight": (torch.tensor(0.1), lambda p: ConjugateGradient(TERM, p)),
    "DenoisedLeastSquares weight": (torch.tensor(0.1), lambda p: DenoisedLeastSquares(TERM, weight=p)),
    "HalfQuadraticSplitting weight": (
        torch.tensor(0.1),
        lambda p: HalfQuadraticSplitting(KnownBlur(), FiniteDifferences(), soft_threshold, p),
    ),
    "ProjectedGradient levels": (LEVELS, lambda p: ProjectedGradient(p)),
    "ExpectationPropagation levels": (LEVELS, lambda p: ExpectationPropagation(p)),
    "LAMA levels": (LEVELS, lambda p: LAMA(p)),
    "OAMP levels": (LEVELS, lambda p: OAMP(p)),
    "DetNetLayer levels": (LEVELS, lambda p: DetNetLayer(p, 4, hidden=32, auxiliary=4)),
    "MMNetLayer levels": (LEVELS, lambda p: MMNetLayer(p, nn.Identity(), 4)),
    "NMFActivations dictionary": (BINS, lambda p: NMFActivations(p)),
    "NMFSeparation dictionaries": (BINS, lambda p: NMFSeparation(STFT_, [p, BINS])),
    "NMFEnhancement dictionaries": (BINS, lambda p: NMFEnhancement(STFT_, [p, BINS])),
    "BlindDeblurring filters": (rand(2, 1, 3, 3), lambda p: BlindDeblurring(p)),
    "BeliefPropagation edge_weight": (torch.tensor(1.0), lambda p: BeliefPropagation(edge_weight=p)),
    "ParityBeliefPropagation matrix": (torch.ones(2, 3), lambda p: ParityBeliefPropagation(p)),
    "MinSum matrix": (torch.ones(2, 3), lambda p: MinSum(p)),
    "ExtendedKalmanFilter process_scale": (torch.tensor(1.0), lambda p: ExtendedKalmanFilter(MOTION, p)),
    "KalmanFilter process_scale": (torch.tensor(1.0), lambda p: KalmanFilter(MOTION, p)),
    "ProxLinear nominal": (STATE, lambda p: ProxLinear(METERS, p, radius=1.0)),
    "ProxLinear metric": (torch.eye(28), lambda p: ProxLinear(METERS, STATE, radius=1.0, metric=p)),
    "GaussNewton nominal": (STATE, lambda p: GaussNewton(METERS, p)),
    "DenseProxLinear nominal": (STATE, lambda p: DenseProxLinear(METERS, p, MAPS, torch.ones(54))),
    "DenseProxLinear scale": (torch.ones(54), lambda p: DenseProxLinear(METERS, STATE, MAPS, p)),
    "VectorAutoregression transition": (torch.eye(2), lambda p: VectorAutoregression(p, torch.zeros(2))),
    "VectorAutoregression offset": (torch.zeros(2), lambda p: VectorAutoregression(torch.eye(2), p)),
    "RecurrentForecaster center": (torch.zeros(2), lambda p: RecurrentForecaster(StateCells(2), p, torch.ones(2))),
    "RecurrentForecaster spread": (torch.ones(2), lambda p: RecurrentForecaster(StateCells(2), torch.zeros(2), p)),
    "SteadyKalmanFilter steady_gain": (0.5 * torch.eye(2), lambda p: SteadyKalmanFilter(MOTION, p)),
}
CASES |= {
    f"{kind.__name__} {name}": (PATCHES[name], lambda p, kind=kind, name=name: kind(**{**PATCHES, name: p}))
    for kind in (CoupledSparseCoding, NormalisedSparseCoding)
    for name in PATCHES
}
KEPT = {"ISTA dictionary": (4, 6), "IHT dictionary": (4, 6), "RainKernels kernels": (2, 3, 8, 8)}  # with shapes of data


def of(name):
    """A parameter with the values of a case, and what makes an iteration of it."""
    value, make = CASES[name]
    return nn.Parameter(value.clone()), make


def test_the_cases_are_all_tensors_that_algorithms_are_made_with():
    found = set()
    for name in algorithms.__all__:
        item = getattr(algorithms, name)
        if inspect.isclass(item) and issubclass(item, Iteration) and item not in (Detector, StateEstimator):
            found |= {
                f"{name} {each.name}"
                for each in inspect.signature(item).parameters.values()
                if ("Tensor" in str(each.annotation) or "Float[" in str(each.annotation))
                and "Callable" not in str(each.annotation)
                and each.name not in ("prox", "edges")  # integers ask for none
            }
    assert found == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_parameter_is_kept_and_learned_or_refused_by_name(name):
    given, make = of(name)
    before = given.detach().clone()
    if name in KEPT:
        iteration = make(given)
        assert any(each is given for each in iteration.parameters())
        network = unroll(iteration, 2, tied=name.split()[1])
        network(rand(*KEPT[name])).square().sum().backward()
        assert float(next(network.parameters()).grad.abs().max()) > 0
    else:
        cls, argument = name.split()
        with pytest.raises(TypeError, match=f"^{argument} asks for a gradient, and {cls} takes its values"):
            make(given)
        make(given.detach())
    assert torch.equal(given, before)


def test_a_dictionary_that_is_kept_has_a_gradient():
    given = nn.Parameter(D.clone())
    iteration = ISTA(given, 0.01)
    state = iteration.start(rand(4, 6))
    iteration(state, rand(4, 6)).square().sum().backward()
    assert float(given.grad.abs().max()) > 0


def test_what_was_worked_out_from_a_parameter_is_refused_too():
    with pytest.raises(
        TypeError, match=r"dictionary asks for a gradient, and ThinISTA takes .* dictionary\.detach\(\)"
    ):
        ThinISTA(2 * nn.Parameter(D.clone()), 0.1)


def test_a_constructor_of_ones_own_may_do_as_it_likes():
    class Own(ThinISTA):
        def __init__(self, dictionary):
            super().__init__(dictionary, 0.1)
            self.dictionary_itself = dictionary

    given = nn.Parameter(D.clone())
    assert any(each is given for each in Own(given).parameters())
