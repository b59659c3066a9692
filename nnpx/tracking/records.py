"""What a run has to say, as records of plain JSON."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from nnpx.files import md5

#: one thing to remember, as JSON: {"do": "params" | "metrics" | "file" | "text" | "register" | "tag" | "start" | "finish", …}
Record = dict[str, Any]
#: MLflow's limits: parameters in a batch, characters of a parameter's value
PARAMS_PER_BATCH: Final = 100
PARAM_LENGTH: Final = 6000


def param_batches(values: Mapping[str, object]) -> Iterator[dict[str, str]]:
    """Settings as flat text in batches that MLflow takes."""
    pairs = list(flatten(values).items())
    for first in range(0, len(pairs), PARAMS_PER_BATCH):
        yield dict(pairs[first : first + PARAMS_PER_BATCH])


def flatten(values: Mapping[str, object]) -> dict[str, str]:
    """Nested settings as dotted names and text; lists as JSON, characters that MLflow does not take as underscores."""
    flat: dict[str, str] = {}
    for path, value in leaves(values):
        text = value if isinstance(value, str) else json.dumps(value, default=_plain, ensure_ascii=False)
        flat[_valid(".".join(path))] = text if len(text) <= PARAM_LENGTH else text[: PARAM_LENGTH - 1] + "…"
    return flat


def flat_numbers(values: Mapping[str, object]) -> dict[str, float]:
    """Nested metrics under names such as `diffusion/O/value`, without what is no number."""
    return {_valid("/".join(path)): float(value) for path, value in leaves(values) if isinstance(value, float | int)}


def leaves(values: Mapping[str, object]) -> Iterator[tuple[tuple[str, ...], object]]:
    """Every value that is no mapping with keys, after the keys that lead to it."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from (((str(key), *path), leaf) for path, leaf in leaves(value))
        else:
            yield (str(key),), value


def _valid(name: str) -> str:
    return re.sub(r"[^\w\-./: ]", "_", name)


def _plain(value: object) -> object:
    return list(value) if hasattr(value, "__iter__") else str(value)


def with_checksum(record: Record) -> Record:
    """The record; one of a file with what tells later whether the file is still the same."""
    path = Path(record["path"]) if record["do"] == "file" else None
    return {**record, "md5": md5(path)} if path is not None and path.is_file() else record
