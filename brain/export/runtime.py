"""onnxruntime-web, the runtime of the page: taken from npm at a pinned version when a page is exported, then cached."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from pathlib import Path

from shared.errors import TinyJEPAError
from shared.home import home

VERSION = "1.30.0"
PACKAGE = f"onnxruntime-web@{VERSION}"
FILES = {
    "ort.js": (
        "dist/ort.wasm.bundle.min.mjs",
        "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    ),
    "ort.wasm": (
        "dist/ort-wasm-simd-threaded.wasm",
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    ),
}
"""The page's name of a file: its place in the package, and its sha256."""
LICENCES = ("LICENSE", "ThirdPartyNotices.txt")
FETCH_SECONDS = 600


def take_runtime(folder: Path, given: Path | None) -> None:
    """Put the runtime and its licence into ``folder``.

    From ``given`` (the package as npm packs it, or its folder, such as ``node_modules/onnxruntime-web``), from the
    cache (``$XDG_CACHE_HOME/tinyjepa``), or by ``npm pack``, whose result is cached. Raises ``TinyJEPAError`` where
    none can be had, and for a file whose checksum is not that of the pinned version.
    """
    cache = cached()
    if given is not None:
        source = given
    elif all((cache / place).is_file() for place, _ in FILES.values()):
        source = cache
    else:
        source = _fetch(cache)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in _read(source).items():
        (folder / name).write_bytes(content)
    import onnxruntime

    for name in LICENCES:  # the npm package holds none; the Python package is of the same project and licence
        shutil.copyfile(
            Path(onnxruntime.__file__).parent / name, folder / f"onnxruntime-{name.removesuffix('.txt')}.txt"
        )


def cached() -> Path:
    """Where a fetched runtime is kept for the next export. Without a home directory, among the temporary files."""
    place = os.environ.get("XDG_CACHE_HOME") or (home() or Path(tempfile.gettempdir())) / ".cache"
    return Path(place) / "tinyjepa" / f"onnxruntime-web-{VERSION}"


def _fetch(cache: Path) -> Path:
    by_hand = f"run npm pack {PACKAGE} on a box with npm and a network, and give the file with --ort"
    npm = shutil.which("npm")
    if npm is None:
        raise TinyJEPAError(f"onnxruntime-web is not cached in {cache} and npm is not installed: {by_hand}")
    with tempfile.TemporaryDirectory() as scratch:
        command = [npm, "pack", PACKAGE, "--silent", "--fetch-retries=1", "--pack-destination", scratch]
        try:
            done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=FETCH_SECONDS)
            reason = " ".join(done.stderr.split())[-160:] or f"npm ended with {done.returncode}"
        except subprocess.TimeoutExpired:
            done, reason = None, f"nothing within {FETCH_SECONDS} s"
        packed = next(Path(scratch).glob("*.tgz"), None)
        if done is None or done.returncode or packed is None:
            raise TinyJEPAError(f"npm cannot fetch {PACKAGE} ({reason}): {by_hand}")
        for name, content in _read(packed).items():
            path = cache / FILES[name][0]
            partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                partial.write_bytes(content)
                partial.replace(path)
            except OSError as error:
                raise TinyJEPAError(f"cannot write {path} ({error.strerror}): set XDG_CACHE_HOME") from error
    return cache


def _read(source: Path) -> dict[str, bytes]:
    """The files by the page's names, from a packed package or its folder, each of the pinned checksum."""
    found = {}
    for name, (place, checksum) in FILES.items():
        try:
            if source.is_dir():
                content = (source / place).read_bytes()
            else:
                with tarfile.open(source) as package:
                    member = package.extractfile(f"package/{place}")
                    assert member is not None
                    content = member.read()
        except (OSError, EOFError, KeyError, AssertionError, tarfile.TarError, zlib.error) as error:
            reason = " ".join(str(error).split()) or "no file"
            raise TinyJEPAError(
                f"{source} is no onnxruntime-web ({place}: {reason}): give --ort what npm pack {PACKAGE} writes"
            ) from None
        if hashlib.sha256(content).hexdigest() != checksum:
            raise TinyJEPAError(
                f"{source}: {place} is not that of {PACKAGE} (its sha256 differs): "
                f"delete it, or give --ort what npm pack {PACKAGE} writes"
            )
        found[name] = content
    return found
