"""Proximal operators and learned shrinkages: functions ``prox(z, threshold)``, or modules when they have parameters."""

from unrolling.prox.groups import BlockSoftThreshold
from unrolling.prox.support import support_select
from unrolling.prox.thresholds import hard_threshold, k_sparse, nonnegative, soft_threshold

__all__ = ["BlockSoftThreshold", "hard_threshold", "k_sparse", "nonnegative", "soft_threshold", "support_select"]
