"""Pages for the browser: one HTML file that holds its pictures, so that it can be sent to somebody.

Texts are escaped here and in the callers, by `html.escape`: names of classes and files are a user's.
"""

import base64
import html
import io
from pathlib import Path

from PIL import Image

from taskdistill.storage.files import atomic


def page(title: str, style: str, body: str) -> str:
    """Return a whole page: its title, also as a heading, then `body`, which is HTML."""
    name = html.escape(title)
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{name}</title>\n<style>\n{style}\n</style>\n<h1>{name}</h1>\n{body}\n</html>\n"
    )


def write_page(path: Path, text: str) -> None:
    """Write a page, all of it or nothing; a letter that UTF-8 does not have is written as its number."""
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="xmlcharrefreplace")


def image_tag(data: bytes, media_type: str, **attributes: str) -> str:
    """Return an image of these bytes as HTML, with attributes such as `alt` and `title`."""
    rest = "".join(f' {name}="{html.escape(text)}"' for name, text in attributes.items())
    return f'<img src="{data_uri(data, media_type)}"{rest}>'


def data_uri(data: bytes, media_type: str) -> str:
    """Return the bytes of a file as an address that holds them; four letters for three bytes."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def as_jpeg(picture: Image.Image, quality: int) -> bytes:
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=quality)
    return data.getvalue()


def as_png(picture: Image.Image) -> bytes:
    data = io.BytesIO()
    picture.save(data, "PNG", optimize=True)
    return data.getvalue()
