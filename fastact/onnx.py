"""``fastact.interop.onnx`` by its shorter name."""

from .interop.onnx import *  # noqa: F403
from .interop.onnx import __all__  # noqa: F401
