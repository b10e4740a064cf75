"""MY_Generator: the article's second class, made fit for real work."""

import concurrent.futures
import copy
import functools
import os
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
from numpy.typing import ArrayLike

from helpers import arguments
from helpers.generators import order
from helpers.generators.epochs import Batch, Epochs
from helpers.generators.passes import HELD_BY_TENSORFLOW, Pass
from helpers.images import MAX_PIXELS
from helpers.images.batches import BatchRequest, LoadedBatch, load_batch
from helpers.images.packs import PackedNames
from helpers.images.reading import ImageError, printable
from helpers.loading.loaders import ProcessLoader, choose_loader
from helpers.loading.memory import BatchMemory
from helpers.loading.read_ahead import ReadAhead
from helpers.samples import check_samples

DTYPES = ("float32", "uint8")


class MY_Generator(Epochs):
    """Batches of image files for ``model.fit``, ``evaluate``, ``predict``, or a loop of your own.

    A batch is a function of (seed, epoch, index) and of nothing else: the same bytes come
    with any number of workers, threads or processes, in whatever order they are asked for.
    Every sample comes exactly once an epoch, the short last batch included. An array that
    was handed out, or any slice of it, never changes afterwards.

    While a batch is used, the next ones are made, on TensorFlow, JAX and PyTorch alike, in the
    order in which Keras is going to ask for them, or a ``for`` loop does.

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
        Threads, or with `use_multiprocessing` processes, that make batches ahead of the
        training. One thread is one batch ahead; 0 makes none ahead.
    use_multiprocessing : bool
        Have `workers` processes make the batches, which write them into memory that this
        process shares. They start with the first batch, and end with `close` or a ``with``
        block, with Python, or when for five seconds nobody reads. A batch whose process dies
        is made again by another. (On Windows threads do it.)
    max_queue_size : int
        Batches that are ready or in work, besides the one that is asked for, at most; so many
        workers, and one more, can be busy.
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
    drop_last : bool
        Leave out the last batch of an epoch if it is short (with `shuffle`, other samples each
        time); ``len`` does not count it. The devices of a `keras.distribution.DataParallel` need
        batches that they can share evenly.

    Attributes
    ----------
    epoch : int
        Passes over all batches that are complete: 3 after ``fit(epochs=3)``, which trains in the
        orders of the epochs 0, 1 and 2, or after three ``for`` loops. The next ``fit`` goes on
        from there; in a new program, ``fit(initial_epoch=3)`` or `start_at` does. What reads in a
        callback of ``fit``, or validates, does not count.
    workers : int
        1, whatever was asked for: it is what Keras looks at. `set_workers` changes who works.
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

    >>> for images, labels in generator:  # a training loop of your own
    ...     model.train_on_batch(images, labels)
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
        drop_last: bool = False,
    ):
        self.filenames, self.labels = check_samples(image_filenames, labels)
        self.batch_size = arguments.whole_number("batch_size", batch_size, at_least=1)
        self.shard = arguments.shard(shard, len(self.filenames), self.batch_size)
        self.drop_last = arguments.yes_or_no("drop_last", drop_last)
        left_over = len(self.filenames) % self.shard[1]
        if left_over and not drop_last and keras.backend.backend() == "jax":
            raise ValueError(
                f"shard {shard!r} of {len(self.filenames)} files: Keras needs equal shares on JAX; "
                f"leave {left_over} of them out, or pass drop_last=True"
            )
        if not self.batches_per_epoch:
            raise ValueError(
                f"drop_last=True leaves nothing: {len(self.filenames)} files do not fill a batch "
                f"of {self.batch_size * self.shard[1]}"
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
        self._close_workers: Callable | None = None

    def __getstate__(self) -> dict:
        """Return all that a copy has in common with this one: it has workers of its own."""
        own = "_pass", "_order", "_memory", "_read_ahead", "_close_workers"
        return {name: value for name, value in vars(self).items() if name not in own}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self.skipped, self._suspects = dict(self.skipped), dict(self._suspects)
        self._skipped_this_epoch = set(self._skipped_this_epoch)
        self._begin_anew()
        self._use_workers(*self._settings)

    def __deepcopy__(self, memo: dict):
        memo[id(self._executor)] = self._executor  # it is the caller's, and can seldom be copied
        duplicate = memo[id(self)] = object.__new__(type(self))
        duplicate.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return duplicate

    # ---- epochs ----------------------------------------------------------------------------------

    @property
    def batches_per_epoch(self) -> int:
        """Batches in a whole epoch, the short last one included (unless `drop_last`)."""
        files = len(self.filenames)
        return order.batches_per_epoch(files, self.batch_size, self.shard, self.drop_last)

    def _before_reading(self, epoch: int) -> None:
        self._check_devices()
        if self.shuffle:
            self._order(epoch)  # once, and not in several threads at the same time

    def _draws_here(self) -> bool:
        # An executor may: Dask does, to choose a worker. And what `augment` draws from `random` is
        # repeatable, see `helpers.images.augmenting`.
        may_draw = self.augment is not None or self._executor is not None
        return may_draw and not isinstance(self._read_ahead.loader, ProcessLoader)

    def _after_reading(self) -> None:
        self._suspected_this_epoch = False
        if self._skipped_this_epoch:
            self._warn_of_skipped()

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

    def _check_devices(self) -> None:
        """Refuse batches that the devices of a distribution cannot share evenly."""
        if (distribution := keras.distribution.distribution()) is None:
            return
        mesh = distribution.device_mesh
        devices = dict(zip(mesh.axis_names, mesh.shape, strict=True))[distribution.batch_dim_name]
        here = max(devices // distribution.num_processes, 1)
        sizes = len(self.samples(0, 0)), len(self.samples(0, self.batches_per_epoch - 1))
        if sizes[0] % here:
            raise ValueError(f"batch_size {self.batch_size} is no multiple of {here} devices")
        if sizes[1] % here:
            raise ValueError(
                f"the last batch of an epoch has {sizes[1]} images, which {here} devices cannot "
                f"share evenly: pass drop_last=True to leave it out, or take another batch_size"
            )

    # ---- what a batch holds: a function of (seed, epoch, index) ----------------------------------

    def _make(self, epoch: int, index: int) -> tuple[np.ndarray, BatchRequest, LoadedBatch]:
        samples = self.samples(epoch, index)
        request = self._request(epoch, index, samples)
        return samples, request, self._read_ahead.loader.load(request)

    def _handed_out(self, made: tuple[np.ndarray, BatchRequest, LoadedBatch]) -> Batch:
        samples, request, loaded = made
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
        files, steps = len(self.filenames), self.batches_per_epoch
        bounds = order.batch_bounds(index, steps, files, self.batch_size, self.shard)
        if self.shuffle:
            return self._order(epoch)[bounds]
        return np.arange(bounds.start, bounds.stop)

    # ---- who makes the batches, and what is asked of them ----------------------------------------

    def set_workers(
        self, workers: int, use_multiprocessing: bool = False, max_queue_size: int = 10
    ):
        """Choose who makes the batches ahead; the parameters are those of the class."""
        workers = arguments.whole_number("workers", workers, at_least=0)
        queue = arguments.whole_number("max_queue_size", max_queue_size, at_least=1)
        processes = arguments.yes_or_no("use_multiprocessing", use_multiprocessing)
        self._use_workers(workers, processes, queue)

    @property
    def max_queue_size(self) -> int:
        """Batches that are ready or in work, besides the one that is asked for, at most."""
        return self._settings[2]

    @max_queue_size.setter
    def max_queue_size(self, max_queue_size: int) -> None:
        self.set_workers(*self._settings[:2], max_queue_size)

    def _use_workers(self, workers: int, processes: bool, queue: int) -> None:
        alone = workers == 1 and not processes and self._executor is None
        ahead = 1 if alone else queue
        # Ready or in work, asked for, with TensorFlow, and in the hands of the training step.
        self._memory.most_kept = ahead + 1 + HELD_BY_TENSORFLOW + 1
        count = workers if processes else 0
        loader = choose_loader(self._memory, count, self._executor, self.timeout, self.augment)
        if self._close_workers is not None:
            self._close_workers()
        self._settings = workers, processes, queue
        self._read_ahead = ReadAhead(loader, workers, ahead)
        # Called by the next change, when the generator is garbage (but TensorFlow 2.21 keeps
        # whatever ``fit`` ever read from), and when Python ends.
        self._close_workers = weakref.finalize(self, self._read_ahead.close)

    def close(self) -> None:
        """End this generator's threads and processes, and give back what they hold.

        Batches that are asked for later are made in the thread that asks. Without `close`
        they end when for five seconds nobody reads, and with Python.
        """
        self._use_workers(0, False, self.max_queue_size)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

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
