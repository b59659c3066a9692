"""Where conf/ lies, and its hash. Imports the standard library alone until it registers: DVC's own composition loads this file too."""

import hashlib
from pathlib import Path


def _shipped(folder: str, landmark: str) -> Path:
    """The clone's folder beside the package (editable install), else the copy inside the wheel."""
    package = Path(__file__).resolve().parent.parent
    beside = package.parent / folder
    return beside if (package.parent / "conf" / "config.yaml").is_file() and (beside / landmark).exists() else package / folder


def conf_dir() -> Path:
    """The folder that holds one folder of YAML options per noun."""
    return _shipped("conf", "config.yaml")


def pipelines_dir() -> Path:
    """The folder that holds one file per verb."""
    return _shipped("pipelines", ".")


def conf_hash(folder: Path | None = None) -> str:
    """Hash of every YAML file in conf/, names and bytes: tells a composed file that is older than conf/."""
    base = conf_dir() if folder is None else folder
    digest = hashlib.sha256()
    for path in sorted(base.rglob("*.yaml")):
        digest.update(path.relative_to(base).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def register() -> None:
    """Makes `${nnpx.conf_hash:}` known to OmegaConf in this process."""
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("nnpx.conf_hash", lambda: conf_hash(), replace=True)
