"""Figures of the gallery, drawn twice: dark ink for the light theme, light ink for the dark one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.spines import Spine
from matplotlib.text import Text

INK, LIGHT_INK = "#1f2328", "#e6e9ed"
# After Okabe and Ito, without yellow and black: told apart by colour-blind readers, and seen on both pages.
COLOURS = ["#0f86c9", "#d55e00", "#009e73", "#cc79a7", "#7f7f7f", "#b8860b"]


def style(gallery_conf: Any = None, fname: str | None = None) -> None:
    """Set matplotlib up before an example runs."""
    matplotlib.rcdefaults()
    matplotlib.use("agg")
    ink = dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK)
    matplotlib.rcParams.update(ink)
    matplotlib.rcParams.update(
        {
            "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlesize": "medium",
            "axes.titleweight": "bold",
            "figure.facecolor": "none",
            "axes.facecolor": "none",
            "savefig.facecolor": "none",
            "legend.frameon": False,
            "font.size": 10.5,
            "lines.linewidth": 1.8,
        }
    )


def scraper(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any], **kwargs: Any) -> str:
    """Save every open figure in both inks; returns the page's text, with words for those who cannot see them."""
    from matplotlib import pyplot as plt

    found = []
    for number, path in zip(plt.get_fignums(), block_vars["image_path_iterator"]):  # noqa: B905  (the paths have no end)
        figure = plt.figure(number)
        width = round(figure.get_figwidth() * 80)
        for theme, ink in (("light", INK), ("dark", LIGHT_INK)):
            file = Path(path) if theme == "light" else Path(path).with_stem(Path(path).stem + "_dark")
            _draw_in(figure, ink)
            figure.savefig(file, dpi=200)
            name = "/" + file.relative_to(gallery_conf["src_dir"]).as_posix()
            options = {"alt": _described(figure), "class": f"only-{theme} gallery-figure", "width": f"{width}px"}
            told = "".join(f"      :{key}: {value}\n" for key, value in options.items())
            found.append(f".. container:: gallery-scroll\n\n   .. image:: {name}\n{told}")
    plt.close("all")
    return "\n".join(found)


def _draw_in(figure: Figure, ink: str) -> None:
    """Change what is drawn in one of the two inks to the other; what has a colour of its own keeps it."""
    for artist in figure.findobj():
        for read, write in _colours(artist):
            if to_hex(read()) in (INK, LIGHT_INK):
                write(ink)
    for axes in figure.axes:
        axes.tick_params(which="both", color=ink, labelcolor=ink)


def _colours(artist: Artist) -> Iterator[tuple[Callable[[], Any], Callable[[str], Any]]]:
    if isinstance(artist, (Text, Line2D)):
        yield artist.get_color, artist.set_color
    elif isinstance(artist, Spine):
        yield artist.get_edgecolor, artist.set_edgecolor
    elif isinstance(artist, Legend):
        for text in artist.get_texts():
            yield text.get_color, text.set_color


def _described(figure: Figure) -> str:
    """Titles and axis labels, one after the other."""
    said = [figure.get_suptitle()]
    for axes in figure.axes:
        labels = " against ".join(label for label in (axes.get_ylabel(), axes.get_xlabel()) if label)
        said.append(": ".join(part for part in (axes.get_title(), labels) if part))
    return "; ".join(part for part in said if part).replace("\n", " ") or "figure"
