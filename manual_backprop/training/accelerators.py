"""Checks that the device of --trainer.accelerator is known to Lightning and exists on this machine."""

from typing import Any

import torch
from pytorch_lightning.accelerators import AcceleratorRegistry

from ..errors import BadInput, unknown


def require_accelerator(name: Any) -> None:
    """Raises BadInput for a kind of device that Lightning does not know or that this machine does not have."""
    known = ["auto", "gpu", *AcceleratorRegistry.available_accelerators()]
    if isinstance(name, str) and name not in known:
        raise unknown("accelerator", name, known)
    if name in ("gpu", "cuda") and not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        raise BadInput(
            f"--trainer.accelerator={name}: this machine shows no CUDA device to torch {torch.__version__} ({built}). "
            "Use --trainer.accelerator=cpu (or auto), or install a CUDA build of torch and its driver."
        )
    if (
        isinstance(name, str)
        and name not in ("auto", "gpu")
        and not AcceleratorRegistry[name]["accelerator"].is_available()
    ):
        raise BadInput(
            f"--trainer.accelerator={name}: this device is not here. Use --trainer.accelerator=cpu, or auto."
        )
