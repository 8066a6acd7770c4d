"""On-demand views, compiled to direct calls of the functions that their tags name. Core but for the import by name.

Feast keeps such a function as a pickle in the registry. Nothing is unpickled here: only a function of the feature repository
is called, found by its name, so who can write the registry still cannot choose what code runs."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import FunctionType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.features.plan.blocks import DTYPES, OBJECT, default_of
from serving.features.plan.definitions import ComputedView
from serving.features.plan.errors import InvalidColumn, RegistryError
from serving.features.plan.gather import Layout, Tables
from serving.features.plan.keys import column
from serving.ports import Columns

HOME: Final = "feature_repo"
"""The package whose functions may be called."""

Function = Callable[..., Mapping[str, Sequence[Any]]]

_FEW: Final = 64
"""Texts up to which each is decoded by itself."""
_KINDS: Final = {"FLOAT": "fiu", "DOUBLE": "fiu", "INT32": "iu", "INT64": "iu", "BOOL": "b", "UNIX_TIMESTAMP": "iu"}


def find_function(reference: str, folder: Path | None) -> Function:
    """Import `module:function` of the feature repository, or of `folder`. Raises RegistryError."""
    module, _, name = reference.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), name)):
        raise RegistryError(f"transform {reference!r} must be written as module:function")
    try:
        if folder is not None and (path := folder / f"{module.removeprefix(f'{HOME}.').replace('.', '/')}.py").is_file():
            spec = spec_from_file_location(f"vedette_features_{path.stem}", path)
            if spec is None or spec.loader is None:
                raise ImportError(f"no loader for {path}")
            loaded = module_from_spec(spec)
            spec.loader.exec_module(loaded)
        elif module.split(".")[0] == HOME:
            loaded = import_module(module)
        else:
            raise RegistryError(f"transform {reference!r} is outside the feature repository; only {HOME}.* is called")
        found = getattr(loaded, name)
    except RegistryError:
        raise
    except (Exception, SystemExit) as error:  # the module's own code runs
        raise RegistryError(f"transform {reference!r} cannot be imported: {error!r}") from error
    if not isinstance(found, FunctionType) or found.__module__ != loaded.__name__:
        raise RegistryError(f"transform {reference!r} is not a function that this module defines")
    return found


class Computed:
    """One computed view, ready to be called."""

    def __init__(self, view: ComputedView, folder: Path | None) -> None:
        """Find the view's function. Raises RegistryError."""
        if view.mode != "python" or view.transform is None:
            raise RegistryError(
                f"on-demand view {view.name!r} (mode {view.mode}) does not say which function computes it; give it mode 'python' "
                "and a tag transform: 'module:function'"
            )
        self.view = view
        self._function = find_function(view.transform, folder)
        self._outputs = [(f.name, f"{view.name}__{f.name}", DTYPES.get(f.type, OBJECT), default_of(f)) for f in view.features]
        self._names = tuple(name for name, *_ in self._outputs)
        self._full_names = tuple(full for _, full, _, _ in self._outputs)
        dtypes = {dtype for _, _, dtype, _ in self._outputs}
        self._only_dtype = dtypes.pop() if len(dtypes) == 1 and OBJECT not in dtypes else None
        self._arguments = [(argument.name, f"{argument.view}__{argument.name}") for argument in view.arguments]

    @property
    def tables(self) -> tuple[tuple[str, ...], ...]:
        """Names of the features in each table that a call gives: one table if they are numbers of one type, else one each."""
        return (self._full_names,) if self._only_dtype is not None else tuple((name,) for name in self._full_names)

    def __call__(self, request: Columns, tables: Tables, layout: Layout, rows: int) -> list[NDArray[Any]]:
        """Compute the view's features for a batch: `tables`, each of shape (rows, features). tables, layout: of what is stored.

        Raises InvalidColumn if the function refuses the values."""
        columns = {field.name: _plain(field.type, field.name, column(request, field.name, rows)) for field in self.view.fields}
        for name, full in self._arguments:
            table, place = layout[full]
            columns[name] = columns[full] = tables[table][:, place].tolist()
        try:
            given = self._call(columns, rows)
            return self._pack(given, rows)
        except Exception as error:  # whatever a transform raises, it is about the values it was given
            raise InvalidColumn(f"view {self.view.name!r} cannot be computed from these values: {error!r}") from error

    def _call(self, columns: Mapping[str, list[Any]], rows: int) -> Mapping[str, Sequence[Any]]:
        parameters = self.view.parameters
        if not self.view.singleton:
            return self._function(columns, **parameters)
        each = [self._function({name: values[i] for name, values in columns.items()}, **parameters) for i in range(rows)]
        return {name: [one[name] for one in each] for name, *_ in self._outputs}

    def _pack(self, given: Mapping[str, Sequence[Any]], rows: int) -> list[NDArray[Any]]:
        dtype = self._only_dtype
        if dtype is not None and rows == 1:  # flat: numpy takes long over a list of lists
            flat = [value for name in self._names for (value,) in (given[name],)]
            if None not in flat:  # numpy would make NaN of it
                return [np.array(flat, dtype=dtype).reshape(1, -1)]
        elif dtype is not None and not any(None in given[name] for name in self._names):
            together = np.array([given[name] for name in self._names], dtype=dtype).T
            if together.shape == (rows, len(self._names)):
                return [together]
        columns = [_array(given[name], kind, default, rows).reshape(-1, 1) for name, _, kind, default in self._outputs]
        return columns if dtype is None else [np.hstack(columns)]


def _array(values: Sequence[Any], dtype: np.dtype[Any], default: Any, rows: int) -> NDArray[Any]:
    if len(values) != rows:
        raise ValueError(f"{len(values)} values for {rows} rows")
    array = np.empty(rows, dtype=dtype)
    for place, value in enumerate(values):
        array[place] = default if value is None else value
    return array


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _plain(type_name: str, name: str, values: NDArray[Any]) -> list[Any]:
    """A request column as Python values of the field's type."""
    kinds = _KINDS.get(type_name)
    if kinds is not None:
        if values.dtype.kind not in kinds:
            raise InvalidColumn(f"column {name!r} holds {values.dtype} values, expected {type_name}")
        return list(values.tolist())
    try:
        plain: list[Any] = values.tolist()
        if type_name == "BYTES":
            return plain
        if len(plain) < _FEW:
            return [_text(value) for value in plain]
        known = {value: _text(value) for value in set(plain)}
        return [known[value] for value in plain]
    except UnicodeDecodeError as error:
        raise InvalidColumn(f"column {name!r} holds bytes that are not UTF-8 text: {error}") from error
