from __future__ import annotations

import os
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from headwise.errors import InputError
from headwise.tokens import (
    ArrayData,
    ArrayTokens,
    ImageSamples,
    TokenStore,
    UnreadableImage,
    make_splits,
    open_data,
    open_samples,
    read_photographs,
)
from headwise.tokens.readers.table import _inside
from headwise.tokens.samples import to_rgb


def picture(path, value=0, size=(5, 4), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 0, 0)).save(path, **options)


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "data"
    for k, name in enumerate(("zebra", "ant", "bee")):
        for i in range(2):
            picture(root / name / f"{i}.png", 10 * k + i)
    (root / "ant" / ".hidden.png").write_bytes(b"x")
    (root / "ant" / "notes.txt").write_text("x")
    (root / ".cache").mkdir()
    return root


def test_folder(tree):
    picture(tree / "bee" / "more" / "2.JPG", 7)
    data = open_data(tree)
    assert isinstance(data, ImageSamples)
    assert data.class_names == ("ant", "bee", "zebra")
    assert data.ids == (
        "ant/0.png",
        "ant/1.png",
        "bee/0.png",
        "bee/1.png",
        "bee/more/2.JPG",
        "zebra/0.png",
        "zebra/1.png",
    )
    assert data.labels.tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert data.split is None
    assert data.image(5).getpixel((0, 0)) == (0, 0, 0)
    assert data.image(1).getpixel((0, 0)) == (11, 0, 0)
    assert "data" in data.description
    assert str(tree) not in data.description
    assert open_data(tree).fingerprint == data.fingerprint
    picture(tree / "bee" / "9.png", 7)
    assert open_data(tree).fingerprint != data.fingerprint


def test_folder_with_splits(tmp_path):
    for part in ("train", "valid", "test"):
        for name in ("a", "b"):
            picture(tmp_path / part / name / "x.png")
    data = open_data(tmp_path)
    assert data.class_names == ("a", "b")
    assert sorted(zip(data.ids, data.split, strict=True))[0] == ("test/a/x.png", "test")
    assert sorted(set(data.split)) == ["test", "train", "val"]
    picture(tmp_path / "test" / "new" / "x.png")
    with pytest.raises(InputError, match=r"train/new is missing, and \S+test/new is there"):
        open_data(tmp_path)
    (tmp_path / "test" / "new" / "x.png").unlink()
    (tmp_path / "test" / "new").rmdir()
    (tmp_path / "valid" / "b" / "x.png").unlink()
    (tmp_path / "valid" / "b").rmdir()
    with pytest.raises(InputError, match=r"valid/b is missing, and \S+test/b is there"):
        open_data(tmp_path)


def test_folder_refusals(tree, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no subfolders"):
        open_data(tmp_path / "empty")
    (tree / "cow").mkdir()
    with pytest.raises(InputError, match="cow holds no images"):
        open_data(tree)
    picture(tmp_path / "single" / "only" / "1.png")
    with pytest.raises(InputError, match="one class only"):
        open_data(tmp_path / "single")


def test_strange_names_and_unreadable_images(tree):
    raw = os.fsencode(tree / "ant") + b"/\xff\xfe.png"
    with open(raw, "wb") as handle:
        handle.write((tree / "ant" / "0.png").read_bytes())
    (tree / "ant" / "<b>.png").write_bytes(b"no image")
    data = open_data(tree)
    odd = next(i for i, name in enumerate(data.ids) if "dcff" in name)
    data.ids[odd].encode()
    assert data.image(odd).size == (5, 4)
    with pytest.raises(UnreadableImage, match="UnidentifiedImageError"):
        data.image(data.ids.index("ant/<b>.png"))
    (tree / "bee" / "0.png").unlink()
    with pytest.raises(UnreadableImage, match="file not found"):
        data.image(data.ids.index("bee/0.png"))
    with pytest.raises(InputError, match="image 99"):
        data.image(99)


def test_images_become_rgb():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        deep = Image.fromarray(np.array([[0, 257, 65535]], dtype=np.uint16))
        assert np.asarray(to_rgb(deep))[0, :, 0].tolist() == [0, 1, 255]
        assert to_rgb(Image.new("L", (2, 2), 9)).getpixel((0, 0)) == (9, 9, 9)
        assert to_rgb(Image.new("RGBA", (2, 2), (1, 2, 3, 0))).getpixel((0, 0)) == (1, 2, 3)
        assert to_rgb(Image.new("CMYK", (2, 2))).mode == "RGB"
        assert to_rgb(Image.new("1", (2, 2))).mode == "RGB"
        palette = Image.new("P", (2, 2))
        palette.info["transparency"] = b"\x00\x01"
        assert to_rgb(palette).mode == "RGB"


def test_camera_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a", "b"):
        picture(tmp_path / name / "1.jpg", size=(8, 3), exif=exif)
    assert open_data(tmp_path).image(0).size == (3, 8)


@pytest.mark.parametrize(("suffix", "comma"), [("csv", ","), ("tsv", "\t")])
def test_table(tree, suffix, comma):
    lines = [
        "label,path,split,group,note",
        "x,ant/0.png,train,p1,?",
        'y,"bee/1.png",test,p2,?',
        "x,zebra/0.png,val,p1,?",
    ]
    (tree / f"list.{suffix}").write_text("\ufeff" + "\n".join(lines).replace(",", comma) + "\n", encoding="utf-8")
    data = open_data(tree / f"list.{suffix}")
    assert data.ids == ("ant/0.png", "bee/1.png", "zebra/0.png")
    assert data.class_names == ("x", "y")
    assert data.split.tolist() == ["train", "test", "val"]
    assert data.groups.tolist() == ["p1", "p2", "p1"]
    assert data.image(1).getpixel((0, 0)) == (21, 0, 0)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../x.png",
        "ant/../../x.png",
        "C:\\x.png",
        "\\\\host\\x.png",
        "..\\x.png",
        "ant\\..\\..\\x.png",
        "a\0b",
    ],
)
def test_paths_that_leave_the_folder(tree, path):
    with pytest.raises(InputError, match="leaves the folder"):
        _inside(tree, path, "list line 2")


@settings(max_examples=200, deadline=None)
@given(path=st.text(alphabet=st.sampled_from("./\\aC:~\0 "), min_size=1, max_size=12))
def test_no_path_escapes(tmp_path_factory, path):
    root = tmp_path_factory.getbasetemp().resolve()
    try:
        found = _inside(root, path, "list")
    except InputError:
        return
    assert found.is_relative_to(root)


def test_table_refusals(tree, tmp_path):
    (tmp_path / "secret.png").write_bytes((tree / "ant" / "0.png").read_bytes())
    os.symlink(tmp_path / "secret.png", tree / "ant" / "link.png")
    cases = {
        "path,label\nant/link.png,a\nant/0.png,b\n": "is a link that leaves",
        "path,label\nant/0.png,a\nant/none.png,b\n": "'ant/none.png' does not exist",
        "path,label\nant/0.png,a\nant/0.png,b\n": "more than once",
        "path,label\nant/0.png,a\nant/1.png,a\n": "one class only",
        "path,label\nant/0.png,a\nant/1.png\n": "line 3 has no label",
        "file,label\nant/0.png,a\n": "no column 'path'",
        "path,label\n": "lists no images",
        "": "no column 'path'",
        'path,label\n"ant/0.png,a\n': "not a proper",
    }
    for text, message in cases.items():
        (tree / "list.csv").write_text(text)
        with pytest.raises(InputError, match=message):
            open_data(tree / "list.csv")
    (tree / "list.csv").write_bytes(b"path,label\n\xff\xfe,a\n")
    with pytest.raises(InputError, match="not UTF-8"):
        open_data(tree / "list.csv")


def test_npy_with_labels_beside_it(tmp_path, tokens):
    np.save(tmp_path / "feat.npy", tokens)
    with pytest.raises(InputError, match=r"feat.labels.npy"):
        open_data(tmp_path / "feat.npy")
    np.save(tmp_path / "labels.npy", np.arange(23) % 2)
    data = open_data(tmp_path / "feat.npy")
    assert isinstance(data, ArrayData)
    assert isinstance(data.tokens, np.memmap)
    assert data.labels.tolist() == (np.arange(23) % 2).tolist()
    assert data.class_names == ()
    assert torch.equal(data.source().read().values, torch.from_numpy(tokens))
    np.save(tmp_path / "feat.labels.npy", np.array(["u", "v"])[np.arange(23) % 2])
    assert open_data(tmp_path / "feat.npy").class_names == ("u", "v")


def test_npz(tmp_path, tokens):
    np.savez(
        tmp_path / "a.npz",
        X=tokens,
        y=np.arange(23) % 2,
        split=np.array(["train", "test"])[np.arange(23) % 2],
        groups=np.arange(23),
        class_names=["no", "yes"],
        grid=(2, 2),
        num_prefix=1,
    )
    data = open_data(tmp_path / "a.npz")
    assert data.class_names == ("no", "yes")
    assert data.grid == (2, 2)
    assert data.num_prefix == 1
    assert data.split[1] == "test"
    assert data.groups[22] == "22"
    assert data.source().grid == (2, 2)
    np.savez(tmp_path / "r.npz", tokens=tokens[:, 0], labels=np.linspace(0, 1, 23))
    assert open_data(tmp_path / "r.npz").labels.dtype == np.float64


def test_safetensors(tmp_path, tokens):
    content = {
        "tokens": torch.from_numpy(tokens).bfloat16(),
        "labels": torch.arange(23) % 2,
        "mask": torch.ones(23, 5).bool(),
    }
    save_file(content, tmp_path / "a.safetensors", {"class_names": "no\nyes"})
    data = open_data(tmp_path / "a.safetensors")
    assert data.class_names == ("no", "yes")
    assert data.mask.all()
    assert torch.equal(data.source().read().values, content["tokens"].float())
    (tmp_path / "a.safetensors").write_bytes(b"\xff" * 30)
    with pytest.raises(InputError, match="is cut short or damaged"):
        open_data(tmp_path / "a.safetensors")


def test_array_refusals(tmp_path, tokens):
    ragged = np.empty(2, dtype=object)
    ragged[:] = [np.ones((2, 3)), np.ones((4, 3))]
    np.savez(tmp_path / "ragged.npz", tokens=ragged, labels=[0, 1])
    with pytest.raises(InputError, match=r"ragged or pickled.*mask"):
        open_data(tmp_path / "ragged.npz")
    names = np.array(["cat", None], dtype=object)
    np.savez(tmp_path / "names.npz", tokens=np.ones((2, 3)), labels=names)
    with pytest.raises(InputError, match=r"labels is ragged or pickled.*save labels as numbers or as plain text"):
        open_data(tmp_path / "names.npz")
    np.save(tmp_path / "numbers.npy", np.ones((2, 3)))
    np.save(tmp_path / "numbers.labels.npy", names)
    with pytest.raises(InputError, match="save labels as numbers"):
        open_data(tmp_path / "numbers.npy")
    np.save(tmp_path / "ragged.npy", ragged)
    np.save(tmp_path / "labels.npy", [0, 1])
    with pytest.raises(InputError, match="ragged or pickled"):
        open_data(tmp_path / "ragged.npy")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(InputError, match="is cut short or damaged"):
        open_data(tmp_path / "broken.npz")
    np.save(tmp_path / "plain.npy", tokens)
    (tmp_path / "plain.npy").rename(tmp_path / "plain.npz")
    with pytest.raises(InputError, match=r"name it .npy"):
        open_data(tmp_path / "plain.npz")
    np.savez(tmp_path / "other.npz", weights=tokens, labels=np.zeros(23))
    with pytest.raises(InputError, match=r"no tokens.*weights"):
        open_data(tmp_path / "other.npz")
    np.savez(tmp_path / "short.npz", tokens=tokens, labels=np.zeros(22))
    with pytest.raises(InputError, match="one label for each sample"):
        open_data(tmp_path / "short.npz")


def test_image_arrays(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, size=(6, 4, 5, 3), dtype=np.uint8)
    labels = np.array([2, 7, 2, 7, 2, 7], dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=labels, split=["train"] * 4 + ["test"] * 2)
    data = open_data(tmp_path / "a.npz")
    assert isinstance(data, ImageSamples)
    assert data.class_names == ("2", "7")
    assert data.labels.tolist() == [0, 1] * 3
    assert np.array_equal(np.asarray(data.image(4)), images[4])
    assert data.split[5] == "test"
    np.savez(tmp_path / "g.npz", images=images[..., 0], labels=labels % 5, class_names=["a", "b", "c"])
    with pytest.raises(InputError, match="class 'a' has no samples"):
        open_data(tmp_path / "g.npz")
    np.savez(tmp_path / "f.npz", images=images / 255, labels=labels)
    with pytest.raises(InputError, match="uint8"):
        open_data(tmp_path / "f.npz")
    np.savez(tmp_path / "one.npz", images=images, labels=np.zeros(6, int))
    with pytest.raises(InputError, match="one class only"):
        open_data(tmp_path / "one.npz")


def test_digits_and_photographs():
    digits = open_data("digits")
    assert len(digits) == 1797
    assert digits.image(0).mode == "RGB"
    assert digits.class_names[7] == "7"
    from sklearn.datasets import load_digits

    assert np.abs(np.asarray(digits.image(5))[..., 1] / 255 * 16 - load_digits().images[5]).max() < 0.04
    few = digits.with_split(make_splits(digits.labels)).select([5, 3])
    assert few.labels.tolist() == [5, 3]
    assert len(few.split) == 2
    assert np.array_equal(np.asarray(few.image(1)), np.asarray(digits.image(3)))
    photographs = read_photographs()
    assert photographs.class_names == ("china", "flower")
    assert photographs.image(1).size == (640, 427)


def test_open_data_chooses(tmp_path, tokens):
    TokenStore.from_arrays(tmp_path / "s", tokens, np.arange(23) % 2)
    assert isinstance(open_data(tmp_path / "s"), TokenStore)
    with pytest.raises(InputError, match=r"did you mean digits.*folder of images"):
        open_data("digit")
    (tmp_path / "x.pkl").write_bytes(b"x")
    with pytest.raises(InputError, match="not data that headwise knows"):
        open_data(tmp_path / "x.pkl")


def test_images_without_labels(tree, tmp_path):
    picture(tree / "loose.png", 99)
    data = open_samples(tree)
    assert data.ids == tuple(sorted(["loose.png", *open_data(tree).ids]))
    assert data.class_names == ()
    assert np.isnan(data.labels).all()
    assert data.image(data.ids.index("loose.png")).getpixel((0, 0)) == (99, 0, 0)
    assert data.select([0, 1]).ids == data.ids[:2]
    one = open_samples(tree / "ant" / "1.png")
    assert one.ids == ("1.png",)
    assert one.image(0).getpixel((0, 0)) == (11, 0, 0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        open_samples(tmp_path / "empty")
    (tmp_path / "notes.pdf").write_text("no data")
    for path in (tmp_path / "notes.pdf", tmp_path / "none"):
        with pytest.raises(InputError, match="an image or a folder of images"):
            open_samples(path)
    with pytest.raises(InputError, match="not data that headwise knows"):
        open_data(tree / "ant" / "1.png")


def test_a_table_without_labels(tree):
    (tree / "list.csv").write_text("note,path,label,split\n?,bee/1.png,,\n?,ant/0.png,a,train\n")
    data = open_samples(tree / "list.csv")
    assert data.ids == ("bee/1.png", "ant/0.png")
    assert np.isnan(data.labels).all() and data.split is None
    for text, message in {
        "file\nant/0.png\n": "no column 'path' of images and no column 'text' of texts; the first line must name one",
        "path\n../x.png\n": "leaves the folder",
        "path\nant/0.png\nant/0.png\n": "more than once",
    }.items():
        (tree / "list.csv").write_text(text)
        with pytest.raises(InputError, match=message):
            open_samples(tree / "list.csv")


def test_arrays_without_labels(tmp_path, tokens):
    np.save(tmp_path / "a.npy", tokens)
    data = open_samples(tmp_path / "a.npy")
    assert isinstance(data, ArrayData)
    assert isinstance(data.tokens, np.memmap)
    assert np.isnan(data.labels).all() and data.labels.shape == (23,)
    ids = [f"n{i}" for i in range(23)]
    np.savez(tmp_path / "a.npz", tokens=tokens, labels=np.zeros(3), split=["x"], mask=np.ones((23, 5), bool), ids=ids)
    data = open_samples(tmp_path / "a.npz")
    assert data.ids == tuple(ids) and data.mask.all() and data.split is None
    images = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    np.save(tmp_path / "i.npy", images)
    np.savez(tmp_path / "i.npz", images=images[..., 0])
    for name, wanted in (("i.npy", images), ("i.npz", np.repeat(images[..., :1], 3, -1))):
        data = open_samples(tmp_path / name)
        assert isinstance(data, ImageSamples)
        assert data.ids == ("0", "1")
        assert np.array_equal(np.asarray(data.image(1)), wanted[1])
    np.savez(tmp_path / "bad.npz", labels=np.zeros(3))
    with pytest.raises(InputError, match="no tokens"):
        open_samples(tmp_path / "bad.npz")


def test_built_in_sets_and_stores_need_no_other_name(tmp_path, tokens):
    assert open_samples("digits").class_names[7] == "7"
    TokenStore.from_arrays(tmp_path / "s", tokens, np.arange(23) % 2)
    assert isinstance(open_samples(tmp_path / "s"), TokenStore)


def test_a_file_of_arrays_that_was_cut(tmp_path, tokens):
    np.savez(tmp_path / "a.npz", tokens=tokens, labels=np.arange(len(tokens)) % 2)
    np.save(tmp_path / "b.npy", np.concatenate([tokens] * 50))
    save_file({"tokens": torch.from_numpy(tokens)}, tmp_path / "c.safetensors")
    for file in sorted(tmp_path.iterdir()):
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match=f"{file.name} is cut short or damaged"):
            open_samples(file)


def test_arrays_without_samples_and_maps(tmp_path):
    np.savez(tmp_path / "a.npz", tokens=np.zeros((0, 3, 2)), labels=np.zeros(0, int))
    with pytest.raises(InputError, match="holds no samples"):
        open_data(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", images=np.zeros((0, 3, 2, 3), np.uint8), labels=np.zeros(0, int))
    with pytest.raises(InputError, match="there are no samples"):
        open_data(tmp_path / "b.npz")
    with pytest.raises(InputError, match="there are no samples"):
        ArrayTokens(np.zeros((0, 3, 2)))
    with pytest.raises(InputError, match=r"Reshape a map \(n, H, W, d\)"):
        ArrayTokens(np.zeros((5, 3, 2, 4)))


def test_labelled_pictures_in_one_array(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 8, 8, 3), np.uint8))
    np.save(tmp_path / "labels.npy", [0, 1, 0, 1])
    assert open_data(tmp_path / "a.npy").image(0).size == (8, 8)


def test_what_is_open_is_given_back_and_arrays_are_refused():
    digits = open_data("digits")
    assert open_data(digits) is digits
    for unknown in (np.ones((4, 3)), (np.ones((4, 3)), [0, 1, 0, 1]), None):
        with pytest.raises(InputError, match=r"data is a .*TokenStore\.from_arrays"):
            open_data(unknown)
