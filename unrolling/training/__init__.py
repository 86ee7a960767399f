"""Training: schedules, stages, losses, checkpoints, weights."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.training.batches import Share, check_draw, generator, like_network, to_device
    from unrolling.training.checkpoints import Checkpoints, Position, load, set_generators, unique
    from unrolling.training.checks import check_schedule
    from unrolling.training.files import read, write, write_bytes
    from unrolling.training.fingerprints import fingerprint, same
    from unrolling.training.fit import History
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
    from unrolling.training.initialise import assign, deepen, retie
    from unrolling.training.interrupt import Interrupt
    from unrolling.training.losses import (
        MSE,
        NMSE,
        Energy,
        Joined,
        LogNMSE,
        NegativeSISDR,
        PermutationInvariant,
        SampleLoss,
        ShiftInvariantMSE,
        describe,
        trajectory,
    )
    from unrolling.training.machine import Machine, is_main
    from unrolling.training.multiplicative import Multiplicative, MultiplicativeUpdate
    from unrolling.training.optimizers import LBFGS, SGD, Adam, Muon, NelderMead, Optimizer, pack, unpack
    from unrolling.training.plan import Row, estimate_seconds
    from unrolling.training.progress import Reporter
    from unrolling.training.schedules import (
        Named,
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
    from unrolling.training.stages import (
        Annealing,
        Constant,
        Cosine,
        Exponential,
        Last,
        Learnable,
        Logarithmic,
        Patience,
        Power,
        Ramp,
        Stage,
        Supervision,
        Weighted,
        groups,
        learnables,
        matching,
        scaled,
        trained_by,
    )
    from unrolling.training.supervised import Supervised
    from unrolling.training.weights import load_weights, read_weights, remade, save_weights, shape

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".batches": ("Share check_draw generator like_network to_device"),
        ".checkpoints": ("Checkpoints Position load set_generators unique"),
        ".checks": ("check_schedule"),
        ".files": ("read write write_bytes"),
        ".fingerprints": ("fingerprint same"),
        ".fit": ("History"),
        ".health": ("Change Health activations examine find_fault gradient_norms place snapshot"),
        ".initialise": ("assign deepen retie"),
        ".interrupt": ("Interrupt"),
        ".losses": (
            "Energy Joined LogNMSE MSE NMSE NegativeSISDR PermutationInvariant SampleLoss ShiftInvariantMSE describe "
            "trajectory"
        ),
        ".machine": ("Machine is_main"),
        ".multiplicative": ("Multiplicative MultiplicativeUpdate"),
        ".optimizers": ("Adam LBFGS Muon NelderMead Optimizer SGD pack unpack"),
        ".plan": ("Row estimate_seconds"),
        ".progress": ("Reporter"),
        ".schedules": (
            "Named by_name deep_supervision detnet end_to_end energy find_scheme greedy greedy_then_joint grow "
            "grow_then_refine joint_fine_tuning lista_cpss logarithmic_loss with_curriculum"
        ),
        ".stages": (
            "Annealing Constant Cosine Exponential Last Learnable Logarithmic Patience Power Ramp Stage Supervision "
            "Weighted groups learnables matching scaled trained_by"
        ),
        ".supervised": ("Supervised"),
        ".weights": ("load_weights read_weights remade save_weights shape"),
    },
)
# fmt: off
__all__ = [
    "Adam", "Annealing", "Change", "Checkpoints", "Constant", "Cosine", "Energy", "Exponential", "Health",
    "History", "Interrupt", "Joined", "LBFGS", "Last", "Learnable", "LogNMSE", "Logarithmic", "MSE",
    "Machine", "Multiplicative", "MultiplicativeUpdate", "Muon", "NMSE", "Named", "NegativeSISDR",
    "NelderMead", "Optimizer", "Patience", "PermutationInvariant", "Position", "Power", "Ramp", "Reporter",
    "Row", "SGD", "SampleLoss", "Share", "ShiftInvariantMSE", "Stage", "Supervised", "Supervision",
    "Weighted", "activations", "assign", "by_name", "check_draw", "check_schedule", "deep_supervision",
    "deepen", "describe", "detnet", "end_to_end", "energy", "estimate_seconds", "examine", "find_fault",
    "find_scheme", "fingerprint", "generator", "gradient_norms", "greedy", "greedy_then_joint", "groups",
    "grow", "grow_then_refine", "is_main", "joint_fine_tuning", "learnables", "like_network", "lista_cpss",
    "load", "load_weights", "logarithmic_loss", "matching", "pack", "place", "read", "read_weights",
    "remade", "retie", "same", "save_weights", "scaled", "set_generators", "shape", "snapshot", "to_device",
    "trained_by", "trajectory", "unique", "unpack", "with_curriculum", "write", "write_bytes",
]
# fmt: on
# End of what is written.
