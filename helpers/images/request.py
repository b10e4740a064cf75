"""What is asked of a worker, and what it answers."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from helpers.images.arrays import Layout
from helpers.images.laps import BatchTimes
from helpers.images.reading import ImageError
from helpers.images.recipe import Recipe


class BatchRequest(NamedTuple):
    """All that is needed to make one batch, anywhere: small, and picklable.

    Attributes
    ----------
    filenames : sequence of str
        The image files of this batch: a list, or `PackedNames`.
    recipe : Recipe
        How each becomes an array.
    augment : callable or None
        ``augment(image, rng)``, called for each sample after its files were resized; with masks
        ``augment(image, masks, rng)``.
    seeds : list of tuple of int
        For each sample the seed of the `rng` that `augment` gets.
    skip_errors : bool
        Leave samples out whose files are unreadable, instead of raising.
    name : str
        What messages call this batch.
    folder : str
        Where file names begin that are not absolute: another process, or another machine,
        has a working directory of its own.
    may_be_empty : bool
        With `skip_errors`: a batch without a readable sample is no error.
    companions : sequence of sequence of str
        Further files of the same samples: second pictures, then masks.
    companion_recipes : sequence of Recipe
        How each of these becomes an array.
    """

    filenames: Sequence[str]
    recipe: Recipe
    augment: Callable | None = None
    seeds: Sequence[tuple[int, ...]] = ()
    skip_errors: bool = False
    name: str = "a batch"
    folder: str = ""
    may_be_empty: bool = False
    companions: Sequence[Sequence[str]] = ()
    companion_recipes: Sequence[Recipe] = ()

    @property
    def recipes(self) -> list[Recipe]:
        """How each file of a sample becomes an array."""
        return [self.recipe, *self.companion_recipes]

    @property
    def layout(self) -> Layout:
        """Shape and type of each array, for one sample; none if files keep their own sizes."""
        if (size := self.recipe.image_size) is None:
            return []
        return [((*size, recipe.channels), recipe.dtype) for recipe in self.recipes]

    @property
    def functions(self) -> tuple[Callable | None, ...]:
        """The caller's own functions, which a worker process gets once and not in each request."""
        return (self.augment, *(recipe.read for recipe in self.recipes))

    def only(self, position: int) -> "BatchRequest":
        """Return the request for one of its samples."""
        one = slice(position, position + 1)
        return self._replace(
            filenames=self.filenames[one],
            companions=[names[one] for names in self.companions],
            seeds=self.seeds[one],
        )

    def with_functions(self, functions: Sequence[Callable | None]) -> "BatchRequest":
        """Return the same request with other `functions`."""
        augment, *readers = functions
        recipe, *others = (
            recipe._replace(read=read) for recipe, read in zip(self.recipes, readers, strict=True)
        )
        return self._replace(augment=augment, recipe=recipe, companion_recipes=others)


class LoadedBatch(NamedTuple):
    """A batch as a worker hands it back.

    Attributes
    ----------
    arrays : list of numpy.ndarray
        For each file of a sample an array of shape (readable samples, height, width, channels):
        the pictures first, then masks. Between processes None, if they lie in shared memory; and
        on their way through an executor the pictures are a list (`load_smallest`).
    positions : list of int
        Where in the request's `filenames` each sample comes from.
    errors : list of ImageError
        One for each sample that was left out.
    times : BatchTimes
        Who made the batch, when, and how long each kind of work took.
    suspects : sequence of tuple of str
        Name and remark: files that were read and may be wrong all the same. A file may have
        several remarks.
    heavy_library : str or None
        A large library that `augment` or `read` imported in a worker process.
    """

    arrays: Any
    positions: list[int]
    errors: list[ImageError]
    times: BatchTimes
    suspects: Sequence[tuple[str, str]] = ()
    heavy_library: str | None = None

    @property
    def images(self) -> np.ndarray:
        """The pictures themselves: the first of `arrays`."""
        return self.arrays[0]
