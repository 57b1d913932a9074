"""What a model file means: networks, with the state of their training where that is wanted.

Arrays are parameters and buffers under their own names, ``optimizer.<state>.<parameter>`` and
``callback.<number>.<name>``; texts are format, versions, architecture and all else as JSON, and a SHA-256 of all of
it, so that damage is found. Sizes are compared with what the architecture asks for before memory is taken; nothing in
a file is ever executed. ``files`` has the bytes.

Several networks lie in a file of a format of its own: their texts as one JSON by the networks' names, which their
arrays' names begin with: ``pi/0.weight``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from . import checks, files
from ._version import __version__
from .files import Arrays
from .layers.catalogue import layer_from
from .layers.chain import check_claims, check_layers, connect, named_specs
from .network import Parameter, Sequential
from .optim import Optimizer
from .optim.optimizer import check_networks

__all__ = ["load", "save"]

FORMAT = "fastact network 2"
OLD_FORMAT = "fastact network 1"  # parameters and architecture alone, without a checksum
SEVERAL_FORMAT = "fastact networks 1"
LAYER_LIMIT = 4096  # inner ones included
DEPTH_LIMIT = 128  # of lists and descriptions in each other: half as many layers


def save(
    net: Sequential | Mapping[str, Sequential | Parameter],
    path: Any,
    optimizer: Optimizer | None = None,
    metadata: Mapping[str, str] | None = None,
    *,
    training: tuple[dict[str, Any], Arrays] | None = None,
) -> None:
    """Write net, or several by names, to path (.safetensors or .npz), atomically.

    With ``optimizer``, its state goes along (what changes from step to step; not what its constructor was given, which
    may hold any function). ``metadata`` (texts) come back as ``load(path).metadata``. ``training`` is what a
    checkpoint adds, from ``fit``.

    ``save({"pi": pi, "v": v, "log_std": p}, path)`` writes networks and ``Parameter`` objects into one file; an
    optimiser is then that of ``step(pi, v, p)``, in their order, and metadata are each network's.

    Raises ValueError for another file ending, names with "/" and an optimiser of other networks, FileNotFoundError for
    a missing folder and TypeError for what is no network and metadata that are not texts.
    """
    file = files.checked_path("save", path)
    files.checked_place("save", file)
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise TypeError(f"save: expected optimizer to be an Optimizer, got {checks.describe(optimizer)}")
    several = isinstance(net, Mapping)
    if not several and not isinstance(net, Sequential):
        raise TypeError(f"save: expected a Sequential, or several by names, got {checks.describe(net)}")
    nets: dict[str, Any] = _named(net) if isinstance(net, Mapping) else {"": net}
    states: list[dict[str, Any] | None] = [None] * len(nets)
    if optimizer is not None:
        state = optimizer.state_dict()
        own = state.pop("networks", None) or [{key: state.pop(key) for key in ("segment_steps", "state")}]
        if not optimizer.steps and len(own) < len(nets):
            own = [{"segment_steps": {}, "state": {}} for _ in nets]
        if len(own) != len(nets):
            hint = "" if several else '; save them by names: fastact.save({"pi": pi, "v": v}, path, optimizer)'
            raise ValueError(
                f"save: expected the optimiser of {'these networks' if several else 'this network'}, got one of "
                f"{len(own)} network{'s' * (len(own) > 1)}{hint}"
            )
        states = [{**state, **one} for one in own]
    arrays: Arrays = {}
    contents: dict[str, dict[str, Any]] = {}
    for (name, one), state_of_one in zip(nets.items(), states, strict=True):
        contents[name], held = _content(one, state_of_one, metadata or {})
        arrays |= {f"{name}/{key}": array for key, array in held.items()} if several else held
    texts = {"fastact": __version__, "numpy": np.__version__}
    if several:
        texts |= {"format": SEVERAL_FORMAT, "networks": files.to_json(contents)}
    else:
        content = contents[""]
        if training is not None:
            content["training"], training_arrays = training
            arrays |= training_arrays
        texts |= {"format": FORMAT, "dtype": content.pop("dtype")}
        texts |= {key: files.to_json(value, key == "training") for key, value in content.items()}
    files.write(file, texts, arrays)


def _named(nets: Mapping[str, Any]) -> dict[str, Sequential | Parameter]:
    """Networks by names that a file can hold."""
    for name, net in nets.items():
        if not isinstance(name, str) or not name or "/" in name:
            raise ValueError(f"save: expected names of networks, texts without '/', got {name!r}")
        if not isinstance(net, (Sequential, Parameter)):
            raise TypeError(f"save: expected {name} to be a Sequential or a Parameter, got {checks.describe(net)}")
    if not nets:
        raise ValueError("save: expected at least one network, got none")
    check_networks("save", tuple(nets.values()))
    return dict(nets)


def _content(net: Any, state: dict[str, Any] | None, metadata: Mapping[str, str]) -> tuple[dict[str, Any], Arrays]:
    """What a file says of one network, and its arrays."""
    content: dict[str, Any] = {"dtype": str(net.dtype)}
    if isinstance(net, Parameter):
        content |= {"parameter": list(net.shape), "frozen": list(net.frozen)}
    else:
        description = net.describe()
        _check_number(description)
        extra = {**net.metadata, **metadata}
        for key, text in extra.items():
            if not isinstance(key, str) or not isinstance(text, str):
                raise TypeError(f"save: expected metadata of texts, got {key!r}: {checks.describe(text)}")
        content |= {"layers": description, "frozen": list(net.frozen), "random_state": net.random_state()}
        content["metadata"] = extra
    arrays = {**net.named_parameters()}
    for name, array in net.named_buffers().items():
        if name in arrays:
            raise ValueError(f"save: expected another name for the buffer {name!r}, which is a parameter's too")
        arrays[name] = array
    if state is not None:
        flats = state.pop("state")
        content["optimizer"] = {**state, "states": list(flats)}
        for key, flat in flats.items():
            if flat.shape != net.parameters.shape or flat.dtype != net.dtype:
                raise ValueError(f"save: the optimizer's state is not of this network ({flat.size} {flat.dtype})")
            for s in net.segments:
                arrays[f"optimizer.{key}.{s.name}"] = flat[s.start : s.stop].reshape(s.shape)
    return content, arrays


def load(path: Any, custom: Mapping[str, Any] | None = None, optimizer: Optimizer | None = None) -> Any:
    """Read a network (``Sequential``) that ``save``, or a checkpoint of ``fit``, wrote; or the dict of several.

    Parameters
    ----------
    path : a .safetensors or .npz file
    custom : your own layer classes (and activations) by name, where the network has some
    optimizer : an optimiser, made as the one that was saved; it is given the saved state, and then takes the same steps

    Raises FileNotFoundError for a missing file and ValueError for one that is truncated, foreign or damaged, or that
    holds no such optimiser; nothing in the file is ever executed, and nothing is changed before all is checked.
    """
    content = Content("load", path)
    nets = {name: part.network(custom) for name, part in content.parts.items()}
    if optimizer is not None:
        content.fill_optimizer(nets, optimizer)
    return nets if content.several else nets[""]


class Content:
    """What a file holds, read whole and compared with its checksum, but not yet believed."""

    def __init__(self, function: str, path: Any) -> None:
        """Read the file; function is whose messages they are."""
        self.function, self.path = function, files.any_path(function, path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{function}: there is no file {str(self.path)!r}")
        with self.path.open("rb") as file, self.trusting_nothing():
            texts, self.arrays = files.read(file)
            form = texts.get("format", "")
            newer = re.fullmatch(r"fastact networks? (\d{1,9})", form)
            if form not in (FORMAT, OLD_FORMAT, SEVERAL_FORMAT):
                if newer:
                    raise ValueError(
                        f"written by a newer fastact, {texts.get('fastact')}: {form!r}; upgrade to read it"
                    )
                raise ValueError(f"expected a file written by fastact, got the format {form!r}")
            checksum = texts.pop("checksum", None)
            if (checksum is None) != (form == OLD_FORMAT):
                raise ValueError("it has no checksum")
            if checksum is not None and checksum != files.digest(texts, self.arrays):
                raise ValueError("its checksum is not that of its content")
            plain = {"format", "fastact", "numpy"}
            self.several = form == SEVERAL_FORMAT
            known = {"networks"} if self.several else {"dtype", "layers", "metadata"}
            if form == FORMAT:
                known |= {"frozen", "random_state", "optimizer", "training"}
            if not texts.keys() <= plain | known:
                raise ValueError(f"unknown {', '.join(sorted(texts.keys() - plain - known))} in its header")
            self.texts = texts
            header = {
                key: text if key == "dtype" else files.parse_json(text, key == "training")
                for key, text in texts.items()
                if key not in plain
            }
            self._parts: dict[str, Content] = self._divided(header["networks"]) if self.several else {}
            if not self.several:
                self._describe(header)

    @property
    def parts(self) -> dict[str, Content]:
        """By the networks' names; of a single network itself."""
        return self._parts or {"": self}

    def _describe(self, header: dict[str, Any]) -> None:
        self.dtype = np.dtype(checks.choice(self.function, "dtype", header.get("dtype"), ("float32", "float64")))
        self.header = {"frozen": [], "random_state": None, **header}

    def _divided(self, networks: Any) -> dict[str, Content]:
        """What the file holds of each of several networks."""
        if (
            not isinstance(networks, dict)
            or not networks
            or not all(isinstance(one, dict) for one in networks.values())
        ):
            raise ValueError("its networks are not described by names")
        own: dict[str, Arrays] = {name: {} for name in networks}
        for key, array in self.arrays.items():
            name, _, rest = key.partition("/")
            if name not in own:
                raise ValueError(f"it holds an unknown array {key[:80]!r}")
            own[name][rest] = array
        parts = {}
        for name, header in networks.items():
            known = {"parameter"} if "parameter" in header else {"layers", "metadata", "random_state"}
            known |= {"dtype", "frozen", "optimizer"}
            if not header.keys() <= known:
                raise ValueError(f"unknown {', '.join(sorted(header.keys() - known))} of {name} in its header")
            part = parts[name] = Content.__new__(Content)
            part.function, part.path, part.texts, part.several = self.function, self.path, self.texts, False
            part.arrays, part._parts = own[name], {}
            part._describe(header)
        return parts

    def trusting_nothing(self, verdict: str = "is not a whole fastact network") -> AbstractContextManager[None]:
        """Whatever the file's content brings about in here becomes a ValueError that names the file."""
        return files.distrusted(self.function, self.path, verdict)

    def network(self, custom: Mapping[str, Any] | None = None) -> Sequential | Parameter:
        """The network."""
        if "parameter" in self.header:
            return self._parameter()
        with self.trusting_nothing():
            descriptions = self.header["layers"]
            _check_number(descriptions)
            # Layers know their shapes before they take memory; only what the file really holds is then made.
            layers = tuple(layer_from(description, custom) for description in descriptions)
            connect(self.function, check_layers(self.function, layers))
            specs = named_specs(layers, "parameter_specs") | named_specs(layers, "buffer_specs")
            self._expect({name: spec.shape for name, spec in specs.items()})
            # A layer without arrays may take memory by its width, which no array then bounds.
            check_claims(layers, sum(array.size for array in self.arrays.values()))
            with np.errstate(all="ignore"):  # its starting values, which are replaced
                net = Sequential(*layers, dtype=self.dtype)
        self.fill(net)
        return net

    def _parameter(self) -> Parameter:
        with self.trusting_nothing():
            shape, frozen = self.header["parameter"], self.header["frozen"]
            if not isinstance(shape, list) or not all(type(length) is int for length in shape):
                raise ValueError("its parameter's shape is none")
            if frozen not in ([], ["value"]):
                raise ValueError("its frozen parameters are none of its own")
            self._expect({"value": tuple(shape)})
            parameter = Parameter(shape, dtype=self.dtype)
            parameter.value[...] = self.arrays["value"]
            if frozen:
                parameter.freeze()
        return parameter

    def _expect(self, wanted: Mapping[str, tuple[int, ...]]) -> None:
        own = [name for name in self.arrays if not name.startswith(("optimizer.", "callback."))]
        for name in (*wanted, *own):
            if name not in wanted or name not in self.arrays:
                held = "holds an unknown" if name not in wanted else "lacks the"
                raise ValueError(f"it {held} array {name[:80]!r}")
            array = self.arrays[name]
            if array.shape != tuple(wanted[name]) or array.dtype.newbyteorder("=") != self.dtype:
                raise ValueError(
                    f"expected {name} to be {self.dtype} {tuple(wanted[name])}, got {array.dtype} {array.shape}"
                )

    def check(self, net: Sequential) -> None:
        """ValueError unless ``fill`` can give the network all that the file holds."""
        with self.trusting_nothing("does not fit the network"):
            same = json.loads(files.to_json(net.describe())) == self.header["layers"]
            if not same or net.dtype != self.dtype:
                raise ValueError(f"it holds another network than {net!r}")
            known = {**net.named_parameters(), **net.named_buffers()}
            self._expect({name: array.shape for name, array in known.items()})
            frozen, metadata = self.header["frozen"], self.header["metadata"]
            if not isinstance(frozen, list) or not all(isinstance(name, str) and name in known for name in frozen):
                raise ValueError("its frozen parameters are none of the network's")
            if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
                raise ValueError("its metadata are not texts")
            if self.header["random_state"] is not None:
                before = net.random_state()
                net.set_random_state(self.header["random_state"])
                net.set_random_state(before)

    def fill(self, net: Sequential) -> None:
        """Give a network of the same architecture the file's parameters, buffers, flags, random state and metadata."""
        self.check(net)
        parameters, frozen = net.named_parameters(), self.header["frozen"]
        if self.header["random_state"] is not None:
            net.set_random_state(self.header["random_state"])
        net.set_parameters({name: _native(self.arrays[name]) for name in parameters})
        net.set_buffers({name: _native(self.arrays[name]) for name in net.named_buffers()})
        if parameters or net.buffer_segments:
            net.unfreeze()
        if frozen:
            net.freeze(*frozen)
        net.metadata = self.header["metadata"]

    def fill_optimizer(self, nets: Sequential | Mapping[str, Any], optimizer: Optimizer) -> None:
        """Give an optimiser the saved state; nets are those that it belongs to, by name where they are several."""
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{self.function}: expected optimizer to be an Optimizer, got {checks.describe(optimizer)}")
        with self.trusting_nothing("does not fit the optimizer"):
            named = nets if isinstance(nets, Mapping) else {"": nets}
            saved = [self.parts[name]._optimizer_state(net, optimizer) for name, net in named.items()]
            common = {key: saved[0][key] for key in ("optimizer", "steps")}
            if any({key: one[key] for key in common} != common for one in saved):
                raise ValueError("its networks were not trained by one optimiser")
            optimizer.load_state_dict(saved[0] if len(saved) == 1 else {**common, "networks": saved})

    def _optimizer_state(self, net: Any, optimizer: Optimizer) -> dict[str, Any]:
        """What an optimiser's ``state_dict`` said of the network."""
        saved = self.header.get("optimizer")
        if saved is None:
            raise ValueError("it holds no optimiser's state; save with optimizer=...")
        names, states = {s.name for s in net.segments}, saved["states"]
        if not isinstance(states, list) or not all(isinstance(key, str) for key in states):
            raise ValueError("its optimiser's states are not a list of names")
        if not saved["segment_steps"].keys() <= names:
            raise ValueError("its optimiser has the state of another network")
        for count in (saved["steps"], *saved["segment_steps"].values()):
            if type(count) is not int or not 0 <= count < 2**53:
                raise ValueError("its optimiser's numbers of steps are none")
        wanted = {f"optimizer.{key}.{s.name}": s.shape for key in states for s in net.segments}
        own = {name for name in self.arrays if name.startswith("optimizer.")}
        if own != set(wanted):
            raise ValueError("its optimiser's arrays are not those that it names")
        flats = {}
        for key in states:
            flat = flats[key] = np.full(net.parameters.shape, optimizer.initial_state(key), net.dtype)
            for s in net.segments:
                array = self.arrays[f"optimizer.{key}.{s.name}"]
                if array.shape != s.shape or array.dtype.newbyteorder("=") != net.dtype:
                    raise ValueError(f"the state {key} of {s.name} has not its shape and dtype")
                flat[s.start : s.stop] = array.ravel()
        return {**saved, "state": flats}


def _check_number(descriptions: Any) -> None:
    """A list of layers' descriptions, and in them, at any depth that is allowed, no more layers than is allowed."""
    count, level = 0, [descriptions]
    for _ in range(DEPTH_LIMIT):
        values = [value for one in level for value in (one.values() if isinstance(one, dict) else one)]
        level = [value for value in values if isinstance(value, (dict, list))]
        count += sum(isinstance(one, dict) and "layer" in one for one in level)
        if count > LAYER_LIMIT:
            break
    else:
        count += LAYER_LIMIT * bool(level)
    if not isinstance(descriptions, list) or count > LAYER_LIMIT:
        raise ValueError(f"expected a list of at most {LAYER_LIMIT} layers in a file, {DEPTH_LIMIT // 2} in each other")


def _native(array: np.ndarray) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder("="), copy=False)
