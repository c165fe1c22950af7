"""Parquet files: as sources of rows, and to write predictions to."""

import os
from contextlib import contextmanager

import numpy as np

from fastmlp.sources.arrays import dtype_of
from fastmlp.sources.source import Table, located, rows_at_once

__all__ = ["from_parquet", "write_parquet"]


def from_parquet(
    paths, *, target=None, columns=None, sample_weight=None, shuffle_buffer=100_000,
    dtype=None,
):  # fmt: skip
    """Rows of Parquet files, which pyarrow reads.

    Parameters
    ----------
    paths : path, sequence of paths or pyarrow.dataset.Dataset
        Files, or directories of them.
    target : str or sequence of str, default=None
        Column of the target, or columns of several. None for a source to predict.
    columns : sequence of str, default=None
        Columns of X, which must be numbers but for `TabularMLPClassifier` and
        `TabularMLPRegressor`. None for all others.
    sample_weight : str, default=None
        Column of the weights of the samples.
    shuffle_buffer : int, default=100_000
        Rows that are in memory, and shuffled, together. Row groups are read in random
        order until so many rows are there.
    dtype : {"float32", "float64"}, default=None
        Of X in memory. None for float32 if all columns have that, else float64.

    Returns
    -------
    fastmlp.sources.Source
        To be given to `fit` instead of X and y.

    Raises
    ------
    ValueError
        If a file cannot be read, or if a column is missing or has another type in
        another file.
    ImportError
        If there is no pyarrow.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, pyarrow as pa
    >>> from pyarrow import parquet
    >>> from fastmlp import MLPRegressor, sources
    >>> x = np.linspace(-1, 1, 1000, dtype=np.float32)
    >>> path = os.path.join(tempfile.mkdtemp(), "x.parquet")
    >>> parquet.write_table(pa.table({"x": x, "y": x * x}), path)
    >>> source = sources.from_parquet(path, target="y", shuffle_buffer=400)
    >>> model = MLPRegressor(max_iter=30, random_state=0).fit(source)
    >>> model.feature_names_in_.tolist(), model.t_
    (['x'], 30000)
    """
    return _Parquet(paths, target, columns, sample_weight, shuffle_buffer, dtype)


def write_parquet(path, model, source, *, method="predict", row_group_size=100_000):
    """Predict all rows of a source and write the predictions to a Parquet file.

    Parameters
    ----------
    path : path
        Of the file, which is replaced only when all is written.
    model : estimator
        Fitted.
    source : Source
        The rows to predict.
    method : {"predict", "predict_proba", "predict_log_proba"}, default="predict"
        What to write: a column "prediction", or one for each class, named after it;
        of several outputs, "prediction_0" and so on.
    row_group_size : int, default=100_000
        Rows of a row group of the file, at most.

    Returns
    -------
    int
        Number of rows.
    """
    arrow, parquet = _pyarrow()
    path = os.fspath(path)
    part = f"{path}.part"
    n_rows, writer = 0, None
    try:
        for predictions in getattr(model, method)(source):
            if predictions.ndim == 1:
                columns = {"prediction": predictions}
            else:
                names = range(predictions.shape[1])
                if method != "predict":
                    names = model.classes_.tolist()
                prefix = "prediction" if method == "predict" else "probability"
                columns = {
                    f"{prefix}_{name}": np.ascontiguousarray(column)
                    for name, column in zip(names, predictions.T, strict=True)
                }
            table = arrow.table(columns)
            if writer is None:
                writer = parquet.ParquetWriter(part, table.schema)
            writer.write_table(table, row_group_size)
            n_rows += len(table)
        if writer is None:
            raise ValueError(f"{source!r} has no rows")
        writer.close()
        os.replace(part, path)
    except BaseException:
        if writer is not None:
            writer.close()
            os.unlink(part)
        raise
    return n_rows


def _pyarrow():
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(
            "Parquet files need pyarrow: pip install fastmlp[parquet]"
        ) from error
    return pyarrow, parquet


@contextmanager
def _reading(path):
    """What pyarrow raises, as an error that names the file."""
    arrow, _ = _pyarrow()
    try:
        yield
    except (arrow.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path!r} cannot be read ({reason})") from error


class _Parquet(Table):
    def __init__(self, paths, target, columns, sample_weight, shuffle_buffer, dtype):
        arrow, _ = _pyarrow()
        self._fragments = _fragments(paths)
        schemas = []
        for fragment in self._fragments:
            with _reading(fragment.path):
                fragment.ensure_complete_metadata()
                schemas.append(fragment.physical_schema)
        one = isinstance(target, str) or target is None
        self._targets = [target] if isinstance(target, str) else [*(target or ())]
        self._has_one_target = one
        self._weight = sample_weight
        others = [*self._targets, *([sample_weight] if sample_weight else [])]
        if isinstance(columns, str):
            raise ValueError(f"columns must be a list of names, got {columns!r}")
        if columns is None:
            columns = [name for name in schemas[0].names if name not in others]
        columns = [str(name) for name in columns]
        both = [name for name in columns if name in others]
        if both:
            raise ValueError(f"{both} are columns of X and the target or the weights")
        if not columns:
            raise ValueError(
                f"{self._fragments[0].path!r} has no columns besides {others}"
            )
        self._check_schemas(schemas, [*columns, *others])
        self._types = {name: schemas[0].field(name).type for name in columns}
        found = [
            np.float32 if arrow.types.is_float32(kind) else None
            for kind in self._types.values()
        ]
        super().__init__(
            shuffle_buffer,
            n_features=len(columns),
            feature_names=columns,
            dtype=dtype_of(dtype, *found),
        )
        self.has_targets = bool(self._targets)
        self._groups = [
            (fragment, group.id, group.num_rows)
            for fragment in self._fragments
            for group in fragment.row_groups
        ]
        self._set_rows([n_rows for _, _, n_rows in self._groups])
        self._step = rows_at_once(len(columns), self.dtype.itemsize)
        files = [
            [os.path.basename(f.path), [[g.num_rows, g.total_byte_size] for g in
                                        f.row_groups]]
            for f in self._fragments
        ]  # fmt: skip
        self.identity = ("parquet", files, columns, others, str(self.dtype))

    def _name(self):
        first, *more = self._fragments
        return f"from_parquet({first.path!r}{f' and {len(more)} more' * bool(more)})"

    def _check_schemas(self, schemas, names):
        """Each file has the columns of the first."""
        first = self._fragments[0].path
        for fragment, schema in zip(self._fragments, schemas, strict=True):
            for name in names:
                if name not in schema.names:
                    raise ValueError(
                        f"{fragment.path!r} has no column {name!r}, its columns are "
                        f"{schema.names}"
                    )
                kind, expected = schema.field(name).type, schemas[0].field(name).type
                if kind != expected:
                    raise ValueError(
                        f"column {name!r} is {kind} in {fragment.path!r}, but "
                        f"{expected} in {first!r}: write the files with one schema"
                    )

    def _check_numbers(self):
        """X has numbers: asked when it is first read as such."""
        arrow, _ = _pyarrow()
        for name, kind in self._types.items():
            is_number = (
                arrow.types.is_integer(kind)
                or arrow.types.is_floating(kind)
                or arrow.types.is_boolean(kind)
                or arrow.types.is_decimal(kind)
            )
            if not is_number:
                raise ValueError(
                    f"column {name!r} of {self._fragments[0].path!r} is {kind}, but X "
                    "must be numbers: encode it before, choose others with "
                    "columns=[...], or use TabularMLPClassifier or TabularMLPRegressor"
                )

    def _read(self, number, what):
        _, parquet = _pyarrow()
        fragment, group, _ = self._groups[number]
        where = f"row group {group} of {fragment.path!r}"
        names = [] if what == "y" else [*self.feature_names]
        if "X" in what:
            self._check_numbers()
        if "y" in what:
            names += [*self._targets, *([self._weight] if self._weight else [])]
        with (
            _reading(fragment.path),
            fragment.open() as stream,
            parquet.ParquetFile(stream, metadata=fragment.metadata) as file,
        ):
            batches = file.iter_batches(
                self._step, row_groups=[group], columns=names, use_threads=False
            )
            for batch in batches:
                yield self._chunk(batch, what, where)

    def _chunk(self, batch, what, where):
        X, y, weights = None, None, None
        with located(where):
            if "X" in what:
                X = np.empty((len(batch), self.n_features), self.dtype)
                with np.errstate(over="ignore"):
                    for j, name in enumerate(self.feature_names):
                        X[:, j] = _numbers(batch.column(name))
            elif "T" in what:
                X = batch.select(self.feature_names).to_pandas()
            if self._targets and "y" in what:
                found = [self._target(batch.column(name), name)
                         for name in self._targets]  # fmt: skip
                y = found[0] if self._has_one_target else np.column_stack(found)
            if self._weight and "y" in what:
                weights = _numbers(batch.column(self._weight))
                _check_not_missing(batch.column(self._weight), self._weight)
        return self._checked(X, y, weights, where, what)

    @staticmethod
    def _target(column, name):
        _check_not_missing(column, name)
        arrow, _ = _pyarrow()
        if arrow.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if arrow.types.is_decimal(column.type):
            column = column.cast("float64")
        values = column.to_numpy(zero_copy_only=False)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            count = int((~np.isfinite(values)).sum())
            raise ValueError(
                f"the target, column {name!r}, has {count} values that are NaN or "
                "infinite. Leave these rows out"
            )
        return values


def _check_not_missing(column, name):
    if column.null_count:
        raise ValueError(
            f"column {name!r} has {column.null_count} missing values. Leave these rows "
            "out, or fill them in before"
        )


def _numbers(column):
    """A column of numbers as an array, NaN where it has none."""
    arrow, _ = _pyarrow()
    if arrow.types.is_decimal(column.type) or (
        arrow.types.is_boolean(column.type) and column.null_count
    ):
        column = column.cast("float64" if arrow.types.is_decimal(column.type) else
                             "uint8")  # fmt: skip
    return column.to_numpy(zero_copy_only=False)


def _fragments(paths):
    """The files as pyarrow sees them, in the order of their paths."""
    _pyarrow()
    from pyarrow import dataset

    if not isinstance(paths, dataset.Dataset):
        several = isinstance(paths, list | tuple)
        paths = [os.fspath(p) for p in paths] if several else [os.fspath(paths)]
        if not paths:
            raise ValueError("from_parquet got no paths")
        found = []
        for path in paths:
            with _reading(path):
                fragments = dataset.dataset(path, format="parquet").get_fragments()
                found += sorted(fragments, key=lambda fragment: fragment.path)
    else:
        found = [*paths.get_fragments()]
    if not found:
        raise ValueError(f"there are no Parquet files in {paths}")
    return found
