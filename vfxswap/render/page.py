"""Pages of reports: one file each, without script or network."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root{color-scheme:dark;--ink:#e4e6eb;--dim:#9aa1ad;--plane:#1d2026;--line:#2f343d}
body{font:15px/1.5 system-ui,sans-serif;background:#14161a;color:var(--ink);margin:0 auto;
max-width:66em;padding:1.5em 1.2em 4em}
h1{font-weight:600;font-size:1.5em;margin:.2em 0}
h2{font-weight:600;font-size:1.1em;margin:2.2em 0 .6em}
p,small{color:var(--dim)}b{font-weight:600;color:var(--ink)}code{font-size:.86em;color:#c8cedb}
.verdict{display:inline-block;padding:.15em .8em;border-radius:1em;font-weight:600;color:#111}
.good{background:#7fd88f}.bad{background:#ff8f7a}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(8em,1fr));gap:.7em;
margin:1.2em 0}
.cards div{background:var(--plane);border-radius:.5em;padding:.6em .9em;color:var(--dim)}
.cards b{display:block;font-size:1.25em;white-space:nowrap}
table{border-collapse:collapse;width:100%;font-size:.9em}
td,th{text-align:left;vertical-align:top;padding:.3em .9em .3em 0;
border-bottom:1px solid var(--line)}
th{color:var(--dim);font-weight:500}td.n{font-variant-numeric:tabular-nums;white-space:nowrap}
td{overflow-wrap:anywhere}
.film{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.2em,1fr));gap:.5em}
.film figure{margin:0;background:var(--plane);border-radius:.4em;overflow:hidden}
.film img{display:block;width:100%}.film figcaption{margin:0;padding:.15em .5em;font-size:.8em}
figure{margin:1em 0}figcaption{color:var(--dim);font-size:.9em;margin-bottom:.3em}
figcaption span{margin-left:1.2em;white-space:nowrap}
figcaption i{display:inline-block;width:.8em;height:.8em;border-radius:.2em;margin-right:.35em}
svg{display:block;width:100%;height:auto;background:var(--plane);border-radius:.4em;font-size:11px}
svg text{fill:var(--dim)}svg line{stroke:var(--line)}.end{text-anchor:end}.mid{text-anchor:middle}
.plane{fill:#22262d;stroke:var(--line)}.whole{fill:#4f9d69}.broken{fill:#ff8f7a}.missing{fill:none;
stroke:#ff8f7a}.noted{fill:#ffb454}.strip svg{background:none}
summary{cursor:pointer;color:var(--dim)}
"""


def page(title: str, sections: Iterable[str]) -> str:
    """A whole page of HTML; `sections` are HTML, `title` is text."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escaped(title)}</title><style>{_STYLE}</style></head><body>"
        f"{''.join(sections)}</body></html>\n"
    )


def escaped(value: object) -> str:
    """Text as HTML."""
    return html.escape(str(value))


def section(title: str, body: str) -> str:
    """A heading above `body` (HTML); nothing for an empty one."""
    return f"<h2>{escaped(title)}</h2>{body}" if body else ""


def cards(rows: Iterable[tuple[str, str]]) -> str:
    """Names and values side by side."""
    shown = "".join(f"<div>{escaped(k)}<b>{escaped(v)}</b></div>" for k, v in rows)
    return f'<div class="cards">{shown}</div>'


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Texts in rows under their heads; nothing without rows."""
    if not rows:
        return ""
    head = "".join(f"<th>{escaped(h)}</th>" for h in heads)
    body = "".join(
        "<tr>" + "".join(f'<td class="n">{escaped(c)}</td>' if i == 0 else f"<td>{escaped(c)}</td>"
                         for i, c in enumerate(row)) + "</tr>"
        for row in rows
    )  # fmt: skip
    return f"<table><tr>{head}</tr>{body}</table>"
