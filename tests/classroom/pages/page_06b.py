"""Mistakes that are often made in notebook 06b."""

_UPSIDE_DOWN = "def upside_down(image, rng):\n"
_QUICK_CROP = "import cv2\n\n\ndef quick_crop(image, rng):\n    side = len(image) * 4 // 5\n"
_PLACE = "    row, column = rng.integers(len(image) - side + 1, size=2)\n"
_PART = "    part = image[row : row + side, column : column + side]\n"
_RESIZED = "    return cv2.resize(part, (len(image), len(image)))"

MISTAKES = {
    "06b.1": [
        _UPSIDE_DOWN + "    return image[::-1]",
        _UPSIDE_DOWN + "    return image[:, ::-1] if rng.random() < 0.5 else image",
        _UPSIDE_DOWN + "    return np.rot90(image, 2) if rng.random() < 0.5 else image",
        _UPSIDE_DOWN + "    return image.transpose(1, 0, 2) if rng.random() < 0.5 else image",
        _UPSIDE_DOWN + "    return image[::-1] if np.random.random() < 0.5 else image",
    ],
    "06b.2": [
        "mover = keras.Sequential([layers.RandomCrop(25, 25), layers.Resizing(32, 32)])",
        "mover = keras.Sequential([layers.RandomCrop(25, 25)])",
        "mover = keras.Sequential([layers.RandomFlip('horizontal')])",
        "mover = keras.Sequential([layers.RandomBrightness(0.2, value_range=(0, 1))])",
    ],
    "06b.3": [
        _QUICK_CROP + _PLACE + _PART + "    return part",
        _QUICK_CROP + _PLACE.replace("row, column", "column, row") + _PART + _RESIZED,
        _QUICK_CROP + "    row = column = (len(image) - side) // 2\n" + _PART + _RESIZED,
        _QUICK_CROP + _PLACE + _PART + "    return resize(part, image.shape)",
    ],
}
