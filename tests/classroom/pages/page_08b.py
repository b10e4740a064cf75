"""Mistakes that are often made in notebook 08b."""

MISTAKES = {
    "08b.1": [
        'small = pack(test, place / "own-size.pack")',
        'small = pack(train, place / "train-16.pack", image_size=(16, 16))',
        "small = test",
        'small = place / "test-16.pack"',
    ],
    "08b.2": [
        """
def faster(file_kb, file_ms, pack_kb, pack_ms, disk):
    return "pack" if pack_ms < file_ms else "files"
""",
        """
def faster(file_kb, file_ms, pack_kb, pack_ms, disk):
    return "pack" if pack_kb < file_kb else "files"
""",
        """
def faster(file_kb, file_ms, pack_kb, pack_ms, disk):
    return "pack" if pack_kb / disk < file_kb / disk else "files"
""",
        """
def faster(file_kb, file_ms, pack_kb, pack_ms, disk):
    from_file, from_pack = file_kb / disk / 1e3 + file_ms, pack_kb / disk / 1e3 + pack_ms
    return "pack" if from_pack < from_file else "files"
""",
        """
def faster(file_kb, file_ms, pack_kb, pack_ms, disk):
    return pack_kb / disk + pack_ms < file_kb / disk + file_ms
""",
    ],
    "08b.3": [
        """
def find_damaged(names):
    try:
        for name in names:
            read_image(name)
    except ImageError:
        return [name]
    return []
""",
        """
def find_damaged(names):
    for name in names:
        read_image(name)
    return []
""",
        """
def find_damaged(names):
    damaged = 0
    for name in names:
        try:
            read_image(name)
        except ImageError:
            damaged += 1
    return damaged
""",
        """
def find_damaged(names):
    damaged = []
    for name in names:
        try:
            read_image(name)
            damaged.append(name)
        except ImageError:
            pass
    return damaged
""",
    ],
}
