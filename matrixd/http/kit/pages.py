"""Web pages: templates of `matrixd/http/templates`, with the headers that keep others' scripts out of them."""

import base64
import hashlib
from functools import lru_cache
from importlib.resources import files

import jinja2
from markupsafe import Markup

from matrixd.http.kit.call import Answer

_TEMPLATES = files("matrixd.http") / "templates"


@lru_cache(maxsize=32)
def _template(name: str) -> jinja2.Template:
    return jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(_text(name))


@lru_cache(maxsize=32)
def _text(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def page(
    template: str, script: str | None = None, status: int = 200, style_sheet: str = "page.css", **values: object
) -> Answer:
    """A page; `script` is the file of the only script that may run in it. Nothing is loaded from elsewhere."""
    style = _text(style_sheet)
    source = "" if script is None else _text(script)
    html = _template(template).render(values, style=Markup(style), script=Markup(source))
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; connect-src 'self'; form-action 'self'; base-uri 'none'"
        + (f"; script-src '{_hash(source)}'" if source else "")
        + "; frame-ancestors 'none'"
    )
    headers = {
        b"Content-Security-Policy": policy.encode("ascii"),
        b"X-Content-Type-Options": b"nosniff",
        b"Referrer-Policy": b"no-referrer",
        b"Cache-Control": b"no-store",
    }
    return Answer(status, html.encode("utf-8"), b"text/html; charset=utf-8", headers)


def _hash(source: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode("ascii")
