"""Draws the picture of the README from the page that ``make`` writes:
``python -m tools.readme_picture out/photographs docs/_static/photographs.png``.

A photograph as it was, by the strongest row without training that the headline names, by the network before training
and by the trained one, an enlarged detail below each. Nothing is measured here: pictures and captions are the page's.
"""

from __future__ import annotations

import argparse
import base64
import io
import re
from html import unescape
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

IMAGE = re.compile(r'<img (?:class="detail" )?src="data:image/png;base64,([^"]+)" alt="([^"]*)"')
DETAIL = ", enlarged detail"
SIDE, GAP, TEXT = 280, 12, 66  # pixels: a panel, the space between two, the height of a caption of three lines


def panels(page: str) -> list[tuple[str, Image.Image, Image.Image]]:
    """Captions, pictures and details of the first photograph of a page."""
    found = [(unescape(alt), Image.open(io.BytesIO(base64.b64decode(data)))) for data, alt in IMAGE.findall(page)]
    details = {alt.removesuffix(DETAIL): picture for alt, picture in found if alt.endswith(DETAIL)}
    first = found[0][0].split(":")[0]
    return [
        (alt.partition(": ")[2], picture, details[alt])
        for alt, picture in found
        if alt in details and alt.split(":")[0] == first
    ]


def chosen(captions: list[str], headline: str) -> list[int]:
    """The original, the row without training that the headline names, the network before training, the network.

    Raises:
        ValueError: the page shows none of a kind.
    """
    names = [caption.rpartition(":")[0] or caption for caption in captions]
    known = [k for k, name in enumerate(names) if name in headline]
    kinds = {
        "the original": [0],
        "the strongest row without training": [k for k in known if k and "before training" not in names[k]][:1],
        "the network before training": [k for k, name in enumerate(names) if name.endswith("before training")],
        "the network": [len(names) - 1],
    }
    missing = [kind for kind, found in kinds.items() if not found]
    if missing:
        raise ValueError(f"the page shows {', '.join(names)}; {' and '.join(missing)} is not among them")
    return [found[0] for found in kinds.values()]


def draw(shown: list[tuple[str, Image.Image, Image.Image]]) -> Image.Image:
    """The panels side by side."""
    width = len(shown) * SIDE + (len(shown) - 1) * GAP
    sheet = Image.new("L", (width, TEXT + 2 * SIDE + GAP), 255)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for k, (caption, picture, detail) in enumerate(shown):
        left = k * (SIDE + GAP)
        name, _, value = caption.rpartition(": ")
        lines = [*(name or value).split(", "), value if name else ""]
        pen.text((left, 4), "\n".join(lines), fill=0, font=font)
        sheet.paste(picture.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS), (left, TEXT))
        enlarged = detail.convert("L").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        sheet.paste(enlarged, (left, TEXT + SIDE + GAP))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="with the index.html of a comparison")
    parser.add_argument("out", type=Path, help="a .png file")
    given = parser.parse_args()
    page = (given.folder / "index.html").read_text(encoding="utf-8")
    headline = unescape(re.search(r'<p class="headline">(.*?)</p>', page, flags=re.DOTALL)[1])
    found = panels(page)
    draw([found[k] for k in chosen([caption for caption, *_ in found], headline)]).save(given.out, optimize=True)


if __name__ == "__main__":
    main()
