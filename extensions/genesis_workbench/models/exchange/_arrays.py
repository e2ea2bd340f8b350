"""Arrays in numpy's own files (``.npy``), read and written as plain numbers: nothing is ever unpickled.

Format: NEP 1, versions 1 and 2. The header is read by numpy and must say exactly as many bytes as follow it.
"""

from __future__ import annotations

import io
import math

import numpy as np

from genesis_workbench.core.errors import VerificationFailed

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_array(data: bytes, what: str) -> np.ndarray:
    """Return an array of numbers.

    Raises
    ------
    VerificationFailed
        If it is no such file, holds anything but numbers, or another number of bytes than it says.
    """
    stream = io.BytesIO(data)
    try:
        shape, in_columns, dtype = _HEADERS[np.lib.format.read_magic(stream)](stream)
    except (ValueError, KeyError, SyntaxError, RecursionError, MemoryError, TypeError) as error:
        raise VerificationFailed(
            f"{what} is no array of numpy: {str(error)[:200]}. Save it with numpy.save."
        ) from error
    if dtype.kind not in "biuf" or dtype.hasobject:
        raise VerificationFailed(
            f"{what} holds {dtype}, not numbers. Objects would be unpickled, so none are taken."
        )
    body = data[stream.tell() :]
    if any(axis < 0 for axis in shape) or math.prod(shape) * dtype.itemsize != len(body):
        raise VerificationFailed(
            f"{what} says the shape {shape} of {dtype}, and {len(body):,} bytes follow. Save it again."
        )
    array: np.ndarray = np.frombuffer(body, dtype).reshape(shape, order="F" if in_columns else "C")
    return array


def write_array(array: np.ndarray) -> bytes:
    """Return the bytes of a file with one array."""
    stream = io.BytesIO()
    np.lib.format.write_array(
        stream, np.ascontiguousarray(array).reshape(array.shape), version=(1, 0), allow_pickle=False
    )
    return stream.getvalue()
