"""Writing a file completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from .errors import BadInput


def write_atomically(path: Path, data: bytes) -> None:
    """Replace `path` by a file with `data`. If the process fails or is killed, either the old or the new file is there.

    Raises BadInput for a full disk or a folder that cannot be written; the old file is then untouched.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(aside, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        kept = f" The previous {path.name} is intact." if path.exists() else ""
        advice = "Free some space or choose another place" if full else "Choose another place"
        why = f"the disk is full ({len(data) / 2**20:.1f} MiB needed)" if full else str(error)
        raise BadInput(f"Cannot write {path}: {why}.{kept} {advice} (of a training run: --run.folder).") from error
    finally:  # also after a signal; after os.replace the temporary file is gone
        with contextlib.suppress(OSError):
            aside.unlink()
