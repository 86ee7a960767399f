"""Parity-check matrices of binary codes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from unrolling.algorithms.graphs.binary_matrices import reduced_rows
from unrolling.core.arguments import check_count

# Primitive polynomials over two elements, as bits: x^3 + x + 1 is 0b1011.
PRIMITIVE = {3: 0b1011, 4: 0b10011, 5: 0b100101, 6: 0b1000011, 7: 0b10001001, 8: 0b100011101}
MOST_SUMS = 20  # log2 of the sums of rows that are looked at for light ones
MATRICES = ("standard", "reduced", "overcomplete")
# What `reduced_parity_check` finds for the BCH code of 63 bits, 45 of them free, after a search of seconds: rows of
# hexadecimal digits.
REDUCED_63_45 = (
    "0a3a002149032003 0064405b8210a082 08072192151a0800 1000201c86485468 192151a0800100e4 40390c90a8d04000 "
    "5040008072192151 10a8d04000807219 628e80085240c800 05b8210a08200c88 2202dc1085041006 018a3a0021490320 "
    "6485468200040390 5c10850410064405 0410064405b8210a 0800100e43242a34 05468200040390c9 06400628e8008524"
)


def bch_generator(degree: int, errors: int) -> list[int]:
    """The generator polynomial of the primitive BCH code of length 2^degree - 1 that corrects so many errors: the least
    common multiple of the minimal polynomials of alpha, alpha^3, ..., alpha^(2 errors - 1).

    Args:
        degree: 3 to 8.
        errors: t, at least 1.

    Returns:
        Coefficients, that of 1 first.

    Raises:
        ValueError: a degree without a polynomial, more errors than a code of this length corrects.
    """
    if degree not in PRIMITIVE:
        raise ValueError(f"BCH codes are made of degrees {min(PRIMITIVE)} to {max(PRIMITIVE)}; got {degree}")
    check_count(errors, "errors")
    n = 2**degree - 1
    power = [1]
    for _ in range(n - 1):
        next_ = power[-1] << 1
        power.append(next_ ^ PRIMITIVE[degree] if next_ > n else next_)
    logarithm = {value: k for k, value in enumerate(power)}

    def product(a: int, b: int) -> int:
        return 0 if 0 in (a, b) else power[(logarithm[a] + logarithm[b]) % n]

    generator, roots = [1], set[int]()
    for k in range(1, 2 * errors, 2):
        conjugates = {k * 2**j % n for j in range(degree)}
        for root in sorted(conjugates - roots):  # times (x - alpha^root)
            shifted, scaled = [0, *generator], [*(product(power[root], c) for c in generator), 0]
            generator = [a ^ b for a, b in zip(shifted, scaled, strict=True)]
        roots |= conjugates
    if len(generator) - 1 >= n:
        raise ValueError(f"no BCH code of {n} bits corrects {errors} errors")
    return generator


def bch_parity_check(degree: int, errors: int) -> Tensor:
    """H (n - k, n) bool of a BCH code: shifts of the reciprocal of h(x) = (x^n - 1) / g(x), as cyclic codes have it."""
    generator, n = bch_generator(degree, errors), 2**degree - 1
    rest, quotient = [1, *[0] * (n - 1), 1], [0] * (n - len(generator) + 2)
    for k in reversed(range(len(quotient))):
        if rest[k + len(generator) - 1]:
            quotient[k] = 1
            for j, coefficient in enumerate(generator):
                rest[k + j] ^= coefficient
    first = torch.zeros(n, dtype=torch.bool)
    first[: len(quotient)] = torch.tensor(quotient[::-1], dtype=torch.bool)
    return torch.stack([first.roll(shift) for shift in range(len(generator) - 1)])


def light_words(matrix: Tensor) -> Tensor:
    """The words of least weight that the rows of H span, (count, n) bool: sums of rows of a basis, all of them where
    these are few enough.

    Raises:
        ValueError: there are too many sums to look at.
    """
    basis, _ = reduced_rows(matrix)
    if len(basis) > MOST_SUMS:
        raise ValueError(
            f"the rows of the matrix have 2^{len(basis)} sums, which are too many to look at for light ones; the "
            f"matrix that needs none is {MATRICES[0]!r}"
        )
    numbers = torch.arange(1, 2 ** len(basis))
    chosen = (numbers[:, None] >> torch.arange(len(basis))) & 1
    words = (chosen.float() @ basis.float()).remainder(2).bool()
    weights = words.sum(1)
    return words[weights == weights.min()]


def parity_check(code: str, matrix: str = "standard") -> Tensor:
    """H (m, n) bool of a code by its name: ``bch-n-k`` or ``ldpc-n-k``, which has three checks for each bit.

    Raises:
        ValueError: an unknown code, a matrix that is none of ``MATRICES`` or that a code of this kind does not have.
    """
    kind, _, sizes = code.partition("-")
    numbers = sizes.split("-")
    if kind not in ("bch", "ldpc") or len(numbers) != 2 or not all(part.isdecimal() for part in numbers):
        raise ValueError(f"no code {code!r}; there are bch-n-k, such as bch-63-45, and ldpc-n-k, such as ldpc-96-48")
    if matrix not in MATRICES:
        raise ValueError(f"no matrix {matrix!r}; there are {', '.join(MATRICES)}")
    if kind == "ldpc" and matrix != MATRICES[0]:
        raise ValueError(f"a low-density code has its {MATRICES[0]!r} matrix alone; got matrix {matrix!r}")
    return _made(kind, int(numbers[0]), int(numbers[1]), matrix)


@cache
def _made(kind: str, n: int, k: int, matrix: str) -> Tensor:
    if kind == "ldpc":
        if not 3 < n - k < n <= 20_000:
            raise ValueError(f"a low-density code has more than 3 checks, and fewer than its bits; got {n} and {k}")
        return progressive_edge_growth(n, n - k)
    degree = n.bit_length()
    lengths = {errors: n - len(bch_generator(degree, errors)) + 1 for errors in _correcting(degree, n)}
    errors = next((errors for errors, free in lengths.items() if free == k), None)
    if errors is None:
        there = ", ".join(f"bch-{n}-{free}" for free in dict.fromkeys(lengths.values()))
        raise ValueError(f"no code bch-{n}-{k}; " + (f"there are {there}" if there else "n is 2^m - 1, 7 to 255"))
    standard = bch_parity_check(degree, errors)
    if (n, k, matrix) == (63, 45, "reduced"):
        return torch.stack([_bits(row, n) for row in REDUCED_63_45.split()])
    forms: dict[str, Callable[[Tensor], Tensor]] = {
        "standard": lambda found: found,
        "reduced": reduced_parity_check,
        "overcomplete": overcomplete_parity_check,
    }
    return forms[matrix](standard)


def _correcting(degree: int, n: int) -> range:
    """Numbers of errors that BCH codes of a length may correct; none for a length that none has."""
    if degree not in PRIMITIVE or n != 2**degree - 1:
        return range(0)
    most = 1
    while most < n // 2:  # until one bit is left
        try:
            bch_generator(degree, most + 1)
        except ValueError:
            break
        most += 1
    return range(1, most + 1)


def _bits(digits: str, n: int) -> Tensor:
    number = int(digits, 16)
    return torch.tensor([number >> (n - 1 - k) & 1 for k in range(n)], dtype=torch.bool)


def short_cycles(matrix: Tensor) -> int:
    """Cycles of length four in the graph of H: pairs of rows that share two bits, counted with multiplicity."""
    shared = matrix.double() @ matrix.double().T
    pairs = torch.triu(shared * (shared - 1) / 2, diagonal=1)
    return int(pairs.sum())


def reduced_parity_check(matrix: Tensor, seed: int = 0, sweeps: int = 6) -> Tensor:
    """A matrix (rank, n) of the same code whose rows are of least weight and whose graph has few cycles of length four:
    from the words of least weight of the dual code, rows are exchanged one by one as long as cycles become fewer.

    The idea of a cycle-reduced matrix is Halford and Chugg's (2006, doi:10.1109/TIT.2006.880072 treats the counting of
    short cycles); the search here is a plain one.

    Args:
        matrix: H of the code, of any rank.
        seed: of the order in which rows are tried.
        sweeps: over all rows, at most.
    """
    light = light_words(matrix)
    generator = torch.Generator().manual_seed(seed)
    light = light[torch.randperm(len(light), generator=generator)]
    _, pivots = reduced_rows(light.T)  # a first set of independent words
    rank = len(reduced_rows(matrix)[1])
    if len(pivots) < rank:
        raise ValueError(f"the lightest words of the dual code span {len(pivots)} dimensions of {rank}")
    chosen = light[pivots]
    for _ in range(sweeps):
        before = short_cycles(chosen)
        for row in torch.randperm(rank, generator=generator).tolist():
            others = chosen[torch.arange(rank) != row]
            shared = others.double() @ light.double().T
            cost = (shared * (shared - 1) / 2).sum(0)
            for candidate in cost.argsort(stable=True).tolist():
                if cost[candidate] >= cost[(light == chosen[row]).all(1)].min():
                    break
                attempt = torch.cat([others, light[candidate : candidate + 1]])
                if len(reduced_rows(attempt)[1]) == rank:
                    chosen = attempt[[*range(row), rank - 1, *range(row, rank - 1)]]
                    break
        if short_cycles(chosen) == before:
            break
    return chosen


def overcomplete_parity_check(matrix: Tensor) -> Tensor:
    """H (n, n) bool of a cyclic code: all cyclic shifts of one word of least weight of the dual code, of which many
    depend on others: the one with the fewest cycles of length four.
    """
    light = light_words(matrix)
    n = light.shape[1]
    rank = len(reduced_rows(matrix)[1])
    best: Tensor | None = None
    seen: set[bytes] = set()
    for word in light:
        shifts = torch.stack([word.roll(k) for k in range(n)])
        if shifts[0].numpy().tobytes() in seen:
            continue
        seen |= {shift.numpy().tobytes() for shift in shifts}
        if len(reduced_rows(shifts)[1]) == rank and (best is None or short_cycles(shifts) < short_cycles(best)):
            best = shifts
    if best is None:
        raise ValueError("no lightest word of the dual code has shifts that span it; the code may not be cyclic")
    return best


def progressive_edge_growth(bits: int, checks: int, weight: int = 3, seed: int = 0) -> Tensor:
    """H (checks, bits) bool of a regular low-density code by progressive edge growth (Hu, Eleftheriou and Arnold 2005,
    doi:10.1109/TIT.2004.839541): each new edge of a bit goes to one of the checks that are farthest from it, of these
    to one with the fewest edges.

    Args:
        bits: n.
        checks: m < n.
        weight: edges of each bit, at least 2.
        seed: of what is drawn between equals.

    Raises:
        ValueError: sizes that make no such code.
    """
    for value, name in ((bits, "bits"), (checks, "checks"), (weight, "weight")):
        check_count(value, name)
    if not (2 <= weight <= checks < bits):
        raise ValueError(
            f"a low-density code has 2 <= weight <= checks < bits; got weight {weight}, {checks} checks, {bits} bits"
        )
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.zeros(checks, bits, dtype=torch.bool)
    for bit in range(bits):
        for _ in range(weight):
            reached = matrix[:, bit].clone()
            outside = ~reached
            while bool(reached.any()):
                grown = reached | matrix[:, matrix[reached].any(0)].any(1)
                if bool(grown.all()) or bool((grown == reached).all()):
                    outside = ~reached
                    break
                reached = grown
                outside = ~reached
            degrees = matrix.sum(1).masked_fill(~outside, bits + 1)
            least = (degrees == degrees.min()).nonzero().flatten()
            matrix[least[int(torch.randint(len(least), (), generator=generator))], bit] = True
    return matrix
