"""Which of Lightning's words reach the screen."""

import logging
import warnings

# what Lightning says in a run where nothing is wrong
EXPECTED_WARNINGS = (
    "Checkpoint directory .* exists and is not empty",  # a resumed run
    "The `srun` command is available",
    ".*does not have many workers",  # batches are index selections
    "GPU available but not used",
    "You called `self.log.*` .* and have no logger configured",  # --trainer.logger=false
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",  # Lightning's own use of torch's pytree
    ".*torch.distributed.nn.functional.all_gather is deprecated",  # Lightning's own use of it
    "\\s*skip_none parameter was deprecated",  # its new name is unknown to jsonargparse below 4.49
    "The number of training batches .* is smaller than the logging interval",
)


def quiet(command: str) -> None:
    """Keep Lightning's notes about hardware, seeds and products off the screen; its real warnings stay."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # a checkpoint also holds the state of callbacks that only a fit has
    unused = () if command == "fit" else ("Be aware that when using `ckpt_path`, callbacks",)
    for message in (*EXPECTED_WARNINGS, *unused):
        warnings.filterwarnings("ignore", message)
    # what its dependencies are about to drop is Lightning's to mend
    warnings.filterwarnings(
        "ignore", category=DeprecationWarning, module="pytorch_lightning|lightning_fabric|jsonargparse"
    )
