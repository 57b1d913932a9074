"""The disk is full after so many bytes, for every size on the way: OSError, the old file whole, nothing beside it.

python tests/faults/full_disk.py [step]
"""

import os
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np

import fastact as fa


def main(step=100):
    """Returns how many saves failed. Limits the size of this process's files: to be run in one of its own."""
    x, labels = np.random.default_rng(0).normal(size=(20, 30)), np.arange(20) % 2
    count, before = 0, resource.getrlimit(resource.RLIMIT_FSIZE)
    os.fsync = lambda handle: None
    with tempfile.TemporaryDirectory() as folder:
        for ending in (".safetensors", ".npz"):
            file = Path(folder, f"net{ending}")
            net = fa.Sequential(fa.Dense(30, 40), fa.Dense(40, 2), rng=0)
            ways = {
                "save": lambda net=net, file=file: net.save(file),
                "fit": lambda net=net, file=file: fa.fit(net, x, labels, epochs=1, checkpoint=file, progress=False),
            }
            for name, way in ways.items():
                way()
                old = file.read_bytes()
                for size in range(0, len(old), step):
                    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
                    try:
                        way()
                    except OSError:
                        count += 1
                    else:
                        raise AssertionError(f"{name}: {size} bytes are enough for {len(old)}")
                    finally:
                        resource.setrlimit(resource.RLIMIT_FSIZE, before)
                    assert file.read_bytes() == old, f"{name}: the old file is lost at {size}"
                    assert list(Path(folder).iterdir()) == [file], f"{name}: something is left at {size}"
            way()
            fa.load(file)
            file.unlink()
    return count


if __name__ == "__main__":
    print(f"{main(*map(int, sys.argv[1:]))} saves failed, with OSError and the old file whole")
