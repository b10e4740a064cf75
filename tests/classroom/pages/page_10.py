"""Mistakes that are often made in notebook 10."""

MISTAKES = {
    "10.A": [
        "def broken_files(files):\n    return [name for name in files.filenames]",
        "def broken_files(files):\n"
        "    generator = MY_Generator(files.filenames, files.labels, 32, on_error='skip')\n"
        "    generator[0]\n"
        "    return generator.skipped",
        "def broken_files(files):\n"
        "    generator = MY_Generator(files.filenames, files.labels, 32)\n"
        "    for _ in generator: pass\n"
        "    return generator.skipped",
    ],
    "10.B": [
        "def recall_of_each_class(table):\n"
        "    return (table['label'] == table['prediction']).mean()",
        "def recall_of_each_class(table):\n"
        "    return (table['label'] == table['prediction']).groupby(table['prediction']).mean()",
        "def recall_of_each_class(table):\n"
        "    return (table['label'] == table['prediction']).groupby(table['label']).sum()",
    ],
    "10.C": [
        "def by_opencv(image, rng):\n    return by_skimage(image, rng)",
        "def by_opencv(image, rng):\n    return image",
        "def by_opencv(image, rng):\n"
        "    turn = cv2.getRotationMatrix2D((32, 20), rng.uniform(-15, 15), 1)\n"
        "    return cv2.warpAffine(image, turn, image.shape[:2])",
        "def by_opencv(image, rng):\n"
        "    degrees = np.random.default_rng().uniform(-15, 15)\n"
        "    turn = cv2.getRotationMatrix2D((32, 20), degrees, 1)\n"
        "    return cv2.warpAffine(image, turn, image.shape[1::-1])",
        "def by_opencv(image, rng):\n    return (255 * image[::-1]).astype('uint8')",
    ],
    "10.1": [
        "from_table = files.filenames",
        "from helpers import load_table\n"
        "rows = pd.DataFrame({'filename': files.filenames, 'class': files.labels})\n"
        "from_table = load_table(rows)",
        "from helpers import load_table\n"
        "rows = pd.DataFrame({'filename': files.filenames, 'class': 'cat'})\n"
        "from_table = load_table(rows[:10])",
    ],
    "10.2": [
        "weights = np.bincount(train.labels)",
        "weights = (1 / np.bincount(train.labels))[train.labels]",
        "weights = np.where(train.labels == 1, 2.0, 1.0)",
    ],
}
