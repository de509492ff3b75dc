"""Whether the files are the pinned ones: the registry pins config.json, which pins the others."""

from __future__ import annotations

from collections.abc import Iterator

from cfamc_zoo.errors import ReleaseError, UnknownNameError
from cfamc_zoo.export.card import rendered_when
from cfamc_zoo.verification.finding import EXACT, Finding, Terms, Verdict
from cfamc_zoo.zoo.catalogue.registry import find_model
from cfamc_zoo.zoo.release.folder import CARD, CONFIG, Release

CARD_LIMIT = 1 << 20  # bytes; ours are a few thousand


def check_registry(release: Release, terms: Terms) -> Iterator[Finding]:
    """What bears the name of a model of the zoo must be that model."""
    found, name = _digest(release.config_sha256), release.config.name
    try:
        pinned = find_model(name).config_sha256
    except UnknownNameError:
        yield Finding("registry", CONFIG, "", found, EXACT, Verdict.NOT_STORED)
        return
    same = pinned == release.config_sha256
    note = f"this is not the {name} that the zoo pins; `cfamc-zoo pull {name}` fetches that"
    yield Finding(
        "registry",
        CONFIG,
        _digest(pinned),
        found,
        EXACT,
        Verdict.HOLDS if same else Verdict.FAILS,
        "" if same else note,
    )


def check_files(release: Release, terms: Terms) -> Iterator[Finding]:
    """Size and sha256 of every file that the config lists."""
    for name, record in release.config.files.items():
        claim, note = _digest(record.sha256), ""
        try:
            release.read(name)
        except ReleaseError as error:
            note = str(error)
        verdict = Verdict.FAILS if note else Verdict.HOLDS
        yield Finding("files", name, claim, "another" if note else claim, EXACT, verdict, note)


def check_card(release: Release, terms: Terms) -> Iterator[Finding]:
    """The card, which nothing pins, is written anew from the pinned files and compared."""
    file = release.folder / CARD
    claim = "as it follows"
    if not file.exists():
        yield Finding("card", CARD, "", "", EXACT, Verdict.NOT_STORED)
        return
    with file.open("rb") as opened:
        lines = opened.read(CARD_LIMIT).decode("utf-8", "replace").splitlines()
    # As it is written before its name is in the registry, or afterwards.
    wanted = [text.splitlines() for text in rendered_when(release)]
    if lines in wanted:
        yield Finding("card", CARD, claim, "the same", EXACT, Verdict.HOLDS)
        return
    number, line = min((_first_difference(lines, text) for text in wanted), key=lambda d: -d[0])
    note = (
        f"line {number} of {CARD} is {line[:80]!r}, which does not follow from the release: its "
        "numbers are in results.json (another version of cfamc-zoo may word a card otherwise)"
    )
    yield Finding("card", CARD, claim, f"line {number} is other", EXACT, Verdict.FAILS, note)


def _first_difference(lines: list[str], wanted: list[str]) -> tuple[int, str]:
    """Number and text of the first line that is not as wanted."""
    same = 0
    while lines[same : same + 1] and lines[same : same + 1] == wanted[same : same + 1]:
        same += 1
    return same + 1, next(iter(lines[same:]), "missing")


def _digest(sha256: str) -> str:
    return f"{sha256[:12]}..."
