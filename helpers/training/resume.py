"""Go on with a training that was interrupted, from the very batch that came next."""

import os
import weakref
from pathlib import Path

import h5py
import keras

from helpers.generators.my_generator import MY_Generator
from helpers.generators.passes import names_in_fit

POSITION = "position"
"""Name of the group, in the backup, of all that Keras does not save with the weights."""


class BackupAndResume(keras.callbacks.Callback):
    """Back up a training with `MY_Generator`, and go on with it in the next ``fit``.

    Pass it to ``fit`` in the same script, before and after the interruption. The second
    ``fit`` begins with the weights, the optimizer and the random states of the backup, in its
    epoch, with the batch that came next: no sample is left out, none comes twice, and the
    weights become those of a training that was never interrupted. When ``fit`` ends, the
    backup is deleted.

    `keras.callbacks.BackupAndRestore` of Keras 3.15 begins the interrupted epoch again, loses
    count when a training is interrupted twice, and may be left with half a file if it is
    interrupted while saving. Here weights and position are one file, which replaces the last
    one in one step.

    Of several trainers, which share epochs by ``shard=``, the first one writes the backup and
    all read it: `backup_dir` is a folder that all of them see.

    Parameters
    ----------
    backup_dir : str or os.PathLike
        Folder for the backup, of this training only. It is made if it is missing.
    generator : MY_Generator
        What ``fit`` trains on.
    save_freq : "epoch" or int
        Save after every epoch; with a number also after every so many batches of an epoch,
        for which ``fit`` needs ``shuffle=False``.

    Raises
    ------
    ValueError
        By ``fit``, if it trains on something else, or the backup is of another training.

    Examples
    --------
    >>> generator = MY_Generator(files.filenames, files.labels, 32, shuffle=True)
    >>> backup = BackupAndResume("backup", generator, save_freq=100)
    >>> model.fit(generator, epochs=10, shuffle=False, callbacks=[backup])
    """

    def __init__(
        self, backup_dir: str | os.PathLike, generator: MY_Generator, save_freq: str | int = "epoch"
    ):
        super().__init__()
        if save_freq != "epoch" and (type(save_freq) is not int or save_freq < 1):
            raise ValueError(
                f'save_freq must be "epoch" or a number of batches of at least 1; '
                f"received {save_freq!r}"
            )
        self.path = Path(backup_dir) / "latest.weights.h5"
        self.generator = generator
        self.save_freq = save_freq
        self._first_batch = self._batches_done = 0

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Load the backup, if there is one; Keras calls this."""
        # Looked up once, before fit has an iterator of TensorFlow's; see `passes.Loop`.
        fit = _names_in_fit()
        self._check(fit)
        self._epoch_iterator = weakref.ref(fit["epoch_iterator"])
        epoch, self._first_batch = None, 0
        if self.path.exists():
            epoch, self._first_batch, generator_epoch = self._load()
            self.generator.start_at(generator_epoch, self._first_batch)
        self._set_position(epoch, len(self.generator))

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Note where the epoch begins; Keras calls this."""
        self._epoch, self._batches_done = epoch, self._first_batch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Save if it is time to; Keras calls this."""
        before, self._batches_done = self._batches_done, self._first_batch + batch + 1
        # The last batch's turn comes at the end of the epoch, after the validation.
        last = self._batches_done >= self.generator.batches_per_epoch
        if last or isinstance(self.save_freq, str):
            return
        # With steps_per_execution several batches end at once.
        if self._batches_done // self.save_freq > before // self.save_freq:
            self._save(self._epoch, self._batches_done)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Save; Keras calls this."""
        self._first_batch = 0
        self._set_position(None, self.generator.batches_per_epoch)
        self._save(epoch + 1, 0)

    def on_train_end(self, logs: dict | None = None) -> None:
        """Delete the backup; Keras calls this."""
        self._set_position(None, self.generator.batches_per_epoch)
        if self._is_first_trainer():
            self.path.unlink(missing_ok=True)

    def _check(self, fit: dict) -> None:
        """Batches are counted: they must be the generator's, in its own order."""
        if fit["x"] is not self.generator:
            raise ValueError(
                f"fit trains on {fit['x']!r}, and BackupAndResume got {self.generator!r}: "
                f"pass the same generator to both"
            )
        if fit["steps_per_epoch"] is not None:
            raise ValueError(
                f"steps_per_epoch={fit['steps_per_epoch']} makes epochs that are not the "
                f"generator's; leave it out"
            )
        if fit["shuffle"] and self.save_freq != "epoch":
            raise ValueError(
                f"save_freq={self.save_freq} needs fit(..., shuffle=False), or Keras takes the "
                f"batches in an order of its own; MY_Generator(..., shuffle=True) draws a new "
                f"order of samples for each epoch"
            )

    def _set_position(self, epoch: int | None, batches: int) -> None:
        """Tell the running ``fit`` in which epoch to begin, and how many batches an epoch has.

        Keras 3.15 has no public way; its own BackupAndRestore sets the first of these. Without
        the second the epoch would end by running out of data, and on TensorFlow the step that
        finds no data counts in ``optimizer.iterations`` all the same.
        """
        self.model._initial_epoch = epoch
        if (iterator := self._epoch_iterator()) is not None:
            iterator._num_batches = batches

    def _is_first_trainer(self) -> bool:
        return self.generator.shard[0] == 0

    def _training(self) -> dict[str, int]:
        """Return what a training must have in common with its backup."""
        generator = self.generator
        return {
            "files": len(generator.filenames),
            "images in a step": generator.batch_size * generator.shard[1],
            "seed": generator.seed,
        }

    def _random_states(self) -> list[keras.Variable]:
        """Return what Keras leaves out of the weights: the state of Dropout layers and such."""
        weights = {id(variable) for variable in self.model.weights}
        return [v for v in self.model.non_trainable_variables if id(v) not in weights]

    def _save(self, epoch: int, batch: int) -> None:
        """Replace the backup by one that goes on with batch `batch` of Keras's epoch `epoch`."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_name(f"unfinished-{self.generator.shard[0]}.weights.h5")
        self.model.save_weights(unfinished, overwrite=True)
        with h5py.File(unfinished, "a") as file:
            position = file.create_group(POSITION)
            position.attrs["at"] = epoch, batch, self.generator.epoch
            position.attrs.update(self._training())
            for number, state in enumerate(self._random_states()):
                position[str(number)] = keras.ops.convert_to_numpy(state)
        # All trainers save, since Keras on JAX has them talk while it saves; one file counts.
        if self._is_first_trainer():
            unfinished.replace(self.path)
        else:
            unfinished.unlink()

    def _load(self) -> tuple[int, int, int]:
        """Load the backup; Keras's epoch, the batch, and the generator's epoch."""
        if not self.model.built:
            raise ValueError("the model has no weights yet: begin it with keras.Input(...)")
        optimizer = self.model.optimizer
        if not optimizer.built:
            optimizer.build(self.model.trainable_variables)
        try:
            with h5py.File(self.path) as file:
                position = file[POSITION]
                saved = {name: int(position.attrs[name]) for name in self._training()}
                epoch, batch, generator_epoch = map(int, position.attrs["at"])
                states = [position[str(number)][...] for number in range(len(position))]
            self.model.load_weights(self.path)
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(
                f"{self.path} is damaged or the backup of another model ({error}); "
                f"delete it to begin again"
            ) from error
        if saved != self._training():
            raise ValueError(
                f"{self.path} is the backup of another training: it has {saved}, this one "
                f"{self._training()}; use the same, or delete it to begin again"
            )
        for variable, state in zip(self._random_states(), states, strict=True):
            variable.assign(state)
        return epoch, batch, generator_epoch


def _names_in_fit() -> dict:
    """Arguments and variables of the ``fit`` that calls a callback, which is not told them."""
    names = names_in_fit()
    if names is None:
        raise RuntimeError("BackupAndResume works in fit only")
    return names
