"""``python -m fastact``: the command line."""

import sys
from importlib.util import find_spec
from pathlib import Path


def _prefer_installed() -> None:
    """Leave uncompiled sources, which -m finds first in the current folder, for a compiled installation."""
    here = Path(__file__).resolve().parent
    if any(here.glob("backends/_core.*.so")) or sys.flags.safe_path or here.parent != Path.cwd():
        return
    path = sys.path[:]
    modules = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "fastact"}
    sys.path[:] = [entry for entry in path if Path(entry).resolve() != here.parent]
    spec = find_spec("fastact")
    if spec is not None and spec.origin is not None and any(Path(spec.origin).parent.glob("backends/_core.*.so")):
        sys.stderr.write(
            f"fastact: these sources are not compiled; running the package in {Path(spec.origin).parent}\n"
        )
    else:
        sys.path[:] = path
        sys.modules.update(modules)


if __name__ == "__main__":
    _prefer_installed()
    from fastact.cli import main

    sys.exit(main())
