"""Blocks laid out one below the other, as an SVG that fits a column of a telephone."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape

from unrolling.core.drawing.blocks import Block, Chain
from unrolling.core.drawing.letters import FAMILY, width, wrap

WIDTH = 400.0
MARGIN, PADDING, GAP = 14.0, 11.0, 20.0
LANE, FIRST_LANE = 12.0, 16.0  # between links that run beside the blocks, and of the first from the blocks
TITLE, LINE, SMALL, HEAD = 13.0, 12.0, 11.5, 17.0  # sizes of type
STEP = 1.42  # lines, in sizes of type
TAP = 20.0  # where a link enters a block, below its top

_LIGHT = (
    "--paper:#fff;--ink:#1b1e23;--soft:#555c66;--rule:#b9c0c9;--link:#7b838e;--wash:#f6f7f9;"
    "--shared:#0b5394;--shared-wash:#e8f1fa;--own:#8a4300;--own-wash:#fdf1e2"
)
_DARK = (
    "--paper:#15171b;--ink:#e7e9ec;--soft:#a9b0ba;--rule:#4a515b;--link:#8d95a0;--wash:#1d2025;"
    "--shared:#7db8f2;--shared-wash:#182a3d;--own:#f0b072;--own-wash:#33240f"
)
_D = ".unrolling-drawing"
STYLE = (
    f"{_D}{{{_LIGHT}}}"
    f"@media (prefers-color-scheme:dark){{{_D}{{{_DARK}}}}}"
    f'[data-theme="light"] {_D},[data-jp-theme-light="true"] {_D}{{{_LIGHT}}}'
    f'[data-theme="dark"] {_D},[data-jp-theme-light="false"] {_D}{{{_DARK}}}'
    f"{_D} text{{font-family:{FAMILY};fill:var(--ink);stroke:none}}"
    f"{_D} .symbol{{fill:var(--soft);font-style:italic}}"
    f"{_D} .soft{{fill:var(--soft)}}{_D} .bold{{font-weight:700}}"
    f"{_D} .paper{{fill:var(--paper);stroke:none}}"
    f"{_D} rect{{fill:var(--wash);stroke:var(--rule);stroke-width:1}}"
    f"{_D} .data rect{{fill:var(--paper)}}"
    f"{_D} .fixed rect{{fill:var(--paper);stroke-dasharray:5 4;stroke:var(--link)}}"
    f"{_D} .shared rect{{fill:var(--shared-wash);stroke:var(--shared);stroke-width:1.6}}"
    f"{_D} .own rect{{fill:var(--own-wash);stroke:var(--own);stroke-width:1.6}}"
    f"{_D} .gap rect{{fill:none;stroke:none}}{_D} .frame rect{{fill:none;stroke:var(--rule)}}"
    f"{_D} .shared .bold{{fill:var(--shared)}}{_D} .own .bold{{fill:var(--own)}}"
    f"{_D} path{{fill:none;stroke:var(--link);stroke-width:1.3;stroke-linejoin:round}}"
    f"{_D} path.head{{fill:var(--link);stroke:none}}{_D} circle{{fill:var(--link)}}"
    f"{_D} path.to-shared{{stroke:var(--shared);stroke-width:1.6}}{_D} path.head.to-shared{{fill:var(--shared)}}"
    f"{_D} path.to-fixed{{stroke-dasharray:5 4}}{_D} path.head.to-fixed{{stroke-dasharray:none}}"
)


@dataclass
class _Page:
    """What is drawn so far: links lie below blocks."""

    links: list[str] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)

    def link(self, points: list[tuple[float, float]], kind: str = "flow", head: bool = True) -> None:
        """A line through points with an arrow at its end."""
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self.links.append(f'<path class="to-{kind}" d="M{path}"/>')
        if head:
            (x0, y0), (x, y) = points[-2], points[-1]
            dx, dy = (x > x0) - (x < x0), (y > y0) - (y < y0)
            a, b = (x - 7 * dx - 4 * dy, y - 7 * dy - 4 * dx), (x - 7 * dx + 4 * dy, y - 7 * dy + 4 * dx)
            corners = "L".join(f"{p:.1f} {q:.1f}" for p, q in ((x, y), a, b))
            self.links.append(f'<path class="head to-{kind}" d="M{corners}Z"/>')


@dataclass
class _Text:
    """A line of type: its left end, or its right one where it stands at the end."""

    words: str
    x: float
    baseline: float
    size: float
    look: str = ""
    end: bool = False
    symbol: str = ""

    def __str__(self) -> str:
        looks = (f' class="{self.look}"' if self.look else "") + (' text-anchor="end"' if self.end else "")
        place = f'x="{self.x:.1f}" y="{self.baseline:.1f}" font-size="{self.size:g}"'
        gap = "\N{NO-BREAK SPACE}\N{NO-BREAK SPACE}" if self.words and self.symbol else ""
        tail = f'{gap}<tspan class="symbol">{_subscripted(self.symbol, self.size)}</tspan>' if self.symbol else ""
        return f"<text {place}{looks}>{escape(self.words)}{tail}</text>"


def _subscripted(symbol: str, size: float) -> str:
    """``W_e`` with a small e below the line."""
    parts = re.split(r"_(\{[^}]*\}|\w+)", escape(symbol))
    low = f'dy="{0.22 * size:.1f}" font-size="{0.75 * size:.1f}"'
    back = f'<tspan dy="{-0.22 * size:.1f}">'  # what follows stands on the line again
    text = parts[0]
    for index, after in zip(parts[1::2], parts[2::2], strict=True):
        text += f"<tspan {low}>{index.strip('{}')}</tspan>" + (f"{back}{after}</tspan>" if after else "")
    return text


def picture(chain: Chain) -> str:
    """The SVG element of a description, ``WIDTH`` wide."""
    page = _Page()
    texts, y = _heading(chain, MARGIN, MARGIN, WIDTH - 2 * MARGIN, HEAD)
    bottom = _chain(page, chain, MARGIN, y + 8, WIDTH - 2 * MARGIN) + MARGIN
    spoken = " ".join(_spoken(chain))
    name = f"drawing-{zlib.crc32(spoken.encode()):08x}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="unrolling-drawing" viewBox="0 0 {WIDTH:.0f} {bottom:.0f}" '
        f'width="{WIDTH:.0f}" height="{bottom:.0f}" style="max-width:100%;height:auto" role="img" '
        f'aria-labelledby="{name}-title {name}-words">'
        f'<title id="{name}-title">{escape(chain.title)}</title><desc id="{name}-words">{escape(spoken)}</desc>'
        f"<style>{STYLE}</style>"
        f'<g class="page"><rect class="paper" width="{WIDTH:.0f}" height="{bottom:.0f}" rx="6"/>'
        f"{''.join(map(str, texts))}</g>{''.join(page.links)}{''.join(page.blocks)}</svg>\n"
    )


def _heading(chain: Chain, x: float, y: float, room: float, size: float) -> tuple[list[_Text], float]:
    """Title and words, and where they end."""
    texts = []
    for words, height, look in ((chain.title, size, "bold"), (chain.words, LINE, "soft")):
        for line in wrap(words, height, room, look == "bold"):
            y += STEP * height
            texts.append(_Text(line, x, y - 0.4 * height, height, look))
    return texts, y


def _chain(page: _Page, chain: Chain, x: float, y: float, room: float) -> float:
    """Draws blocks from the top down; gives where they end."""
    taps = {tap for part in chain.flow if isinstance(part, Block) for tap in part.taps}
    repeated = any(isinstance(part, Block) and part.repeated for part in chain.flow)
    rails = [kind for kind in ("shared", "fixed") if kind in taps]
    left = x + (FIRST_LANE + 4 if "problem" in taps else 0)
    right = x + room - (FIRST_LANE + LANE * max(len(rails) - 1, 0) + 2 if rails or repeated else 0)
    # The block that comes first has the outermost link, so that none crosses another on its way down.
    lane = {kind: right + FIRST_LANE + LANE * (len(rails) - 1 - k) for k, kind in enumerate(rails)}
    start: dict[str, float] = {}
    ends: dict[str, float] = {}
    for block in chain.before:
        height = _block(page, block, left, y, right - left)
        if block.kind in lane and not (block.kind == "fixed" and block.lines):
            start[block.kind] = y + height / 2
        y += height + 10
    y += 4 if chain.before else 0
    middle, leave, source = (left + right) / 2, None, None
    for part in chain.flow:
        if leave is not None:
            y += GAP
            if chain.joined:
                page.link([(middle, leave), (middle, y)], head=not isinstance(part, Block) or part.kind != "gap")
            else:
                y -= GAP / 2
        top = y
        if isinstance(part, Chain):
            texts, y = _heading(part, left + PADDING, y + 5, right - left - 2 * PADDING, TITLE)
            y = _chain(page, part, left + 8, y + 6, right - left - 16) + 10
            frame = f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{y - top:.1f}" rx="6"/>'
            page.links.insert(0, f'<g class="frame">{frame}{"".join(map(str, texts))}</g>')
        else:
            y += _block(page, part, left, y, right - left)
            enter = min(top + TAP, (top + y) / 2)
            if "source" in part.taps:
                source = (top + y) / 2
            if "problem" in part.taps and source is not None:
                page.link([(left - FIRST_LANE, enter), (left, enter)], "problem")
                ends["problem"] = enter
            for k, kind in enumerate(rails):
                if kind in part.taps:
                    place = enter + 9 * k
                    page.link([(lane[kind], place), (right, place)], kind)
                    ends[kind] = place
            if part.repeated:
                out = right + FIRST_LANE
                page.link([(right, y - 14), (out, y - 14), (out, enter), (right, enter)])
        leave = y
    if source is not None and "problem" in ends:
        out = left - FIRST_LANE
        page.link([(left, source), (out, source), (out, ends["problem"])], "problem", head=False)
    for kind, begin in start.items():
        if kind in ends:
            page.link([(right, begin), (lane[kind], begin), (lane[kind], ends[kind])], kind, head=False)
    return y


def _block(page: _Page, block: Block, x: float, y: float, room: float) -> float:
    """Draws one box; gives its height."""
    inner, end = x + PADDING, x + room - PADDING
    bottom = y + 8
    texts: list[_Text] = []
    dots = ""
    if block.kind == "gap":
        middle = x + room / 2
        dots = "".join(f'<circle cx="{middle:.1f}" cy="{y + 6 + 9 * k:.1f}" r="2.2"/>' for k in range(3))
        texts.append(_Text(block.title, middle - 14, y + 19, LINE, "soft", end=True))
        texts += [_Text(block.right, middle + 14, y + 19, LINE, "soft")] if block.right else []
        bottom = y + 22
    else:
        bottom = _row(texts, block.title, block.right, inner, end, bottom, TITLE, "bold")
        for line in block.lines:
            bottom = _row(texts, line.left, line.right, inner, end, bottom, LINE, "", line.symbol)
        for words in wrap(block.words, SMALL, end - inner):
            bottom += STEP * SMALL
            texts.append(_Text(words, inner, bottom - 0.4 * SMALL, SMALL, "soft"))
        bottom += 8
    box = f'<rect x="{x:.1f}" y="{y:.1f}" width="{room:.1f}" height="{bottom - y:.1f}" rx="5"/>'
    page.blocks.append(
        f'<g class="block {block.kind}" data-learned="{block.learned}">{box}{dots}{"".join(map(str, texts))}</g>'
    )
    return bottom - y


def _row(
    texts: list[_Text],
    left: str,
    right: str,
    x: float,
    end: float,
    bottom: float,
    size: float,
    look: str,
    symbol: str = "",
) -> float:
    """A name with its symbol, and at the end of its line, or of one more, its size; gives where they end."""
    bold, used = look == "bold", 0.0
    lines = [(line, "") for line in wrap(left, size, end - x, bold)]
    if symbol:
        last = lines.pop()[0] if lines else ""
        fits = width(f"{last}  {symbol}", size) <= end - x
        lines += [(last, symbol)] if fits else [(last, ""), *(("", part) for part in wrap(symbol, size, end - x))]
    for words, tail in lines:
        bottom += STEP * size
        texts.append(_Text(words, x, bottom - 0.4 * size, size, look, symbol=tail))
        used = width(f"{words}  {tail}" if tail else words, size, bold)
    for k, line in enumerate(wrap(right, LINE, end - x)):
        if k or not lines or used + 14 + width(line, LINE) > end - x:
            bottom += STEP * LINE
        texts.append(_Text(line, end, bottom - 0.4 * size, LINE, "soft", end=True))
    return bottom


def _spoken(chain: Chain) -> Iterator[str]:
    """The drawing in words."""
    yield chain.words
    for part in (*chain.before, *chain.flow):
        if isinstance(part, Chain):
            yield f"{part.title}."
            yield from _spoken(part)
            continue
        lines = "; ".join(f"{line.left} {line.right}".strip() for line in part.lines)
        head = f"{part.title}, {part.right}" if part.right else part.title
        yield f"{head}{': ' + lines if lines else ''}. {part.words}".strip()
