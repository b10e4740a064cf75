"""MY_Generator: the article's second class, made fit for real work."""

import concurrent.futures
import functools
import multiprocessing
import os
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
from numpy.typing import ArrayLike

from helpers import arguments
from helpers.generators import order
from helpers.generators.passes import Pass, names_in_fit
from helpers.images import MAX_PIXELS
from helpers.images.batches import BatchRequest, LoadedBatch, load_batch
from helpers.images.packs import PackedNames
from helpers.images.reading import ImageError, printable
from helpers.loading.loaders import choose_loader
from helpers.loading.memory import BatchMemory
from helpers.samples import check_samples

DTYPES = ("float32", "uint8")


class MY_Generator(keras.utils.PyDataset):
    """Batches of image files for ``model.fit``, ``evaluate`` and ``predict``.

    A batch is a function of (seed, epoch, index) and of nothing else: the same bytes come
    with any number of workers, threads or processes, in whatever order they are asked for.
    Every sample comes exactly once an epoch, the short last batch included. An array that
    was handed out, or any slice of it, never changes afterwards.

    Parameters
    ----------
    image_filenames : sequence of str or os.PathLike
        Image files of any kind that `helpers.read_image` reads, grey or colour, of any size.
        A list is copied. The compact forms for many millions are not: a numpy array of
        strings (of the type `numpy.dtypes.StringDType`, or of fixed width), and the names of
        `helpers.load_pack`. Leave such an array as it is.
    labels : sequence
        Numbers, none missing, for each file: an array of shape (files,) or (files, ...). It is
        copied; a `numpy.memmap` is not, and is not searched for NaN.
    batch_size : int
        Images in a batch; the last one of an epoch may have fewer.
    image_size : tuple of int
        Height and width, in pixels, that every image is resized to.
    dtype : {"float32", "uint8"}
        "float32" gives values from 0 to 1, equal to within 1e-5 to
        ``skimage.transform.resize(image, image_size, mode="edge")``; "uint8" gives 0 to
        255, a quarter of the memory, for a model that starts with
        ``keras.layers.Rescaling(1 / 255)``.
    shuffle : bool
        Draw a new order of samples for each epoch. (``fit(shuffle=True)`` only shuffles the
        order of whole batches.)
    seed : int
        Decides the order of samples and the random numbers of `augment`.
    augment : callable, optional
        ``augment(image, rng)`` gets each resized image, of shape (height, width, 3), and a
        `numpy.random.Generator` that depends on (seed, epoch, sample) only; it returns an
        image of the same shape and kind, and may change the one it got. If it draws from
        `random` or `numpy.random` instead, as older code does, these are seeded likewise for
        each call, and put back (unless it drew nothing in its first 100 calls).
    on_error : {"raise", "skip"}
        What to do with a file that cannot be read: raise `helpers.ImageError`, or leave it
        out. Files left out are listed in `skipped` and warned about once an epoch. (A batch
        none of whose files can be read is an error all the same: training on an empty batch
        turns the weights of a BatchNormalization layer into NaN.)
    workers : int
        Threads, or with `use_multiprocessing` processes, that prepare batches ahead of the
        training. 0 and 1 mean none. (Keep to 1 within a ``tf.distribute`` strategy, where
        Keras 3.15 delivers batches twice that its queue held when an epoch ended. On JAX and
        PyTorch, where it does so too, one is what you get, with a warning.)
    use_multiprocessing : bool
        Prepare the batches in `workers` processes, which write them into memory that this
        process shares. They start with the first batch, and end with `close` or a ``with``
        block, with Python, or five seconds after the last batch. A batch whose process dies
        is made again by another. (On Windows threads do it.)
    max_queue_size : int
        Batches that are prepared ahead, at most.
    timeout : float or None
        Seconds after which a batch that a process does not deliver is an error, and the
        process is ended.
    max_pixels : int
        A picture that claims more is refused, before memory is taken for it.
    draft : bool
        Decode a JPEG that is at least four times as high and wide as `image_size` at 1/2, 1/4 or
        1/8 of its size, which is twice `image_size` at least: in a fraction of the time. (The word
        is Pillow's.) What that has blurred is not blurred again; values differ from those of the
        whole picture by less than 1 of 255 on average, in the photographs of the tests.
    executor : concurrent.futures.Executor, optional
        Where to make the batches instead: any executor, such as a Dask cluster's,
        ``client.get_executor()``. It is asked for `workers` batches at a time. What travels
        is each picture at its own size or resized, whichever is smaller.
    shard : tuple of int, optional
        ``(index, count)``: this generator is one of `count`, numbered from 0, which share
        every epoch between them, each on a host of its own. Step by step their batches
        together are the batch of one generator with `count` times the `batch_size`. All get
        the same files, `seed` and `batch_size`, and ``fit(..., shuffle=False)``. In the last
        step shares differ by one image if `count` does not divide the number of files; on JAX,
        where Keras 3.15 would then train on wrong gradients without a word, that is an error.

    Attributes
    ----------
    epoch : int
        Passes over all batches that are complete: 3 after ``fit(epochs=3)``, which trains in the
        orders of the epochs 0, 1 and 2. Set it to go on where an earlier run ended.
    skipped : dict of str to str
        File names that were left out, each with the reason. A file that was mended, and read
        since, is not among them. Without `shuffle`, the rows that ``predict`` returns belong to
        ``[name for name in generator.filenames if name not in generator.skipped]``.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong; the message says what was received.

    Examples
    --------
    >>> train, test = helpers.load_sample()
    >>> generator = MY_Generator(train.filenames, train.labels, 32, shuffle=True)
    >>> model.fit(generator, epochs=3)
    """

    def __init__(
        self,
        image_filenames: Sequence[str | os.PathLike] | np.ndarray,
        labels: ArrayLike,
        batch_size: int,
        *,
        image_size: tuple[int, int] = (200, 200),
        dtype: str = "float32",
        shuffle: bool = False,
        seed: int = 0,
        augment: Callable | None = None,
        on_error: str = "raise",
        workers: int = 1,
        use_multiprocessing: bool = False,
        max_queue_size: int = 10,
        timeout: float | None = 120.0,
        max_pixels: int = MAX_PIXELS,
        draft: bool = False,
        executor: concurrent.futures.Executor | None = None,
        shard: tuple[int, int] | None = None,
    ):
        self.filenames, self.labels = check_samples(image_filenames, labels)
        self.batch_size = arguments.whole_number("batch_size", batch_size, at_least=1)
        self.shard = arguments.shard(shard, len(self.filenames), self.batch_size)
        left_over = len(self.filenames) % self.shard[1]
        if left_over and keras.backend.backend() == "jax":
            raise ValueError(
                f"shard {shard!r} of {len(self.filenames)} files: Keras needs equal shares on JAX; "
                f"leave {left_over} of them out"
            )
        self.image_size = arguments.image_size(image_size)
        self.dtype = arguments.choice("dtype", arguments.dtype_name(dtype), DTYPES)
        self.on_error = arguments.choice("on_error", on_error, ("raise", "skip"))
        self.shuffle = arguments.yes_or_no("shuffle", shuffle)
        self.seed = arguments.whole_number("seed", seed, at_least=0, at_most=2**32 - 1)
        self.augment = arguments.function("augment", augment, "of (image, rng)")
        self.timeout = arguments.seconds("timeout", timeout)
        self.max_pixels = arguments.whole_number("max_pixels", max_pixels, at_least=1)
        self.draft = arguments.yes_or_no("draft", draft)
        self.epoch = 0
        self._first_batch = 0
        self.skipped: dict[str, str] = {}
        self._skipped_this_epoch: set[str] = set()
        self._suspects: dict[str, tuple[str, ...]] = {}
        self._suspected_this_epoch = False
        self._executor = executor
        super().__init__()
        self._begin_anew()
        self.set_workers(workers, use_multiprocessing, max_queue_size)

    def _begin_anew(self) -> None:
        """Make what belongs to one generator, and not to a copy of it."""
        self._pass = Pass()
        # Two orders are kept: at the turn of an epoch, batches of both may be asked for.
        self._order = functools.lru_cache(2)(
            functools.partial(order.epoch_order, self.seed, len(self.filenames))
        )
        self._memory = BatchMemory((self.batch_size, *self.image_size, 3), self.dtype)
        self._close_loader: Callable | None = None

    def __getstate__(self) -> dict:
        """Return all that a copy has in common with this one: it has workers of its own."""
        own = "_pass", "_order", "_memory", "_loader", "_close_loader"
        return {name: value for name, value in vars(self).items() if name not in own}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self.skipped, self._suspects = dict(self.skipped), dict(self._suspects)
        self._skipped_this_epoch = set(self._skipped_this_epoch)
        self._begin_anew()
        self._keep_memory()
        self._use_loader(self._processes)

    # ---- what Keras asks for: epochs, and the batches of the present one -------------------------

    def __len__(self) -> int:
        """Batches in an epoch, the short last one included."""
        return self.batches_per_epoch - self._first_batch

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Batch `index` of the current epoch."""
        index = arguments.whole_number("index", index, at_least=-sys.maxsize)
        batch = self.batch(self.epoch, index + self._first_batch if index >= 0 else index)
        self._pass.ask(index % len(self))
        return batch

    def on_epoch_begin(self) -> None:
        """Note that an epoch began; Keras calls this."""
        if self._pass.begin_epoch() and self.workers > 1:
            steps = (names_in_fit() or {}).get("steps_per_epoch")
            if steps and steps < len(self):
                warnings.warn(
                    f"steps_per_epoch={steps} of {len(self)} batches, with workers={self.workers}: "
                    f"between epochs Keras throws away what its queue holds, so some files come "
                    f"twice and others never. Use helpers.fit_generator(model, ...), or workers=1",
                    stacklevel=2,
                )

    def on_epoch_end(self) -> None:
        """Go on to the next epoch: a new order if `shuffle`, new numbers for `augment`.

        Keras calls this, and not only then. The order stays if batches are left of it, such as
        with ``steps_per_epoch``, until all of them came. It must not wait for `on_epoch_begin`:
        Keras's threads start to prepare the new epoch's batches before they call that.
        """
        is_over = self._pass.end_epoch(len(self))
        if is_over is None:
            return
        self._suspected_this_epoch = False
        if self._skipped_this_epoch:
            self._warn_of_skipped()
        if is_over:
            self.epoch += 1
            self._first_batch = 0
            if self.shuffle:
                self._order(self.epoch)

    def _warn_of_skipped(self) -> None:
        names = [printable(name) for name in sorted(self._skipped_this_epoch)]
        self._skipped_this_epoch.clear()
        more = ", …" if len(names) > 3 else ""
        warnings.warn(
            f"{len(names)} of {len(self.filenames)} files could not be read and were left "
            f"out of epoch {self.epoch}: {', '.join(names[:3])}{more} "
            f"(all, with reasons, in .skipped)",
            stacklevel=3,
        )

    def start_at(self, epoch: int, batch: int = 0) -> None:
        """Go on where an earlier run ended; `helpers.BackupAndResume` calls this.

        Parameters
        ----------
        epoch : int
            What to set `epoch` to.
        batch : int
            Batches of that epoch that were used already. Until the epoch ends, ``len`` and
            ``[]`` are about the others.
        """
        epoch = arguments.whole_number("epoch", epoch, at_least=0)
        most = self.batches_per_epoch - 1
        self._first_batch = arguments.whole_number("batch", batch, at_least=0, at_most=most)
        self.epoch = epoch
        self._pass = Pass()

    # ---- what a batch holds: a function of (seed, epoch, index) ----------------------------------

    @property
    def batches_per_epoch(self) -> int:
        """Batches in a whole epoch, the short last one included."""
        return order.batches_per_epoch(len(self.filenames), self.batch_size, self.shard)

    def batch(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Batch `index` of any epoch.

        Parameters
        ----------
        epoch : int
            Epoch, from 0. Without `shuffle` and `augment` every epoch is the same.
        index : int
            Batch in that epoch, from 0 to ``batches_per_epoch - 1``; negative counts from the
            end.

        Returns
        -------
        images : numpy.ndarray
            Array of shape (images, height, width, 3) and type `dtype`, on a 64-byte boundary.
        labels : numpy.ndarray
            Array of shape (images, ...).

        Raises
        ------
        IndexError
            If there is no such batch.
        ImageError
            If a file cannot be read (with ``on_error="skip"``: if no file of the batch can).
        TimeoutError
            If a process does not deliver the batch within `timeout` seconds.
        RuntimeError
            If `augment` fails, or if three processes die over this batch.
        """
        epoch = arguments.whole_number("epoch", epoch, at_least=0)
        index = arguments.whole_number("index", index, at_least=-sys.maxsize)
        count = self.batches_per_epoch
        if not -count <= index < count:
            raise IndexError(f"batch {index} asked for; there are {count}, 0 to {count - 1}")
        samples = self.samples(epoch, index % count)
        request = self._request(epoch, index % count, samples)
        loaded = self._load(request)
        self._note_files(request, loaded)
        return loaded.images, self.labels[samples[loaded.positions]]

    def _note_files(self, request: BatchRequest, loaded: LoadedBatch) -> None:
        """Note which files were left out or are suspect, and forget those that were mended."""
        suspects: dict[str, tuple[str, ...]] = {}
        for filename, line in loaded.suspects:
            suspects[filename] = (*suspects.get(filename, ()), line)
        if self.skipped or self._suspects:
            for position in loaded.positions:
                filename = request.filenames[position]
                self.skipped.pop(filename, None)
                if filename not in suspects:
                    self._suspects.pop(filename, None)
        for error in loaded.errors:
            self.skipped[error.filename] = error.reason
            self._skipped_this_epoch.add(error.filename)
        new = suspects.keys() - self._suspects.keys()
        self._suspects.update(suspects)
        if new and not self._suspected_this_epoch:
            self._suspected_this_epoch = True
            first = min(new)
            warnings.warn(
                f"{printable(first)} was read, and may be wrong: {suspects[first][0]} "
                f"(further files, if any, in .suspect)",
                stacklevel=2,
            )

    @property
    def suspect(self) -> list[tuple[str, str]]:
        """Files that were read and may be wrong all the same, each with what was noticed.

        Noticed are: lines that libjpeg or libpng write while a process of ours decodes a file (in
        threads they go to the terminal, without its name); markers among the pixels of a JPEG
        that Pillow accepts; 16-bit values so small that the picture comes out nearly black.
        New ones are warned about, once an epoch at most.
        """
        return [(name, line) for name, lines in self._suspects.items() for line in lines]

    def preview(self, epoch: int, index: int) -> Iterator[tuple[str, np.ndarray, object]]:
        """Make a batch image by image, to look at it.

        This thread does it, no worker is started, and nothing is noted in `skipped`.

        Parameters
        ----------
        epoch, index : int
            As for `batch`.

        Yields
        ------
        tuple
            File name, image of shape (height, width, 3) as the model gets it, and label.

        Raises
        ------
        ImageError
            If a file cannot be read (with ``on_error="skip"`` it is left out).
        """
        for sample in self.samples(epoch, index):
            try:
                loaded = load_batch(self._request(epoch, index, np.array([sample])))
            except ImageError:
                if self.on_error == "raise":
                    raise
            else:
                yield os.fspath(self.filenames[sample]), loaded.images[0], self.labels[sample]

    def read(self, filename: str | os.PathLike) -> np.ndarray:
        """Read one picture as the model gets it, without `augment`: to predict from it.

        Parameters
        ----------
        filename : str or os.PathLike
            Any image file, or a picture in a pack.

        Returns
        -------
        numpy.ndarray
            Array of shape (height, width, 3) and type `dtype`.

        Raises
        ------
        ImageError
            If it cannot be read.
        """
        request = self._request(self.epoch, 0, np.array([], int))
        request = request._replace(filenames=[os.fspath(filename)], augment=None, skip_errors=False)
        return load_batch(request).images[0]

    def samples(self, epoch: int, index: int) -> np.ndarray:
        """Which samples are in a batch.

        Parameters
        ----------
        epoch : int
            Epoch, from 0.
        index : int
            Batch in that epoch, from 0.

        Returns
        -------
        numpy.ndarray
            int64 array of shape (images,): positions in the list of files.
        """
        bounds = order.batch_bounds(index, len(self.filenames), self.batch_size, self.shard)
        if self.shuffle:
            return self._order(epoch)[bounds]
        return np.arange(bounds.start, bounds.stop)

    # ---- who makes the batches, and what is asked of them ----------------------------------------

    def set_workers(
        self, workers: int, use_multiprocessing: bool = False, max_queue_size: int = 10
    ):
        """Choose who prepares the batches; the parameters are those of the class.

        Keras itself only ever sees threads. With processes, each of its threads hands its
        batch to one of ours and waits, so the order and the queue stay Keras's own, and
        the attribute ``use_multiprocessing``, which Keras reads, stays False.
        """
        self.workers = arguments.whole_number("workers", workers, at_least=0)
        self.max_queue_size = arguments.whole_number("max_queue_size", max_queue_size, at_least=1)
        processes = arguments.yes_or_no("use_multiprocessing", use_multiprocessing)
        self._keep_memory()
        self._use_loader(self.workers if processes else 0)
        if self.workers > 1 and (reason := _reason_for_one_thread()):
            self.workers = 1
            warnings.warn(f"batches are made one at a time: {reason}", stacklevel=3)

    def _keep_memory(self) -> None:
        # In work, in the queue, and in the hands of Keras, TensorFlow and the training step.
        self._memory.most_kept = self.workers + self.max_queue_size + 4

    def _use_loader(self, processes: int) -> None:
        loader = choose_loader(self._memory, processes, self._executor, self.timeout, self.augment)
        if self._close_loader is not None:
            self._close_loader()
        self._processes = processes
        self._loader = loader
        # Called by the next change, when the generator is garbage (but TensorFlow 2.21 keeps
        # whatever ``fit`` ever read from), and when Python ends.
        self._close_loader = weakref.finalize(self, loader.close)

    def close(self) -> None:
        """End this generator's processes, and give back memory that is kept for batches.

        Batches that are asked for later are made in the thread that asks. Without `close`
        the processes end when no batch was asked for during five seconds, and with Python.
        """
        self._use_loader(processes=0)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def _load(self, request: BatchRequest) -> LoadedBatch:
        return self._loader.load(request)  # a method, for `helpers.Timeline` to look on

    def _request(self, epoch: int, index: int, samples: np.ndarray) -> BatchRequest:
        return BatchRequest(
            filenames=self._filenames(samples),
            image_size=self.image_size,
            dtype=self.dtype,
            augment=self.augment,
            seeds=order.augment_seeds(self.seed, epoch, samples) if self.augment else (),
            skip_errors=self.on_error == "skip",
            max_pixels=self.max_pixels,
            draft=self.draft,
            name=f"batch {index} of epoch {epoch}",
            folder=os.getcwd(),  # noqa: PTH109 - a string, as fast as can be
        )

    def _filenames(self, samples: np.ndarray) -> PackedNames | list[str]:
        if isinstance(self.filenames, PackedNames):
            return self.filenames[samples]
        return [str(os.fspath(self.filenames[sample])) for sample in samples]

    def __repr__(self) -> str:
        height, width = self.image_size
        return (
            f"MY_Generator({len(self.filenames):,} files, {len(self):,} batches of "
            f"{self.batch_size}, {height}×{width}, {self.dtype})"
        )


def _reason_for_one_thread() -> str | None:
    """Why Keras cannot prepare batches in threads of its own, if it cannot."""
    if (backend := keras.backend.backend()) != "tensorflow":
        return (
            f"on {backend}, Keras 3.15 looks at a batch before it trains, and would train twice "
            f"on those that its threads made meanwhile"
        )
    try:
        multiprocessing.Lock()  # as Keras's thread pool will
    except OSError as error:
        return f"Keras cannot start threads ({error}; is /dev/shm full?)"
    return None
