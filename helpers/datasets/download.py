"""Download the archive of CIFAR-10: go on where it broke off, and verify it."""

import hashlib
import time

import requests
from tqdm import tqdm

from helpers.datasets.writing import size_of, unfinished


def download(url, archive, sha256, *, tries=4, wait=1.0, timeout=(10.0, 60.0)):
    """Download `url` to the file `archive`, unless it is there, and verify its hash.

    Until it is whole and verified its name ends in ``.part``; the next try or the next call asks
    the server for the rest only.

    Parameters
    ----------
    url : str
    archive : Path
    sha256 : str
        What the file's SHA-256 must be, in hexadecimal digits.
    tries : int
        Give up after so many tries in a row that brought nothing new.
    wait : float
        Seconds before the second try; doubled before each further one.
    timeout : tuple of float
        Seconds to wait for a connection, and for the next bytes to arrive.

    Raises
    ------
    ConnectionError
        If the download failed `tries` times, or the server refuses it.
    ValueError
        If the hash is wrong. What was downloaded is removed then; a file that lay there before
        is left alone.
    """
    if archive.exists():
        received = _sha256(archive)
        if received != sha256:
            raise ValueError(
                f"{archive} is not the expected file: its SHA-256 is {received}, expected {sha256}."
                " Delete it to download it anew, or put the right file there."
            )
        return
    part = unfinished(archive, ".part")
    try:
        _fetch(url, part, tries, wait, timeout)
    except requests.RequestException as error:
        raise ConnectionError(
            f"Could not download {url}: {error}\nCall again to go on from the {size_of(part):,}"
            " bytes that have arrived; or pass url= of a mirror; or get the file in another way and"
            f" put it at {archive}. Without a network, use load_sample()."
        ) from error
    received = _sha256(part)
    if received != sha256:
        part.unlink()
        raise ValueError(
            f"{url} is not the expected file: its SHA-256 is {received}, expected {sha256}. It was"
            " removed. Call again in case it was damaged on its way; if that does not help, pass"
            " url= of another mirror."
        )
    part.replace(archive)


def _fetch(url, part, tries, wait, timeout):
    failures, most = 0, size_of(part)
    with tqdm(desc="Downloading CIFAR-10", unit="B", unit_scale=True) as bar:
        while True:
            try:
                return _fetch_rest(url, part, timeout, bar)
            except requests.RequestException as error:
                # A line that breaks often but gets further each time will arrive in the end.
                failures = 1 if size_of(part) > most else failures + 1
                most = max(most, size_of(part))
                if failures >= tries or not _may_pass(error):
                    raise
            pause = wait * 2 ** (failures - 1)
            bar.set_postfix_str(f"broken off, next try in {pause:.0f} s")
            time.sleep(pause)
            bar.set_postfix_str("")


def _may_pass(error):
    """Whether the same request may succeed a little later."""
    if isinstance(error, requests.HTTPError):
        return error.response.status_code in (408, 429) or error.response.status_code >= 500
    passing = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return isinstance(error, passing)


def _fetch_rest(url, part, timeout, bar):
    """Ask for what `part` lacks and append it (HTTP range requests: RFC 9110, section 14)."""
    start = size_of(part)
    headers = {"Accept-Encoding": "identity"}  # the file's own bytes, not compressed once more
    if start:
        headers["Range"] = f"bytes={start}-"
    with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
        content_range = response.headers.get("Content-Range", "")
        if response.status_code == 416 and content_range == f"bytes */{start}":
            return  # there is nothing after `start`: we have it all
        starts_elsewhere = not content_range.startswith(f"bytes {start}-")
        if response.status_code == 416 or (response.status_code == 206 and starts_elsewhere):
            part.unlink(missing_ok=True)
            raise requests.ConnectionError("the server sent another part than was asked for")
        response.raise_for_status()
        if response.status_code == 206:
            total = content_range.rpartition("/")[2]
        else:  # the server ignores Range and sends all of it again
            start, total = 0, response.headers.get("Content-Length", "")
        total = int(total) if total.isdigit() else None
        bar.reset(total)
        bar.initial = bar.n = start
        with part.open("ab" if start else "wb") as file:
            for chunk in response.iter_content(chunk_size=65_536):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and size_of(part) < total:
        raise requests.ConnectionError(f"the server sent {size_of(part):,} of {total:,} bytes")


def _sha256(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
