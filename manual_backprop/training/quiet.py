"""Hides Lightning's messages and warnings that an ordinary run prints."""

import logging
import warnings

# warnings that Lightning gives in runs where nothing is wrong
EXPECTED_WARNINGS = (
    "Checkpoint directory .* exists and is not empty",  # a resumed run
    "The `srun` command is available",
    ".*does not have many workers",  # batches are index selections
    "GPU available but not used",
    "You called `self.log.*` .* and have no logger configured",  # --trainer.logger=false
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",  # called by Lightning itself
    ".*torch.distributed.nn.functional.all_gather is deprecated",  # called by Lightning itself
    "\\s*skip_none parameter was deprecated",  # jsonargparse below 4.49 does not know the new name
    "The number of training batches .* is smaller than the logging interval",
)


def quiet(command: str) -> None:
    """Hides Lightning's notes about hardware, seeds and products. All other warnings stay."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # a checkpoint also holds the state of callbacks that only `fit` uses
    unused = () if command == "fit" else ("Be aware that when using `ckpt_path`, callbacks",)
    for message in (*EXPECTED_WARNINGS, *unused):
        warnings.filterwarnings("ignore", message)
    # deprecated calls inside Lightning and jsonargparse: users cannot fix them
    warnings.filterwarnings(
        "ignore", category=DeprecationWarning, module="pytorch_lightning|lightning_fabric|jsonargparse"
    )
