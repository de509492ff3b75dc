"""What lies behind an address: s3://, gs://, hf://, https:// and whatever else fsspec opens.

Each protocol has its own package, which fsspec imports when an address asks for it.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from cfamc_zoo.embedding.items import Images, Item, failed, nanoseconds, printable
from cfamc_zoo.errors import DataError, UnknownNameError, UsageError, first_line
from cfamc_zoo.folders import NO_SUFFIX, image_suffixes, is_passed_over, suffix_of

ADDRESS = re.compile(r"(?P<protocol>[A-Za-z][A-Za-z0-9+.-]+)://")
SILENCE = 30  # seconds without a byte after which a server is given up
DEADLINE = 120  # seconds for one image
WEB = ("http", "https")
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
PAGES = (b"<!doctype html", b"<html")
MODIFIED = ("LastModified", "mtime", "updated")  # what file systems call it
TALKATIVE = ("gcsfs", "s3fs", "fsspec")  # loggers
KEPT = 1000  # warnings that are known again


def is_url(text: str) -> bool:
    """Whether a text is an address; "file://" is one too."""
    return ADDRESS.match(text) is not None


def path_in(url: str) -> str:
    """An address without what asks for a version of the file or a place in it."""
    return re.split(r"[?#]", url, maxsplit=1)[0] if protocol_of(url) in WEB else url


def protocol_of(url: str) -> str:
    found = ADDRESS.match(url)
    return found["protocol"].lower() if found else "file"


class _Once(logging.Filter):
    """Passes a warning once: gcsfs, without a key, has the same one for every file."""

    def __init__(self) -> None:
        super().__init__()
        self.said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        new = text not in self.said
        if len(self.said) < KEPT:
            self.said.add(text)
        return new


_once = _Once()


@lru_cache(maxsize=16)
def file_system(protocol: str) -> Any:
    """fsspec's file system of a protocol.

    Raises:
        UnknownNameError: there is no such protocol.
        UsageError: its package is not installed, or refuses.
    """
    import fsspec
    from fsspec.registry import known_implementations

    for name in TALKATIVE:
        logging.getLogger(name).addFilter(_once)
    try:
        if protocol in WEB:
            import aiohttp

            patience = aiohttp.ClientTimeout(total=None, sock_connect=SILENCE, sock_read=SILENCE)
            return fsspec.filesystem(protocol, client_kwargs={"timeout": patience})
        # Listings are gone through once; kept, those of large buckets would fill the memory.
        return fsspec.filesystem(protocol, use_listings_cache=False)
    except ImportError as error:
        said = known_implementations.get(protocol, {}).get("err", first_line(error))
        extra = EXTRAS.get(protocol)
        remedy = f"pip install 'cfamc-zoo[{extra}]'" if extra else said
        raise UsageError(f"{protocol}:// needs a package that is not here; {remedy}") from error
    except ValueError as error:
        if protocol not in known_implementations:
            raise UnknownNameError("protocol", protocol, known_implementations) from error
        raise UsageError(f"{protocol}:// cannot be opened: {first_line(error)}") from error
    except Exception as error:
        raise UsageError(f"{protocol}:// cannot be opened: {first_line(error)}") from error


def open_place(place: str) -> Any:
    """A local file, or what an address names, opened for reading, without a buffer.

    Raises:
        UsageError: as `file_system`. What its package raises: it cannot be opened.
    """
    if is_url(place):
        return file_system(protocol_of(place)).open(place, "rb")
    return open(place, "rb", buffering=0)


@dataclass(frozen=True)
class Stamp:
    """What tells a local file from one that takes its name later; of an address, nothing."""

    modified: int | None = None  # nanoseconds since 1970
    size: int | None = None
    number: tuple[int, int] | None = None


def stamp_of(place: str) -> Stamp:
    """The stamp of a place as it is now."""
    if is_url(place):
        return Stamp()
    try:
        found = os.stat(place)  # noqa: PTH116
    except OSError:
        return Stamp()
    return Stamp(found.st_mtime_ns, found.st_size, (found.st_dev, found.st_ino))


@contextmanager
def data_errors(
    place: str, damage: tuple[type[Exception], ...], said: str = "{}"
) -> Iterator[None]:
    """Turns what reading a place raises into DataError.

    Args:
        damage: what the reader raises on files here. Behind an address it is anything: each
            package has errors of its own (aiohttp's, botocore's, gcsfs's), and many are no OSError.
        said: the message, with "{}" for the reason.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        if not is_url(place) and not isinstance(error, damage):
            raise
        raise DataError(said.format(reason_of(error))) from error


def reason_of(error: Exception) -> str:
    """Why something cannot be read, in a line."""
    if isinstance(error, FileNotFoundError):
        return "not found"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return first_line(error)


@dataclass(frozen=True)
class Address:
    """An image behind an address."""

    url: str

    def __call__(self) -> bytes:
        with data_errors(self.url, ()):
            files = file_system(protocol_of(self.url))
            # A server that sends a byte now and then is given up too, where fsspec can.
            options = {"timeout": DEADLINE} if files.async_impl else {}
            data = bytes(files.cat_file(self.url, **options))
        if data[:64].lstrip().lower().startswith(PAGES):
            raise DataError("a web page, not an image; give the image's own address")
        return data


class Addresses(Images):
    """Images behind addresses."""

    def __init__(self, urls: list[str]):
        self.urls = urls
        self.left_out: Counter[str] = Counter()

    @property
    def total(self) -> int:
        return len(self.urls)

    def __iter__(self) -> Iterator[Item]:
        return (Item(printable(url), Address(url)) for url in self.urls)

    def cut(self, start: int, stop: int) -> Addresses:
        return Addresses(self.urls[start:stop])


class AddressFolder(Images):
    """All images below an address, a folder's listing in memory at a time."""

    total = None

    def __init__(self, url: str):
        self.url = url
        self.left_out: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Item]:
        self.left_out.clear()
        return self._below(self.url)

    def _below(self, url: str) -> Iterator[Item]:
        try:
            with data_errors(url, (), "cannot be listed: {}"):
                files = file_system(protocol_of(url))
                entries = sorted(files.ls(url, detail=True), key=lambda entry: entry["name"])
        except DataError as error:
            yield failed(url, str(error))
            return
        for entry in entries:
            found = files.unstrip_protocol(entry["name"])
            name = path_in(found).rstrip("/").rpartition("/")[2]
            # Object stores list a folder's own marker among what is in it.
            if not name or is_passed_over(name) or found.rstrip("/") == url.rstrip("/"):
                continue
            if entry["type"] == "directory":
                yield from self._below(found)
            elif (suffix := suffix_of(name)) in image_suffixes():
                yield Item(printable(found), Address(found), entry.get("size"), _modified(entry))
            else:
                self.left_out[suffix or NO_SUFFIX] += 1


def is_folder(url: str) -> bool:
    """Whether an address is to be listed.

    Raises:
        UsageError: as `file_system`.
        DataError: the server cannot be asked.
    """
    if url.endswith("/"):
        return True
    if protocol_of(url) in WEB or suffix_of(path_in(url)) in image_suffixes():
        return False
    files = file_system(protocol_of(url))
    with data_errors(url, (), "the address cannot be reached: {}"):
        return bool(files.isdir(url))


def is_pattern(url: str) -> bool:
    """Whether an address is one; "?" and "[" have meanings of their own on the web."""
    magic = "*" if protocol_of(url) in WEB else "*?["
    return any(sign in path_in(url) for sign in magic)


def matches(pattern: str) -> list[str]:
    """Addresses that a pattern matches, sorted; hidden ones only where it asks for them.

    Raises:
        UsageError: as `file_system`; it matches nothing.
        DataError: the server cannot be asked.
    """
    files = file_system(protocol_of(pattern))
    with data_errors(pattern, (), "the pattern cannot be looked up: {}"):
        found = sorted(map(files.unstrip_protocol, files.glob(pattern)))
    asked_for = set(pattern.split("/"))
    kept = [u for u in found if not any(map(is_passed_over, set(u.split("/")) - asked_for))]
    if not kept:
        raise UsageError(f"pattern {pattern!r} matches nothing; quote it and check the folder")
    return kept


def _modified(entry: Mapping[str, Any]) -> int | None:
    said = next((entry[key] for key in MODIFIED if entry.get(key)), None)
    return nanoseconds(said.timestamp()) if isinstance(said, datetime) else None
