"""A digest of the sources that machine code is made of, as they are imported."""

import hashlib
from pathlib import Path

__all__ = ["SOURCES", "hash_of_sources"]


def hash_of_sources():
    """A SHA-256 object of all sources of kernels, and of how they are compiled."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    folders = (here.with_name(name) for name in ("kernels", "tables"))
    others = sorted(path for folder in folders for path in folder.rglob("*.py"))
    mine = (here / f"{name}.py" for name in ("compiler", "dispatching", "target"))
    for path in [*mine, *others]:
        source = path.read_bytes()
        digest.update(f"{path.name} {len(source)}\n".encode())
        digest.update(source)
    return digest


#: Of the sources that this process imports, now. At the first use of a kernel, files
#: may already be those of another version.
SOURCES = hash_of_sources()
