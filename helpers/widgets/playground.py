"""The box that all widgets here are, and its controls."""

import base64
import functools
import html
import io
import textwrap
from collections.abc import Callable, Sequence

import ipywidgets
from IPython.display import HTML, display
from matplotlib.figure import Figure


class Playground(ipywidgets.VBox):
    """Controls, and a picture with a line of words that are made anew when one is moved.

    Parameters
    ----------
    controls : dict of str to ipywidgets.Widget
        Widgets with a ``value``, by the names of the parameters of `draw`.
    draw : callable
        ``draw(**values)`` returns a matplotlib figure and a line of words. If it raises,
        the box shows the error: what a widget's callback raises is seen by nobody.
    rows : sequence of ipywidgets.Widget
        The controls as they are arranged above the picture.

    Attributes
    ----------
    controls : dict of str to ipywidgets.Widget
        To move them from Python: ``box.controls["workers"].value = 4``.
    picture : ipywidgets.Image
        The picture, a PNG.
    words : ipywidgets.HTML
        The words beneath it.
    """

    def __init__(
        self,
        controls: dict[str, ipywidgets.Widget],
        draw: Callable[..., tuple[Figure, str]],
        rows: Sequence[ipywidgets.Widget],
    ):
        self.controls = controls
        self.picture = ipywidgets.Image(
            format="png", layout={"max_width": "100%", "align_self": "flex-start"}
        )
        self.words = ipywidgets.HTML()
        self._draw = draw
        super().__init__([*rows, self.picture, self.words])
        for control in controls.values():
            control.observe(self._redraw, "value")
        self._redraw()

    def _redraw(self, _change=None) -> None:
        values = {name: control.value for name, control in self.controls.items()}
        try:
            figure, words = self._draw(**values)
        except Exception as error:
            words = f"{type(error).__name__}: {error}"
            figure = _figure_of_words(words)
        self.words.value = html.escape(words)
        self.picture.value = _png(figure)

    def _ipython_display_(self) -> None:
        # Of the first, JupyterLab takes the live widget, a reader that knows no widgets the
        # picture, and a terminal the words. A notebook that is saved and opened again has no
        # live widget any more: then there is still the second.
        words, picture = html.unescape(self.words.value), self.picture.value
        bundle = super()._repr_mimebundle_()
        bundle |= {"image/png": base64.b64encode(picture).decode(), "text/plain": words}
        display(bundle, raw=True, metadata={"image/png": {"alt": words}})
        display(HTML(_folded(bundle["image/png"], words)))


def _folded(picture: str, words: str) -> str:
    source = f'<img src="data:image/png;base64,{picture}" alt="{html.escape(words)}"/>'
    return (
        "<details><summary>As it was first shown, for when this notebook is opened again"
        f"</summary>{source}</details>"
    )


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    # Little compression: on its way to the browser a picture costs less than squeezing it.
    figure.savefig(file, format="png", dpi=90, pil_kwargs={"compress_level": 1})
    return file.getvalue()


def _figure_of_words(words: str) -> Figure:
    figure = Figure(figsize=(9.2, 2.6), facecolor="white")
    text = textwrap.fill(words, 100)
    # A $ in a file's name is no formula.
    figure.text(0.02, 0.5, text, va="center", color="tab:red", parse_math=False)
    return figure


def slider(name: str, value: float, low: float, high: float) -> ipywidgets.Widget:
    """Make a slider: of whole numbers, if `value` is one."""
    whole = isinstance(value, int)
    kind = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
    fixed = low == high
    high = max(high, low + 1)  # the slider of the browser cannot be without any length
    looks = {"style": {"description_width": "105px"}, "readout_format": "d" if whole else ".1f"}
    looks |= {"description": name, "layout": {"width": "370px", "max_width": "100%"}}
    return kind(value, min=low, max=high, step=1, disabled=fixed, **looks)


def with_buttons(slider: ipywidgets.Widget) -> ipywidgets.HBox:
    """Put two buttons beside a slider: one back, and one on."""
    buttons = []
    for icon, word, change in (("arrow-left", "previous", -1), ("arrow-right", "next", 1)):
        button = ipywidgets.Button(
            icon=icon, tooltip=f"{word} {slider.description}", layout={"width": "40px"}
        )
        button.on_click(functools.partial(_move, slider, change))
        buttons.append(button)
    return ipywidgets.HBox([slider, *buttons], layout={"flex_flow": "row wrap"})


def _move(slider: ipywidgets.Widget, change: int, _button) -> None:
    slider.value = min(max(slider.value + change, slider.min), slider.max)
