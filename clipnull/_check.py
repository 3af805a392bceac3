"""Argument checks shared by the public functions: a ValueError names argument, value and want."""

from __future__ import annotations

import difflib
import functools
import inspect
import math
import numbers
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch

#: what public functions take for an array; what comes back is always a torch tensor
ArrayLike = torch.Tensor | np.ndarray | Sequence[Any]
#: what they take for classes: indices or names
ClassesLike = int | str | Sequence[int] | Sequence[str] | torch.Tensor | np.ndarray


def closest(word: str, options: Iterable[str]) -> list[str]:
    """The three options spelled most like ``word`` (case ignored)."""
    table = {o.lower(): o for o in options}
    return [table[k] for k in difflib.get_close_matches(word.lower(), table, cutoff=0.0)]


def array(name: str, value: Any) -> torch.Tensor:
    """``value`` as a tensor: a tensor, array, list of tensors, DataFrame, in any layout and byte order."""
    try:
        if isinstance(value, Sequence) and len(value):
            if all(isinstance(x, torch.Tensor) for x in value):
                return torch.stack(list(value))
            if all(isinstance(x, np.ndarray) for x in value):
                value = np.stack(value)
        if hasattr(value, "to_numpy"):  # pandas: the numbers in their order, whatever the index
            value = value.to_numpy()
        if isinstance(value, np.ndarray):  # torch reads neither foreign bytes nor negative strides
            value = np.require(value, value.dtype.newbyteorder("="), ["C", "W"])
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name}: cannot be read as an array of numbers ({error})") from error


def rows(name: str, value: ArrayLike, dim: int | None = None, *, nonzero: bool = False) -> torch.Tensor:
    """``value`` as a finite float tensor [n, d] with n >= 1; a single vector [d] becomes [1, d]."""
    x = array(name, value)
    if x.ndim == 1 and x.numel():
        x = x[None]
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"{name}: got shape {tuple(x.shape)}, want [n, d] with at least one row")
    if x.is_complex():
        raise ValueError(f"{name}: got complex numbers, want real ones")
    if not x.is_floating_point():
        x = x.to(torch.float32)
    if dim is not None and x.shape[1] != dim:
        turned = " (it looks transposed: samples are rows)" if x.shape[0] == dim else ""
        raise ValueError(f"{name}: rows have {x.shape[1]} entries, want {dim} like the others{turned}")
    if bad := sum(int((~torch.isfinite(block).all(1)).sum()) for block in x.split(2**14)):
        raise ValueError(f"{name}: {bad} of {len(x)} rows hold NaN or infinity, want finite numbers")
    if nonzero and bool((zero := x.abs().amax(1) == 0).any()):
        raise ValueError(f"{name}: row {int(zero.nonzero()[0])} is all zeros, want a non-zero length")
    return x


def number(name: str, value: Any, low: float, high: float = math.inf, *, allow_inf: bool = False) -> float:
    """``value`` as a float in [low, high], never NaN."""
    try:
        x = float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: got {value!r}, want a number") from error
    if isinstance(value, bool) or math.isnan(x) or not low <= x <= high or (math.isinf(x) and not allow_inf):
        want = f" in [{low:g}, {high:g}]" if math.isfinite(high) else f" at least {low:g}"
        want = want if math.isfinite(low) else ""
        raise ValueError(f"{name}: got {value!r}, want a{'' if allow_inf else ' finite'} number{want}")
    return x


def interval(name: str, value: tuple[float, float]) -> tuple[float, float]:
    if not -math.inf < value[0] < value[1] < math.inf:
        raise ValueError(f"{name}: got {value!r}, want two finite numbers, the lower one first")
    return value


def whole(name: str, value: Any, low: float, high: int | None = None) -> int:
    """``value`` as an int in [low, high]; NumPy's whole numbers are welcome."""
    fits = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not fits or value < low or (high is not None and value > high):
        want = f" from {low} to {high}" if high is not None else f" of at least {low}"
        raise ValueError(f"{name}: got {value!r}, want a whole number{'' if low == -math.inf else want}")
    return int(value)


def one_of(name: str, value: Any, options: Iterable[str]) -> str:
    """``value`` if it is among ``options``; the message lists them otherwise."""
    options = list(options)
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name}: got {value!r}, want one of {', '.join(options)}")
    return value


def some_of(name: str, value: Any, options: Iterable[str]) -> list[str]:
    known = list(options)
    return [one_of(name, item, known) for item in having(name, some(name, value), "")]


def names(name: str, value: Any, n: int) -> list[str]:
    listed = [str(item) for item in some(name, value)]
    if len(listed) != n:
        raise ValueError(f"{name}: got {len(listed)} names, want {n}")
    return listed


def some(name: str, value: Any) -> list[Any]:
    """``value`` as a list of whatever it holds; a str and a mapping are none."""
    try:
        if isinstance(value, (str, bytes, Mapping)):
            raise TypeError
        return list(value if isinstance(value, Iterable) else plain(value))
    except TypeError as error:
        raise ValueError(f"{name}: got {value!r}, want a list") from error


def having(name: str, things: Iterable[Any], fields: str) -> list[Any]:
    """One or more ``things`` as a list, if each has the ``fields``, which are separated by spaces."""
    if not (found := list(things)):
        raise ValueError(f"{name}: got none, want at least one")
    for thing in found:
        if lacking := [field for field in fields.split() if not hasattr(thing, field)]:
            raise ValueError(f"{name}: got {type(thing).__name__}, want what has {', '.join(lacking)}")
    return found


def labels(name: str, value: ArrayLike, n: int, n_classes: int) -> torch.Tensor:
    """``value`` as a LongTensor [n] with entries in [0, n_classes)."""
    y = array(name, value)
    if y.ndim != 1 or len(y) != n:
        raise ValueError(f"{name}: got shape {tuple(y.shape)}, want [{n}], one label per image")
    if (y.is_floating_point() and not torch.equal(y, y.round())) or y.is_complex() or y.dtype == torch.bool:
        raise ValueError(f"{name}: got {y.dtype} entries, want whole numbers (class indices)")
    y = y.long()
    low, high = (int(y.min()), int(y.max())) if n else (0, 0)
    if low < 0 or high >= n_classes:
        raise ValueError(f"{name}: entries run from {low} to {high}, want 0 to {n_classes - 1}")
    return y


def others(some: Sequence[int], n: int) -> list[int]:
    gone = set(some)
    return [i for i in range(n) if i not in gone]


def share(mask: torch.Tensor) -> float:
    """Share of the entries that are true; NaN of none."""
    return float(mask.double().mean()) if mask.numel() else math.nan


def plain(value: Any) -> Any:
    """Tensors, arrays, Series and NumPy's scalars as Python values; anything else as it is."""
    return value.tolist() if hasattr(value, "tolist") else value


def class_indices(name: str, wanted: Any, n_classes: int, classes: Sequence[str] | None = None) -> list[int]:
    """Indices of classes given by index or by name of ``classes``; duplicates dropped, at least one."""
    wanted, classes = plain(wanted), plain(classes)
    if isinstance(wanted, str) or not isinstance(wanted, Iterable):
        wanted = [wanted]
    found: dict[int, None] = {}
    for item in map(plain, wanted):
        if isinstance(item, str):
            if classes is None:
                raise ValueError(f"{name}: got the name {item!r}, want indices, or names in classes=")
            if item not in classes:
                near = ", ".join(map(repr, closest(item, classes)))
                raise ValueError(f"{name}: unknown class {item!r}; the closest are {near}")
            item = classes.index(item)
        elif not isinstance(item, int) or isinstance(item, bool):
            raise ValueError(f"{name}: got {item!r}, want class indices or class names")
        elif not 0 <= item < n_classes:
            raise ValueError(f"{name}: class index {item} is out of range, want 0 to {n_classes - 1}")
        found[item] = None
    if not found:
        raise ValueError(f"{name}: got no class, want at least one")
    return list(found)


def forget_set(forget: Any, n_classes: int, classes: Sequence[str] | None = None) -> list[int]:
    """Class indices of ``forget``, as `class_indices`; at least one class is left to retain."""
    indices = class_indices("forget", forget, n_classes, classes)
    if len(indices) == n_classes:
        raise ValueError(f"forget: got all {n_classes} classes, want at least one class left to retain")
    return indices


P = ParamSpec("P")
R = TypeVar("R")
Kind = Callable[[str, Any], Any]

#: the same name means the same everywhere; what `edit` and `evaluation` define, they put here
KINDS: dict[str, Kind] = {
    "seed": functools.partial(whole, low=0, high=2**63 - 1),
    "folds": functools.partial(whole, low=2),
    "worst": functools.partial(whole, low=0),
    **dict.fromkeys("columns draws k nearest seeds shown".split(), functools.partial(whole, low=1)),
}


def instance(kind: type, want: str = "") -> Kind:
    def check(name: str, value: Any) -> Any:
        if not isinstance(value, kind):
            got = repr(value) if want else type(value).__name__
            named = f"a {kind.__module__.partition('.')[0]}.{kind.__name__}"
            raise ValueError(f"{name}: got {got}, want {want or named}")
        return value

    return check


text, truth = instance(str, "a text"), instance(bool, "True or False")
#: annotation -> what any argument must be that has it; the rooms put their classes here
TYPES: dict[str, Kind] = {
    "str": text,
    "bool": lambda name, value: truth(name, plain(value)),
    "int": lambda name, value: whole(name, value, -math.inf),
    "float": lambda name, value: number(name, value, -math.inf, allow_inf=True),
    "Mapping": instance(Mapping),
    "dtype": instance(torch.dtype),
    "Callable": instance(Callable),  # type: ignore[arg-type]
}


def _by_type(annotation: Any) -> Kind | None:
    """What `TYPES` says of an annotation, of the entries of a tuple or sequence too; None of unions."""
    written = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    kind, _, inner = re.sub(r"\w[\w.]*\.", "", written).removesuffix(" | None").partition("[")
    if "|" in kind + inner:
        return None
    entries = [None if entry == "str" else TYPES.get(entry) for entry in inner.rstrip("]").split(", ")]

    def several(name: str, value: Any) -> Any:
        if inner == "Any]" and isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
            return value  # unread: these may be pictures on a disk
        found = some(name, value)
        if kind == "tuple" and len(found) != len(entries):
            raise ValueError(f"{name}: got {value!r}, want {len(entries)} values")
        checks = entries if kind == "tuple" else entries * len(found)
        return [x if check is None else check(name, plain(x)) for x, check in zip(found, checks, strict=True)]

    return several if kind in ("tuple", "Sequence", "Iterable") else TYPES.get(kind)


@functools.cache
def _kind(name: str, annotation: Any) -> Kind:
    """What an argument must be, by its name, else by its type, which may allow None."""
    kind, optional = KINDS.get(name) or _by_type(annotation), "None" in str(annotation)
    return lambda name, value: kind(name, value) if kind and not (optional and value is None) else value


def fields(made: Any) -> None:
    """Check what a dataclass holds, as `by_name` does the arguments of a function."""
    for name, annotation in made.__annotations__.items():
        _kind(name, annotation)(name, getattr(made, name))


def by_name(function: Callable[P, R]) -> Callable[P, R]:
    """Check arguments that `KINDS` knows by name or `TYPES` by annotation first, and that an edit fits."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind(*args, **kwargs)
        given = bound.arguments
        for name, value in given.items():
            given[name] = _kind(name, signature.parameters[name].annotation)(name, value)
        if (edit := given.get("edit")) is not None and given.keys() & {"case", "T_f"}:
            # a case has checked its names; here a slider may be waiting
            d = (given["case"].T if "case" in given else rows("T_f", given["T_f"])).shape[1]
            if edit.dim != d:
                raise ValueError(f"edit: acts on {edit.dim} dimensions, want {d} like the names")
        return function(*bound.args, **bound.kwargs)

    return checked
