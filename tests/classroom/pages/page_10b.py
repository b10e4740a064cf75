"""Mistakes that are often made in notebook 10b."""

MISTAKES = {
    "10b.1": [
        "def upside_down(image, mask, rng):\n    return image[::-1], mask",
        "def upside_down(image, mask, rng):\n    return image[::-1], mask[::-1]",
        "def upside_down(image, mask, rng):\n"
        "    return (image[:, ::-1], mask[:, ::-1]) if rng.random() < 0.5 else (image, mask)",
        "def upside_down(image, mask, rng):\n    return image[::-1]",
    ],
    "10b.2": [
        "def brightness(image, mask, rng):\n"
        "    factor = rng.uniform(0.7, 1.3)\n"
        "    return np.clip(image * factor, 0, 1).astype(np.float32), mask * factor",
        "def brightness(image, mask, rng):\n"
        "    return (2 * image * rng.uniform(0.7, 1.3)).astype(np.float32), mask",
        "def brightness(image, mask, rng):\n"
        "    return np.clip(image * rng.uniform(0.7, 1.3, image.shape), 0, 1), mask",
        "def brightness(image, mask, rng):\n    return image, mask",
    ],
}
