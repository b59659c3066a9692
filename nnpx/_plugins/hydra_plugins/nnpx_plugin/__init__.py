"""Gives DVC's own Hydra composition our resolvers (`dvc config hydra.plugins_path nnpx/_plugins`).

Hydra's plugin scan imports this module before it composes. The resolvers are loaded by path, so that it also works
when DVC lives in another environment, where nnpx is not installed. `hydra_plugins` is a namespace package: it has no `__init__.py`.
"""

import importlib.util
from pathlib import Path


def _register() -> None:
    path = Path(__file__).resolve().parents[3] / "configuration" / "resolvers.py"
    spec = importlib.util.spec_from_file_location("_nnpx_resolvers", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.register()


_register()
