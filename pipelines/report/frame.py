"""The frame of every page that anytalk writes: one file with its style and script, which loads nothing from elsewhere.

A content security policy lets only this style and this script run, whatever a text may hold.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources

INLINE = "data:"
"""Media that stands in the page itself."""

BESIDE = "data: 'self' file:"
"""Media in files beside the page, too."""


def page(title: str, body: str, *, script: str = "", media: str = INLINE) -> str:
    """A whole page.

    Args:
        title: plain text.
        body: HTML.
        script: JavaScript that runs at the end.
        media: from where sound may come: `INLINE` or `BESIDE`.
    """
    style = _file("page.css")
    policy = f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; media-src {media}"
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n<h1>{escape(title)}</h1>\n{body}\n"
        + (f"<script>{script}</script>\n" if script else "")
        + "</html>\n"
    )


def rows_script() -> str:
    """The script that sorts and searches rows."""
    return _file("page.js")


def table(head: Sequence[str], lines: Iterable[Sequence[str]], css_class: str = "figures") -> str:
    """A table of HTML cells; on a narrow screen a line is a block, with the head beside each cell."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "\n".join(
        "<tr>"
        + "".join(f'<td data-label="{escape(n)}">{cell}</td>' for n, cell in zip(head, line, strict=True))
        + "</tr>"
        for line in lines
    )
    return f'<table class="{css_class}"><thead><tr>{top}</tr></thead><tbody>\n{body}\n</tbody></table>'


def _file(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    if not text:
        return "'none'"
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
