"""Mistakes that are often made in the exercises of notebook 07."""

MISTAKES = {
    "07.1": [
        "broken = delivered",
        """
generator = MY_Generator(delivered, None, 8, on_error="skip")
with warnings.catch_warnings(record=True):
    generator[0]
broken = list(generator.skipped)
""",
        """
try:
    for _ in MY_Generator(delivered, None, 8):
        pass
except Exception as error:
    broken = str(error).split(":")[0]
""",
        "broken = [str(half)]",
    ],
    "07.2": [
        """
def read_12_bits(filename):
    return cv2.imread(filename)
""",
        """
def read_12_bits(filename):
    return cv2.imread(filename, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH) / 4095
""",
        """
def read_12_bits(filename):
    return cv2.imread(filename, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH).astype(np.uint8)
""",
        """
def read_12_bits(filename):
    return (cv2.imread(filename, cv2.IMREAD_UNCHANGED) // 16).astype(np.uint8)
""",
    ],
    "07.3": [
        """
def take(future, seconds, name):
    return future.result()
""",
        """
def take(future, seconds, name):
    return future.result(timeout=seconds)
""",
        """
def take(future, seconds, name):
    try:
        return future.result(timeout=seconds)
    except Exception:
        raise TimeoutError(f"nothing came: {name}")
""",
        """
def take(future, seconds, name):
    if not future.done():
        raise TimeoutError(name)
    return future.result()
""",
        """
def take(future, seconds, name):
    try:
        return future.result(timeout=seconds)
    except TimeoutError:
        return None
""",
    ],
}
