"""Other libraries' steps of the same multilayer perceptron, from the same weights: Linear and ReLU, then cross-entropy.

Each entry of `PEERS` takes a torch.nn.Sequential, a batch and its labels. It returns a function that runs one step and
returns the gradients, weights before biases. It raises ImportError where the library is not installed, and
NotImplementedError for a network that the library cannot express.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Gradients = list[np.ndarray]


def _layers(model: nn.Module, x: Tensor) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights (I, O) and biases of the Linears. Raises NotImplementedError for other layers, dtypes and devices."""
    layers = list(model.children()) if isinstance(model, nn.Sequential) else []
    if not layers or any(type(layer) is not (nn.ReLU if i % 2 else nn.Linear) for i, layer in enumerate(layers)):
        raise NotImplementedError("only for alternating Linear and ReLU")
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
        raise NotImplementedError("only for float32 and float64 on the CPU")
    linears: list[Any] = layers[::2]
    return [layer.weight.detach().numpy().T.copy() for layer in linears], [
        layer.bias.detach().numpy().copy() for layer in linears
    ]


def scikit_learn(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], Gradients]:
    """The hand-written backward of sklearn.neural_network.MLPClassifier."""
    weights, biases = _layers(model, x)
    try:
        from sklearn.neural_network import MLPClassifier
    except ImportError as error:
        raise ImportError("scikit-learn is not installed") from error
    classes = weights[-1].shape[1]
    batch, onehot = x.numpy(), np.eye(classes, dtype=x.numpy().dtype)[y.numpy()]
    network: Any = MLPClassifier([w.shape[1] for w in weights[:-1]], alpha=0.0)
    network.partial_fit(batch, y.numpy(), classes=range(classes))
    network.coefs_, network.intercepts_ = weights, biases
    if not hasattr(network, "_backprop"):
        raise ImportError("this version of scikit-learn has no MLPClassifier._backprop")
    weighted = "sample_weight" in network._backprop.__code__.co_varnames

    def run() -> Gradients:
        activations = [batch, *(np.empty((len(batch), w.shape[1]), w.dtype) for w in weights)]
        deltas = [np.empty_like(a) for a in activations[1:]]
        room = activations, deltas, [np.empty_like(w) for w in weights], [np.empty_like(b) for b in biases]
        _, grad_weights, grad_biases = network._backprop(batch, onehot, *([None] if weighted else []), *room)
        return [*grad_weights, *grad_biases]

    return run


def autograd(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], Gradients]:
    """HIPS autograd, which records numpy's functions and differentiates them."""
    weights, biases = _layers(model, x)
    try:
        import autograd.numpy as anp
        from autograd import grad
    except ImportError as error:
        raise ImportError("autograd is not installed") from error
    batch, rows, labels = x.numpy(), np.arange(len(y)), y.numpy()

    def loss(parameters: tuple[Gradients, Gradients]) -> Any:
        a = batch
        for i, (weight, bias) in enumerate(zip(*parameters, strict=True)):
            z = anp.dot(a, weight) + bias
            a = anp.maximum(z, 0) if i + 1 < len(weights) else z
        shifted = a - anp.max(a, axis=1, keepdims=True)
        return anp.mean(anp.log(anp.sum(anp.exp(shifted), axis=1)) - shifted[rows, labels])

    gradients = grad(loss)

    def run() -> Gradients:
        grad_weights, grad_biases = gradients((weights, biases))
        return [*grad_weights, *grad_biases]

    return run


PEERS = {"scikit-learn": scikit_learn, "autograd": autograd}


@contextmanager
def limited() -> Iterator[None]:
    """Inside, numpy's matmuls use as many threads as torch's, if threadpoolctl is installed."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        yield
        return
    with threadpool_limits(torch.get_num_threads(), user_api="blas"):
        yield
