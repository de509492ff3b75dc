"""Files of the repository that are no part of the package, as modules."""

import importlib.util
import sys

import pytest


def script(path):
    """As Python runs it: it imports what lies beside it, and its dataclasses find their module."""
    found = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(found)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path.parent)
        patch.setitem(sys.modules, path.stem, module)
        found.loader.exec_module(module)
    return module
