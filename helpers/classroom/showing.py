"""Show a figure together with words for those who do not see it."""

import matplotlib.pyplot as plt
from IPython.display import display
from matplotlib.figure import Figure


def show(figure: Figure, alt_text: str) -> None:
    """Show a figure of your own, with a text that says what is to be seen in it.

    The figures of ``helpers`` bring a text of their own; for these, a last line of a cell will
    do.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    alt_text : str
        What the figure shows, in a sentence or two, for screen readers. It is kept in the
        output's metadata, from where ``jupyter nbconvert --template classic`` takes it.
    """
    figure.set_facecolor("white")  # black letters on a dark theme's ground cannot be read
    display(figure, metadata={"image/png": {"alt": alt_text}})
    plt.close(figure)  # or it is shown once more at the end of the cell
