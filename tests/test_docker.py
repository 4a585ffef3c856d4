"""The container recipes, read as data: no engine is needed, and none has built them here."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "docker"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def stages() -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """Stage name -> (what it starts from, its instructions as (word, rest))."""
    text = "\n".join(line for line in (DOCKER / "Dockerfile").read_text().splitlines() if not line.startswith("#"))
    found: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    for line in filter(None, (part.strip() for part in text.replace("\\\n", " ").splitlines())):
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            start, _, name = rest.split()
            found[name] = (start, instructions := [])
        else:
            instructions.append((word, rest))
    return found


def lineage(name: str) -> list[tuple[str, str]]:
    """All instructions that make a target, from its base image on."""
    table = stages()
    start, instructions = table[name]
    return (lineage(start) if start in table else []) + instructions


def last(name: str, word: str) -> str:
    return [rest for found, rest in lineage(name) if found == word][-1]


def compose() -> dict[str, Any]:
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())


def test_base_images_are_pinned_to_a_patch_release() -> None:
    table = stages()
    bases = {start for start, _ in table.values() if start not in table}
    assert bases
    for base in bases:
        assert re.search(r":\d+\.\d+\.\d+", base), base
    version = re.search(r":(\d+\.\d+)", next(iter(bases)))
    assert version is not None
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert tuple(map(int, version[1].split("."))) >= tuple(map(int, oldest.split(".")))


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_a_target_runs_the_main_job_without_root(target: str) -> None:
    user, group = last(target, "USER").split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert last(target, "ENTRYPOINT") == '["manual-backprop"]'
    assert "manual-backprop" in PROJECT["scripts"]
    assert last(target, "CMD") == '["fit"]'
    assert last(target, "VOLUME") == '["/app/data", "/app/runs"]'


def test_cuda_asks_the_toolkit_for_compute() -> None:
    environment = dict(item.split("=", 1) for item in shlex.split(last("cuda", "ENV")))
    assert environment["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert "compute" in environment["NVIDIA_DRIVER_CAPABILITIES"].split(",")


def requirement_list(tmp_path: Path) -> list[str]:
    """What the recipe's own line writes to /requirements.txt, run here."""
    (line,) = [rest for word, rest in stages()["base"][1] if word == "RUN" and "tomllib" in rest]
    code = shlex.split(line.split("python", 1)[1])[1]
    assert code.count("/tmp/pyproject.toml") == 1
    code = code.replace("/tmp/pyproject.toml", (ROOT / "pyproject.toml").as_posix())
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    return done.stdout.split("\n")[:-1]


def test_the_requirements_are_the_projects_own(tmp_path: Path) -> None:
    assert requirement_list(tmp_path) == PROJECT["dependencies"] + PROJECT["optional-dependencies"]["train"]


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_each_install_line_takes_what_pyproject_offers(target: str) -> None:
    lines = [
        part for word, rest in lineage(target) if word == "RUN" for part in rest.split("&&") if "pip install" in part
    ]
    sources = [shlex.split(line.split("pip install", 1)[1])[-2:] for line in lines]
    expected = [["-r", "/requirements.txt"], ["--no-deps", "/src"]]
    assert sources == ([["-r", "/torch.txt"]] if target == "cpu" else []) + expected


def test_the_cpu_index_gives_torch_and_torchvision_alone(tmp_path: Path) -> None:
    (line,) = [rest for word, rest in stages()["cpu-torch"][1] if word == "RUN"]
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("\n".join(requirement_list(tmp_path)))
    grep = line[line.index("grep") : line.index(">")].replace("/requirements.txt", str(wanted))
    found = subprocess.run(shlex.split(grep), capture_output=True, text=True, check=True).stdout.split()
    assert [re.split(r"[<>=!~\[]", name)[0] for name in found] == ["torch", "torchvision"]


def test_downloads_are_kept_between_builds() -> None:
    for start, instructions in stages().values():
        for word, rest in instructions:
            if word == "RUN" and ("apt-get install" in rest or "-r /requirements.txt" in rest):
                assert "--mount=type=cache" in rest, (start, rest)


def test_everything_copied_exists_and_is_let_through() -> None:
    kept = [line[1:] for line in (DOCKER / "Dockerfile.dockerignore").read_text().split() if line.startswith("!")]
    for target in ("cpu", "cuda"):
        copied = [source for word, rest in lineage(target) if word == "COPY" for source in rest.split()[:-1]]
        assert sorted(copied) == sorted(kept)
        assert all((ROOT / source).exists() for source in copied)


def test_compose_train_is_the_main_job() -> None:
    content = compose()
    for name, target in (("train", "cpu"), ("train-gpu", "cuda")):
        service = content["services"][name]
        assert (DOCKER / service["build"]["context"]).resolve() == ROOT
        assert (ROOT / service["build"]["dockerfile"]).is_file()
        assert service["build"]["target"] == target
        assert target in stages()
        assert service["command"][0] == "fit"
        assert service["shm_size"] == "2gb"
        assert service["user"] == "${USER_ID:-1000}:${GROUP_ID:-1000}"
        inside = {volume.split("}:")[1]: volume for volume in service["volumes"]}
        assert inside == {"/app/data": "${DATA:-data}:/app/data", "/app/runs": "${RUNS:-runs}:/app/runs"}
    assert set(content["volumes"]) == {"data", "runs"}


def test_compose_reserves_one_gpu() -> None:
    services = compose()["services"]
    assert services["train-gpu"]["deploy"]["resources"]["reservations"]["devices"] == [
        {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    ]
    assert "deploy" not in services["train"]
