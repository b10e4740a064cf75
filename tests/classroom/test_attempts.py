"""What is printed of a call that fails, and of one that does not."""

import pytest

from helpers.classroom.attempts import attempt


def fails(message, kind=ValueError):
    raise kind(message)


def test_an_error_is_a_line_with_its_kind_and_message(capsys):
    attempt(fails, "no such batch", kind=KeyError)
    attempt(lambda: fails("first\n  second"))
    attempt(lambda: fails(""))
    assert (
        capsys.readouterr().out
        == "KeyError: 'no such batch'\nValueError: first second\nValueError\n"
    )


def test_a_long_message_is_wrapped_and_whole(capsys):
    attempt(fails, "word " * 50)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) <= 95
    assert " ".join(lines).split() == ["ValueError:", *["word"] * 50]


def test_a_call_that_works_says_so_and_its_arguments_arrive(capsys):
    received = []
    attempt(lambda *arguments, **options: received.append((arguments, options)), 1, 2, three=3)
    assert received == [((1, 2), {"three": 3})]
    assert capsys.readouterr().out == "no error\n"


def test_ctrl_c_is_no_error_to_print():
    with pytest.raises(KeyboardInterrupt):
        attempt(fails, "", kind=KeyboardInterrupt)
