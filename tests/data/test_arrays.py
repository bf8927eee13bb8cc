"""Frames and sparse matrices become arrays, by what they can do, with one phrase for the report."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.sparse
import torch
from frames import Frame

from dmmcheck.data import arrays
from dmmcheck.data.arrays import check_columns, plain
from dmmcheck.data.labels import labels_of
from dmmcheck.errors import SubjectError

VALUES = np.arange(6.0).reshape(3, 2)


def test_a_frame_gives_its_values_and_names_its_columns():
    values, made = plain(Frame(VALUES, ["age", "height"]), "x")
    np.testing.assert_array_equal(values, VALUES)
    assert made == "x is a Frame with the columns age, height"


@pytest.mark.parametrize("dtype", [np.int64, np.bool_, object])
def test_numbers_of_any_kind_in_a_frame_become_floating_point(dtype):
    values, _ = plain(Frame((VALUES > 2).astype(dtype), ["a", "b"]), "x")
    assert values.dtype == np.float64


def test_a_frame_with_texts_names_the_columns_that_hold_them():
    mixed = np.array([[1.0, "red"], [2.0, "blue"]], dtype=object)
    with pytest.raises(
        SubjectError, match="x is a Frame whose columns colour hold texts or missing values; drop these"
    ):
        plain(Frame(mixed, ["size", "colour"]), "x")


@pytest.mark.parametrize(
    "sparse", [scipy.sparse.csr_matrix(VALUES), scipy.sparse.coo_array(VALUES), torch.as_tensor(VALUES).to_sparse()]
)
def test_a_sparse_matrix_is_made_dense(sparse):
    values, made = plain(sparse, "x")
    np.testing.assert_array_equal(np.asarray(values), VALUES)
    assert made == "x is a sparse matrix and was made dense"


def test_a_sparse_matrix_that_is_too_large_is_refused_before_it_is_made_dense(monkeypatch):
    monkeypatch.setattr(arrays, "MOST_VALUES", 5)
    with pytest.raises(
        SubjectError, match=re.escape("shape (3, 2), dense it would hold 6 values (limit 5); pass fewer")
    ):
        plain(scipy.sparse.csr_matrix(VALUES), "x")


@pytest.mark.parametrize("value", [VALUES, torch.as_tensor(VALUES), VALUES.tolist()])
def test_anything_else_stays_as_it_is(value):
    assert plain(value, "x") == (value, "") if isinstance(value, list) else plain(value, "x")[0] is value


def test_an_array_that_must_not_be_written_to_is_copied():
    fixed = VALUES.copy()
    fixed.flags.writeable = False
    for given in (fixed, Frame(fixed, ["a", "b"])):
        values, _ = plain(given, "x")
        assert values.flags.writeable
        np.testing.assert_array_equal(values, VALUES)


def test_a_read_only_map_of_a_file_is_mapped_anew_and_never_written_to(tmp_path):
    np.save(tmp_path / "x.npy", VALUES)
    given = np.load(tmp_path / "x.npy", mmap_mode="r")
    values, _ = plain(given, "x")
    assert isinstance(values, np.memmap)
    np.testing.assert_array_equal(values, VALUES)
    values += 1.0
    np.testing.assert_array_equal(values, VALUES + 1.0)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), VALUES)


@pytest.mark.parametrize("part", [np.s_[1:], np.s_[:, ::-1], np.s_[:1]], ids=["rows-after", "reversed", "first-row"])
def test_a_part_of_a_read_only_map_keeps_its_values(tmp_path, part):
    np.save(tmp_path / "x.npy", VALUES)
    values, _ = plain(np.load(tmp_path / "x.npy", mmap_mode="r")[part], "x")
    assert values.flags.writeable
    np.testing.assert_array_equal(values, VALUES[part])


def test_a_map_whose_values_were_changed_in_memory_keeps_them(tmp_path):
    np.save(tmp_path / "x.npy", VALUES)
    given = np.load(tmp_path / "x.npy", mmap_mode="c")
    given /= 10
    given.flags.writeable = False
    np.testing.assert_array_equal(plain(given, "x")[0], VALUES / 10)


@pytest.mark.parametrize("after", ["replaced", "removed", "shorter"])
def test_a_map_of_a_file_that_is_another_one_by_now_keeps_its_values(tmp_path, after):
    path = tmp_path / "x.npy"
    np.save(path, VALUES)
    given = np.load(path, mmap_mode="r")
    path.rename(tmp_path / "old.npy")
    if after == "replaced":
        np.save(path, VALUES + 100)
    elif after == "shorter":
        path.write_bytes(b"no array")
    values, _ = plain(given, "x")
    assert values.flags.writeable
    np.testing.assert_array_equal(values, VALUES)


def test_a_map_of_a_file_without_a_name_keeps_its_values(tmp_path):
    with (tmp_path / "x").open("wb+") as file:
        file.write(VALUES.tobytes())
        file.flush()
        given = np.memmap(file, VALUES.dtype, mode="r", shape=VALUES.shape)
        given.filename = None
        np.testing.assert_array_equal(plain(given, "x")[0], VALUES)


def test_a_map_in_the_order_of_fortran_keeps_its_values(tmp_path):
    np.save(tmp_path / "x.npy", np.asfortranarray(VALUES))
    values, _ = plain(np.load(tmp_path / "x.npy", mmap_mode="r"), "x")
    np.testing.assert_array_equal(values, VALUES)


@pytest.mark.parametrize("values", [1, 4, 1 << 22])
def test_unknown_values_are_counted_in_pieces(monkeypatch, values):
    monkeypatch.setattr(arrays, "PIECE_VALUES", values)
    x = torch.tensor([[1.0, torch.nan], [torch.inf, -torch.inf], [0.0, 2.0]])
    assert arrays.unknown_values(x) == 3
    assert arrays.unknown_values(x[2:]) == 0
    torch.testing.assert_close(torch.cat(arrays.pieces(x)), x, equal_nan=True)
    assert max(piece.numel() for piece in arrays.pieces(x)) <= max(values, 2)


def test_columns_in_another_order_are_refused():
    check_columns(Frame(VALUES, ["a", "b"]), ["a", "b"], "x")
    check_columns(VALUES, ["a", "b"], "x")
    check_columns(Frame(VALUES, ["a", "b"]), None, "x")
    with pytest.raises(SubjectError, match="x has the columns b, a, expected a, b, in this order; select them"):
        check_columns(Frame(VALUES, ["b", "a"]), ["a", "b"], "x")


def test_frames_of_pandas_are_frames():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2], "b": [True, False], "c": [0.5, 1.5]})
    values, made = plain(frame, "x")
    np.testing.assert_array_equal(values, [[1, 1, 0.5], [2, 0, 1.5]])
    assert made == "x is a DataFrame with the columns a, b, c"
    missing = pandas.DataFrame({"a": pandas.array([1, None], dtype="Int64"), "b": [1.0, 2.0]})
    with pytest.raises(SubjectError, match="whose columns a hold texts or missing values"):
        plain(missing, "x")


def test_frames_of_polars_are_frames():
    polars = pytest.importorskip("polars")
    values, made = plain(polars.DataFrame({"a": [1, 2], "b": [0.5, 1.5]}), "x")
    np.testing.assert_array_equal(values, [[1, 0.5], [2, 1.5]])
    assert made == "x is a DataFrame with the columns a, b"
    labels, _ = labels_of(polars.Series(["dog", "cat"]), "y", 2, names=["cat", "dog"])
    assert labels.tolist() == [1, 0]
