"""MY_Generator: the article's second class, made fit for real work."""

import concurrent.futures
import copy
import os
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any

import keras
import numpy as np

from helpers import arguments
from helpers.generators import devices
from helpers.generators.epochs import Batch
from helpers.generators.file_notes import FileNotes
from helpers.generators.mixing import mixed
from helpers.generators.order import EpochOrder, Order
from helpers.generators.structures import Columns
from helpers.generators.workers import Workers
from helpers.images import MAX_PIXELS
from helpers.images.batches import load_batch
from helpers.images.reading import ImageError
from helpers.images.recipe import Recipe
from helpers.images.request import BatchRequest, LoadedBatch


class MY_Generator(Workers):
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
        `helpers.load_pack`. Leave such an array as it is. A model of several inputs takes a dict
        or a tuple: ``{"photo": names, "age": ages}`` has numbers beside the picture, and
        ``(left, right)`` two pictures.
    labels : sequence or None
        Numbers, none missing, for each file: an array of shape (files,) or (files, ...). It is
        copied; a `numpy.memmap` is not, and is not searched for NaN. Or `helpers.Masks`; or for
        several outputs a dict, tuple or list of these. None: pictures alone, to predict from.
    batch_size : int
        Images in a batch; the last one of an epoch may have fewer.
    sample_weight : sequence, optional
        Weight of each file in the loss (of a mask, of all its pixels), or, as `labels`, a
        structure of such.
    image_size : tuple of int, or None
        Height and width, in pixels, that every image is resized to. None: each keeps its own, in
        batches of one, or of pictures that have the same.
    dtype : {"float32", "uint8"}
        "float32" gives values from 0 to 1, equal to within 1e-5 to
        ``skimage.transform.resize(image, image_size, mode="edge")``; "uint8" gives 0 to
        255, a quarter of the memory, for a model that starts with
        ``keras.layers.Rescaling(1 / 255)``.
    color_mode : {"rgb", "grayscale", "rgba"} or int
        3, 1 or 4 channels; with `read` any number.
    crop_to_aspect_ratio, pad_to_aspect_ratio : bool
        Cut off, or fill up with `fill_value`, what does not have the shape of `image_size`. With
        neither, a picture is squeezed.
    fill_value : float
        What is filled up with, from 0 to 255.
    interpolation : {"bilinear", "nearest", "area", "bicubic"}
        How a picture is resized; all but "nearest" with antialias when it shrinks.
    read : callable, optional
        ``read(filename)`` returns a picture, an array of shape (height, width) or (height, width,
        channels): for DICOM, ``.npy``, 16 bits, many bands, or files elsewhere. uint8 is scaled
        as `dtype` says; what has another type keeps its values, as float32.
    shuffle : bool
        Draw a new order of samples for each epoch. (``fit(shuffle=True)`` only shuffles the
        order of whole batches.)
    seed : int
        Decides the order of samples and the random numbers of `augment`.
    order : callable, optional
        ``order(epoch, rng)`` returns the positions of an epoch in the list of files, instead of
        `shuffle`: as many in each epoch, some several times if you like. `helpers.balanced_order`
        makes one. "Exactly once" is then: each as often as it says.
    augment : callable, optional
        ``augment(image, rng)`` gets each resized image, of shape (height, width, channels), and a
        `numpy.random.Generator` that depends on (seed, epoch, sample) only; it returns an
        image of the same shape and kind, and may change the one it got. With masks it is
        ``augment(image, masks, rng)`` and returns both. (Several pictures, or masks, of a sample
        are a list.) If it draws from `random` or `numpy.random` instead, as older code does, these
        are seeded likewise for each call, and put back (unless it drew nothing in its first 100
        calls).
    augment_batch : callable, optional
        ``augment_batch(images, targets, rng)`` returns both, changed, for MixUp and such; `rng`
        depends on (seed, epoch, batch) only. It is called here, ahead of the training.
    on_error : {"raise", "skip"}
        What to do with a file that cannot be read: raise `helpers.ImageError`, or leave it
        out. Files left out are listed in `skipped` and warned about once an epoch. (A batch
        none of whose files can be read is an error all the same: training on an empty batch
        turns the weights of a BatchNormalization layer into NaN.)
    workers : int
        Threads, or with `use_multiprocessing` processes, that make batches ahead of the
        training. One thread is one batch ahead; 0 makes none ahead (on TensorFlow, `fit` itself
        asks for one ahead).
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
        since, is not among them. (`helpers.predictions` says which row of what a model predicts
        belongs to which file.)

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
        image_filenames: Any,
        labels: Any,
        batch_size: int,
        *,
        sample_weight: Any = None,
        image_size: tuple[int, int] | None = (200, 200),
        dtype: str = "float32",
        color_mode: str | int = "rgb",
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_value: float = 0,
        interpolation: str = "bilinear",
        read: Callable | None = None,
        shuffle: bool = False,
        seed: int = 0,
        order: Order | None = None,
        augment: Callable | None = None,
        augment_batch: Callable | None = None,
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
        self.recipe = Recipe(
            image_size,
            dtype,
            color_mode,
            crop_to_aspect_ratio,
            pad_to_aspect_ratio,
            fill_value,
            interpolation,
            read,
            max_pixels,
            draft,
        ).checked()
        self._columns = Columns(image_filenames, labels, sample_weight, self.recipe)
        self.filenames = self._columns.filenames
        self._order = EpochOrder(
            len(self.filenames),
            arguments.whole_number("batch_size", batch_size, at_least=1),
            arguments.whole_number("seed", seed, at_least=0, at_most=2**32 - 1),
            arguments.yes_or_no("shuffle", shuffle),
            arguments.function("order", order, "of (epoch, rng)"),
            shard,
            arguments.yes_or_no("drop_last", drop_last),
        )
        devices.check_shares(self._order)
        self.on_error = arguments.choice("on_error", on_error, ("raise", "skip"))
        self.augment = arguments.function("augment", augment, "of (image, rng)")
        what = "of (images, targets, rng)"
        self.augment_batch = arguments.function("augment_batch", augment_batch, what)
        self._notes = FileNotes()
        self._is_for_predictions = False
        super().__init__(executor, arguments.seconds("timeout", timeout))
        self.set_workers(workers, use_multiprocessing, max_queue_size)

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state | {"_notes": copy.deepcopy(state["_notes"])})

    # ---- epochs ----------------------------------------------------------------------------------

    @property
    def batches_per_epoch(self) -> int:
        """Batches in a whole epoch, the short last one included (unless `drop_last`)."""
        return self._order.batches_per_epoch

    def _before_reading(self, epoch: int) -> None:
        devices.check_devices(self._order)
        self._order.prepare(epoch)

    def _order_is_fixed(self) -> bool:
        return self._order.order is None  # it may look at what a callback noted of the last epoch

    def _after_reading(self) -> None:
        if self._is_for_predictions:
            return  # their table says what was left out
        self._notes.end_epoch(self.epoch, len(self.filenames))

    # ---- what a batch holds: a function of (seed, epoch, index) ----------------------------------

    def _make(self, epoch: int, index: int) -> tuple[Batch, BatchRequest, LoadedBatch]:
        samples = self.samples(epoch, index)
        request = self._request(epoch, index, samples)
        loaded = self._read_ahead.loader.load(request)
        x, y, weights = self._columns.batch(samples[loaded.positions], loaded.arrays)
        if self.augment_batch is not None:
            seed = self._order.mixing_seed(epoch, index)
            x, y = mixed(self.augment_batch, x, y, seed, request.name)
        if self._is_for_predictions:
            return (x, y, _reasons(samples, loaded)), request, loaded
        return keras.utils.pack_x_y_sample_weight(x, y, weights), request, loaded

    def _handed_out(self, made: tuple[Batch, BatchRequest, LoadedBatch]) -> Batch:
        batch, request, loaded = made
        self._notes.note(request, loaded)
        return batch

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
            File name, image of shape (height, width, channels) as the model gets it (without
            `augment_batch`), and label: in the structure of `labels`, or None.

        Raises
        ------
        ImageError
            If a file cannot be read (with ``on_error="skip"`` it is left out).
        """
        samples = self.samples(epoch, index)
        request = self._request(epoch, index, samples)
        for number, sample in enumerate(samples):
            try:
                loaded = load_batch(request.only(number))
            except ImageError:
                if self.on_error == "raise":
                    raise
            else:
                _, label, _ = self._columns.batch(np.array([sample]), loaded.arrays)
                if label is not None:
                    label = keras.tree.map_structure(lambda array: array[0], label)
                yield os.fspath(self.filenames[sample]), loaded.images[0], label

    def read(self, filename: str | os.PathLike) -> np.ndarray:
        """Read one picture as the model gets it, without `augment`: to predict from it.

        Parameters
        ----------
        filename : str or os.PathLike
            Any image file, or a picture in a pack.

        Returns
        -------
        numpy.ndarray
            Array of shape (height, width, channels) and type `dtype`.

        Raises
        ------
        ImageError
            If it cannot be read.
        """
        return load_batch(BatchRequest([os.fspath(filename)], self.recipe)).images[0]

    def in_file_order(self) -> "MY_Generator":
        """Return a copy that gives each file once, in their order, unchanged, with its position.

        For `helpers.predictions`. Its batches are (x, positions, reasons): instead of labels come
        the positions of the samples in the list of files, and for the position of each that was
        left out why it was.
        """
        state = self.__getstate__() | {
            "_columns": self._columns.with_positions(),
            "_order": self._order.in_file_order(),
            "_notes": FileNotes(),
            "_is_for_predictions": True,
            "augment": None,
            "augment_batch": None,
            "epoch": 0,
            "_first_batch": 0,
        }
        duplicate = object.__new__(type(self))
        duplicate.__setstate__(state)
        return duplicate

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
        return self._order.samples(epoch, index)

    # ---- what is asked of who makes a batch ------------------------------------------------------

    def _plan(self) -> BatchRequest:
        return self._ask((), (), (), "no batch")

    def _request(self, epoch: int, index: int, samples: np.ndarray) -> BatchRequest:
        pictures, *further = [column.names(samples) for column in self._columns.files]
        seeds = self._order.augment_seeds(epoch, index, samples) if self.augment else ()
        return self._ask(pictures, further, seeds, f"batch {index} of epoch {epoch}")

    def _ask(
        self, pictures: Sequence[str], further: Sequence, seeds: Sequence, name: str
    ) -> BatchRequest:
        return BatchRequest(
            filenames=pictures,
            recipe=self.recipe,
            augment=self.augment,
            seeds=seeds,
            skip_errors=self.on_error == "skip",
            name=name,
            folder=os.getcwd(),  # noqa: PTH109 - a string, as fast as can be
            may_be_empty=self._is_for_predictions,
            companions=further,
            companion_recipes=self._columns.further_recipes,
        )

    # ---- what was passed, and what was noted -----------------------------------------------------

    labels = property(attrgetter("_columns.labels"))
    batch_size = property(attrgetter("_order.batch_size"))
    seed = property(attrgetter("_order.seed"))
    shuffle = property(attrgetter("_order.shuffle"))
    shard = property(attrgetter("_order.shard"))
    skipped = property(attrgetter("_notes.skipped"))

    @property
    def suspect(self) -> list[tuple[str, str]]:
        """Files that were read and may be wrong all the same, each with what was noticed.

        Noticed are: lines that libjpeg or libpng write while a process of ours decodes a file (in
        threads they go to the terminal, without its name); markers among the pixels of a JPEG
        that Pillow accepts; 16-bit values, of which half the bits are lost.
        New ones are warned about, once an epoch at most.
        """
        return self._notes.suspect

    def __repr__(self) -> str:
        size = self.recipe.image_size
        height_and_width = "own sizes" if size is None else f"{size[0]}×{size[1]}"
        return (
            f"MY_Generator({arguments.counted(len(self.filenames), 'file')}, "
            f"{arguments.counted(len(self), 'batch', 'batches')} of {self.batch_size}, "
            f"{height_and_width}, {self.recipe.dtype})"
        )


def _reasons(samples: np.ndarray, loaded: LoadedBatch) -> dict[int, str]:
    """Why samples were left out, by their positions (a name of a file may come several times)."""
    left_out = np.delete(samples, loaded.positions).tolist()
    return {position: error.reason for position, error in zip(left_out, loaded.errors, strict=True)}
