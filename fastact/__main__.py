"""``python -m fastact``: the command line."""

import sys
from importlib.machinery import PathFinder
from pathlib import Path


def _prefer_installed() -> None:
    """In a source folder, -m finds the sources before the installed package: leave them if uncompiled."""
    here = Path(__file__).resolve().parent
    if any(here.glob("_core.*.so")) or Path(sys.path[0]).resolve() != here.parent or here.parent != Path.cwd():
        return
    elsewhere = [entry for entry in sys.path if Path(entry).resolve() != here.parent]
    spec = PathFinder.find_spec("fastact", elsewhere)
    if spec is None or spec.origin is None or not any(Path(spec.origin).parent.glob("_core.*.so")):
        return
    sys.path[:] = elsewhere
    for name in [name for name in sys.modules if name.partition(".")[0] == "fastact"]:
        del sys.modules[name]
    sys.stderr.write(f"fastact: the sources here are not compiled; running the package in {Path(spec.origin).parent}\n")


if __name__ == "__main__":
    _prefer_installed()
    from fastact.cli import main

    sys.exit(main())
