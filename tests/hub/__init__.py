"""A Hub on loopback that the real, unmodified client pushes to, lists, pulls from and fails with.

It speaks what the client needs: whoami, create, branch, preupload, LFS batch, upload in one or
several parts and verify, commit, tree, model info, listing, and resolve with ETag and Range, where
large files redirect to another host as the real one's do. No Xet: `ENVIRONMENT` turns it off.
"""

from tests.hub.faults import Fault, altered, cut, lost, slow, status
from tests.hub.server import serve
from tests.hub.store import TOKEN, Hub, Repo

# Quick to give up, silent, and not the caller's own token.
ENVIRONMENT = {
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_ETAG_TIMEOUT": "2",
    "HF_HUB_DOWNLOAD_TIMEOUT": "2",
    "HF_HUB_OFFLINE": "0",
}

__all__ = [
    "ENVIRONMENT",
    "TOKEN",
    "Fault",
    "Hub",
    "Repo",
    "altered",
    "cut",
    "lost",
    "serve",
    "slow",
    "status",
]
