"""Pictures: that each is there, of the right size, not blank, shows the right numbers, and is left out for a reason."""

import csv
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from manual_backprop.training.callbacks import DeltaFlow, Pictures, plots, plots_images, style
from manual_backprop.training.callbacks.delta_table import NUMBERS
from manual_backprop.training.callbacks.pictures import KEPT_MISTAKES

from .callback_runs import Classifier, Images, cnn, fit, mlp, quiet

FIT = ["confusion_validation", "mistakes_validation", "learning_curves", "delta_flow", "first_layer"]
TEST = ["confusion_test", "mistakes_test"]


def colours(path: Path) -> int:
    with Image.open(path) as picture:
        return len(picture.convert("RGB").getcolors(picture.width * picture.height) or [])


@pytest.mark.parametrize("build", [mlp, cnn])
def test_a_fit_and_a_test_leave_their_pictures(tmp_path: Path, build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: dict[str, Any] = {}
    written: list[str] = []

    def save(figure: Figure, path: Path) -> Path:
        sizes[path.stem] = figure.get_size_inches() * style.DPI
        written.append(path.stem)
        return style.save(figure, path)

    monkeypatch.setattr("manual_backprop.training.callbacks.pictures.save", save)
    pictures = Pictures()
    settings = dict(mpl.rcParams)
    fit(tmp_path, Classifier(build(), lr=0.01), [DeltaFlow(1), pictures], test=True)
    assert written == FIT + TEST
    assert [path.stem for path in pictures.written] == TEST
    assert pictures.skipped == {}
    folder = tmp_path / "pictures"
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{name}.png" for name in written)
    for name in written:
        with Image.open(folder / f"{name}.png") as picture:
            assert picture.size == pytest.approx(sizes[name], abs=1)  # whole pixels, rounded either way
        assert colours(folder / f"{name}.png") > 50  # a title alone makes a few dozen greys of its edges
    assert dict(mpl.rcParams) == settings


def test_the_confusion_matrix_and_the_mistakes_are_those_of_the_data(tmp_path: Path, monkeypatch: Any) -> None:
    seen: dict[str, Any] = {}
    confusion, mistakes = plots.confusion_matrix, plots_images.mistakes
    monkeypatch.setattr(plots, "confusion_matrix", lambda *args: seen.update(confusion=args) or confusion(*args))
    monkeypatch.setattr(plots_images, "mistakes", lambda *args: seen.update(mistakes=args) or mistakes(*args))
    module, data = Classifier(mlp(), lr=0.01), Images()
    fit(tmp_path, module, [Pictures()], data)
    with torch.no_grad():
        shares = module.net(data.images).softmax(1)
    confidence, predicted = shares.max(1)
    counts, names, stage = seen["confusion"]
    expected = torch.zeros(4, 4, dtype=torch.long)
    for true, answer in zip(data.labels, predicted, strict=True):
        expected[true, answer] += 1
    assert counts.tolist() == expected.tolist()
    assert names == ["zero", "one", "two", "three"]
    assert stage == "validation"
    wrong = torch.nonzero(predicted != data.labels).flatten()
    assert len(wrong) > KEPT_MISTAKES
    surest = wrong[confidence[wrong].argsort(descending=True)][:KEPT_MISTAKES]
    images, true, answers, sure, errors, total, _ = seen["mistakes"]
    # one forward over 64 images and four over 16 round differently
    assert sure == pytest.approx(confidence[surest].tolist(), rel=1e-5)
    assert true == [names[k] for k in data.labels[surest]]
    assert answers == [names[k] for k in predicted[surest]]
    assert (errors, total) == (len(wrong), 64)
    torch.testing.assert_close(images, (data.images[surest] * 0.4 + 0.3).clamp(0, 1))


def test_the_learning_curves_are_those_of_the_metrics_file(tmp_path: Path, monkeypatch: Any) -> None:
    seen: list[Any] = []
    draw = plots.learning_curves
    monkeypatch.setattr(plots, "learning_curves", lambda *args: seen.append(args) or draw(*args))
    fit(tmp_path, Classifier(mlp()), [Pictures()], max_epochs=3)
    curves, ends = seen[0]
    assert ends == [(3, 1), (7, 2), (11, 3)]
    assert len(curves["train/loss_step"]) == 12
    rows = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    accuracy = [(int(row["step"]), float(row["val/accuracy"])) for row in rows if row["val/accuracy"]]
    assert curves["val/accuracy"] == accuracy
    assert len(accuracy) == len(curves["train/loss"]) == 3


def test_a_validation_by_itself_draws_what_it_saw(tmp_path: Path) -> None:
    pictures, data = Pictures(), Images()
    module = Classifier(mlp())
    run = fit(tmp_path, module, [pictures], data, max_epochs=1)
    (tmp_path / "pictures" / "confusion_validation.png").unlink()
    with quiet():
        run.validate(module, datamodule=data, verbose=False)
    assert [path.stem for path in pictures.written] == ["confusion_validation", "mistakes_validation"]


class Strange(nn.Module):
    """A first layer that is neither Linear nor Conv, on inputs that are no images."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.out = nn.LayerNorm(20), nn.Linear(20, 4)

    def forward(self, values: Tensor) -> Tensor:
        return self.out(self.norm(values))


def test_what_does_not_apply_is_left_out_with_its_reason(tmp_path: Path) -> None:
    pictures = Pictures()
    fit(tmp_path, Classifier(Strange()), [pictures], Images((20,)), logger=False)
    assert [path.stem for path in pictures.written] == ["confusion_validation"]
    assert pictures.skipped == {
        "mistakes_validation": "inputs of shape (20,) are no images of 1 or 3 channels",
        "learning_curves": "there is no metrics.csv (no CSVLogger, or nothing was logged)",
        "delta_flow": "no delta was logged (DeltaFlow is off, or no layer is trained)",
        "first_layer": "the first layer is neither Linear nor Conv (LayerNorm)",
    }


def test_a_perfect_network_has_no_mistakes(tmp_path: Path) -> None:
    class Knows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, images: Tensor) -> Tensor:
            return nn.functional.one_hot(labels[images[:, 0, 0, 0].long()], 4) * self.scale

    data = Images()
    labels = data.labels
    data.images[:, 0, 0, 0] = torch.arange(64.0)
    pictures = Pictures()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "mistakes_validation.png").write_text("of an earlier run")
    fit(tmp_path, Classifier(Knows()), [pictures], data, max_epochs=1)
    assert pictures.skipped["mistakes_validation"] == "no mistake on 64 validation images"
    assert not (tmp_path / "pictures" / "mistakes_validation.png").exists()


def test_an_evaluation_step_without_logits_is_reported(tmp_path: Path) -> None:
    class Silent(Classifier):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            super().validation_step(batch, batch_idx)

    class Wrapped(Classifier):
        def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
            return {"logits": super().validation_step(batch, batch_idx)}

    pictures = Pictures()
    fit(tmp_path / "silent", Silent(mlp()), [pictures], max_epochs=1)
    assert pictures.skipped["confusion_validation"] == "the evaluation step returns no logits (N, V)"
    assert pictures.skipped["mistakes_validation"] == "the evaluation step returns no logits (N, V)"
    fit(tmp_path / "wrapped", Wrapped(mlp()), [pictures], max_epochs=1)
    assert "confusion_validation" not in pictures.skipped


def test_batches_without_class_indices_are_reported(tmp_path: Path) -> None:
    class Soft(Classifier):
        def validation_step(self, batch: Any, batch_idx: int) -> Tensor:
            return self.net(batch[0])

    data, pictures = Images(), Pictures()
    data.labels = nn.functional.one_hot(data.labels, 4).float()
    fit(tmp_path, Soft(mlp()), [pictures], data, max_epochs=1)
    assert pictures.skipped["confusion_validation"] == "the batches are no pairs of inputs and class indices (N,)"


def test_no_validation_data(tmp_path: Path) -> None:
    pictures = Pictures()
    fit(tmp_path, Classifier(mlp()), [pictures], max_epochs=1, limit_val_batches=0)
    assert pictures.skipped["confusion_validation"] == "no validation image was seen"
    assert pictures.skipped["mistakes_validation"] == "no validation image was seen"
    assert "learning_curves" in [path.stem for path in pictures.written]


def test_a_full_disk_does_not_undo_a_finished_training(tmp_path: Path, monkeypatch: Any) -> None:
    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    pictures, module = Pictures(), Classifier(mlp())
    with pytest.warns(UserWarning, match=r"the disk is full .* The training itself is complete"):
        run = fit(tmp_path, module, [pictures], max_epochs=1)
    assert run.state.finished
    assert "the disk is full" in pictures.skipped["first_layer"]
    assert list((tmp_path / "pictures").iterdir()) == []


def test_a_trial_run_draws_nothing(tmp_path: Path) -> None:
    fit(tmp_path, Classifier(mlp()), [Pictures()], fast_dev_run=True)
    assert not list(tmp_path.rglob("*.png"))


# single pictures


def sticks_out(figure: Figure) -> bool:
    """Whether anything of the figure, laid out, lies outside its page."""
    figure.draw_without_rendering()
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    return min(box.x0, box.y0, width - box.x1, height - box.y1) < 0


NAMES = ["airplane", "automobile", "T-shirt", "Ankle boot"]
LAYERS = [f"layer{k}.0.downsample.conv{k}" for k in range(60)]


def delta_rows(layers: list[str], steps: range, **changed: Any) -> list[dict[str, Any]]:
    row = dict.fromkeys(NUMBERS, None) | {"epoch": 0, "kind": "Conv2d", "delta_rms": 1e-3} | changed
    return [row | {"step": step, "layer": layer} for step in steps for layer in layers]


FIGURES = {
    "confusion, long names": lambda: plots.confusion_matrix(np.full((4, 4), 12_345), NAMES, "validation"),
    "confusion, many classes": lambda: plots.confusion_matrix(np.eye(62, dtype=int), list(map(str, range(62))), "test"),
    "confusion, two classes": lambda: plots.confusion_matrix(np.array([[5, 1], [0, 4]]), ["no", "yes"], "test"),
    "first layer, mlp": lambda: plots_images.first_layer(nn.Linear(784, 512), (1, 28, 28)),
    "first layer, colour mlp": lambda: plots_images.first_layer(nn.Linear(3072, 512), (3, 32, 32)),
    "first layer, no image": lambda: plots_images.first_layer(nn.Linear(50, 3), None),
    "first layer, colour": lambda: plots_images.first_layer(nn.Conv2d(3, 64, 3), (3, 32, 32)),
    "first layer, channels": lambda: plots_images.first_layer(nn.Conv2d(5, 100, 3), (5, 32, 32)),
    "first layer, 1d": lambda: plots_images.first_layer(nn.Conv1d(2, 12, 9), (2, 40)),
    "first layer, 3d": lambda: plots_images.first_layer(nn.Conv3d(1, 12, 3), None),
    "first layer, transposed": lambda: plots_images.first_layer(nn.ConvTranspose2d(1, 12, 3), (1, 8, 8)),
    "mistakes, long names": lambda: plots_images.mistakes(
        torch.rand(20, 3, 8, 8), NAMES * 5, NAMES[::-1] * 5, [1.0] * 20, 1234, 10_000, "validation"
    ),
    "delta flow, many layers": lambda: plots.delta_flow(delta_rows(LAYERS, range(0, 100_000, 1000))),
    "delta flow, one of each": lambda: plots.delta_flow(delta_rows(["0"], range(1))),
    "curves, one epoch": lambda: plots.learning_curves({"val/loss": [(9, 1.0)], "val/accuracy": [(9, 0.5)]}, [(9, 1)]),
    "curves, no accuracy": lambda: plots.learning_curves({"train/loss": [(9, 1.0), (19, 1e-3)]}, [(9, 1), (19, 2)]),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_cut_off(name: str) -> None:
    with style.styled():
        assert not sticks_out(FIGURES[name]())


def test_the_check_for_cut_off_text_sees_one() -> None:
    with style.styled():
        figure = style.sheet(3, 2, "a title that is too long for its page", "short")
        assert sticks_out(figure)
        assert not sticks_out(style.sheet(3, 2, "a title", "a subtitle that is made smaller to fit its page"))


@pytest.mark.parametrize(
    ("count", "words"), [(1, "no mistake was made twice"), (2, "most often 3 taken for 7 (2 times)")]
)
def test_the_most_frequent_mistake_is_named_when_there_is_one(count: int, words: str) -> None:
    with style.styled():
        figure = plots.confusion_matrix(np.array([[5, count], [0, 5]]), ["3", "7"], "test")
    assert any(words in text.get_text() for text in figure.findobj(mpl.text.Text))


def test_filters_are_sorted_by_norm_and_share_one_symmetric_scale() -> None:
    layer = nn.Conv2d(1, 3, 2, bias=False)
    layer.weight.data = torch.tensor([1.0, -4.0, 2.0]).view(3, 1, 1, 1).expand(3, 1, 2, 2).clone()
    figure = plots_images.first_layer(nn.Sequential(layer), (1, 8, 8))
    images = figure.axes[0].images
    assert [image.get_array()[0, 0] for image in images] == [-4.0, 2.0, 1.0]
    assert {image.get_clim() for image in images} == {(-4.0, 4.0)}


def test_a_delta_that_is_zero_or_not_finite_is_left_grey() -> None:
    rows = delta_rows(["a", "b"], range(3))
    rows[1]["delta_rms"], rows[2]["delta_rms"], rows[3]["delta_rms"] = 0.0, float("nan"), 1e-7
    figure = plots.delta_flow(rows)
    values = figure.axes[0].collections[0].get_array()
    assert np.isnan(np.ma.filled(values, np.nan)).tolist() == [[False, True, False], [True, False, False]]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a  Conv2d", "b  Conv2d"]
    with pytest.raises(style.NothingToShow, match="zero or not finite"):
        plots.delta_flow(delta_rows(["a"], range(2), delta_rms=0.0))


def test_a_wide_range_of_losses_gets_a_logarithmic_axis() -> None:
    wide = plots.learning_curves({"train/loss": [(0, 1.0), (1, 0.01)]}, [(0, 1), (1, 2)])
    narrow = plots.learning_curves({"train/loss": [(0, 1.0), (1, 0.5)]}, [(0, 1), (1, 2)])
    assert [figure.axes[0].get_yscale() for figure in (wide, narrow)] == ["log", "linear"]
    with pytest.raises(style.NothingToShow, match="no metric was logged"):
        plots.learning_curves({}, [])


def test_pixels_come_back_from_normalized_images() -> None:
    pixels = torch.rand(2, 3, 4, 4)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    scale = torch.tensor(std).view(1, 3, 1, 1)
    images = (pixels - torch.tensor(mean).view(1, 3, 1, 1)) / scale
    torch.testing.assert_close(plots_images.unnormalized(images, mean, std), pixels)
    stretched = plots_images.unnormalized(images, None, None)
    assert stretched.amin((1, 2, 3)).tolist() == [0, 0]
    assert stretched.amax((1, 2, 3)).tolist() == [1, 1]
