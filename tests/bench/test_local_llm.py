"""Joining and checking the weights, on small files: nothing is downloaded or started."""

import hashlib
from pathlib import Path

import pytest

from bench.local_llm import BIG, FAST, LocalLlmError, Weights, check, join, require_disk

CONTENT = [b"GGUF" + bytes(range(256)) * 20, b"second part", "셋째".encode()]
DIGEST = hashlib.sha256(b"".join(CONTENT)).hexdigest()


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"part{number:02}.bin" for number in (1, 2, 3)]
    for path, content in zip(paths, CONTENT, strict=True):
        path.write_bytes(content)
    return paths


def test_parts_are_joined_in_order_and_then_removed(parts: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "model.gguf"
    join(parts, target, DIGEST)
    assert target.read_bytes() == b"".join(CONTENT)
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]


def test_parts_that_are_not_the_known_ones_are_not_used(parts: list[Path], tmp_path: Path) -> None:
    parts[1].write_bytes(b"something else")
    target = tmp_path / "model.gguf"
    with pytest.raises(LocalLlmError, match="not the file this project was tested with"):
        join(parts, target, DIGEST)
    assert not target.exists()
    assert not list(tmp_path.glob("*.partial"))


def test_a_file_that_changed_later_is_found_and_removed(parts: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "model.gguf"
    join(parts, target, DIGEST)
    check(target, DIGEST)
    target.write_bytes(target.read_bytes()[:-1])
    with pytest.raises(LocalLlmError, match="sha256"):
        check(target, DIGEST)
    assert not target.exists()


def test_parts_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    weights = Weights("tiny", "Tiny", "tiny-model-part", "1.0", 11, 11, "")
    for number in range(1, 12):
        folder = tmp_path / f"tiny_model_part{number}" / "data"
        folder.mkdir(parents=True)
        (folder / f"part{number:02}.bin").write_bytes(b"x")
    assert [path.name for path in weights.part_files(tmp_path)] == [f"part{number:02}.bin" for number in range(1, 12)]
    assert weights.requirements()[-1] == "tiny-model-part11==1.0"


def test_a_missing_part_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LocalLlmError, match="delete the cache and try again"):
        FAST.part_files(tmp_path)


def test_too_little_room_says_how_much_is_needed(tmp_path: Path) -> None:
    require_disk(tmp_path, 1)
    with pytest.raises(LocalLlmError, match=r"installing takes 1000000\.0 GB"):
        require_disk(tmp_path, 10**15)


def test_every_package_is_pinned() -> None:
    assert all("==" in requirement for model in (FAST, BIG) for requirement in model.requirements())
    assert {len(model.sha256) for model in (FAST, BIG)} == {64}
