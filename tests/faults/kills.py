"""A process is killed in the middle of saving, again and again: the file is always the old or the new one, whole.

python tests/faults/kills.py [times]
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fastact as fa

SAVING = """
import sys, fastact as fa
net = fa.Sequential(fa.Dense(300, 400), fa.Dense(400, 10), rng=0)
number = int(sys.argv[2])
while True:
    number += 1
    net.parameters[...] = number
    net.save(sys.argv[1], metadata={"number": str(number)})
    print(number, flush=True)
"""


def main(times=100, seed=0):
    """Returns how many temporary files the killed left: those show that writing was interrupted."""
    random.seed(seed)
    left, environment = 0, {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with tempfile.TemporaryDirectory() as folder:
        for ending in (".safetensors", ".npz"):
            file, last = Path(folder, f"net{ending}"), 0
            for _ in range(times):
                command = [sys.executable, "-P", "-c", SAVING, str(file), str(last)]
                with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
                    process.stdout.readline()  # from then on there is a file
                    time.sleep(random.random() * 0.05)
                    os.kill(process.pid, signal.SIGKILL)
                    said = [int(line) for line in process.stdout.read().split()]
                net = fa.load(file)
                number = int(net.metadata["number"])
                assert all((s == number).all() for s in net.named_parameters().values()), "of two saves"
                assert number >= max([last, *said]), "what was said to be saved is not"
                last = number
                temporary = [path for path in Path(folder).iterdir() if path.name.startswith(".")]
                left += len(temporary)
                for path in temporary:
                    path.unlink()
    return left


if __name__ == "__main__":
    print(f"files are whole; {main(*map(int, sys.argv[1:]))} times a save was interrupted")
