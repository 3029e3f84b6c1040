"""`view_image` in agent code: an image as the PNG file that the model is shown after the action."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

from agex_worker.tracebacks import type_name

MAX_IMAGES = 8
MAX_IMAGE_BYTES = 4 << 20
# Beyond this servers scale an image down themselves.
MAX_SIDE = 1568
_MODES = ("1", "L", "LA", "RGB", "RGBA")


def viewer(show: Callable[[bytes], None]) -> Callable[[object], None]:
    """A view_image() for one action that hands the files to `show`."""
    shown: list[int] = []

    def view_image(image: object) -> None:
        """Look at an image: a PIL image, or a figure of matplotlib or plotly. It is shown with the output of this script."""
        if len(shown) == MAX_IMAGES:
            raise ValueError(f"view_image() shows {MAX_IMAGES} images a script; choose, or put several into one figure")
        data = png_of(image)
        shown.append(len(data))
        show(data)

    view_image.__qualname__ = view_image.__name__  # as in Python's own errors about a call
    return view_image


def png_of(image: object) -> bytes:
    """The PNG file, scaled down to what can be shown. TypeError says what cannot be shown and what can."""
    picture = _picture(image)
    if max(picture.size) > MAX_SIDE:
        picture = picture.copy()
        picture.thumbnail((MAX_SIDE, MAX_SIDE))
    for _ in range(4):
        data = _file(picture)
        if len(data) <= MAX_IMAGE_BYTES:
            return data
        picture = picture.resize((max(picture.width // 2, 1), max(picture.height // 2, 1)))
    raise ValueError(f"the image has more than {MAX_IMAGE_BYTES} bytes as PNG; make it smaller")


def _picture(image: Any) -> Any:
    drawing = sys.modules.get("PIL.Image")
    if drawing is not None and isinstance(image, drawing.Image):
        if not min(image.size):
            raise ValueError("view_image(): the image has no pixels")
        if image.mode in _MODES:
            return image
        return image.convert("RGBA" if "transparency" in image.info else "RGB")
    kinds = {f"{base.__module__}.{base.__qualname__}" for base in type(image).__mro__}
    if "matplotlib.figure.FigureBase" in kinds or hasattr(image, "savefig"):
        return _drawn(image)
    if "plotly.basedatatypes.BaseFigure" in kinds:
        # Not by its own means: kaleido starts a browser, which opens what a figure refers to, files of the machine among it.
        return _drawn(_by_matplotlib(image))
    figure = getattr(image, "figure", None)  # of axes and what is drawn in them
    if figure is not None and hasattr(figure, "savefig"):
        return _drawn(figure)
    raise TypeError(
        f"view_image() takes a PIL image or a figure of matplotlib or plotly, not {type_name(image)}; of an array:"
        " PIL.Image.fromarray(array)"
    )


def _by_matplotlib(figure: Any) -> Any:
    try:
        from agex_worker.plotly_drawing import figure_of
    except ImportError:
        raise TypeError(
            "a plotly figure is drawn by matplotlib here, which is not installed; return the figure as the result"
        ) from None
    return figure_of(figure)


def _drawn(figure: Any) -> Any:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return _opened(file)


def _opened(file: io.BytesIO) -> Any:
    # Here, for it is not needed for anything else, and not every worker has it.
    import PIL.Image

    file.seek(0)
    image = PIL.Image.open(file, formats=["PNG"])
    image.load()
    return image


def _file(image: Any) -> bytes:
    import PIL.Image

    bare = PIL.Image.new(image.mode, image.size)
    bare.paste(image)  # the pixels alone: what else the image carries is nobody's to see
    file = io.BytesIO()
    bare.save(file, format="PNG")
    return file.getvalue()
