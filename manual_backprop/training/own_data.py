"""Data other than the named sets of images: tables, data sets by import path, and the user's LightningDataModules."""

import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils.data import Dataset, Subset, TensorDataset

from ..errors import BadInput, unknown
from .datasets import DATASETS, Split
from .imports import imported

TEST_SHARE = 5
"""Every fifth example, chosen at random, is for testing where a data set has no test part."""


def diabetes() -> TensorDataset:
    """442 patients: ten measurements (age, sex, body mass index ...), and how far the disease progressed in a year."""
    from sklearn.datasets import load_diabetes

    inputs, targets = load_diabetes(return_X_y=True)  # columns of mean 0 and length 1
    inputs = inputs * len(inputs) ** 0.5  # columns of variance 1
    return TensorDataset(torch.tensor(inputs, dtype=torch.float32), torch.tensor(targets, dtype=torch.float32))


TABLES: dict[str, Callable[..., Dataset]] = {"diabetes": diabetes}


class Sizes(NamedTuple):
    """The sizes of the data that a model needs to know."""

    shape: tuple[int, ...]  # of one input
    classes: int = 0  # 0: not known
    targets: int = 1  # numbers in one example's target


Splits = dict[str, Split | Dataset]


def read(name: str, options: dict[str, Any], common: dict[str, Any], held_out: int | None, seed: int) -> Splits:
    """{"train", "val", "test"} of the data set `name`: one of TABLES, or the import path of a class or function.

    The class or function is called with `options` and with those of `common` that its signature has. If it has an
    argument `train`, it is called with true and with false, as torchvision's are; otherwise a fifth of the data is for
    testing. `held_out` examples of the rest (default: a fifth) are for validation. Raises BadInput.
    """
    if options.keys() & {"train"}:
        raise BadInput(
            "data.dataset_args.train is filled in: the data set is made with true and with false. Leave it out."
        )
    maker = TABLES.get(name) or imported("dataset", name, [*DATASETS, *TABLES])
    if not callable(maker):
        raise BadInput(f"Dataset {name} is a {type(maker).__name__}, expected a class or function giving a Dataset.")
    try:
        parameters = inspect.signature(maker).parameters
    except (TypeError, ValueError) as error:
        raise BadInput(f"Dataset {name}: its arguments cannot be read from its signature: {error}") from error
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for option in options:
        if option not in parameters and not takes_any:
            raise unknown(f"option of dataset {name}", str(option), [p for p in parameters if p != "train"])
    given = {**{key: value for key, value in common.items() if key in parameters}, **options}
    if "train" in parameters:
        rest, test = (_made(name, maker, {**given, "train": train}) for train in (True, False))
        places = _order(len(rest), seed)
    else:
        whole = _made(name, maker, given)
        places = _order(len(whole), seed)
        cut = len(places) // TEST_SHARE
        rest, test, places = whole, _part(whole, places[:cut]), places[cut:]
    total = len(places)
    held_out = total // TEST_SHARE if held_out is None else held_out
    if not 0 < held_out < total:
        raise BadInput(f"data.held_out={held_out}: {name} has {total} training examples, so give 1 to {total - 1}.")
    parts = {"train": _part(rest, places[held_out:]), "val": _part(rest, places[:held_out]), "test": test}
    if all(isinstance(part, TensorDataset) and len(part.tensors) == 2 for part in parts.values()):
        return {key: Split(*map(single, part.tensors)) for key, part in parts.items()}
    return parts


def _made(name: str, maker: Callable[..., Any], options: dict[str, Any]) -> Any:
    try:
        data = maker(**options)
    except Exception as error:  # the user's own code may raise anything
        raise error if isinstance(error, BadInput) else BadInput(f"Dataset {name} cannot be made: {error}") from error
    if not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        raise BadInput(
            f"Dataset {name} gave a {type(data).__name__}, expected a torch.utils.data.Dataset with __len__ and "
            "__getitem__. For other data write a LightningDataModule: --data mymodule.MyData."
        )
    if not len(data):
        raise BadInput(f"Dataset {name} is empty.")
    return data


def _order(count: int, seed: int) -> list[int]:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()


def _part(data: Any, places: list[int]) -> Any:
    if isinstance(data, TensorDataset):
        return TensorDataset(*data[places])
    return Subset(data, places)


def single(tensor: Tensor) -> Tensor:
    """float64, numpy's default dtype, as float32; other dtypes unchanged."""
    return tensor.float() if tensor.dtype == torch.float64 else tensor


def first_pair(split: Split | Dataset) -> tuple[Any, Any]:
    """The first example and its target. Raises BadInput where the first item is no pair."""
    if isinstance(split, Split):
        return split.images[0], split.labels[0]
    item = split[0]
    if not isinstance(item, Sequence) or len(item) != 2:
        raise BadInput(f"data.dataset: the first item is {_spelled(item)}, expected a pair (input, target).")
    return item[0], item[1]


def class_names(data: Any) -> tuple[str, ...]:
    """The class names in the attribute `classes` of a data set or data module; () where there are none."""
    while isinstance(data, Subset):
        data = data.dataset
    names = getattr(data, "classes", ())
    return tuple(map(str, names)) if isinstance(names, Sequence) and not isinstance(names, str) else ()


def count_of_classes(data: Any) -> int:
    """The number of classes, from the attributes `classes` (names or a number), `num_classes` or `targets`; else 0."""
    while isinstance(data, Subset):
        data = data.dataset
    for count in (getattr(data, "classes", None), getattr(data, "num_classes", None)):
        if isinstance(count, int):
            return count
    if names := class_names(data):
        return len(names)
    labels = data.labels if isinstance(data, Split) else getattr(data, "targets", None)
    if isinstance(data, TensorDataset) and len(data.tensors) == 2:  # from the user's own data module
        labels = data.tensors[1]
    if labels is None:
        return 0
    labels = torch.as_tensor(labels)
    return 0 if labels.is_floating_point() or labels.ndim != 1 else int(labels.max()) + 1


def sizes_of(pair: tuple[Any, Any], classes: int) -> Sizes:
    """The sizes of data of which `pair` is one example, (input, target)."""
    inputs, target = (torch.as_tensor(part) for part in pair)
    return Sizes(tuple(inputs.shape), classes, target.numel())


@lru_cache(maxsize=1)
def sizes(data: Any) -> Sizes:
    """The sizes of a data module: our own has them as its attribute `sizes`. Others may have the attributes `shape`,
    and `classes` or `num_classes`; where they are missing, the first training batch is read.

    Raises BadInput where there is no such batch.
    """
    if isinstance(known := getattr(data, "sizes", None), Sizes):
        return known
    shape = getattr(data, "shape", None)
    classes = count_of_classes(data)
    if shape is not None and classes:
        return Sizes(tuple(shape), classes)
    name = type(data).__name__
    try:
        with isolate_rng():
            data.prepare_data()
            data.setup("fit")
            loader = data.train_dataloader()
            batch = next(iter(loader))
    except Exception as error:  # the user's own code may raise anything
        raise BadInput(
            f"{name} gives no training batch before the run: {type(error).__name__}: {error}. Fix that, or state the "
            "sizes: give it the attributes `shape` (of one input) and `classes` (how many, or their names)."
        ) from error
    pair = list(batch) if isinstance(batch, list | tuple) else [batch]
    if len(pair) != 2 or not all(isinstance(part, Tensor) and part.ndim for part in pair):
        raise BadInput(f"{name}: the first training batch is {_spelled(batch)}, expected tensors (inputs, targets).")
    classes = classes or count_of_classes(getattr(loader, "dataset", None))
    return sizes_of((pair[0][0], pair[1][0]), classes)


class NoSizes(BaseException):
    """Carries a BadInput past jsonargparse, whose message would print the data module and so load its data again."""

    def __init__(self, error: BadInput) -> None:
        self.error = error


def _sizes(data: Any) -> Sizes:
    try:
        return sizes(data)
    except BadInput as error:
        raise NoSizes(error) from None


# the arguments of the model that are filled in from the data
SIZES: dict[str, Callable[[Any], Any]] = {
    "shape": lambda data: _sizes(data).shape,
    "classes": lambda data: _sizes(data).classes,
    "targets": lambda data: _sizes(data).targets,
}


def _spelled(item: Any) -> str:
    if isinstance(item, list | tuple):
        return f"a {type(item).__name__} of {', '.join(type(part).__name__ for part in item) or 'nothing'}"
    return f"a {type(item).__name__}"
