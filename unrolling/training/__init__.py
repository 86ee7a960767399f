"""Training: schedules, stages, losses, checkpoints, weights."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.training.adaptation import Adapted, adapt
    from unrolling.training.annealing import Annealing, Constant, Cosine, Exponential, Patience, Ramp
    from unrolling.training.batches import Share, check_draw, generator, like_network, to_device
    from unrolling.training.behaviour import differences, unused_at_start, without_influence
    from unrolling.training.checkpoints import (
        AnotherRunError,
        Checkpoints,
        Position,
        copied,
        fits,
        load,
        network_part,
        put,
        set_generators,
        unique,
    )
    from unrolling.training.checks import check_schedule
    from unrolling.training.deepinv_losses import from_deepinv_loss, to_deepinv_loss
    from unrolling.training.denoiser import DenoiserLoss
    from unrolling.training.eight_bits import packed, unpacked
    from unrolling.training.files import read, write
    from unrolling.training.fingerprints import fingerprint, same
    from unrolling.training.halting_losses import DepthByLevel, ExpectedReward, TemporalDifference, decibels, image_of
    from unrolling.training.health import (
        Change,
        Health,
        activations,
        examine,
        find_fault,
        gradient_norms,
        place,
        snapshot,
    )
    from unrolling.training.identity import alike, of_network, of_task, summary
    from unrolling.training.initialise import assign, deepen, retie
    from unrolling.training.interrupt import Interrupt
    from unrolling.training.learnables import Learnable, groups, matching, of_turn, trained_by
    from unrolling.training.loop import History, Loop
    from unrolling.training.losses import (
        MSE,
        Energy,
        LogNMSE,
        NegativeSISDR,
        PermutationInvariant,
        RelativeMSE,
        SampleLoss,
        ShiftInvariantMSE,
        WeightedSum,
        asked,
        compute,
        describe,
        trajectory,
    )
    from unrolling.training.losses_by_name import check_measured, find_loss, supported, with_loss
    from unrolling.training.machine import Machine, is_main
    from unrolling.training.multiplicative import Multiplicative, MultiplicativeUpdate
    from unrolling.training.optimizers import LBFGS, SGD, Adam, Muon, NelderMead, Optimizer, pack, unpack
    from unrolling.training.plan import StagePlan, estimate_seconds
    from unrolling.training.progress import Reporter
    from unrolling.training.projection import ProjectionLoss, projection_schedule
    from unrolling.training.schedules import (
        Scheme,
        by_name,
        deep_supervision,
        detnet,
        end_to_end,
        energy,
        find_scheme,
        greedy,
        greedy_then_joint,
        grow,
        grow_then_refine,
        joint_fine_tuning,
        lista_cpss,
        logarithmic_loss,
        with_curriculum,
    )
    from unrolling.training.scoring import ScoringLoss
    from unrolling.training.similarity import Dissimilarity
    from unrolling.training.stages import Stage, Turn, scaled
    from unrolling.training.supervised import Given, Supervised
    from unrolling.training.supervision import Last, Logarithmic, Power, Supervision, Weighted
    from unrolling.training.validation import Validations
    from unrolling.training.weights import load_weights, read_weights, remade, save_weights, shape
    from unrolling.training.without_truth import (
        SURE,
        Consistency,
        Equivariance,
        Neighbours,
        Recorrupted,
        Splitting,
        Sum,
        pixels_of_blocks,
    )

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".adaptation": ("Adapted adapt"),
        ".annealing": ("Annealing Constant Cosine Exponential Patience Ramp"),
        ".batches": ("Share check_draw generator like_network to_device"),
        ".behaviour": ("differences unused_at_start without_influence"),
        ".checkpoints": (
            "AnotherRunError Checkpoints Position copied fits load network_part put set_generators unique"
        ),
        ".checks": ("check_schedule"),
        ".deepinv_losses": ("from_deepinv_loss to_deepinv_loss"),
        ".denoiser": ("DenoiserLoss"),
        ".eight_bits": ("packed unpacked"),
        ".files": ("read write"),
        ".fingerprints": ("fingerprint same"),
        ".halting_losses": ("DepthByLevel ExpectedReward TemporalDifference decibels image_of"),
        ".health": ("Change Health activations examine find_fault gradient_norms place snapshot"),
        ".identity": ("alike of_network of_task summary"),
        ".initialise": ("assign deepen retie"),
        ".interrupt": ("Interrupt"),
        ".learnables": ("Learnable groups matching of_turn trained_by"),
        ".loop": ("History Loop"),
        ".losses": (
            "Energy LogNMSE MSE NegativeSISDR PermutationInvariant RelativeMSE SampleLoss ShiftInvariantMSE "
            "WeightedSum asked compute describe trajectory"
        ),
        ".losses_by_name": ("check_measured find_loss supported with_loss"),
        ".machine": ("Machine is_main"),
        ".multiplicative": ("Multiplicative MultiplicativeUpdate"),
        ".optimizers": ("Adam LBFGS Muon NelderMead Optimizer SGD pack unpack"),
        ".plan": ("StagePlan estimate_seconds"),
        ".progress": ("Reporter"),
        ".projection": ("ProjectionLoss projection_schedule"),
        ".schedules": (
            "Scheme by_name deep_supervision detnet end_to_end energy find_scheme greedy greedy_then_joint grow "
            "grow_then_refine joint_fine_tuning lista_cpss logarithmic_loss with_curriculum"
        ),
        ".scoring": ("ScoringLoss"),
        ".similarity": ("Dissimilarity"),
        ".stages": ("Stage Turn scaled"),
        ".supervised": ("Given Supervised"),
        ".supervision": ("Last Logarithmic Power Supervision Weighted"),
        ".validation": ("Validations"),
        ".weights": ("load_weights read_weights remade save_weights shape"),
        ".without_truth": ("Consistency Equivariance Neighbours Recorrupted SURE Splitting Sum pixels_of_blocks"),
    },
)
# fmt: off
__all__ = [
    "Adam", "Adapted", "Annealing", "AnotherRunError", "Change", "Checkpoints", "Consistency", "Constant",
    "Cosine", "DenoiserLoss", "DepthByLevel", "Dissimilarity", "Energy", "Equivariance", "ExpectedReward",
    "Exponential", "Given", "Health", "History", "Interrupt", "LBFGS", "Last", "Learnable", "LogNMSE",
    "Logarithmic", "Loop", "MSE", "Machine", "Multiplicative", "MultiplicativeUpdate", "Muon",
    "NegativeSISDR", "Neighbours", "NelderMead", "Optimizer", "Patience", "PermutationInvariant", "Position",
    "Power", "ProjectionLoss", "Ramp", "Recorrupted", "RelativeMSE", "Reporter", "SGD", "SURE", "SampleLoss",
    "Scheme", "ScoringLoss", "Share", "ShiftInvariantMSE", "Splitting", "Stage", "StagePlan", "Sum",
    "Supervised", "Supervision", "TemporalDifference", "Turn", "Validations", "Weighted", "WeightedSum",
    "activations", "adapt", "alike", "asked", "assign", "by_name", "check_draw", "check_measured",
    "check_schedule", "compute", "copied", "decibels", "deep_supervision", "deepen", "describe", "detnet",
    "differences", "end_to_end", "energy", "estimate_seconds", "examine", "find_fault", "find_loss",
    "find_scheme", "fingerprint", "fits", "from_deepinv_loss", "generator", "gradient_norms", "greedy",
    "greedy_then_joint", "groups", "grow", "grow_then_refine", "image_of", "is_main", "joint_fine_tuning",
    "like_network", "lista_cpss", "load", "load_weights", "logarithmic_loss", "matching", "network_part",
    "of_network", "of_task", "of_turn", "pack", "packed", "pixels_of_blocks", "place", "projection_schedule",
    "put", "read", "read_weights", "remade", "retie", "same", "save_weights", "scaled", "set_generators",
    "shape", "snapshot", "summary", "supported", "to_deepinv_loss", "to_device", "trained_by", "trajectory",
    "unique", "unpack", "unpacked", "unused_at_start", "with_curriculum", "with_loss", "without_influence",
    "write",
]
# fmt: on
# End of what is written.
