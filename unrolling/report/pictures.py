"""Pictures of the page: panels side by side, dictionaries, estimates after each layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unrolling.report import images
from unrolling.tasks.exhibits import Panels

PICTURE_BYTES = 1_900_000  # of PNG; a third more as text
LAYER_BYTES = 600_000  # of the pictures after each layer


@dataclass
class Image:
    """An image of the page, and the square of it that is shown enlarged."""

    caption: str
    alt: str
    uri: str
    width: int
    height: int
    detail: str = ""  # a data URI
    box: str = ""  # where the square lies: a style


@dataclass
class Gallery:
    """The panels of a picture."""

    name: str
    images: list[Image]
    words: str

    @property
    def detailed(self) -> bool:
        """Whether each panel has a square that is shown enlarged."""
        return all(image.detail for image in self.images)


def galleries(pictures: Sequence[Panels]) -> list[Gallery]:
    """Each picture's panels, reduced together where they would weigh more than a page should."""
    pictures = [picture for picture in pictures if picture.panels]
    levels = [[images.grey(panel) for _, panel in picture.panels] for picture in pictures]
    encoded, scale = images.png_within([panel for panels in levels for panel in panels], PICTURE_BYTES)
    result, position = [], 0
    for picture, panels in zip(pictures, levels, strict=True):
        shapes = {panel.shape for panel in panels}
        height, width = panels[0].shape
        side = max(32, min(height, width) // 5)
        window = images.busiest_window(panels[0], side) if len(shapes) == 1 and side < min(height, width) // 2 else None
        gallery = Gallery(picture.name, [], "")
        for (caption, _), panel in zip(picture.panels, panels, strict=True):
            image = Image(
                caption,
                f"{picture.name}: {caption}",
                images.data_uri(encoded[position]),
                panel.shape[1],
                panel.shape[0],
            )
            if window is not None:
                top, left = window
                image.detail = images.data_uri(images.png(panel[top : top + side, left : left + side]))
                place = (
                    ("left", left / width),
                    ("top", top / height),
                    ("width", side / width),
                    ("height", side / height),
                )
                image.box = ";".join(f"{name}:{value:.2%}" for name, value in place)
            gallery.images.append(image)
            position += 1
        if window is not None:
            gallery.words = f"The detail is of {side} × {side} pixels, where the first image has its strongest edges."
        if scale < 1:
            gallery.words += f" The large images are reduced to {scale:.0%} of their size to keep this page small."
        result.append(gallery)
    return result


def atom_images(atoms: Sequence[tuple[str, NDArray]]) -> list[Image]:
    """A mosaic for each dictionary."""
    result = []
    for caption, stack in atoms:
        stack = np.asarray(stack)
        if stack.ndim != 3 or not stack.size:
            continue
        sheet = images.mosaic(stack)
        result.append(
            Image(
                caption,
                f"{caption}: {min(len(stack), 400)} of {len(stack)} atoms of {stack.shape[1]} × {stack.shape[2]} "
                "pixels in a grid",
                images.data_uri(images.png(sheet, transparent=images.GAP)),
                sheet.shape[1],
                sheet.shape[0],
            )
        )
    return result


@dataclass
class Slider:
    """Pictures after each layer, one shown at a time."""

    name: str
    images: list[Image]


def sliders(pictures: Sequence[Panels]) -> list[Slider]:
    """Panels as images of one size, together within a limit."""
    result = []
    for picture in pictures:
        panels = [images.grey(panel) for _, panel in picture.panels]
        encoded, _ = images.png_within(panels, LAYER_BYTES)
        shown = [
            Image(caption, f"{picture.name}, {caption}", images.data_uri(content), panel.shape[1], panel.shape[0])
            for (caption, _), content, panel in zip(picture.panels, encoded, panels, strict=True)
        ]
        result.append(Slider(picture.name, shown))
    return result
