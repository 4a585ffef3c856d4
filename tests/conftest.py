"""The tests run in one process per core (pytest-xdist), each with one thread: small tensors gain nothing from more."""

import torch

torch.set_num_threads(1)
