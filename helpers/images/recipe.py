"""How a file becomes an array: one object that generators, packs, workers and clusters share."""

import math
from collections.abc import Callable
from typing import NamedTuple

from helpers import arguments
from helpers.images import MAX_PIXELS

DTYPES = ("float32", "uint8")
CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4}
INTERPOLATIONS = ("bilinear", "nearest", "area", "bicubic")


class Recipe(NamedTuple):
    """How a file becomes an array; the names are those of Keras's `image_dataset_from_directory`.

    Attributes
    ----------
    image_size : tuple of int, or None
        Height and width, in pixels, of the array. None: those of the file.
    dtype : {"float32", "uint8"}
        "float32" gives 0 to 1 where a file holds 8 bits a value, "uint8" 0 to 255. What `read`
        returns in another type than uint8 keeps its values, and needs "float32". (Of a mask: any
        type of whole numbers.)
    color_mode : {"rgb", "grayscale", "rgba"} or int
        1, 3 or 4 channels; with `read`, any other number.
    crop_to_aspect_ratio : bool
        Cut off from two opposite edges what does not have the shape of `image_size`.
    pad_to_aspect_ratio : bool
        Add to two opposite edges, instead, what is lacking. With neither, a picture is squeezed.
    fill_value : float
        What padding consists of, in the values of the file: 0 to 255 for 8 bits.
    interpolation : {"bilinear", "nearest", "area", "bicubic"}
        How new pixels come from old ones.
    read : callable or None
        ``read(filename)`` returns an array of shape (height, width) or (height, width, channels):
        instead of decoding the file here.
    max_pixels : int
        A picture that claims more is refused.
    draft : bool
        Decode large JPEGs at a fraction of their size.
    is_mask : bool
        The file holds a whole number for each pixel, which none of this may blend.
    """

    image_size: tuple[int, int] | None = None
    dtype: str = "float32"
    color_mode: str | int = "rgb"
    crop_to_aspect_ratio: bool = False
    pad_to_aspect_ratio: bool = False
    fill_value: float = 0
    interpolation: str = "bilinear"
    read: Callable | None = None
    max_pixels: int = MAX_PIXELS
    draft: bool = False
    is_mask: bool = False

    @property
    def channels(self) -> int:
        """Values of a pixel."""
        return self.color_mode if isinstance(self.color_mode, int) else CHANNELS[self.color_mode]

    def checked(self) -> "Recipe":
        """Return the same with all arguments checked; TypeError or ValueError if one is wrong."""
        size = self.image_size
        switches = {
            name: arguments.yes_or_no(name, getattr(self, name))
            for name in ("crop_to_aspect_ratio", "pad_to_aspect_ratio", "draft")
        }
        if switches["crop_to_aspect_ratio"] and switches["pad_to_aspect_ratio"]:
            raise ValueError("crop_to_aspect_ratio and pad_to_aspect_ratio: pass one of the two")
        if size is None and (on := [name for name, is_on in switches.items() if is_on]):
            raise ValueError(f"{on[0]}=True needs image_size=(height, width); received None")
        return self._replace(
            image_size=None if size is None else arguments.image_size(size),
            dtype=arguments.choice("dtype", arguments.dtype_name(self.dtype), DTYPES),
            color_mode=self._checked_color_mode(),
            fill_value=self._checked_fill_value(),
            interpolation=arguments.choice("interpolation", self.interpolation, INTERPOLATIONS),
            read=arguments.function("read", self.read, "of (filename)"),
            max_pixels=arguments.whole_number("max_pixels", self.max_pixels, at_least=1),
            **switches,
        )

    def _checked_color_mode(self) -> str | int:
        mode = self.color_mode
        if self.read is not None and not isinstance(mode, str):
            return arguments.whole_number("color_mode", mode, at_least=1)
        return arguments.choice("color_mode", str(mode), tuple(CHANNELS))

    def _checked_fill_value(self) -> float:
        if self.read is None:
            return arguments.number("fill_value", self.fill_value, at_most=255)
        return arguments.number("fill_value", self.fill_value, at_least=-math.inf)

    def for_masks(self, dtype: str, fill_value: int, read: Callable | None) -> "Recipe":
        """Return the recipe for masks of the pictures: the same geometry, and no blending."""
        return self._replace(
            dtype=dtype,
            color_mode="grayscale",
            fill_value=fill_value,
            interpolation="nearest",
            read=read,
            draft=False,
            is_mask=True,
        )
