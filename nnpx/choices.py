"""What varies among the runs of a sweep or a search, handed to each of them in the environment: its name and its tag in MLflow."""

import json
import os
from collections.abc import Mapping
from typing import Final

#: what varies for this process, as JSON: {"descriptor": "acsf", "seed": "1"}
CHOICES_VARIABLE: Final = "NNPX_CHOICES"
#: hands the run of a sweep or a search to its jobs, whatever process they run in: their runs are nested below it
PARENT_VARIABLE: Final = "NNPX_PARENT_RUN"


def choices() -> dict[str, str]:
    """What varies in the sweep or the search that this process works for; nothing outside of one."""
    return dict(json.loads(os.environ.get(CHOICES_VARIABLE, "{}")))


def is_one_of_many() -> bool:
    """Whether this process works for a sweep or a search, which decides itself which of its potentials is the best."""
    return bool(os.environ.get(PARENT_VARIABLE))


def run_name(config: Mapping[str, object]) -> str:
    """The name of a run: what varies where it is one of several, e.g. `descriptor=acsf seed=1`, else the name of the experiment."""
    return " ".join(f"{key}={value}" for key, value in choices().items()) or str(config["name"])


def run_tags(config: Mapping[str, object]) -> dict[str, str]:
    """Tags by which runs are found and compared: the seed, and what varies."""
    return {"seed": str(config["seed"]), **({"choices": json.dumps(choices())} if choices() else {})}
