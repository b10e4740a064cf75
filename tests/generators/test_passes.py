import keras
import pytest

from helpers.generators.passes import Pass, is_before_an_epoch, loops_of_keras, names_in_fit


class Once(keras.utils.PyDataset):
    """Three batches; who asks for them is noted."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return keras.ops.zeros((2, 4)), keras.ops.zeros((2, 4))

    def on_epoch_begin(self):
        self.note("begin")

    def on_epoch_end(self):
        self.note("end")

    def note(self, what):
        names = names_in_fit()
        loops = [frame.f_code.co_name for frame in loops_of_keras()]
        self.calls.append((what, loops, is_before_an_epoch(), names and names["steps_per_epoch"]))


def model():
    layers = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    layers.compile("sgd", "mse")
    return layers


def test_the_calls_of_keras_are_as_this_file_expects_them():
    """With a new Keras that calls otherwise, `Pass` has to be looked at again."""
    data = Once()
    model().fit(data, epochs=2, steps_per_epoch=2, verbose=0)
    assert data.calls == [
        ("end", ["fit"], True, 2),
        *[("begin", ["fit"], False, 2), ("end", ["fit"], False, 2)],  # two steps, and the last one
        *[("begin", ["fit"], False, 2), ("end", ["fit"], False, 2)],
    ]


def test_loops_in_a_callback_are_deeper():
    data, other = Once(), model()

    def read(epoch, logs):
        other.evaluate(data, verbose=0)
        other.predict(data, verbose=0)

    model().fit(Once(), verbose=0, callbacks=[keras.callbacks.LambdaCallback(read)])
    deep = [[loop, "fit"] for loop in ("evaluate", "predict")]
    assert data.calls[0] == ("end", deep[0], True, None)
    assert data.calls[1:] == [
        (what, loops, False, None) for loops in deep for what in ("begin", "end")
    ]


def test_validation_is_no_fit():
    data = Once()
    model().fit(Once(), validation_data=data, steps_per_epoch=2, verbose=0)
    assert data.calls[1:] == [(what, ["evaluate", "fit"], False, None) for what in ("begin", "end")]


def test_an_epoch_that_runs_out_of_data_ends_in_its_fit():
    data = Once()
    with pytest.warns(UserWarning, match="ran out of data"):
        model().fit(data, steps_per_epoch=4, verbose=0)
    assert data.calls[-1] == ("end", ["fit"], False, 4)


def test_a_subclass_that_calls_fit_is_one_call():
    class Mine(keras.Sequential):
        def fit(self, *arguments, **options):
            return super().fit(*arguments, **options)

    layers, data = Mine([keras.Input((4,)), keras.layers.Dense(4)]), Once()
    layers.compile("sgd", "mse")
    layers.fit(data, verbose=0)
    assert [loops for _, loops, _, _ in data.calls] == [["fit"]] * 3


def test_by_hand_there_is_no_call():
    assert loops_of_keras() == []
    assert names_in_fit() is None
    batches = Pass()
    assert batches.end_epoch(5) is True
    assert batches.begin_epoch()
    batches.ask(0)
    assert batches.end_epoch(5) is True


@pytest.mark.parametrize("asked", [0, 1, 2, 3])
def test_a_pass_is_over_when_all_batches_were_asked_for(asked):
    batches, over = Pass(), []

    class Counted(Once):
        def on_epoch_begin(self):
            assert batches.begin_epoch()
            for index in range(asked):
                batches.ask(index)

        def on_epoch_end(self):
            over.append(batches.end_epoch(3))

    model().fit(Counted(), epochs=2, verbose=0)
    assert over == [None, asked == 3, asked == 3]
