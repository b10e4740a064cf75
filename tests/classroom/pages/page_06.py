"""Mistakes that are often made in notebook 06."""

_RNG_OF = "def rng_of(seed, epoch, sample):\n"

MISTAKES = {
    "06.A": [
        _RNG_OF + "    return np.random.default_rng()",
        _RNG_OF + "    return np.random",
        _RNG_OF + "    return np.random.default_rng(seed)",
        _RNG_OF + "    return np.random.default_rng((seed, sample))",
        _RNG_OF + "    return np.random.default_rng(seed + epoch + sample)",
        _RNG_OF + "    return np.random.default_rng(int(f'{seed}{epoch}{sample}'))",
        _RNG_OF + "    np.random.seed((seed, epoch, sample))\n"
        "    return np.random.default_rng(np.random.randint(2**31))",
        "shared = np.random.default_rng(7)\n" + _RNG_OF + "    return shared",
    ],
    "06.1": [
        "one_class = 63",
        "one_class = 54",
        "one_class = sum(len(set(b)) > 1 for b in np.split(train.labels, range(32, 2000, 32)))",
    ],
    "06.2": [
        "rest = order(numbered(shuffle=True), shuffle=False)",
        "rest = order(numbered(shuffle=True), shuffle=True, epochs=4, initial_epoch=2)",
        "rest = order(numbered(), shuffle=False, epochs=4, initial_epoch=2)",
        "rest = order(numbered(shuffle=True), shuffle=False, epochs=4)",
    ],
    "06.3": ["different = 20_000", "different = 2_000", "different = 10"],
}
