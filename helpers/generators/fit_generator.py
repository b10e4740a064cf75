"""Train with the call of 2018, which Keras 3 took away."""

from collections.abc import Sequence

import keras

from helpers import arguments
from helpers.generators.epochs import Epochs
from helpers.generators.my_generator import MY_Generator


def fit_generator(
    model: keras.Model,
    generator: keras.utils.PyDataset,
    steps_per_epoch: int | None = None,
    epochs: int = 1,
    verbose: int | str = 1,
    callbacks: keras.callbacks.Callback | Sequence[keras.callbacks.Callback] | None = None,
    validation_data: keras.utils.PyDataset | None = None,
    validation_steps: int | None = None,
    class_weight: dict[int, float] | None = None,
    max_queue_size: int = 10,
    workers: int | None = None,
    use_multiprocessing: bool = False,
    shuffle: bool = True,
    initial_epoch: int = 0,
) -> keras.callbacks.History:
    """Train as ``model.fit_generator(...)`` did before Keras 3 took it away.

    ``workers``, ``use_multiprocessing`` and ``max_queue_size`` belong to the generator now;
    with ``workers`` given they are set on both generators. An epoch of ``steps_per_epoch``
    steps that does not match ``len(generator)`` goes on where the last one stopped, as it did
    then: every batch comes once before any comes again. (Plain ``fit`` ends every other epoch
    early.)

    Parameters
    ----------
    model : keras.Model
        A compiled model.
    generator : keras.utils.PyDataset
        Batches to train on: a `MY_Generator`, a `CIFAR10Sequence` or one of your own.
    steps_per_epoch : int, optional
        Batches in an epoch; ``len(generator)`` if None.
    validation_data : keras.utils.PyDataset, optional
        Batches to validate on after each epoch.
    validation_steps : int, optional
        How many of them; all if None.
    epochs, verbose, callbacks, class_weight, shuffle, initial_epoch
        As in `keras.Model.fit`.
    max_queue_size, workers, use_multiprocessing
        As in `MY_Generator`; ``workers=None`` leaves the generators as they are.

    Returns
    -------
    keras.callbacks.History
        The losses and metrics of each epoch.
    """
    if workers is not None:
        for sequence in (generator, validation_data):
            _set_workers(sequence, workers, use_multiprocessing, max_queue_size)
    if callbacks is None or isinstance(callbacks, keras.callbacks.Callback):
        callbacks = [callbacks] if callbacks else []
    if steps_per_epoch is not None:
        generator = _fixed_steps(generator, "steps_per_epoch", steps_per_epoch)
        epochs_noted = keras.callbacks.LambdaCallback(generator.start_epoch, generator.finish_epoch)
        callbacks = [*callbacks, epochs_noted]
    if validation_steps is not None and isinstance(validation_data, keras.utils.PyDataset):
        validation_data = _fixed_steps(validation_data, "validation_steps", validation_steps)
        validation_steps = None
    return model.fit(
        generator,
        epochs=epochs,
        verbose=verbose,
        callbacks=callbacks,
        validation_data=validation_data,
        validation_steps=validation_steps,
        class_weight=class_weight,
        shuffle=shuffle,
        initial_epoch=initial_epoch,
    )


def _set_workers(sequence, workers: int, use_multiprocessing: bool, max_queue_size: int) -> None:
    if isinstance(sequence, MY_Generator):
        sequence.set_workers(workers, use_multiprocessing, max_queue_size)
    elif isinstance(sequence, keras.utils.PyDataset):
        sequence.workers = workers
        sequence.use_multiprocessing = use_multiprocessing
        sequence.max_queue_size = max_queue_size


class _FixedSteps(keras.utils.PyDataset):
    """Another sequence's batches, end to end, cut into epochs of `steps` batches."""

    def __init__(self, sequence: keras.utils.PyDataset, steps: int):
        super().__init__(
            workers=sequence.workers,
            use_multiprocessing=sequence.use_multiprocessing,
            max_queue_size=sequence.max_queue_size,
        )
        self.sequence = sequence
        self.steps = steps
        self.first = 0

    def start_epoch(self, epoch: int, logs: dict | None = None) -> None:
        self.first = epoch * self.steps

    def finish_epoch(self, epoch: int, logs: dict | None = None) -> None:
        pass

    def __len__(self):
        return self.steps

    def __getitem__(self, index):
        return self.sequence[(self.first + index) % len(self.sequence)]

    def on_epoch_begin(self):
        self.sequence.on_epoch_begin()

    def on_epoch_end(self):
        self.sequence.on_epoch_end()


class _FixedStepsOfEpochs(_FixedSteps):
    """The same of a generator that knows its epochs, and whose batches are made ahead."""

    def __init__(self, sequence: Epochs, steps: int):
        super().__init__(sequence, steps)
        self.first_epoch = sequence.epoch

    def finish_epoch(self, epoch: int, logs: dict | None = None) -> None:
        """Leave the generator in the epoch after all that were begun."""
        epochs = -(-(epoch + 1) * self.steps // len(self.sequence))
        self.sequence.start_at(self.first_epoch + epochs)

    def __getitem__(self, index):
        return self.sequence.batch(*self._place(index))

    def on_epoch_begin(self):
        self.sequence.expect(self.steps, self._place)

    def _place(self, index: int) -> tuple[int, int]:
        epoch, index = divmod(self.first + index, len(self.sequence))
        return self.first_epoch + epoch, index


def _fixed_steps(sequence: keras.utils.PyDataset, name: str, steps: int) -> _FixedSteps:
    kind = _FixedStepsOfEpochs if isinstance(sequence, Epochs) else _FixedSteps
    return kind(sequence, arguments.whole_number(name, steps, at_least=1))
