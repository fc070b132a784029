"""Files of estimators and posteriors: safetensors with settings as JSON.

A file holds tensors (arrays of numbers) and, in the metadata of its header,

    format          "jspgfn"
    format_version  "1"; a reader refuses newer ones
    kind            class of the object
    written_by      version of the package
    content         JSON of everything that is not an array (see _codec.py)
    about           JSON of anything else worth keeping, {} if there is nothing
    checksum        SHA-256 of all of the above and of the arrays

safetensors itself sees files that are cut off; the checksum sees every changed bit. It is
no protection against a file made to deceive: what is read is therefore checked again by
_restore.py before the compiled core sees it. No code is ever read from a file.

A file is written aside, flushed to the disk and then renamed, so that whatever happens
there is the old file or the new one. What a killed process left aside is removed by a later
save to the same file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from ._base import ScoreEstimator
from ._codec import Arrays, Packer, Unpacker
from ._estimator import JSPGFN
from ._exact import ExactPosterior
from ._mcmc import StructureMCMC
from ._posterior import Posterior
from ._restore import check_estimator, make_posterior
from ._validation import check_memory

FORMAT = "jspgfn"
FORMAT_VERSION = 1

ESTIMATORS: dict[str, type[ScoreEstimator]] = {
    cls.__name__: cls for cls in (JSPGFN, ExactPosterior, StructureMCMC)
}

# Files aside that are older were left by a process that was killed.
STALE_SECONDS = 3600.0

FIELDS = ("format", "format_version", "kind", "written_by", "content", "about")


# --- writing -------------------------------------------------------------------------


def save(thing: Any, path: Any, about: dict[str, Any] | None = None) -> None:
    """Writes an estimator or a posterior; see the module for what a file holds.

    about : JSON-able notes that `read_about` gives back; nothing else depends on them.
    """
    from . import __version__

    packer = Packer()
    if isinstance(thing, Posterior):
        kind = "Posterior"
        content = packer.pack(pack_graphs(thing), "posterior")
    else:
        kind = type(thing).__name__
        if ESTIMATORS.get(kind) is not type(thing):
            raise TypeError(
                f"only {', '.join(ESTIMATORS)} and Posterior can be saved, got {kind}"
            )
        content = pack_estimator(thing, packer)
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "kind": kind,
        "written_by": __version__,
        "content": json.dumps(content, allow_nan=False),
        "about": json.dumps(about or {}),
    }
    metadata["checksum"] = checksum(metadata, packer.arrays)
    write_atomically(path, packer.arrays, metadata)


def pack_estimator(est: ScoreEstimator, packer: Packer) -> dict[str, Any]:
    parameters = est.get_params(deep=False)
    fitted = {
        name: value
        for name, value in est.__getstate__().items()
        if name not in parameters and name != "_sklearn_version"
    }
    return {
        "parameters": packer.pack_pairs(parameters, "parameter"),
        "fitted": packer.pack_pairs(fitted, "fitted"),
    }


def pack_graphs(post: Posterior) -> dict[str, Any]:
    """The state of a posterior with a bit for each cell of its graphs."""
    arrays, settings = post._state()
    graphs = arrays.pop("graphs")
    arrays["packed_graphs"] = np.packbits(graphs)
    return {"shape": list(graphs.shape), "arrays": arrays, "settings": settings}


def checksum(metadata: dict[str, str], arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name in FIELDS:
        digest.update(f"{name} {len(metadata[name])} ".encode())
        digest.update(metadata[name].encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def write_atomically(path: Any, arrays: Arrays, metadata: dict[str, str]) -> None:
    """Old file or new file, nothing between; OSError with the reason."""
    target = Path(os.path.realpath(path))  # a link stays a link
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: no folder {target.parent}")
    mark = name_mark(target)
    aside = target.with_name(f".{mark}.{secrets.token_hex(8)}.jspgfn.tmp")
    try:
        with open(aside, "xb") as file:
            if target.exists():
                shutil.copymode(target, aside)
            file.write(to_bytes(arrays, metadata))
            file.flush()
            os.fsync(file.fileno())
            written = os.fstat(file.fileno()).st_mtime
        os.replace(aside, target)
    except (OSError, SafetensorError) as error:
        raise OSError(f"cannot write {path}: {reason_of(error)}") from error
    finally:
        with contextlib.suppress(OSError):  # gone after the rename
            aside.unlink(missing_ok=True)
    remove_stale(target.parent, mark, written)
    flush_folder(target.parent)


def name_mark(target: Path) -> str:
    """Names of files aside begin with it; a hash, as long names would become too long."""
    return hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]


def remove_stale(folder: Path, mark: str, now: float) -> None:
    """Files aside of one target that nobody has written to for an hour before `now`.

    Times are those of the file system, which several machines may share. Should a writer
    have been that slow, its save fails and the target stays whole.
    """
    with contextlib.suppress(OSError):
        for aside in folder.glob(f".{mark}.*.jspgfn.tmp"):
            with contextlib.suppress(OSError):  # another process may be faster
                if now - aside.stat().st_mtime > STALE_SECONDS:
                    aside.unlink()


def reason_of(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)


def flush_folder(folder: Path) -> None:
    """Waits until the names in a folder are on the disk, where that can be done."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some file systems cannot
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- reading -------------------------------------------------------------------------


def load(path: Any) -> Any:
    """Read an estimator or a posterior from a file that `save` wrote.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    JSPGFN, ExactPosterior, StructureMCMC or Posterior
        As it was saved. A `JSPGFN` goes on (`resume`) to the same bits as if it had
        never been in a file; an `ExactPosterior` repeats its sums when first needed.

    Raises
    ------
    ValueError
        For a file that is damaged, cut off, not one of this package, or written by a
        newer version of its format. The message names the file and what is wrong.
    OSError
        When the file cannot be read.

    Notes
    -----
    Nothing in a file is executed, and what is read is checked before it is used.

    Examples
    --------
    >>> import os, tempfile
    >>> import jspgfn
    >>> sim = jspgfn.simulate.linear_gaussian(
    ...     n_variables=3, n_samples=50, random_state=0)
    >>> est = jspgfn.JSPGFN(n_iter=50, random_state=0).fit(sim.X)
    >>> path = os.path.join(tempfile.mkdtemp(), "fit.safetensors")
    >>> est.save(path)
    >>> jspgfn.load(path).resume(n_iter=10).n_iter_
    60
    """
    metadata, arrays = read(path)
    try:
        content = json.loads(metadata["content"])
        unpacker = Unpacker(arrays)
        if metadata["kind"] == "Posterior":
            return read_posterior(unpacker, content)
        if metadata["kind"] in ESTIMATORS and isinstance(content, dict):
            return read_estimator(metadata["kind"], unpacker, content)
        raise ValueError(f"it holds an unknown kind of object, {metadata['kind']!r}")
    except MEANINGLESS as error:
        raise ValueError(f"{path} cannot be used: {error}") from error


# What nonsense in a file can raise.
MEANINGLESS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


def read_about(path: Any) -> dict[str, Any]:
    """What `save` was given as `about`."""
    metadata, _ = read(path)
    try:
        about = json.loads(metadata["about"])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be used: {error}") from error
    return about if isinstance(about, dict) else {}


def read(path: Any) -> tuple[dict[str, str], Arrays]:
    """Metadata and arrays of a file whose format and checksum are right."""
    if Path(path).is_dir():
        raise IsADirectoryError(f"cannot read {path}: it is a folder")
    size = Path(path).stat().st_size
    check_memory(2.0 * size, f"reading {path}", "free some memory")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            check_format(path, metadata)
            names = list(file.keys())
            arrays: dict[str, NDArray[Any]] = {n: file.get_tensor(n) for n in names}
    except (SafetensorError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path} is damaged, cut off, or not a file of jspgfn: {error}"
        ) from error
    if checksum(metadata, arrays) != metadata["checksum"]:
        raise ValueError(f"{path} is damaged: its checksum does not fit its content")
    return metadata, arrays


def check_format(path: Any, metadata: dict[str, str]) -> None:
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path} is a file of safetensors, but not one of jspgfn")
    version = metadata.get("format_version", "")
    if not version.isdecimal() or len(version) > 9:
        raise ValueError(f"{path} is damaged: it has no format version")
    if int(version) > FORMAT_VERSION:
        raise ValueError(
            f"{path} has format {version}, written by jspgfn "
            f"{metadata.get('written_by')}; this version reads up to format "
            f"{FORMAT_VERSION}: update jspgfn"
        )
    missing = [name for name in (*FIELDS, "checksum") if name not in metadata]
    if missing:
        raise ValueError(f"{path} is damaged: it has no {', '.join(missing)}")


def read_estimator(
    kind: str, unpacker: Unpacker, content: dict[str, Any]
) -> ScoreEstimator:
    cls = ESTIMATORS[kind]
    parameters = unpacker.pairs(content.get("parameters"))
    unknown = set(parameters) - set(cls._get_param_names())
    if unknown:
        raise ValueError(f"{kind} has no parameter {sorted(map(str, unknown))}")
    est = cls(**parameters)
    check_estimator(est, unpacker.pairs(content.get("fitted")))
    return est


def read_posterior(unpacker: Unpacker, content: Any) -> Posterior:
    state = unpacker.unpack(content)
    arrays, shape = state["arrays"], tuple(state["shape"])
    packed = arrays.pop("packed_graphs")
    if len(shape) != 3 or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError("its graphs have no shape")
    n_cells = shape[0] * shape[1] * shape[2]
    if packed.dtype != np.uint8 or packed.shape != ((n_cells + 7) // 8,):
        raise ValueError("its graphs do not have the shape they should have")
    check_memory(n_cells, f"{shape[0]} graphs of {shape[1]} variables", "free some")
    cells = np.unpackbits(packed, count=n_cells).reshape(shape)
    return make_posterior({"graphs": cells, **arrays}, state["settings"])
