"""Makes a model on the Hub known by its name: one JSON in the registry, nothing bundled.

    cfamc-zoo push runs/thin/thin cfamc-zoo/thin
    python tools/register.py cfamc-zoo/thin [--revision v1]

config.json and results.json are fetched; the entry pins the commit that they came from.
"""

from __future__ import annotations

import argparse

from cfamc_zoo.zoo.catalogue.download import fetch_summary
from cfamc_zoo.zoo.catalogue.entry import entry_of, write_entry


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repo", help="ORGANIZATION/NAME")
    parser.add_argument("--revision", default="main")
    arguments = parser.parse_args()
    release = fetch_summary(arguments.repo, revision=arguments.revision)
    print(write_entry(entry_of(release, repo=arguments.repo, revision=release.folder.name)))


if __name__ == "__main__":
    main()
