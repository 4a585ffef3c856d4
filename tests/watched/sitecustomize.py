"""Python runs this file at the start of every process of an example: it fixes the seeds and notes each loss.

`tests.torch_examples` puts this folder on PYTHONPATH and says by environment variables what to do:

    EXAMPLE_NOTES      the file to which each backward call adds a line of JSON; the gradients of the first call go to
                       a file beside it
    EXAMPLE_DTYPE      "float64": torch's default dtype
    EXAMPLE_EXPLICIT   "1": the whole script runs inside `mb.explicit()`
    EXAMPLE_STEPS      end the script, with all its processes, before the backward call after so many
"""

import json
import os
import random
import signal
import sys
import time

import numpy
import torch
import torch.distributed.autograd
from torch.nn.modules.module import register_module_parameter_registration_hook

import manual_backprop as mb
from manual_backprop._nodes import is_view, name_of, rule_of
from manual_backprop._observe import graph

backward = torch.autograd.backward
distributed_backward = getattr(torch.distributed.autograd, "backward", None)
calls = 0
parameters = []  # in the order in which modules got them


def note(losses):
    """One line: the sum of the losses, the time, and of the first call the nodes by kind."""
    global calls
    calls += 1
    if calls > int(os.environ.get("EXAMPLE_STEPS") or sys.maxsize):
        os.killpg(0, signal.SIGTERM)
    losses = [losses] if isinstance(losses, torch.Tensor) else list(losses)
    line = {"loss": sum(loss.detach().double().sum().item() for loss in losses), "time": time.perf_counter()}
    if calls == 1:
        nodes = graph(losses)
        line["rules"] = sum(rule_of(node) is not None for node in nodes)
        line["autograd"] = [name_of(node) for node in nodes if rule_of(node) is None and not is_view(node)]
    with open(os.environ["EXAMPLE_NOTES"], "a") as file:
        file.write(json.dumps(line) + "\n")


def noted_backward(tensors, *args, **kwargs):
    note(tensors)
    backward(tensors, *args, **kwargs)
    if calls == 1:
        torch.save([p.grad for p in parameters if p.grad is not None], f"{os.environ['EXAMPLE_NOTES']}.gradients")


def noted_distributed_backward(context, losses, *args, **kwargs):
    note(losses)
    return distributed_backward(context, losses, *args, **kwargs)


if "EXAMPLE_NOTES" in os.environ:
    random.seed(1)
    numpy.random.seed(1)  # noqa: NPY002  # what the scripts draw from
    torch.manual_seed(1)
    register_module_parameter_registration_hook(lambda module, name, parameter: parameters.append(parameter))
    torch.autograd.backward = noted_backward  # torch.Tensor.backward calls it, too
    torch.distributed.autograd.backward = noted_distributed_backward
    if os.environ.get("EXAMPLE_DTYPE") == "float64":
        torch.set_default_dtype(torch.float64)
    if os.environ.get("EXAMPLE_EXPLICIT") == "1":
        mb.explicit().__enter__()
