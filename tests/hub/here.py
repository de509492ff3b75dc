"""This process as a client of a Hub on loopback."""

import time
from contextlib import contextmanager

import pytest
from huggingface_hub import constants

from tests.hub.server import serve
from tests.hub.store import TOKEN


@contextmanager
def client_of(hub, cache):
    """Serves it, and what this process pulls comes from there into that cache; the address.

    Retries of the client sleep for next to nothing.
    """
    sleep = time.sleep
    with pytest.MonkeyPatch.context() as patch, serve(hub) as address:
        patch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.01)))
        patch.setenv("HF_TOKEN", TOKEN)
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        patch.setattr(constants, "ENDPOINT", address)
        resolve = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", resolve)
        yield address
