"""Lists of integers as arrays, without losing a digit."""

import numpy as np


def as_indices(value, name, dtype):
    """`value`, integers or nested lists of them, as an array of `dtype`.

    Raises TypeError for anything but integers, ValueError for lists of unequal
    lengths and for integers that `dtype` cannot hold; the messages name `name`.
    """
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(
            f"expected {name} to be lists of equal lengths, got unequal ones"
        ) from None
    if array.size == 0:
        return array.astype(dtype)
    if array.dtype.kind not in "iu":
        raise TypeError(f"expected {name} to be integers, got {array.dtype}")
    limits = np.iinfo(dtype)
    for worst in (array.min(), array.max()):
        if not limits.min <= worst <= limits.max:
            raise ValueError(f"expected {name} to fit {dtype}, got {worst}")
    return np.ascontiguousarray(array, dtype=dtype)
