"""What the benchmark of detectors prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def table(rows: Sequence[dict[str, Any]], against: Sequence[str]) -> None:
    """Detectors by SNR, and ratios to some of them."""
    names = list(dict.fromkeys(row["detector"] for row in rows))
    snrs = list(dict.fromkeys(row["snr"] for row in rows))
    at = {(row["detector"], row["snr"]): row for row in rows}
    print("detector       " + "".join(f"{f'{snr:g} dB':>29s}" for snr in snrs))
    for name in names:
        cells = [at[name, snr] for snr in snrs]
        print(
            f"{name:14s} "
            + "".join(f"{row['ber']:.2e} [{row['low']:.1e}, {row['high']:.1e}]".rjust(29) for row in cells)
        )
    for other in against:
        for name in names:
            if name != other:
                ratios = [at[name, snr]["ber"] / max(at[other, snr]["ber"], 1e-12) for snr in snrs]
                print(f"{name + ' / ' + other:26s} " + "".join(f"{ratio:8.2f}" for ratio in ratios))
    print("bits per point: " + ", ".join(f"{name} {at[name, snrs[0]]['bits']:,}" for name in names))


def show(part: str, rows: list[Any]) -> None:
    print(f"\n== {part}")
    if part in ("iid", "toeplitz", "large"):
        table(rows, ["SDR", "ML"])
    elif part == "correlated":
        for seed in dict.fromkeys(row["channel"] for row in rows):
            own = [row for row in rows if row["channel"] == seed]
            table(own, ["OAMP-Net"])
            print(
                "SNR at 1e-2: "
                + ", ".join(
                    f"{r['detector']} {r['snr_at_1e-2']:.2f}"
                    for r in own[: len({r["detector"] for r in own})]
                    if r["snr_at_1e-2"]
                )
            )
            print(
                "training, seconds of one core: "
                + ", ".join(f"{r['detector']} {r['seconds']:.0f}" for r in own[:20] if r["seconds"] and r["snr"] == 6.0)
            )
    elif part == "speed":
        for row in rows:
            line = f"{row['us']:10.2f} us, relaxation / it {row['ratio']:.1f} [{row['low']:.1f}, {row['high']:.1f}]"
            print(f"batch {row['batch']:5d}  {row['detector']:10s} {line}")
    elif part == "viterbi":
        for row in rows:
            true, estimated = row["Viterbi, true channel"], row["Viterbi, estimated channel"]
            names = ("ViterbiNet", "csi", "memoryless", "BCJR, true channel")
            print(
                f"decay {row['decay']:g}  {row['snr']:4.0f} dB  Viterbi {true:.2e}, on an estimate {estimated:.2e}  "
                + "  ".join(f"{n} {row[n]:.2e}" for n in names)
            )
            over = row["ViterbiNet"] / max(true, 1e-12), row["csi"] / max(estimated, 1e-12)
            print(
                f"      ViterbiNet / Viterbi {over[0]:.2f}, trained on wrong channels / Viterbi on an estimate "
                f"{over[1]:.2f}"
            )
    else:
        for row in rows:
            size = f"{row['modulation']:6s} {row['streams']:3d} x {row['antennas']:3d}  {row['snr']:4.0f} dB"
            print(
                f"{size}  {row['nodes']:12,.0f} nodes (most {row['most']:,})  {row['us']:12,.1f} us  unfinished "
                f"{row['unfinished']}  BER {row['ber']:.1e}"
            )
