"""Planning memory: the sums, the largest batch, what is printed and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import manual_backprop as mb
import manual_backprop.nn as nn
from manual_backprop.cli import main
from manual_backprop.errors import BadInput
from manual_backprop.plan import bytes_of, plan
from manual_backprop.training.decoder import Decoder


def network() -> torch.nn.Module:
    return nn.Sequential(nn.Linear(256, 512), nn.GELU(), nn.Linear(512, 4))


def planned(memory: int, batch: int = 64, optimizer: str = "adamw") -> object:
    return plan(network, lambda n: torch.zeros(n, 256), batch, memory, optimizer)


def test_the_sums_are_those_of_the_real_model() -> None:
    found = plan(network, lambda n: torch.zeros(n, 256), 64, 10**9)
    count = sum(p.numel() for p in network().parameters())
    assert (found.parameters, found.gradients, found.optimizer) == (4 * count, 4 * count, 8 * count)
    real = mb.saved_bytes(network(), torch.zeros(64, 256))
    assert (found.inputs, found.ours, found.twin) == (64 * 256 * 4, real.ours, real.twin)
    assert found.ours == 64 * 512 * 4 == found.twin / 2


def test_the_largest_batch_fits_and_one_more_does_not() -> None:
    found = plan(network, lambda n: torch.zeros(n, 256), 64, 5_000_000)
    assert found.largest[0] > found.largest[1] > 0
    for batch, fits in ((found.largest[0], True), (found.largest[0] + 1, False)):
        assert plan(network, lambda n: torch.zeros(n, 256), batch, 5_000_000).fits is fits
    assert plan(network, lambda n: torch.zeros(n, 256), 1, 1000).largest == (0, 0)


def test_seven_billion_parameters_on_the_meta_device() -> None:
    def build() -> torch.nn.Module:
        block = [nn.LayerNorm(4096), nn.Linear(4096, 27264), nn.GELU(), nn.Linear(27264, 4096)]
        return nn.Sequential(*block * 32)  # the same weights, so that building takes no time: each block saves its own

    found = plan(build, lambda n: torch.zeros(n, 2048, 4096), 1, 80 * 10**9)
    # of each block the input of the norm and z: 4096 + 27264 numbers a token; the norm's mean and invstd besides
    assert found.ours == pytest.approx(32 * 2048 * 4 * (4096 + 27264), rel=0.07)
    assert found.twin > 1.8 * found.ours


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["plan", "--model", "mlp", "--input", "64,1,28,28", "--device-memory"]
    assert main([*options, "1GB"]) == 0
    assert "fits, " in capsys.readouterr().out
    assert main([*options, "1MB", "--batch", "100000", "--optimizer", "sgd", "--dtype", "bfloat16"]) == 1
    out = capsys.readouterr().out
    assert "does not fit" in out
    assert "batch 100000 in 976.6 KiB" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device-memory", "lots"], "expected a number and a unit, such as 80GB"),
        (["--device-memory", "1GB", "--batch", "0"], "--batch 0: expected at least 1"),
        (["--device-memory", "1GB", "--input", "a"], "expected positive sizes"),
        (["--device-memory", "1GB", "--input", "4,7"], "nothing is left of 1 x 1 images"),
    ],
)
def test_bad_input(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--model", "cnn", *options]) == 2
    assert message in capsys.readouterr().err


def test_an_unknown_optimizer() -> None:
    with pytest.raises(BadInput, match="optimizer"):
        planned(10**9, optimizer="lion")


def test_units() -> None:
    assert [bytes_of(text) for text in ("80GB", "24 GiB", "1.5KB", "7")] == [80 * 10**9, 24 * 2**30, 1500, 7]


def test_saved_bytes_as_json_and_picture(tmp_path: Path) -> None:
    found = mb.saved_bytes(network(), torch.zeros(64, 256))
    found.save(tmp_path / "saved.json")
    read = json.loads((tmp_path / "saved.json").read_text())
    assert (read["ours"], read["twin"]) == (found.ours, found.twin)
    assert [row["module"] for row in read["rows"]] == [row.module for row in found.rows]
    found.plot(tmp_path / "saved.png")
    assert (tmp_path / "saved.png").read_bytes().startswith(b"\x89PNG")


def test_a_decoder_of_seven_billion_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    model = "manual_backprop.training.decoder.Decoder"
    options = ["--model", model, "--input", "1,512", "--tokens", "--dtype", "bfloat16", "--device-memory"]
    assert main(["plan", *options, "60GB"]) == 0
    out = capsys.readouterr().out
    assert "parameters          12.2 GiB" in out  # 6.6e9 of two bytes
    assert main(["plan", *options, "40GB"]) == 1
    assert "does not fit" in capsys.readouterr().out


def test_options_of_the_model_the_loss_and_the_mode(capsys: pytest.CaptureFixture[str]) -> None:
    small = '{"vocabulary": 1024, "width": 64, "depth": 2, "heads": 2}'
    command = ["plan", "--model", "manual_backprop.training.decoder.Decoder", "--model-args", small]
    command += ["--input", "4,128", "--tokens", "--device-memory", "1GB"]

    def kept(*more: str) -> str:
        assert main([*command, *more]) == 0
        return next(line for line in capsys.readouterr().out.splitlines() if line.startswith("saved"))

    with torch.device("meta"):
        net = Decoder(1024, 64, 2, 2)
        tokens = torch.zeros(4, 128, dtype=torch.int64)
        body = mb.saved_bytes(net, tokens).ours
    logits, labels = 4 * 128 * 1024 * 4, 4 * 128 * 8
    assert f" {(body + logits + labels) / 2**20:.1f} MiB" in kept()
    assert kept("--saving", "int4") != kept()
    for wrong in ("[1]", "{"):
        assert main([*command, "--model-args", wrong]) == 2
        assert "--model-args" in capsys.readouterr().err
    assert main([*command, "--model-args", '{"widht": 64}']) == 2
    assert "width" in capsys.readouterr().err


def test_the_decoder_on_a_device_keeps_what_was_planned_and_learns_from_the_past_alone() -> None:
    torch.manual_seed(0)
    net, tokens = Decoder(1024, 64, 2, 2), torch.randint(1024, (4, 128))
    planned = Decoder(1024, 64, 2, 2).to("meta")
    found = mb.saved_bytes(planned, tokens.to("meta"))
    real = mb.saved_bytes(net, tokens)
    assert found.ours == real.ours
    assert found.ours < 0.7 * found.twin
    assert net.head.weight is net.embedding.weight
    later = tokens.clone()
    later[:, 64:] = 7
    before, after = net(tokens), net(later)
    assert before.shape == (4, 128, 1024)
    torch.testing.assert_close(before[:, :64], after[:, :64])
    assert not torch.allclose(before[:, 64:], after[:, 64:])


def test_the_decoder_is_explicit_throughout() -> None:
    assert mb.audit(Decoder(50, 16, 2, 4), torch.randint(50, (2, 5))).autograd == 0
