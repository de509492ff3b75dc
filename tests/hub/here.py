"""This process as a client of a Hub on loopback."""

import time
from contextlib import contextmanager

from huggingface_hub import constants

from tests.hub.server import serve
from tests.hub.store import TOKEN


@contextmanager
def client_of(hub, monkeypatch, cache):
    """Serves it, and what this process pulls comes from there into that cache; the address.

    Retries of the client sleep for next to nothing.
    """
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.01)))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    with serve(hub) as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        resolve = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", resolve)
        yield address
