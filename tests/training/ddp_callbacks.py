"""Run as a script by the distributed tests: a fit on two CPU processes with all callbacks. Arguments: folder, mode."""

import sys
from pathlib import Path

import torch
from torch.utils.data import DataLoader, TensorDataset

from manual_backprop.training.callbacks import DeltaFlow, FiniteWatch, Pictures, Summary

from .callback_runs import Classifier, Images, fit, mlp


class Shares(Images):
    """Process k of n takes every n-th image from k on."""

    def _loader(self) -> DataLoader:
        assert self.trainer is not None
        share = slice(self.trainer.global_rank, None, self.trainer.world_size)
        return DataLoader(TensorDataset(self.images[share], self.labels[share]), self.batch_size)

    train_dataloader = val_dataloader = _loader


if __name__ == "__main__":
    folder, mode = Path(sys.argv[1]), sys.argv[2]
    data = Shares(batch_size=16)
    # twins: the two processes, which take turns, see the same images; so does a single process with twice the batch
    data.images, data.labels = data.images.repeat_interleave(2, 0), data.labels.repeat_interleave(2, 0)
    if mode == "bad":
        data.images[64 + 1] = torch.nan  # the second process's share of the third batch
    pictures = Pictures()
    callbacks = [Summary(), DeltaFlow(1), FiniteWatch(gradients=True), pictures]
    options = {"max_epochs": 1, "use_distributed_sampler": False}
    if mode == "one":
        data.batch_size = 32
        run = fit(folder, Classifier(mlp()), callbacks, data, **options)
    else:
        run = fit(folder, Classifier(mlp()), callbacks, data, strategy="ddp", devices=2, **options)
    counts, mistakes = pictures._seen.gather(run), len(pictures._seen.mistakes()[1])
    if run.is_global_zero:
        print("counted", counts.tolist(), mistakes)
