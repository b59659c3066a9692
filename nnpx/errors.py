"""Every error a user can meet, as one tree.

    NNPXError
    ├── ConfigError       a key, value, option or override that is not valid
    ├── DataError         a file or a label that cannot be learned from
    ├── SpeciesError      an element that the potential does not know
    ├── GeometryError     positions or a cell that no physics allows
    ├── ReferenceEngineError   a quantum engine that is missing or does not answer
    ├── ArtifactError     a saved potential that cannot be read
    ├── TrainingError     a training that diverged
    ├── CheckpointError   a training state that cannot be resumed or written
    ├── WorkspaceError    a folder that results cannot be written to
    ├── OutOfMemoryError  work that takes more memory than there is
    └── SimulationError   a trajectory that left the region where it means anything

Each message says what was expected, what was found and what to do.
"""


class NNPXError(Exception):
    """An error in three parts: what was expected, what was found, what to do.

    Args:
        where: the file, structure, key or step that is meant.
        expected: what would have been right.
        found: what is there instead.
        do: one action that mends it.
    """

    def __init__(self, where: str, *, expected: str, found: str, do: str) -> None:
        self.where, self.expected, self.found, self.do = where, expected, found, do
        super().__init__(f"{where}: expected {expected}, found {found}. {do}")

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.where, self.expected, self.found, self.do)


def _rebuild(kind: type[NNPXError], where: str, expected: str, found: str, do: str) -> NNPXError:
    """An error that comes back from another process."""
    return kind(where, expected=expected, found=found, do=do)


class ConfigError(NNPXError):
    """A key, value, option or override that is not valid."""


class TrustError(ConfigError):
    """A class that the user has not said to trust."""


class DataError(NNPXError):
    """A file or a label that cannot be learned from."""


class SpeciesError(NNPXError):
    """An element that the potential does not know."""


class GeometryError(NNPXError):
    """Positions or a cell that no physics allows."""


class ReferenceEngineError(NNPXError):
    """A quantum engine that is missing or does not answer."""


class ArtifactError(NNPXError):
    """A saved potential that cannot be read."""


class TrainingError(NNPXError):
    """A training that diverged."""


class CheckpointError(NNPXError):
    """A training state that cannot be resumed or written."""


class WorkspaceError(NNPXError):
    """A folder that results cannot be written to."""


class OutOfMemoryError(NNPXError):
    """Work that takes more memory than there is."""


class SimulationError(NNPXError):
    """A trajectory that left the region where it means anything."""
