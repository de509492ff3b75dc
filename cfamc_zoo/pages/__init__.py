"""Pages of HTML: the frame that all of them stand in, and how templates are filled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def render_page(
    template: Path, page: object, filters: dict[str, Callable[[Any], object]] | None = None
) -> str:
    """A page as HTML, of one file; every value is escaped as text.

    Args:
        template: extends "frame.html", and may use what lies beside it.
        page: what templates know as `page`; has a `title`.
        filters: what templates may call, by name.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment: Any = Environment(
        loader=FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters or {}
    return str(environment.get_template(template.name).render(page=page))
