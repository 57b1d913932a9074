"""Saved networks: what comes back, and files that are damaged, foreign or meant to harm."""

import functools
import io
import json
import os
import pickle
import struct
import sys
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import support
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import fastact as fa
from fastact import files

ENDINGS = (".safetensors", ".npz")


def network(dtype="float32", seed=1):
    layers = (
        fa.Dense(3, 4, fa.activation("elu", alpha=0.5)),
        fa.Dense(4, 5, bias=False),
        fa.Dense(5, 2),
    )
    return fa.Sequential(*layers, dtype=dtype, rng=seed)


def trained(optimizer, net=None, steps=3):
    """A network and an optimiser that have taken some steps."""
    net = network() if net is None else net
    rng = np.random.default_rng(steps)
    for _ in range(steps):
        for s in net.segments:  # the padding stays 0
            net.gradients[s.start : s.stop] = rng.normal(size=s.stop - s.start)
        optimizer.step(net)
    return net


def assert_same(net, other):
    assert json.dumps(net.describe()) == json.dumps(other.describe())
    assert net.dtype == other.dtype
    for own, given_ in (
        (net.named_parameters(), other.named_parameters()),
        (net.named_buffers(), other.named_buffers()),
    ):
        assert list(own) == list(given_)
        for name, array in own.items():
            assert array.tobytes() == given_[name].tobytes()
    assert [s.frozen for s in net.segments] == [s.frozen for s in other.segments]
    assert net.metadata == other.metadata
    assert net.random_state() == other.random_state()


@pytest.fixture(params=ENDINGS)
def path(request, tmp_path):
    return tmp_path / f"net{request.param}"


# ----------------------------------------------------------------------------------------------------------- round trip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_comes_back(path, dtype):
    net = network(dtype)
    net.named_parameters()["0.bias"][:] = [np.nan, -0.0, np.inf, np.finfo(dtype).smallest_subnormal]
    net.freeze(0, "2.bias")
    net.metadata = {"task": "some"}
    net.save(path, metadata={"classes": '["a", "ä"]'})
    back = fa.load(path)
    net.metadata["classes"] = '["a", "ä"]'
    assert_same(net, back)
    back.unfreeze()
    back.parameters[...] = 0  # its own memory


def rich(dtype="float32"):
    """All kinds of layers, after some steps in training mode."""
    net = fa.Sequential(
        fa.Dense(3, 8), fa.BatchNorm(), fa.PReLU(per_channel=True), fa.Dropout(0.4),
        fa.Residual(fa.Dense(8, 6, "gelu"), fa.LayerNorm(), fa.Dropout(0.2), fa.Dense(6, 8)),
        fa.Dense(8, 12), fa.Maxout(3), fa.Swish(), fa.AlphaDropout(0.1), fa.BatchNorm(None, bias=False), fa.Dense(4, 2),
        fa.Activation("tanh"), dtype=dtype, rng=3,
    )  # fmt: skip
    for seed in range(3):
        net.forward(np.random.default_rng(seed).normal(size=(5, 3)).astype(dtype), training=True)
    return net


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_layer_comes_back_with_its_state(path, dtype):
    net = rich(dtype)
    net.freeze(4, "1.*")
    optimizer = fa.optim.AdamW()
    trained(optimizer, net)
    net.save(path, optimizer=optimizer)
    twin = fa.optim.AdamW()
    back = fa.load(path, optimizer=twin)
    assert_same(net, back)
    assert back.layers[3].random_state()["counter"] == back.layers[8].random_state()["counter"] == 3
    x = np.random.default_rng(9).normal(size=(6, 3)).astype(dtype)
    support.assert_same_bits(net(x), back(x))
    support.assert_same_bits(net.forward(x, training=True), back.forward(x, training=True))
    trained(optimizer, net)
    trained(twin, back)
    support.assert_same_bits(net.parameters, back.parameters)


OPTIMIZERS = {
    "sgd": lambda: fa.optim.SGD(0.1),
    "momentum": lambda: fa.optim.SGD(0.1, 0.9, dampening=0.1),
    "nesterov": lambda: fa.optim.SGD(fa.optim.Cosine(0.1, 7), 0.9, nesterov=True),
    "rmsprop": lambda: fa.optim.RMSprop(momentum=0.5, centered=True),
    "adagrad": lambda: fa.optim.Adagrad(lr_decay=0.1, initial_accumulator_value=0.5),
    "adam": lambda: fa.optim.Adam(lambda step: 0.1 / (1 + step)),
    "adamw": lambda: fa.optim.AdamW(fa.optim.WarmUp(0.1, 4), groups=[fa.optim.Group("2.*", lr=0.3)], clip_norm=1.0),
}


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_optimiser_goes_on_with_the_same_bits(path, name, dtype):
    optimizer = OPTIMIZERS[name]()
    net = trained(optimizer, network(dtype))
    net.freeze("1.weight")
    trained(optimizer, net, 2)
    net.unfreeze()
    net.save(path, optimizer=optimizer)
    other = OPTIMIZERS[name]()
    back = fa.load(path, optimizer=other)
    assert other.steps == 5
    for _ in range(3):
        trained(optimizer, net, 1)
        trained(other, back, 1)
        support.assert_same_bits(back.parameters, net.parameters)
    saved, given_ = optimizer.state_dict(), other.state_dict()
    assert saved["segment_steps"] == given_["segment_steps"]
    for key, array in saved["state"].items():
        for s in net.segments:
            support.assert_same_bits(array[s.start : s.stop], given_["state"][key][s.start : s.stop])


def test_an_optimiser_without_steps(path):
    network().save(path, optimizer=fa.optim.Adam())
    fresh = fa.optim.Adam()
    net = fa.load(path, optimizer=fresh)
    trained(fresh, net)


def test_another_optimiser_is_refused(path):
    optimizer = fa.optim.Adam()
    trained(optimizer).save(path, optimizer=optimizer)
    for other in (fa.optim.AdamW(), fa.optim.SGD()):
        with pytest.raises(ValueError, match=r"does not fit the optimizer: .*got 'Adam'"):
            fa.load(path, optimizer=other)
        assert other.steps == 0
    with pytest.raises(TypeError, match="expected optimizer to be an Optimizer, got str"):
        fa.load(path, optimizer="adam")
    network().save(path)
    with pytest.raises(ValueError, match=r"holds no optimiser's state; save with optimizer="):
        fa.load(path, optimizer=fa.optim.Adam())
    with pytest.raises(TypeError, match="expected optimizer to be an Optimizer"):
        network().save(path, optimizer="adam")
    wide = fa.Sequential(fa.Dense(9, 9), rng=0)
    with pytest.raises(ValueError, match="state is not of this network"):
        wide.save(path, optimizer=optimizer)


def test_other_tools_read_our_files(tmp_path):
    net = network()
    net.save(tmp_path / "a.safetensors", optimizer=fa.optim.SGD())
    arrays = safetensors.numpy.load_file(tmp_path / "a.safetensors")
    assert sorted(arrays) == sorted(net.named_parameters())
    support.assert_same_bits(arrays["0.weight"], net.layers[0].parameters["weight"])
    net.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as content:
        support.assert_same_bits(content["0.weight"], net.layers[0].parameters["weight"])
        header = json.loads(content["header"].tobytes())
    assert header["format"] == "fastact network 2"
    assert header["fastact"] == fa.__version__
    assert header["numpy"] == np.__version__
    with safetensors.safe_open(tmp_path / "a.safetensors", framework="numpy") as content:
        assert content.metadata().keys() == header.keys() | {"optimizer"}


def test_files_of_the_first_format_load(tmp_path):
    """As fastact 0.1 wrote them: parameters, and a header without a checksum."""
    net = fa.Sequential(fa.Dense(3, 4, "relu"), fa.Dense(4, 2), rng=0)
    layers = [
        {"layer": "Dense", "inputs": 3, "outputs": 4, "activation": "relu", "parameters": {}, "bias": True},
        {"layer": "Dense", "inputs": 4, "outputs": 2, "activation": "identity", "parameters": {}, "bias": True},
    ]
    header = {"format": "fastact network 1", "fastact": "0.1.0", "dtype": "float32", "layers": json.dumps(layers)}
    header["metadata"] = json.dumps({"task": "some"})
    safetensors.numpy.save_file(net.named_parameters(), tmp_path / "old.safetensors", metadata=header)
    back = fa.load(tmp_path / "old.safetensors")
    net.metadata = {"task": "some"}
    assert_same(net, back)


class Scale(fa.Layer):
    """A layer of one's own."""

    def __init__(self, inputs, factor=2.0):
        super().__init__()
        self.inputs = self.outputs = inputs
        self.factor = factor

    def describe(self):
        return {"layer": "Scale", "inputs": self.inputs, "factor": self.factor}

    def forward(self, x, training=False):
        return x * np.asarray(self.factor, x.dtype)

    def backward(self, grad, need_input_grad=True):
        return grad * np.asarray(self.factor, grad.dtype)


def test_layers_of_ones_own(path):
    net = fa.Sequential(fa.Dense(3, 2), Scale(2, 0.25), rng=0)
    net.save(path)
    back = fa.load(path, custom={"Scale": Scale})
    assert_same(net, back)
    assert back.layers[1].factor == 0.25
    with pytest.raises(ValueError, match=r"unknown layer 'Scale'.*custom="):
        fa.load(path)


def test_activations_of_ones_own(path):
    square = fa.custom_activation("square", lambda x: x * x, lambda x: 2 * x)
    net = fa.Sequential(fa.Dense(3, 4, square), fa.Dense(4, 2), rng=0)
    x, labels = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    fa.fit(net, x, labels, epochs=2, batch_size=8, checkpoint=path, progress=False)
    back = fa.load(path, custom={"square": square})
    support.assert_same_bits(fa.predict(net, x), fa.predict(back, x))
    fa.fit(net, x, labels, epochs=3, batch_size=8, resume=path, progress=False)  # the network knows its functions
    with pytest.raises(ValueError, match="unknown activation 'square'"):
        fa.load(path)


# -------------------------------------------------------------------------------------------------------------- writing


def test_wrong_arguments(tmp_path):
    net = network()
    for name in ("net", "net.pt", "net.safetensors.bak", ".npz"):
        with pytest.raises(ValueError, match=r"save: expected a file name that ends in \.safetensors or \.npz"):
            net.save(tmp_path / name)
    with pytest.raises(TypeError, match="save: expected metadata of texts, got 'a': int"):
        net.save(tmp_path / "a.npz", metadata={"a": 1})
    with pytest.raises(FileNotFoundError):
        net.save(tmp_path / "nowhere" / "a.npz")
    with pytest.raises(ValueError, match="expected at most 16777216 bytes of metadata"):
        net.save(tmp_path / "a.npz", metadata={"a": "x" * (17 << 20)})
    assert list(tmp_path.iterdir()) == []
    for call in (fa.load, net.save):
        with pytest.raises(TypeError, match=r"(load|save): expected a path, got NoneType"):
            call(None)
    for missing in (tmp_path / "a.npz", tmp_path):
        with pytest.raises(FileNotFoundError, match="load: there is no file"):
            fa.load(missing)


@pytest.mark.parametrize("ending", ENDINGS)
def test_writing_is_all_or_nothing(tmp_path, monkeypatch, ending):
    file = tmp_path / f"net{ending}"
    network(seed=1).save(file)
    before = file.read_bytes()
    for fails, error in (("fsync", OSError(28, "No space left on device")), ("replace", KeyboardInterrupt())):

        def fail(*_, error=error):
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(os, fails, fail)
            with pytest.raises(type(error)):
                network(seed=2).save(file)
        assert file.read_bytes() == before
        assert list(tmp_path.iterdir()) == [file]


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files")
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_full_disk_leaves_the_old_file(python, tmp_path, ending):
    result = python(
        f"""
        import resource, signal, pathlib
        import fastact as fa
        file = pathlib.Path("net{ending}")
        fa.Sequential(fa.Dense(2, 2), rng=0).save(file)
        before = file.read_bytes()
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            fa.Sequential(fa.Dense(500, 500), rng=0).save(file)
        except OSError as error:
            print("refused", error.errno)
        assert file.read_bytes() == before
        print(sorted(p.name for p in pathlib.Path().iterdir()))
        """
    )
    assert result.stdout.splitlines() == ["refused 27", f"['net{ending}', 'program.py']"], result.stderr


# ----------------------------------------------------------------------------------------------------------- evil files


def content_of(ending, net=None, optimizer=None, folder=None):
    file = folder / f"original{ending}"
    (network() if net is None else net).save(file, optimizer=optimizer)
    return file.read_bytes()


def refused(folder, content, message=None, ending=".safetensors"):
    file = folder / f"evil{ending}"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message or None) as refusal:
        fa.load(file)
    assert str(refusal.value).startswith(f"load: evil{ending} ")
    return str(refusal.value)


@functools.cache
def texts_and_arrays():
    """What a file of a network and an optimiser holds."""
    net, optimizer = network(), fa.optim.Adam()
    trained(optimizer, net, 1)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "made.safetensors")
        net.save(file, optimizer=optimizer)
        with file.open("rb") as content:
            return files.read(content)


def with_header(folder, ending=".safetensors", checksum=True, arrays=None, **changes):
    """A file of ours with some texts of its header replaced (None: left out), and a checksum that is right again."""
    texts, own = texts_and_arrays()
    texts = {k: v for k, v in {**texts, "checksum": None, **changes}.items() if v is not None}
    own = own if arrays is None else arrays(dict(own))
    file = folder / f"made{ending}"
    if checksum:
        files.write(file, texts, own)
    else:
        file.write_bytes(safetensors.numpy.save(own, metadata=texts))
    return file.read_bytes()


@pytest.fixture
def fast(monkeypatch):
    """Without waiting for the disk."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_cut_is_found(tmp_path, ending):
    content = content_of(ending, folder=tmp_path)
    for length in {*range(0, 64), *range(64, len(content), 37), len(content) - 1}:
        refused(tmp_path, content[:length], "is not a whole fastact network", ending)
    refused(
        tmp_path, content + b"\0", "should have" if ending == ".safetensors" else "something follows its end", ending
    )


def test_foreign_files(tmp_path):
    for content in (b"", b"hello", b"\x80\x04N.", pickle.dumps([1]), b"\0" * 100, b"PK\x03\x04", b"\xff" * 64):
        for ending in ENDINGS:
            refused(tmp_path, content, "is not a whole fastact network", ending)
    refused(tmp_path, safetensors.numpy.save({"a": np.zeros(3, np.float32)}), "expected a file written by fastact")
    refused(tmp_path, safetensors.numpy.save({"a": np.zeros(3, np.int8)}), "'a' is not an array of float32 or float64")
    buffer = io.BytesIO()
    np.savez(buffer, x=np.eye(3))
    refused(tmp_path, buffer.getvalue(), "it has no header of ours", ".npz")


def test_files_of_the_future(tmp_path):
    content = with_header(tmp_path, format="fastact network 3", fastact="9.1")
    refused(tmp_path, content, r"written by a newer fastact, 9\.1: 'fastact network 3'; upgrade")


def safetensors_file(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def test_headers_that_lie(tmp_path):
    def entry(shape, end, begin=0, dtype="F32"):
        return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}

    huge = 10**15
    cases = [
        (safetensors_file({"a": entry([huge], 4 * huge)}), "'a' claims the bytes"),
        (safetensors_file({"a": entry([huge, huge], 8)}, b"\0" * 8), "'a' claims the shape"),
        (safetensors_file({"a": entry([2], 8), "b": entry([2], 8)}, b"\0" * 8), "'b' claims the bytes"),
        (safetensors_file({"a": entry([2], 8), "b": entry([1], 16, 12)}, b"\0" * 16), "should have"),
        (safetensors_file({"a": entry([-2], -8)}), "whole numbers"),
        (safetensors_file({"a": entry([2.0], 8)}, b"\0" * 8), "whole numbers"),
        (safetensors_file({"a": entry([True], 4)}, b"\0" * 4), "whole numbers"),
        (safetensors_file({"a": entry([1] * 40, 4)}, b"\0" * 4), "'a' claims the shape"),
        (safetensors_file({"a": entry("x", 4)}, b"\0" * 4), "not a list"),
        (safetensors_file({"a": entry([1], 4, dtype=["F32"])}, b"\0" * 4), "not an array of float"),
        (safetensors_file({"a": {**entry([1], 4), "more": 1}}, b"\0" * 4), "not described as an array"),
        (safetensors_file({"a": 7}), "not described as an array"),
        (safetensors_file([1]), "not a JSON object"),
        (safetensors_file({"__metadata__": {"format": 3}}), "not a list of texts"),
        (safetensors_file({"__metadata__": ["format"]}), "not a list of texts"),
        (safetensors_file(b'{"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 4]}}', b"\0" * 4), "NaN stands"),
        (safetensors_file(b'{"__metadata__": {"format": "a", "format": "b"}}'), "stands twice"),
        (safetensors_file(b"[" * 100_000), ""),
        (safetensors_file(b'{"a":' * 50_000), ""),
        (safetensors_file(b"1" * 10_000), ""),
        (safetensors_file(b"\xff\xfe{}"), ""),
        (safetensors_file({}, length=2**63), "is cut off"),
        (safetensors_file({}, length=1 << 40), "is cut off"),
    ]
    for content, message in cases:
        refused(tmp_path, content, message)


def described(**changes):
    layers = network().describe()
    layers[0] |= changes
    return json.dumps(layers)


EVIL = {
    "no layers": ({"layers": None}, "it lacks 'layers'"),
    "layers that are none": ({"layers": '{"layer": "Dense"}'}, "list of at most"),
    "numbers for layers": ({"layers": "[1, 2, 3]"}, ""),
    "empty": ({"layers": "[]"}, "expected at least one layer"),
    "unknown layer": ({"layers": described(layer="os.system")}, "unknown layer 'os.system'"),
    "layer of a wrong type": ({"layers": described(layer=["Dense"])}, ""),
    "huge": ({"layers": described(inputs=10**9)}, "expected 0.weight to be"),
    "beyond everything": ({"layers": described(inputs=10**400)}, ""),
    "negative": ({"layers": described(inputs=-3)}, "at least 1"),
    "fraction": ({"layers": described(inputs=3.0)}, "whole number"),
    "text": ({"layers": described(inputs="3")}, "whole number"),
    "unknown activation": ({"layers": described(activation="__import__")}, "unknown activation"),
    "wrong parameter": ({"layers": described(parameters={"alpha": [1]})}, ""),
    "more than we know": ({"layers": described(evil=1)}, ""),
    "too deep": ({"layers": "[" * 100_000}, ""),
    "NaN": ({"layers": described().replace("0.5", "NaN")}, "NaN stands in its header"),
    "infinite": ({"layers": described().replace("0.5", "1e999")}, ""),
    "twice": ({"layers": described().replace('"bias"', '"inputs": 5, "bias"', 1)}, "stands twice"),
    "other dtype": ({"dtype": "float64"}, "expected 0.weight to be float64"),
    "object dtype": ({"dtype": "object"}, "expected dtype to be one of float32, float64"),
    "no dtype": ({"dtype": None}, "expected dtype to be one of"),
    "frozen pattern": ({"frozen": '["*"]'}, "frozen"),
    "frozen number": ({"frozen": "[0]"}, "frozen"),
    "frozen text": ({"frozen": '"0.weight"'}, "frozen"),
    "metadata": ({"metadata": '{"a": 1}'}, "its metadata are not texts"),
    "metadata list": ({"metadata": "[]"}, "its metadata are not texts"),
    "random state": ({"random_state": '[{"evil": 1}, {}, {}]'}, ""),
    "random states": ({"random_state": "[]"}, "expected 3 states"),
    "random number": ({"random_state": "7"}, ""),
    "unknown text": ({"code": "print(1)"}, "unknown code in its header"),
    "no format": ({"format": None}, "written by fastact"),
    "too few arrays": (
        {"arrays": lambda a: {k: v for k, v in a.items() if k != "2.bias"}},
        "it lacks the array '2.bias'",
    ),
    "too many arrays": ({"arrays": lambda a: {**a, "3.weight": a["0.bias"]}}, "it holds an unknown array '3.weight'"),
    "path": ({"arrays": lambda a: {**a, "../../etc/passwd": a["0.bias"]}}, "it holds an unknown array '../../etc"),
    "other shape": ({"arrays": lambda a: {**a, "0.weight": a["0.weight"].T.copy()}}, "expected 0.weight to be"),
}


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("case", EVIL)
def test_evil_content_with_a_right_checksum(tmp_path, case, ending):
    changes, message = EVIL[case]
    refused(tmp_path, with_header(tmp_path, ending, **changes), message, ending)


def adam(**changes):
    content = {"optimizer": "Adam", "steps": 1, "states": ["exp_avg", "exp_avg_sq"]}
    content["segment_steps"] = dict.fromkeys(network().named_parameters(), 1)
    return {"optimizer": json.dumps({**content, **changes})}


EVIL_OPTIMIZERS = {
    "list": {"optimizer": "[]"},
    "null": {"optimizer": "null"},
    "nothing": {"optimizer": "{}"},
    "states": adam(states="exp_avg"),
    "state numbers": adam(states=[1, 2]),
    "fewer states": adam(states=["exp_avg"]),
    "unknown states": adam(states=["exp_avg", "evil"]),
    "steps": adam(steps=-1),
    "endless steps": adam(steps=10**300),
    "true steps": adam(steps=True),
    "segments": adam(segment_steps={"9.weight": 1}),
    "segment list": adam(segment_steps=["0.weight"]),
    "segment steps": adam(segment_steps={"0.weight": 1.5}),
    "shape": {"arrays": lambda a: {**a, "optimizer.exp_avg.0.bias": a["2.bias"]}},
    "dtype": {"arrays": lambda a: {**a, "optimizer.exp_avg.0.bias": a["0.bias"].astype(np.float64)}},
}


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("case", EVIL_OPTIMIZERS)
def test_evil_optimisers(tmp_path, case):
    file = tmp_path / "evil.safetensors"
    file.write_bytes(with_header(tmp_path, **EVIL_OPTIMIZERS[case]))
    optimizer = fa.optim.Adam()
    with pytest.raises(ValueError, match="does not fit the optimizer"):
        fa.load(file, optimizer=optimizer)
    assert (optimizer.steps, optimizer.state) == (0, {})


def test_too_many_layers(tmp_path):
    layers = [{"layer": "Activation", "inputs": 3, "activation": "relu", "parameters": {}}]
    for many in (4097 * layers, [{"layer": "Residual", "block": 4096 * layers}]):
        refused(tmp_path, with_header(tmp_path, layers=json.dumps(many)), "at most 4096 layers")
    net = fa.Sequential(*(fa.Activation("relu", 3) for _ in range(4097)))
    with pytest.raises(ValueError, match="at most 4096 layers in a file, 64 in each other"):
        net.save(tmp_path / "a.npz")
    text = '{"layer": "Residual", "block": [' * 5000 + json.dumps(layers[0]) + "]}" * 5000
    refused(tmp_path, with_header(tmp_path, layers=f"[{text}]"))


def test_loading_is_linear(tmp_path):
    """Four times the layers, names and arrays: four times the calls, whatever the file makes of them."""

    def chain(count):
        net = fa.Sequential(*(fa.Dense(1, 1) for _ in range(count)), rng=0)
        net.freeze()
        return net

    def nested(count):
        block = [fa.Dense(1, 1) for _ in range(count)]
        for _ in range(20):
            block = [fa.Residual(*block)]
        block[0].freeze(frozenset())
        return fa.Sequential(*block, rng=0)

    def calls(file):
        count = 0

        def note(frame, event, argument):
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(note)
        try:
            fa.load(file)
        finally:
            sys.setprofile(None)
        return count

    for make in (chain, nested):
        counts = []
        for layers in (100, 100, 400):  # the first fills caches
            make(layers).save(tmp_path / "a.safetensors", optimizer=fa.optim.SGD())
            counts.append(calls(tmp_path / "a.safetensors"))
        assert counts[2] < 4.5 * counts[1]


@pytest.mark.parametrize(
    "layer",
    [
        {"layer": "LayerNorm", "inputs": 10**8, "weight": False, "bias": False},
        {"layer": "Maxout", "inputs": 10**13, "pieces": 10},
        {"layer": "Activation", "inputs": 10**18, "activation": "relu", "parameters": {}},
        {"layer": "Residual", "block": [{"layer": "Dropout", "inputs": 10**9}]},
    ],
)
def test_widths_that_no_array_bears_out(tmp_path, layer):
    content = with_header(tmp_path, layers=json.dumps([layer]), random_state="[{}]", arrays=lambda a: {})
    refused(tmp_path, content, "claim to be wider than its arrays")


def test_the_checksum_is_looked_at(tmp_path):
    refused(tmp_path, with_header(tmp_path, checksum=False), "it has no checksum")
    refused(tmp_path, with_header(tmp_path, checksum=False, checksum_="x"), "unknown checksum_|has no checksum")
    content = bytearray(content_of(".safetensors", folder=tmp_path))
    content[-1] ^= 1
    refused(tmp_path, bytes(content), "its checksum is not that of its content")


class Bomb:
    """Unpickling it writes a file."""

    def __reduce__(self):
        return os.system, ("touch exploded",)


def npz(*members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def npy(array, **options):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


def lying_npy(text):
    text = text.encode() + b" " * 20 + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def test_npz_files_meant_to_harm(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    header = npy(np.frombuffer(b"{}", np.uint8))
    pickled = npy(np.array([Bomb()], object), allow_pickle=True)
    cases = [
        (npz(("header.npy", pickled)), "another type"),
        (npz(("header.npy", header), ("0.weight.npy", pickled)), "another type"),
        (npz(("header.npy", pickle.dumps(Bomb()))), "not stored as"),
        (npz(("header.npy", b"\0" * (1 << 20)), compression=zipfile.ZIP_DEFLATED), "compressed or encrypted"),
        (npz(("../../header.npy", header)), "no header of ours"),
        (npz(("header", header)), "something else than arrays"),
        (npz(("header.npy", npy(np.zeros(3)))), "no header of ours"),
        (npz(("header.npy", npy(np.zeros((2, 2), np.uint8)))), "no header of ours"),
        (npz(("header.npy", npy(np.asfortranarray(np.zeros((2, 3)))))), "another order"),
        (npz(("header.npy", npy(np.zeros(3, [("a", "f4")])))), "another type"),
        (npz(("header.npy", npy(np.zeros(3), version=(2, 0)))), "not stored as"),
        (
            npz(("header.npy", lying_npy(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({10**12},), }}"))),
            "'header' claims the shape",
        ),
        (npz(("header.npy", lying_npy("{'descr': '|u1', 'fortran_order': False, 'shape': (" + "(" * 5000))), "type"),
        (npz(("header.npy", lying_npy("__import__('os').system('touch exploded')"))), "another type"),
        (npz(), ""),
    ]
    for content, message in cases:
        refused(tmp_path, content, message, ".npz")
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = npz(("header.npy", header), ("header.npy", header))
    refused(tmp_path, twice, "different names", ".npz")
    assert not (tmp_path / "exploded").exists()


def test_npz_members_that_claim_too_much(tmp_path):
    """A zip whose directory names one stored piece of the file many times over, or with a size it has not."""
    content = bytearray(content_of(".npz", folder=tmp_path))
    place = content.index(b"PK\x01\x02")
    for offset in (20, 24):  # compressed and plain size in the central directory
        struct.pack_into("<I", content, place + offset, 2**31 - 1)
    refused(tmp_path, bytes(content), "'header' claims the bytes", ".npz")


# ----------------------------------------------------------------------------------------------------------------- fuzz

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)


def loads_equal_or_is_refused(folder, content, ending, net, equal=True):
    file = folder / f"fuzz{ending}"
    file.write_bytes(content)
    try:
        back = fa.load(file)
    except ValueError:
        return
    if equal:
        assert_same(net, back)


@pytest.mark.parametrize("make", [network, rich])
@pytest.mark.parametrize("ending", ENDINGS)
def test_fuzz_damage(tmp_path, ending, make):
    net = make()
    net.freeze(1)
    optimizer = fa.optim.Adam()
    original = content_of(ending, trained(optimizer, net), optimizer, tmp_path)

    @FUZZ
    @given(
        st.lists(st.tuples(st.integers(0, len(original) - 1), st.integers(1, 255)), max_size=4),
        st.one_of(st.none(), st.integers(0, len(original))),
        st.binary(max_size=8),
    )
    @example([], None, b"")
    def damage(flips, cut, tail):
        content = bytearray(original)
        for place, mask in flips:
            content[place] ^= mask
        loads_equal_or_is_refused(tmp_path, bytes(content[:cut]) + tail, ending, net)

    damage()


def test_fuzz_the_first_format(tmp_path):
    net = network()
    header = {"format": "fastact network 1", "fastact": "0.1", "dtype": "float32", "layers": json.dumps(net.describe())}
    original = safetensors.numpy.save(net.named_parameters(), metadata={**header, "metadata": "{}"})

    @FUZZ
    @given(st.lists(st.tuples(st.integers(0, len(original) - 1), st.integers(1, 255)), max_size=3))
    def damage(flips):
        content = bytearray(original)
        for place, mask in flips:
            content[place] ^= mask
        loads_equal_or_is_refused(tmp_path, bytes(content), ".safetensors", net, equal=False)

    damage()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
    | st.sampled_from(["Dense", "relu", "0.weight", 3, 4, 10**12, -1]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["layer", "inputs", "outputs", "activation", "parameters", "bias", "x"]), inner),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", ["layers", "frozen", "random_state", "metadata", "optimizer", "dtype", "training"])
def test_fuzz_header_with_a_right_checksum(tmp_path, name, ending):
    @settings(FUZZ, max_examples=40)
    @given(JSON)
    def replace(value):
        content = with_header(tmp_path, ending, **{name: json.dumps(value)})
        file = tmp_path / f"fuzz{ending}"
        file.write_bytes(content)
        try:
            fa.load(file, optimizer=fa.optim.Adam())
        except ValueError:
            return

    replace()


WIDTHS = st.sampled_from([3, 4, 10**8, 10**13])
MEMORY = st.one_of(
    st.fixed_dictionaries({"layer": st.just("Activation"), "inputs": WIDTHS, "activation": st.just("relu"),
                           "parameters": st.just({})}),
    st.fixed_dictionaries({"layer": st.just("Dropout"), "inputs": WIDTHS, "rate": st.just(0.5)}),
    st.fixed_dictionaries({"layer": st.sampled_from(["LayerNorm", "BatchNorm"]), "inputs": WIDTHS,
                           "weight": st.booleans(), "bias": st.booleans()}),
    st.fixed_dictionaries({"layer": st.just("Maxout"), "inputs": WIDTHS, "pieces": WIDTHS}),
    st.fixed_dictionaries({"layer": st.sampled_from(["PReLU", "Swish"]), "inputs": WIDTHS,
                           "per_channel": st.booleans()}),
)  # fmt: skip


@pytest.mark.usefixtures("fast")
@settings(FUZZ, max_examples=60)
@given(layers=st.lists(st.fixed_dictionaries({
    "layer": st.sampled_from(["Dense", "Dropout", "BatchNorm", "Residual", "x"]),
    "inputs": st.sampled_from([3, 4, 0, -1, 10**7, 10**13, 10**30, 2.5, None, "3", True]),
    "outputs": st.sampled_from([4, 5, 10**7, 10**13]),
    "activation": st.sampled_from(["elu", "identity", "x", 1]),
    "parameters": st.sampled_from([{}, {"alpha": 0.5}, {"alpha": -1}, [], None]),
    "bias": st.sampled_from([True, False, 1, "x"]),
}) | MEMORY, max_size=4))  # fmt: skip
def test_fuzz_layers_that_claim_memory(tmp_path_factory, layers):
    """Nothing of the claimed size is made: these would not fit into any machine."""
    folder = tmp_path_factory.getbasetemp()
    content = with_header(folder, layers=json.dumps(layers))
    file = folder / "claims.safetensors"
    file.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"claims\.safetensors"):
            fa.load(file)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


# ---------------------------------------------------------------------------------------------------- several networks


def several(dtype="float32"):
    nets = {
        "pi": network(dtype),
        "critics.v 1": fa.Sequential(fa.Dense(3, 4), fa.BatchNorm(), fa.Dropout(0.5), dtype="float64", rng=3),
        "log std": fa.Parameter((2, 3), -0.5, dtype),
        "scalar": fa.Parameter(()),
    }
    nets["pi"].freeze("1.*")
    nets["scalar"].freeze()
    nets["pi"].metadata["task"] = "balance"
    nets["critics.v 1"].forward(np.ones((5, 3)), training=True)
    return nets


def assert_same_dict(nets, others):
    assert list(nets) == list(others)
    for name, net in nets.items():
        if isinstance(net, fa.Sequential):
            assert_same(net, others[name])
            assert net.random_state() == others[name].random_state()
        else:
            assert (type(others[name]), others[name].dtype, others[name].frozen) == (type(net), net.dtype, net.frozen)
            np.testing.assert_array_equal(others[name].value, net.value)


@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop"])
def test_several_networks_come_back_with_their_optimiser(path, name):
    def steps(nets, optimizer, seed):
        rng = np.random.default_rng(seed)
        for _ in range(3):
            for net in nets.values():
                for s in net.segments:
                    net.gradients[s.start : s.stop] = rng.normal(size=s.stop - s.start)
            optimizer.step(*nets.values())

    make = functools.partial(fa.optim.OPTIMIZERS[name], **({"momentum": 0.9} if name != "adam" else {}))
    nets, optimizer = several(), make()
    fa.save(nets, path)
    assert_same_dict(nets, fa.load(path))
    fa.save(nets, path, optimizer)  # before a step: no state, and it may be given back
    fa.load(path, optimizer=make())
    steps(nets, optimizer, 0)
    nets["log std"].value[0, 0] = np.nan
    fa.save(nets, path, optimizer, {"note": "x"})
    restored = make()
    others = fa.load(path, optimizer=restored)
    assert others["pi"].metadata == {"task": "balance", "note": "x"}
    for one in ("pi", "critics.v 1"):
        nets[one].metadata["note"] = "x"
    assert_same_dict(nets, others)
    steps(nets, optimizer, 1)
    steps(others, restored, 1)
    assert_same_dict(nets, others)
    fa.save({"pi": nets["pi"]}, path)
    assert_same_dict({"pi": nets["pi"]}, fa.load(path))


def test_several_networks_wrong_arguments(path, tmp_path):
    nets = several()
    one = fa.optim.Adam()
    one.step(nets["pi"])
    for kind, given_, optimizer, text in (
        (ValueError, {}, None, "at least one network"),
        (ValueError, {"a/b": nets["pi"]}, None, "names of networks"),
        (ValueError, {"": nets["pi"]}, None, "names of networks"),
        (ValueError, {3: nets["pi"]}, None, "names of networks"),
        (ValueError, {"a": nets["pi"], "b": nets["pi"]}, None, "each network once"),
        (TypeError, {"a": nets["pi"].parameters}, None, "expected a to be a Sequential or a Parameter"),
        (TypeError, nets["log std"], None, "expected a Sequential, or several by names, got Parameter"),
        (ValueError, nets, one, "expected the optimiser of these networks, got one of 1 network$"),
    ):
        with pytest.raises(kind, match=f"save: .*{text}"):
            fa.save(given_, path, optimizer)
    assert not list(tmp_path.iterdir())
    together = fa.optim.Adam()
    together.step(nets["pi"], nets["log std"])
    with pytest.raises(ValueError, match="the optimizer's state is not of this network"):
        fa.save({"log std": nets["log std"], "pi": nets["pi"]}, path, together)
    fa.save({"pi": nets["pi"], "log std": nets["log std"]}, path, together)
    with pytest.raises(ValueError, match=r"load: .* does not fit the optimizer"):
        fa.load(path, optimizer=fa.optim.SGD(0.1, 0.9))
    with pytest.raises(ValueError, match="no checkpoint to resume"):
        fa.fit(network(), np.zeros((4, 3), np.float32), np.zeros(4, int), resume=path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_damage_among_several_networks_is_found(tmp_path, ending):
    path = tmp_path / f"nets{ending}"
    nets = several()
    fa.save(nets, path)
    content = path.read_bytes()
    refused = 0
    for place in range(0, len(content), 97):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:
            loaded = fa.load(path)
        except ValueError:
            refused += 1
        else:  # a zip's dates say nothing
            assert_same_dict(nets, loaded)
    assert refused > 0.8 * (len(content) // 97)
    for length in range(0, len(content), 311):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="load"):
            fa.load(path)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda nets, arrays: nets.clear(), "described by names"),
        (lambda nets, arrays: nets.pop("pi"), "unknown array 'pi/"),
        (lambda nets, arrays: arrays.pop("pi/0.weight"), "lacks the array '0.weight'"),
        (lambda nets, arrays: arrays.update({"log std/more": np.zeros(2)}), "unknown array 'more'"),
        (lambda nets, arrays: nets["log std"].update(parameter=[10**12]), "expected value to be"),
        (lambda nets, arrays: nets["log std"].update(parameter=["2", 3]), "shape is none"),
        (lambda nets, arrays: nets["log std"].update(parameter=3), "shape is none"),
        (lambda nets, arrays: nets["log std"].update(frozen=["other"]), "frozen parameters"),
        (lambda nets, arrays: nets["log std"].update(dtype="int8"), "dtype"),
        (lambda nets, arrays: nets["log std"].update(layers=[]), "unknown layers"),
        (lambda nets, arrays: nets["pi"].update(training={}), "unknown training"),
        (lambda nets, arrays: nets["pi"].update(layers=3), "not a whole fastact network"),
        (lambda nets, arrays: nets["pi"]["layers"][0].update(inputs=10**9), "expected 0.weight to be"),
        (lambda nets, arrays: nets.update(pi=7), "described by names"),
    ],
)
def test_evil_descriptions_of_several_networks(tmp_path, change, text):
    """With a right checksum."""
    path = tmp_path / "nets.safetensors"
    fa.save(several(), path)
    with path.open("rb") as file:
        texts, arrays = files.read(file)
    nets = json.loads(texts["networks"])
    change(nets, arrays)
    del texts["checksum"]
    files.write(path, {**texts, "networks": json.dumps(nets)}, arrays)
    with pytest.raises(ValueError, match=f"load: .*{text}"):
        fa.load(path)


def test_networks_of_different_optimisers_are_refused(tmp_path):
    path = tmp_path / "nets.safetensors"
    nets, optimizer = several(), fa.optim.Adam()
    optimizer.step(*nets.values())
    fa.save(nets, path, optimizer)
    with path.open("rb") as file:
        texts, arrays = files.read(file)
    described_ = json.loads(texts.pop("networks"))
    described_["pi"]["optimizer"]["steps"] = 2
    del texts["checksum"]
    files.write(path, {**texts, "networks": json.dumps(described_)}, arrays)
    fresh = fa.optim.Adam()
    with pytest.raises(ValueError, match=r"load: .*not trained by one optimiser"):
        fa.load(path, optimizer=fresh)
    assert (fresh.steps, fresh.state) == (0, {})
