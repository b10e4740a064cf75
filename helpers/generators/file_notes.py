"""What is noted of files while batches are handed out: left out, or read and suspect."""

import warnings

from helpers import arguments
from helpers.images.reading import printable
from helpers.images.request import BatchRequest, LoadedBatch


class FileNotes:
    """Files that were left out, and files that were read and may be wrong all the same.

    Attributes
    ----------
    skipped : dict of str to str
        File names that were left out, each with the reason.
    """

    def __init__(self):
        self.skipped: dict[str, str] = {}
        self._suspects: dict[str, tuple[str, ...]] = {}
        self._skipped_this_epoch: set[str] = set()
        self._suspected_this_epoch = False

    @property
    def suspect(self) -> list[tuple[str, str]]:
        """Files that may be wrong, each with what was noticed."""
        return [(name, line) for name, lines in self._suspects.items() for line in lines]

    def note(self, request: BatchRequest, loaded: LoadedBatch) -> None:
        """Note what became of a batch's files, and forget what was said of those since mended."""
        suspects: dict[str, tuple[str, ...]] = {}
        for filename, line in loaded.suspects:
            suspects[filename] = (*suspects.get(filename, ()), line)
        if self.skipped or self._suspects:
            for names in (request.filenames, *request.companions):
                for position in loaded.positions:
                    self.skipped.pop(names[position], None)
                    if names[position] not in suspects:
                        self._suspects.pop(names[position], None)
        for error in loaded.errors:
            self.skipped[error.filename] = error.reason
            self._skipped_this_epoch.add(error.filename)
        new = suspects.keys() - self._suspects.keys()
        self._suspects.update(suspects)
        if new and not self._suspected_this_epoch:
            self._suspected_this_epoch = True
            first = min(new)
            warnings.warn(
                f"{printable(first)} was read, and may be wrong: {suspects[first][0]} "
                f"(further files, if any, in .suspect)",
                stacklevel=3,
            )

    def end_epoch(self, epoch: int, files: int) -> None:
        """Warn of the files that were left out of an epoch."""
        self._suspected_this_epoch = False
        if not self._skipped_this_epoch:
            return
        names = [printable(name) for name in sorted(self._skipped_this_epoch)]
        self._skipped_this_epoch.clear()
        more = ", …" if len(names) > 3 else ""
        warnings.warn(
            f"{len(names)} of {arguments.counted(files, 'file')} could not be read and "
            f"{'was' if len(names) == 1 else 'were'} left out of epoch {epoch}: "
            f"{', '.join(names[:3])}{more} (all, with reasons, in .skipped)",
            stacklevel=3,
        )
