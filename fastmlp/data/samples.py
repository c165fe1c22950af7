"""Samples as kernels can read them where they are: dense rows, or compressed ones."""

import numpy as np

__all__ = [
    "as_readable",
    "compressed_rows",
    "dense_fields",
    "entries_of",
    "indices_of",
    "kernels_can_read",
    "sparse_fields",
]

#: What kernels read: native numbers, for a dtype is only equal to one that is.
_KERNEL_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))

#: Data that fit a second-level cache, or nearly so, need not be asked for ahead.
_NEAR_BYTES = 256 * 1024

_NOT_VALID = "X is not a valid matrix in compressed sparse rows"


def as_readable(numbers):
    """The array, or a copy, in native float32 or float64 and strides of whole ones."""
    if numbers.dtype not in _KERNEL_DTYPES:
        return numbers.astype(np.float64)
    if kernels_can_read(numbers):
        return numbers
    whole = not any(stride % numbers.itemsize for stride in numbers.strides)
    return numbers if whole and numbers.flags.aligned else numbers.copy()


def dense_fields(X):
    """The fields of `fastmlp.kernels.job.JOB` that stand for a dense X."""
    X = as_readable(X)
    return {
        "X": X,
        "X_is_double": X.dtype == np.float64,
        "row_stride": X.strides[0] // X.itemsize,
        "is_far": X.nbytes > _NEAR_BYTES,
        "column_stride": X.strides[1] // X.itemsize,
    }


def kernels_can_read(X):
    """Whether kernels can read an array as it is, one row after the other."""
    flags = X.flags
    return X.dtype in _KERNEL_DTYPES and flags.c_contiguous and flags.aligned


def indices_of(samples, n_samples):
    """A checked copy of the indices of samples; all samples if None."""
    if samples is None:
        return np.arange(n_samples, dtype=np.int64)
    samples = np.array(samples, dtype=np.int64)
    if samples.ndim != 1 or len(samples) == 0:
        raise ValueError("samples must be a one-dimensional list of at least one index")
    if samples.min() < 0 or samples.max() >= n_samples:
        raise ValueError(f"samples must be row indices below {n_samples}")
    return samples


def compressed_rows(X):
    """Sparse X in valid compressed sparse rows, entries in the order of columns.

    Returns
    -------
    sparse matrix
        X itself where it is that already.

    Raises
    ------
    ValueError
        If X is in a compressed format, but an index of it leads out of its arrays.
    """
    if X.format in ("csr", "csc"):
        n_major, n_minor = X.shape if X.format == "csr" else X.shape[::-1]
        _check_starts(X.indptr, n_major, min(len(X.indices), len(X.data)))
        used = X.indices[: X.indptr[-1]]
        if len(used) and not 0 <= used.min() <= used.max() < n_minor:
            raise ValueError(_NOT_VALID)
    X = X.tocsr()
    # numbers are summed in this order: as those of a dense X are
    return X if X.has_sorted_indices else X.sorted_indices()


def entries_of(X):
    """(column, number in float64) of each entry of X in compressed rows.

    Copies that stay inside of X, whatever somebody does to its arrays meanwhile: what
    SciPy would do with them in C, after they were checked, might not.
    """
    n_entries = X.indptr[-1]
    columns = np.clip(X.indices[:n_entries], 0, X.shape[1] - 1)
    return columns, X.data[:n_entries].astype(np.float64)


def _check_starts(starts, n_rows, n_entries):
    """Raise ValueError unless each row starts where the one before ends."""
    if (
        len(starts) != n_rows + 1
        or starts[0] != 0
        or np.any(starts[1:] < starts[:-1])  # their difference might overflow
        or starts[-1] > n_entries
    ):
        raise ValueError(_NOT_VALID)


def sparse_fields(X):
    """The fields that stand for a sparse X, in valid compressed rows.

    The row starts are a copy, so that they stay valid, and checked again, in case that
    somebody has changed them since; indices are looked at again by the kernels.
    """
    if X.shape[1] > np.iinfo(np.int32).max:
        raise ValueError(f"sparse X may have 2**31 - 1 features, got {X.shape[1]}")
    numbers = np.ascontiguousarray(as_readable(X.data))
    indices = np.require(X.indices, np.int32, ["C_CONTIGUOUS", "ALIGNED"])
    starts = np.array(X.indptr, dtype=np.int64)
    _check_starts(starts, X.shape[0], min(len(indices), len(numbers)))
    return {
        "X": numbers,
        "X_is_double": numbers.dtype == np.float64,
        "row_starts": starts,
        "column_indices": indices,
    }
