"""The documentation site: `make docs` builds it into docs/site/_build/html, warnings are errors."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # generated, below

from cfamc_zoo.version import __version__

project = "cfamc-zoo"
author = "the authors of cfamc-zoo"
copyright = "the authors of cfamc-zoo, Apache-2.0"
release = version = __version__

extensions = [
    "myst_nb",  # Markdown too
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "generated",
]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the tour has its outputs, and a test runs it

default_role = "py:obj"  # what docstrings have between backticks
autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = "cfamc-zoo"
html_static_path = ["_static"]
html_extra_path = ["../leaderboard.html"]
html_css_files = ["site.css"]
highlight_language = "text"
html_show_sphinx = False
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
