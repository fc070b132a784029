"""Python values as JSON and named arrays, and back: the one table of what a file holds.

A value that JSON knows (None, bool, int, text, finite float, list) stands for itself.
Everything else is an object ``{"type": name, ...}``; `TYPES` maps the name to the way
back. Arrays of numbers become tensors of the file, in the JSON by name. Classes are
found in tables by name and filled with their own fields, so that reading a file calls
nothing that the file chooses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._batches import Moments
from ._constraints import Constraints
from ._engine import Engine, Plan
from ._gnn import GnnEngine
from ._labels import import_extra
from ._mixing import Record
from ._models import MODEL_NAMES
from ._preprocess import Preprocessing
from ._priors import EdgeProbabilities, ErdosRenyi
from ._problem import ScoreTables
from ._refine import Refinement
from ._validation import describe

Json = Any
Arrays = dict[str, NDArray[Any]]

# Objects that users hand to constructors: their parameters say all.
SETTINGS: dict[str, Any] = {
    cls.__name__: cls
    for cls in (*MODEL_NAMES.values(), Constraints, ErdosRenyi, EdgeProbabilities)
}

# Parts of a fitted estimator; all are dataclasses.
PARTS: dict[str, Any] = {
    cls.__name__: cls
    for cls in (
        ScoreTables,
        Engine,
        GnnEngine,
        Plan,
        Moments,
        Preprocessing,
        Record,
        Refinement,
    )
}

BIT_GENERATORS: dict[str, Any] = {
    cls.__name__: cls
    for cls in (
        np.random.MT19937,
        np.random.PCG64,
        np.random.PCG64DXSM,
        np.random.Philox,
        np.random.SFC64,
    )
}

NUMBER_KINDS = "biuf"  # kinds of dtypes that tensors can have


class Packer:
    """Turns values into JSON; collects their arrays."""

    def __init__(self) -> None:
        self.arrays: Arrays = {}
        self.parts: dict[int, int] = {}  # number of each part that was met, by id

    def pack(self, value: Any, where: str) -> Json:
        """`where` names the value in errors and names its array."""
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, np.generic):
            return self.pack_scalar(value, where)
        if isinstance(value, int):
            return value
        if isinstance(value, float):
            if math.isfinite(value):
                return value
            return {"type": "float", "value": repr(value)}
        if isinstance(value, np.ndarray):
            return self.pack_array(value, where)
        if isinstance(value, (list, tuple, set, frozenset)):
            return self.pack_items(value, where)
        if isinstance(value, Mapping):
            return {"type": "dict", "items": self.pack_pairs(value, where)}
        return self.pack_object(value, where)

    def pack_items(self, value: Any, where: str) -> Json:
        name = type(value).__name__
        if name not in ("list", "tuple", "set", "frozenset"):
            raise unknown(value, where)
        members = value if name in ("list", "tuple") else sorted(value, key=repr)
        items = [self.pack(item, f"{where}/{k}") for k, item in enumerate(members)]
        return items if name == "list" else {"type": name, "items": items}

    def pack_pairs(self, value: Mapping[Any, Any], where: str) -> Json:
        return [
            [self.pack(key, f"{where}/key"), self.pack(item, f"{where}/{key}")]
            for key, item in value.items()
        ]

    def pack_scalar(self, value: np.generic, where: str) -> Json:
        if value.dtype.kind not in NUMBER_KINDS:
            raise unknown(value, where)
        return {
            "type": "scalar",
            "dtype": value.dtype.name,
            "value": self.pack(value.item(), where),
        }

    def pack_array(self, value: NDArray[Any], where: str) -> Json:
        shape = list(value.shape)
        if value.dtype.kind in "OU" and all(isinstance(s, str) for s in value.flat):
            kind = "objects" if value.dtype.kind == "O" else "strings"
            return {"type": kind, "shape": shape, "items": value.ravel().tolist()}
        if value.dtype.kind not in NUMBER_KINDS or value.dtype.itemsize > 8:
            raise unknown(value, where)
        name = where
        while name in self.arrays:
            name += "'"
        native = value.dtype.newbyteorder("=")
        self.arrays[name] = np.ascontiguousarray(value, dtype=native).reshape(shape)
        return {"type": "array", "name": name}

    def pack_object(self, value: Any, where: str) -> Json:
        name = type(value).__name__
        members: Mapping[str, Any]
        if SETTINGS.get(name) is type(value):
            members = value.get_params(deep=False)
        elif PARTS.get(name) is type(value):
            if id(value) in self.parts:
                return {"type": "shared", "part": self.parts[id(value)]}
            self.parts[id(value)] = len(self.parts)
            members = state_of(value)
        elif isinstance(value, np.random.Generator):
            members = {"state": value.bit_generator.state}
            name = "Generator"
        elif isinstance(value, np.random.RandomState):
            members = {"state": value.get_state(legacy=False)}
            name = "RandomState"
        elif isinstance(value, np.random.SeedSequence):
            members = value.state
        elif name == "DataFrame" and hasattr(value, "to_numpy"):
            members = {
                "values": value.to_numpy(),
                "index": list(value.index),
                "columns": list(value.columns),
            }
        else:
            raise unknown(value, where)
        return {"type": name, "fields": self.pack_pairs(members, where)}


def state_of(part: Any) -> dict[str, Any]:
    """Fields of a dataclass, as for pickling; what is rebuilt when needed is left out."""
    state = part.__getstate__() if hasattr(part, "__getstate__") else None
    return {
        name: value
        for name, value in (state or vars(part)).items()
        if not (name.startswith("_") and value is None)
    }


def unknown(value: object, where: str) -> TypeError:
    return TypeError(
        f"{where.replace('/', '.')} cannot be saved: {describe(value)} is neither plain "
        "data nor one of the objects of this package"
    )


# --- the way back --------------------------------------------------------------------


class Unpacker:
    """Turns JSON and arrays into values; ValueError for whatever is not in the tables."""

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays
        self.parts: list[Any] = []  # None while one is being read

    def unpack(self, value: Json) -> Any:
        if isinstance(value, list):
            return [self.unpack(item) for item in value]
        if not isinstance(value, dict):
            return value
        read = TYPES.get(str(value.get("type")))
        if read is None:
            raise ValueError(f"unknown type {describe(value.get('type'))}")
        return read(self, value)

    def items(self, value: Json) -> list[Any]:
        items = value.get("items")
        if not isinstance(items, list):
            raise ValueError(f"a {value['type']} without items")
        return [self.unpack(item) for item in items]

    def pairs(self, pairs: Json) -> dict[Any, Any]:
        result = {}
        for pair in pairs if isinstance(pairs, list) else [None]:
            if not isinstance(pair, list) or len(pair) != 2:
                raise ValueError("a mapping that does not consist of pairs")
            key = self.unpack(pair[0])
            try:
                result[key] = self.unpack(pair[1])
            except TypeError:
                raise ValueError(f"{describe(key)} cannot be a key") from None
        return result

    def fields(self, value: Json) -> dict[str, Any]:
        result = self.pairs(value.get("fields"))
        if not all(isinstance(name, str) for name in result):
            raise ValueError(f"a {value['type']} has fields without names")
        return result

    def read_float(self, value: Json) -> float:
        if value.get("value") not in ("inf", "-inf", "nan"):
            raise ValueError(f"{describe(value.get('value'))} is no number")
        return float(value["value"])

    def read_scalar(self, value: Json) -> Any:
        dtype = str(value.get("dtype"))
        number = self.unpack(value.get("value"))
        if dtype not in SCALARS or not isinstance(number, (bool, int, float)):
            raise ValueError(f"{describe(value)} is no number")
        try:
            return np.dtype(dtype).type(number)
        except OverflowError as error:
            raise ValueError(str(error)) from None

    def read_array(self, value: Json) -> NDArray[Any]:
        array = self.arrays.get(str(value.get("name")))
        if array is None:
            raise ValueError(f"the array {describe(value.get('name'))} is missing")
        return array

    def read_text(self, value: Json) -> NDArray[Any]:
        items, shape = value.get("items"), value.get("shape")
        if not (
            isinstance(items, list)
            and all(isinstance(item, str) for item in items)
            and isinstance(shape, list)
            and all(type(size) is int and size >= 0 for size in shape)
            and math.prod(shape) == len(items)
        ):
            raise ValueError("an array of text whose shape does not fit")
        dtype = object if value["type"] == "objects" else np.str_
        return np.array(items, dtype=dtype).reshape(shape)

    def read_settings(self, value: Json) -> Any:
        cls = SETTINGS[value["type"]]
        given = self.fields(value)
        if set(given) - set(cls._get_param_names()):
            raise ValueError(f"{value['type']} has no {describe(sorted(given))}")
        return cls(**given)

    def read_part(self, value: Json) -> Any:
        cls = PARTS[value["type"]]
        number = len(self.parts)
        self.parts.append(None)
        given = self.fields(value)
        part = cls.__new__(cls)
        for field in fields(cls):
            if field.name in given:
                content = given.pop(field.name)
            elif field.default is not MISSING:
                content = field.default
            elif field.default_factory is not MISSING:
                content = field.default_factory()
            else:
                raise ValueError(f"{value['type']} lacks {field.name!r}")
            object.__setattr__(part, field.name, content)  # some are frozen
        if given:
            raise ValueError(f"{value['type']} has no {describe(sorted(given))}")
        self.parts[number] = part
        return part

    def read_shared(self, value: Json) -> Any:
        number = value.get("part")
        if not isinstance(number, int) or not 0 <= number < len(self.parts):
            raise ValueError("a reference to a part that is not there")
        return self.parts[number]

    def read_generator(self, value: Json) -> Any:
        state = self.fields(value).get("state")
        name = state.get("bit_generator") if isinstance(state, dict) else None
        cls = BIT_GENERATORS.get(str(name))
        if cls is None:
            raise ValueError(f"unknown generator of random numbers {describe(name)}")
        generator: Any
        try:
            if value["type"] == "Generator":
                generator = np.random.Generator(cls())
                generator.bit_generator.state = state
            else:
                generator = np.random.RandomState(cls())
                generator.set_state(state)
        except (TypeError, KeyError, OverflowError) as error:
            raise ValueError(f"state of random numbers: {error}") from None
        return generator

    def read_seed_sequence(self, value: Json) -> Any:
        try:
            return np.random.SeedSequence(**self.fields(value))
        except TypeError as error:
            raise ValueError(f"SeedSequence: {error}") from None

    def read_frame(self, value: Json) -> Any:
        pandas = import_extra("pandas")
        given = self.fields(value)
        if set(given) != {"values", "index", "columns"}:
            raise ValueError("a DataFrame without values, index and columns")
        return pandas.DataFrame(
            given["values"], index=given["index"], columns=given["columns"]
        )


SCALARS = {
    "bool",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    *(f"float{bits}" for bits in (16, 32, 64)),
}

TYPES: dict[str, Callable[[Unpacker, Json], Any]] = {
    "float": Unpacker.read_float,
    "scalar": Unpacker.read_scalar,
    "array": Unpacker.read_array,
    "objects": Unpacker.read_text,
    "strings": Unpacker.read_text,
    "tuple": lambda self, value: tuple(self.items(value)),
    "set": lambda self, value: set(self.items(value)),
    "frozenset": lambda self, value: frozenset(self.items(value)),
    "dict": lambda self, value: self.pairs(value.get("items")),
    "Generator": Unpacker.read_generator,
    "RandomState": Unpacker.read_generator,
    "SeedSequence": Unpacker.read_seed_sequence,
    "DataFrame": Unpacker.read_frame,
    "shared": Unpacker.read_shared,
    **dict.fromkeys(SETTINGS, Unpacker.read_settings),
    **dict.fromkeys(PARTS, Unpacker.read_part),
}
