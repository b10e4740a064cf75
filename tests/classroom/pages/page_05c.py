"""Typical mistakes in the exercises of notebook 05c."""

MISTAKES = {
    "05c.1": ["decoded = 4000 / 224", "decoded = 224**2 / (3000 * 4000)", "decoded = 12e6"],
    "05c.2": [
        """
def draft_of(height, width, size):
    for divisor in (8, 4, 2):
        if min(height, width) / divisor >= size:
            return divisor
    return 1
""",
        """
def draft_of(height, width, size):
    for divisor in (8, 4, 2):
        if height / divisor >= 2 * size:
            return divisor
    return 1
""",
        """
def draft_of(height, width, size):
    for divisor in (2, 4, 8):
        if min(height, width) / divisor >= 2 * size:
            return divisor
    return 1
""",
        """
def draft_of(height, width, size):
    for divisor in (8, 4, 2):
        if min(height, width) / divisor >= 2 * size:
            return divisor
""",
    ],
    "05c.3": [
        """
def pays_after(packing, plain, packed):
    return None if packed >= plain else packing / (plain - packed)
""",
        """
import math
def pays_after(packing, plain, packed):
    return None if packed >= plain else math.ceil(packing / (plain - packed))
""",
        """
def pays_after(packing, plain, packed):
    return None if packed > plain else packing // max(plain - packed, 1e-9) + 1
""",
    ],
}
