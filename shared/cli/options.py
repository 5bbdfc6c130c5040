"""Types of options that several commands share, and parsers of their values.

A parser takes the text of one value; its ``ValueError`` says what is wrong and what to write.
"""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def local_path(text: str) -> Path:
    """A path on this machine. A URL is refused: it would become a folder called ``s3:``."""
    if _SCHEME.match(text):
        raise ValueError(f"{text} is a URL, and this works on directories: copy a finished store there")
    return Path(text)


def duration(text: str | float) -> float:
    """Seconds, of a number or a number with s, m or h, such as ``90``, ``10m`` or ``1.5h``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", str(text).strip())
    if not match or float(match[1]) <= 0:
        raise ValueError(f"'{text}' is not a positive duration: write 90s, 10m or 1.5h")
    return float(match[1]) * _UNITS[match[2]]


def count(text: str | int) -> int:
    """A whole number of at least 1, which may be written as ``6e3``, ``6_000`` or ``6,000``."""
    plain = str(text).strip()
    if re.fullmatch(r"\d{1,3}(,\d{3})+", plain):
        plain = plain.replace(",", "")
    try:
        number = Decimal(plain)
        if number.adjusted() < 18 and number == int(number) >= 1:
            return int(number)
    except (ArithmeticError, ValueError):
        pass
    raise ValueError(f"'{text}' is not a whole number of at least 1: write 6000, 6_000, 6,000 or 6e3")


Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
LocalStore = Annotated[Path, typer.Argument(metavar="STORE", parser=local_path, help="Directory of the store.")]
