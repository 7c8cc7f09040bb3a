"""Files are written whole or not at all; folders know who made them."""

from __future__ import annotations

import errno

import pytest
import torch

from headwise.errors import InputError
from headwise.files import MARKER, claim_folder, hash_tensors, read_json, replacing, write_json, writing


def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    file = tmp_path / "a.json"
    write_json(file, {"old": 1})

    def fail() -> None:
        with replacing(file) as part:
            part.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert read_json(file) == {"old": 1}
    assert list(tmp_path.iterdir()) == [file]


def test_json_refuses_numbers_that_are_none(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", float("nan"))
    assert not list(tmp_path.iterdir())


def test_broken_json_is_named(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(InputError, match=r"a\.json is not valid JSON"):
        read_json(tmp_path / "a.json")
    with pytest.raises(InputError, match="does not exist"):
        read_json(tmp_path / "b.json")


def test_a_folder_is_claimed_once_and_resumed_by_the_same_settings(tmp_path):
    folder = tmp_path / "out"
    assert claim_folder(folder, "study", {"seed": 0}) is False
    assert claim_folder(folder, "study", {"seed": 0}) is True
    (folder / "report.html").write_text("done")
    with pytest.raises(InputError, match="seed: 0 there, 1 asked"):
        claim_folder(folder, "study", {"seed": 1})
    assert claim_folder(folder, "study", {"seed": 1}, overwrite=True) is False


def test_overwrite_never_takes_a_folder_of_another_kind_or_of_others(tmp_path):
    claim_folder(tmp_path / "head", "head", {})
    (tmp_path / "head" / "config.json").write_text("{}")
    with pytest.raises(InputError, match="a headwise head, not a study"):
        claim_folder(tmp_path / "head", "study", {}, overwrite=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="did not make"):
        claim_folder(tmp_path / "mine", "study", {}, overwrite=True)


def test_what_a_kill_leaves_behind_does_not_lock_the_folder(tmp_path):
    (tmp_path / f".{MARKER}.abc.part").write_text("{")
    assert claim_folder(tmp_path, "study", {}) is False


def test_a_folder_in_which_nothing_was_finished_is_free(tmp_path):
    claim_folder(tmp_path, "study", {"layer": 99})
    claim_folder(tmp_path / "tokens", "store", {})
    assert claim_folder(tmp_path, "study", {"layer": 3}) is False
    (tmp_path / "tokens" / "shard-0.safetensors").write_bytes(b"work")
    with pytest.raises(InputError, match="layer: 3 there, 4 asked"):
        claim_folder(tmp_path, "study", {"layer": 4})


def test_a_file_in_place_of_a_folder(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="cannot write in"):
        claim_folder(tmp_path / "out", "study", {})


@pytest.mark.parametrize("name", ["a" * 300, "deep/" * 2000])
def test_a_name_that_the_system_refuses(tmp_path, name):
    with pytest.raises(InputError, match=r"(?s)cannot write in .*name too long"):
        claim_folder(tmp_path / name, "study", {})


def test_a_full_disk_is_no_bad_folder(tmp_path):
    with pytest.raises(OSError, match="full"), writing(tmp_path):
        raise OSError(errno.ENOSPC, "full")


def test_hashes_see_values_names_types_and_shapes():
    one = {"a": torch.zeros(2, 3)}
    others = [
        {"b": torch.zeros(2, 3)},
        {"a": torch.zeros(3, 2)},
        {"a": torch.zeros(2, 3).double()},
        {"a": torch.ones(2, 3)},
    ]
    hashes = {hash_tensors(x) for x in [one, *others]}
    assert len(hashes) == 5
    assert hash_tensors(one) == hash_tensors({"a": torch.zeros(2, 3)})
