"""What a task is: data with or without targets, drawn or kept for scores, a loss, and the metric that ranks them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unrolling.core import Unrolled, tree
from unrolling.core.refusals import explain
from unrolling.tasks import exhibits
from unrolling.tasks.baselines import Baseline
from unrolling.tasks.exhibits import Claim, Exhibits, Panels, Shown
from unrolling.tasks.measurements import Measurement
from unrolling.tasks.metrics import BER, NMSE, PSNR, SER, Metric, nmse_pieces
from unrolling.tasks.samples import Samples, count, first

__all__ = [
    "BER", "NMSE", "PSNR", "SER", "Metric", "Samples", "Shift", "Task", "count",
    "estimates_of", "evaluate", "first", "nmse_pieces", "pieces_of",
]  # fmt: skip


@dataclass(frozen=True)
class Shift:
    """One way in which the world may differ from the training data.

    Attributes:
        name: what changes, with its unit: "noise, SNR in dB".
        values: from the mildest on; one of them may be the training's own.
        make: value -> held-out samples.
        trained: the training's own value; None where it is not on this axis.
        words: one sentence for the page.
    """

    name: str
    values: tuple[float, ...]
    make: Callable[[float], Samples]
    trained: float | None
    words: str


class Task:
    """A forward model with data: what a system is trained for and measured on.

    Attributes:
        name: as in ``--task``.
        summary: one sentence for the page.
        given: what somebody with this problem has, in words without a full stop: ``a noisy photograph``; the site finds
            systems by it.
        sought: what they want: ``the photograph without noise``.
        metric: what ranks estimates.
        validation: held-out batches on which classical methods are tuned.
        test: batches that only scores are computed on; samples of one batch have one shape.
        timing: one batch for measuring times; its first sample is the single one.
        grains: into how many draws a training batch may be divided. Numbers of processes and micro-batches that divide
            it see the same samples. 1 where what the samples of a draw share is itself random.
        units: of the data (by field where they have several) and of the estimate, for the card of an exported network:
            ``{"data": "Pa", "estimate": "Pa"}``.
        options: of the constructor, with their defaults, that the command line offers.
        of_training: those of them that change what is trained on alone: networks that were trained with others are
            measured, and found, as all are.
        notes: what a reader of a comparison should know.
        training_notes: what a person should know who trains on these data: that they are all held out, say.
        references: where the data come from: keys of the list of papers.
        threads: of the processor when the products are so small that more of them get in each other's way; None for all
            cores.
        vectors: whether a linear estimate and an MLP can take the data (``rows``), so that they belong in a comparison.
        affine: of these, whether the linear estimate does; not where data multiply one another, as a signal and its
            channel do.
        failure: the metric of one unit beyond which its estimate counts as failed; None where no such limit is usual.
    """

    name: str
    summary: str
    given: str = ""
    sought: str = ""
    metric: Metric
    validation: list[Samples]
    test: list[Samples]
    timing: Samples
    grains: int = 8
    units: Mapping[str, str] = {}
    options: Mapping[str, Any] = {}
    of_training: Sequence[str] = ()
    notes: Sequence[str] = ()
    training_notes: Sequence[str] = ()
    references: Sequence[str] = ()
    threads: int | None = None
    vectors: bool = True
    affine: bool = True
    failure: float | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        explain(cls)

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        """A random training batch; the same generator state gives the same batch. Further keyword arguments, numbers,
        are what a curriculum may change.
        """
        raise TypeError(f"{type(self).__name__} has no training data")

    def example(self) -> Any:
        """The same few inputs each time, soon made: what a network does with them is its fingerprint. By default the
        first of those that times are measured on.
        """
        return first(self.timing, 64).data

    def smaller(self, share: float) -> tuple[Task, str] | None:
        """The task with parts of its held-out samples in their place, about this share of the numbers of each, and what
        they are in words: ``the middle 128 x 128 pixels of each picture``. None where there are no such parts; so by
        default.
        """
        return None

    def loss(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Mean squared error; a scalar. A subclass's may take more, as any loss (``training.losses``).

        Raises:
            ValueError: there is no target.
        """
        if target is None:
            raise ValueError(
                f"the samples of {self.name} have no target: give the task a `loss` that needs none, or the stage one"
            )
        return (estimate - target).square().mean()

    def measurement(self) -> Measurement:
        """How data come about, y = A x + noise, which losses without truth ask for.

        Raises:
            ValueError: the task does not say.
        """
        raise ValueError(
            f"the task {self.name} does not say how its data come about (`measurement`): a loss without truth needs "
            "the operator that acts on the signal"
        )

    def pieces(self, estimate: Tensor, samples: Samples) -> Tensor:
        """(units, width): the metric's pieces of estimates, after what the task does to them first (clamping, aligning,
        deciding).
        """
        return self.metric.pieces(estimate, samples)

    def more(self, estimates: Sequence[Tensor], batches: Sequence[Samples]) -> dict[str, float]:
        """Further metrics of estimates, by name with the unit; none by default."""
        return {}

    def many(self) -> Sequence[Samples]:
        """So many further test samples that rare failures are among them; none where to draw them costs much."""
        return ()

    def shifts(self) -> Sequence[Shift]:
        """Ways in which data may differ from those that were trained on; none by default."""
        return ()

    def identity(self) -> dict[str, Any]:
        """What was trained on, for a weights card: name, options, a fingerprint of the data."""
        return {"name": self.name}

    def fixed_tensors(self) -> dict[str, Tensor]:
        """What a weights file must hold for the task to be built again around it: the ``fixed`` argument of a task."""
        return {}

    @classmethod
    def drawn(cls, identity: Mapping[str, Any]) -> dict[str, Tensor]:
        """Those tensors of ``fixed`` that follow from the ``identity`` of a card alone (a seed draws them, or they are
        computed): a weights file holds no more of them than a fingerprint. None by default.
        """
        return {}

    @classmethod
    def small(cls) -> Task:
        """A version of the task with small data, for tests."""
        return cls()

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """The part of a weights file's name that tells settings apart, from all ``options``."""
        return ""

    @classmethod
    def serves(cls, trained: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
        """Whether weights that were trained with some ``options`` are meant for others too; none by default."""
        return False

    def baselines(self, size: int) -> Sequence[Baseline]:
        """What every network on this task is compared with, besides a linear estimate and an MLP; none by default.

        Args:
            size: numbers that the network learns, for generic networks of equal size.
        """
        return ()

    def exhibits(self, methods: Sequence[Shown]) -> Exhibits:
        """What a page shows of the methods: by default the first codes of the test set, where targets are vectors."""
        target = self.test[0].target
        return exhibits.codes(target, methods) if isinstance(target, Tensor) and target.ndim == 2 else Exhibits()

    def progress(self, estimates: Sequence[Tensor]) -> Sequence[Panels]:
        """What a page shows of the estimates of the first test batch after each layer; nothing by default."""
        return ()

    def atoms(self, layer: Any) -> Tensor | None:
        """What a layer has learned as pictures, (count, height, width): by default what its algorithm calls its
        atoms.
        """
        atoms = layer.atoms() if hasattr(layer, "atoms") else None
        return None if atoms is None else atoms.detach()

    def theory(self, network: Unrolled, quality: Sequence[float]) -> Sequence[Claim]:
        """What is proved about networks on this task, held against one; nothing by default.

        Args:
            network: trained.
            quality: the metric of each layer's estimate on the test set.
        """
        return ()

    def linear(self, data: Any) -> Any | None:
        """The best linear estimate where it depends on more than a matrix for all samples, such as a channel that comes
        with each: what generic networks start from, and none below it stands for its kind. None: there is none, or one
        is fitted to training data.
        """
        return None

    def rows(self, data: Any) -> Tensor:
        """Data as (rows, m) real vectors, for methods that know vectors only: one row per sample, or per block of one.
        By default all numbers of a sample in one row, whatever the structure of the data; what all samples share is
        left out.
        """
        return _as_rows(data, self.test[0].data)

    def target_rows(self, target: Any) -> Tensor:
        """Targets as (rows, k) real vectors, in the order of ``rows``."""
        return _as_rows(target, self.test[0].target)

    def assemble(self, rows: Tensor, data: Any) -> Any:
        """Estimates from (rows, k) vectors, the inverse of ``target_rows``: by default in the structure of the targets
        of the test set.
        """
        example, taken = self.test[0].target, 0
        size = tree.batch_size(example, "target")

        def cut(tensor: Tensor) -> Tensor:
            nonlocal taken
            if not _is_batched(tensor, size):
                return tensor
            width = tensor[:1].numel() * (2 if tensor.is_complex() else 1)
            part, taken = rows[:, taken : taken + width], taken + width
            if tensor.is_complex():
                part = torch.view_as_complex(part.reshape(len(rows), -1, 2).contiguous())
            return part.reshape(len(rows), *tensor.shape[1:])

        return tree.apply(cut, example)


def _as_rows(given: Any, example: Any) -> Tensor:
    """All numbers of a sample side by side; the example tells which tensors are batch first, also to a batch of one."""
    if isinstance(given, Tensor) and given.ndim == 2 and not given.is_complex():
        return given
    size = tree.batch_size(example, "data")
    pairs = zip(tree.tensors(given), tree.tensors(example), strict=True)
    parts = [tensor for tensor, other in pairs if _is_batched(other, size)]
    real = [torch.view_as_real(t.resolve_conj()) if t.is_complex() else t for t in parts]
    kind = next((t.dtype for t in real if t.is_floating_point()), torch.get_default_dtype())
    return torch.cat([t.reshape(len(t), -1).to(kind) for t in real], dim=1)


def _is_batched(tensor: Tensor, size: int) -> bool:
    return tensor.ndim > 0 and len(tensor) == size


@torch.no_grad()
def estimates_of(run: Callable[[Any], Tensor], batches: Sequence[Samples], limit: int | None = None) -> list[Tensor]:
    """A method's estimates on held-out batches, at most ``limit`` samples of each."""
    return [run(batch.data if limit is None else first(batch, limit).data) for batch in batches]


def pieces_of(task: Task, batches: Sequence[Samples], estimates: Sequence[Tensor]) -> Tensor:
    """The metric's pieces of estimates, which may be fewer than the samples of a batch."""
    pairs = zip(batches, estimates, strict=True)
    return torch.cat([task.pieces(found, first(batch, tree.batch_size(found, "estimate"))) for batch, found in pairs])


def evaluate(run: Callable[[Any], Tensor], task: Task, batches: Sequence[Samples]) -> Tensor:
    """The metric's pieces of a method on held-out batches."""
    return pieces_of(task, batches, estimates_of(run, batches))
