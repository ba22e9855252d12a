"""Checkpoints that others wrote by `torch.save`, read without executing anything in them."""

import collections
import pickle
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

STORAGE_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
}


class Inert(dict):
    """Stands for every class that a pickle names: it can be built and filled, and does nothing."""

    def __init__(self, *args, **kwargs):
        super().__init__()

    def __setstate__(self, state):
        self.__dict__.update(state if isinstance(state, dict) else {"state": state})

    def append(self, item):
        pass

    def extend(self, items):
        pass

    add = append


class StoredTensor(NamedTuple):
    """A tensor that is still in the file."""

    archive: zipfile.ZipFile
    member: str
    dtype: torch.dtype
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def tensor(self) -> torch.Tensor:
        """Raises ValueError if the storage is missing, damaged or does not fit the shape."""
        try:
            storage = torch.frombuffer(bytearray(self.archive.read(self.member)), dtype=self.dtype)
            return storage.as_strided(self.size, self.stride, self.offset)
        except Exception as error:  # All of it is what the pickle says, which may be anything.
            raise ValueError(f"{self.archive.filename}: {self.member} is damaged ({error})") from None


class CheckpointUnpickler(pickle.Unpickler):
    """Reads a `torch.save` archive whose every class but tensors and plain containers becomes `Inert`."""

    def __init__(self, archive: zipfile.ZipFile, pickle_name: str):
        super().__init__(archive.open(pickle_name))
        self.archive = archive
        self.folder = pickle_name.removesuffix("data.pkl")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, stride, *_: StoredTensor(*storage, offset, size, stride)
        if module == "torch" and name in STORAGE_DTYPES:
            return STORAGE_DTYPES[name]
        return type(name, (Inert,), {"__module__": f"inert.{module}"})

    def persistent_load(self, pid):
        _, dtype, key, *_ = pid
        return self.archive, f"{self.folder}data/{key}", dtype


def read_archive(path: Path) -> Any:
    """What a `torch.save` archive holds, tensors as `StoredTensor`, executing nothing of it.

    Raises:
        FileNotFoundError, ValueError: no such file; not a readable torch archive.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        archive = zipfile.ZipFile(path)
        pickle_name = next(name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"])
        return CheckpointUnpickler(archive, pickle_name).load()
    except (zipfile.BadZipFile, StopIteration):
        raise ValueError(f"{path}: not a torch checkpoint (a zip archive with data.pkl)") from None
    except Exception as error:  # A hostile or damaged pickle may raise anything; nothing of it was executed.
        raise ValueError(f"{path}: not a checkpoint that can be read: its pickle fails ({error})") from None


def stored_state(content: Any, name: str) -> dict[str, StoredTensor] | None:
    """The weights under `name` in the content of a checkpoint; None if there are none."""
    state = content.get(name) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state:
        return None
    named = all(isinstance(key, str) and isinstance(value, StoredTensor) for key, value in state.items())
    return state if named else None


@contextmanager
def mapping(checkpoint: Path, system: str, missing: str = "no {} in it"):
    """While weights are looked up by name and loaded: what is missing, or of another shape, becomes a ValueError that
    names the file."""
    try:
        yield
    except KeyError as error:
        raise ValueError(f"{checkpoint}: {missing.format(error)}") from None
    except RuntimeError as error:
        raise ValueError(f"{checkpoint}: not the shapes of {system}: {' '.join(str(error).split())}") from None
