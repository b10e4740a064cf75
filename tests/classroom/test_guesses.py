import pytest

from helpers.classroom import compare_guess, guesses


@pytest.fixture
def shown(monkeypatch):
    """Figures that were shown, with their texts."""
    figures = []
    monkeypatch.setattr(guesses, "show", lambda figure, text: figures.append((figure, text)))
    return figures


def test_without_a_guess_nothing_is_shown(capsys, shown):
    compare_guess(..., 63, "batches")
    assert capsys.readouterr().out == "" and shown == []


@pytest.mark.parametrize(
    ("guess", "measured", "words"),
    [
        (63, 63, "Spot on"),
        (63.5, 63, "Spot on"),
        (62, 63, "That is close"),
        (60, 63, "close"),
        (40, 63, "The right size; it is 1.6 times more"),
        (63, 40, "The right size; it is 1.6 times less"),
        (100, 4700, "It is 47 times more"),
        (0, 5, "What did you reckon with"),
        (-1, 5, "What did you reckon with"),
    ],
)
def test_two_numbers_are_compared_in_words_and_in_a_figure(guess, measured, words, capsys, shown):
    compare_guess(guess, measured, "images/s")
    assert words in capsys.readouterr().out
    ((figure, text),) = shown
    assert [bar.get_width() for bar in figure.axes[0].patches] == [measured, guess]
    assert figure.axes[0].get_xlabel() == "images/s"
    assert "your guess" in text and "images/s, and measured" in text


@pytest.mark.parametrize(
    ("guess", "measured", "words"),
    [
        ("A", "a", "Just as you said: a."),
        (True, True, "Just as you said: True."),
        ([0, 1], [0, 1], "Just as you said"),
        ("b", "a", "You said b; it is a."),
        (float("nan"), 3, "You said nan; it is 3."),
    ],
)
def test_what_is_no_number_is_compared_in_words(guess, measured, words, capsys, shown):
    compare_guess(guess, measured)
    assert words in capsys.readouterr().out
    assert shown == []
