"""Put a guess beside what was measured."""

import math
from numbers import Real
from typing import Any

from helpers.classroom.showing import show
from helpers.plotting.plots import new_figure


def compare_guess(guess: Any, measured: Any, unit: str = "") -> None:
    """Show a guess and a measurement side by side; show nothing if no guess was made.

    Parameters
    ----------
    guess : int, float, str, bool, list or Ellipsis
        ``...``, as it stands in the notebook, for no guess.
    measured : int, float, str, bool or list
        What came out.
    unit : str, optional
        Of both numbers, such as ``"images/s"`` or ``"%"``.

    Examples
    --------
    >>> guess = 60
    >>> compare_guess(guess, 63, "batches")
    Your guess was 60 batches; it is 63 batches. That is close.
    """
    if guess is ...:
        return
    print(_words(guess, measured, unit))
    if _is_number(guess) and _is_number(measured):
        said, seen = (_with_unit(number, unit) for number in (guess, measured))
        show(_bars(guess, measured, unit), f"Two bars: your guess, {said}, and measured, {seen}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _words(guess: Any, measured: Any, unit: str) -> str:
    if not (_is_number(guess) and _is_number(measured)):
        same = str(guess).strip().lower() == str(measured).strip().lower()
        if same:
            return f"Just as you said: {measured}."
        return f"You said {guess}; it is {measured}. What would have to be true for your answer?"
    said = f"Your guess was {_with_unit(guess, unit)}; it is {_with_unit(measured, unit)}."
    return f"{said} {_how_far(guess, measured)}"


def _how_far(guess: float, measured: float) -> str:
    counted = isinstance(guess, int) and isinstance(measured, int)  # 62 for 63 is one off
    if guess == measured or (not counted and math.isclose(guess, measured, rel_tol=0.02)):
        return "Spot on."
    if min(guess, measured) <= 0:
        return "What did you reckon with, and what else is there?"
    factor = max(guess / measured, measured / guess)
    if factor < 1.25:
        return "That is close."
    words = f"{factor:.1f}" if factor < 10 else f"{factor:,.0f}"
    more = "more" if measured > guess else "less"
    if factor < 2:
        return f"The right size; it is {words} times {more}."
    return f"It is {words} times {more}: a guess that far off teaches most. What did it leave out?"


def _with_unit(value: float, unit: str) -> str:
    number = f"{value:,.0f}" if abs(value) >= 100 or float(value).is_integer() else f"{value:.3g}"
    return f"{number} {unit}".strip()


def _bars(guess: float, measured: float, unit: str):
    figure, axis = new_figure(figsize=(6, 1.4))
    bars = axis.barh(["measured", "your guess"], [measured, guess], color=["#0072B2", "#E69F00"])
    bars[1].set_hatch("//")  # not by colour alone
    axis.bar_label(bars, [_with_unit(measured, unit), _with_unit(guess, unit)], padding=4)
    axis.margins(x=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_xlabel(unit)
    return figure
