import matplotlib.pyplot as plt

from helpers.classroom import show, showing


def test_a_figure_is_shown_once_on_white_with_its_text(monkeypatch):
    shown = []
    monkeypatch.setattr(showing, "display", lambda figure, **how: shown.append((figure, how)))
    figure, _ = plt.subplots(facecolor="none")
    show(figure, "Nothing yet, on two axes.")
    metadata = {"image/png": {"alt": "Nothing yet, on two axes."}}
    assert shown == [(figure, {"metadata": metadata})]
    assert figure.get_facecolor() == (1, 1, 1, 1)
    assert not plt.fignum_exists(figure.number)
