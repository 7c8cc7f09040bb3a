"""A backbone and a head as one module from pixels."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch

from headwise.backbones import load_backbone
from headwise.errors import InputError
from headwise.heads import HeadClassifier, HeadRegressor
from headwise.tokens import extract, open_data


@pytest.fixture(scope="module")
def made(tmp_path_factory, draw_pictures):
    """A backbone, a head on the block inputs of its layer 2, the pictures and their stored tokens."""
    root = tmp_path_factory.mktemp("made")
    backbone, samples = load_backbone("embedded"), open_data(draw_pictures(root / "photos", 6, contrast=100))
    store = extract(backbone, samples, root / "tokens", layer=2, at="block_input", dtype="float32")
    head = HeadClassifier("default", beta=0.05, n_components=4).fit(store).head_
    return backbone, head, [samples.image(i) for i in range(len(samples))], store


def elsewhere(head, **facts):
    """The same head on tokens that came from somewhere else, or from nowhere that is known."""
    other = copy.deepcopy(head)
    other.facts = replace(head.facts, origin={**head.facts.origin, **facts} if facts else None)
    return other


def test_pixels_give_what_the_stored_tokens_give(made):
    backbone, head, images, store = made
    model = head.attach(backbone)
    outputs = model(model.preprocess(images))
    torch.testing.assert_close(outputs.double(), head.outputs(store), rtol=1e-4, atol=1e-4)
    names = model.predict(images)
    assert names == [model.classes[k] for k in outputs.argmax(1).tolist()]
    assert model.predict(np.stack([np.asarray(image) for image in images[:3]])) == names[:3]
    with pytest.raises(InputError, match="no images"):
        model.predict([])


def test_names_for_people_go_before_codes(made):
    backbone, head, images, _ = made
    named = copy.deepcopy(head)
    named.class_names = ["low", "tall"]
    model = named.attach(backbone)
    assert model.classes == ["low", "tall"] and set(model.predict(images)) <= {"low", "tall"}


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"weights_hash": "0" * 64}, "weights: embedded with weights .* here, embedded with weights 000000000000"),
        ({"preprocessing": {}}, "preprocessing"),
    ],
)
def test_another_backbone_is_refused(made, facts, said):
    backbone, head, _, _ = made
    with pytest.raises(InputError, match=said):
        elsewhere(head, **facts).attach(backbone)


def test_another_layer_is_refused(made):
    backbone, head, _, _ = made
    with pytest.raises(InputError, match="layer: 3 here, 2 in the head"):
        head.attach(backbone, layer=3)
    with pytest.raises(InputError, match="layers 0 to 5"):
        head.attach(backbone, layer=6)
    assert head.attach(backbone, layer=-4).layer == 2


def test_a_head_of_arrays_takes_the_layer_that_it_is_given(made):
    backbone, head, images, _ = made
    free = elsewhere(head)
    batch = backbone.preprocess(images)
    for layer, wanted in ((None, -1), (1, 1)):
        tokens = backbone.tokens(batch, [wanted])[0].double()
        found = free.attach(backbone, layer=layer)(batch)
        torch.testing.assert_close(found.double(), free(tokens), rtol=1e-4, atol=1e-4)
    free.facts = replace(free.facts, width=free.facts.width + 1)
    with pytest.raises(InputError, match="width"):
        free.attach(backbone)


def test_a_backbone_is_an_object(made):
    with pytest.raises(InputError, match=r"got str; make one with headwise.load_backbone"):
        made[1].attach("embedded")


def test_gradients_flow_where_they_are_asked_for_and_the_originals_stay(made):
    backbone, head, images, _ = made
    before = backbone.tokens(backbone.preprocess(images))[0]
    frozen = head.attach(backbone)
    assert not any(p.requires_grad for p in frozen.parameters()) and not frozen.train().training
    model = head.attach(backbone, trainable=True).train()
    assert model.training and model.backbone.training and model.head.certificate is None
    labels = torch.tensor([0, 1] * 6)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
    loss = torch.nn.functional.cross_entropy(model(model.preprocess(images)), labels)
    loss.backward()
    moved = {name.split(".")[1] for name, p in model.backbone.blocks.named_parameters("blocks") if p.grad is not None}
    assert moved == {"0", "1"}, "those before the head's layer"
    optimiser.step()
    after = torch.nn.functional.cross_entropy(model(model.preprocess(images)), labels)
    assert float(after.detach()) < float(loss.detach())
    torch.testing.assert_close(backbone.tokens(backbone.preprocess(images))[0], before, rtol=0, atol=0)
    assert head.certificate is not None and not before.requires_grad


def test_it_can_be_cast_copied_and_saved(made):
    backbone, head, images, _ = made
    model = head.attach(backbone)
    batch = model.preprocess(images[:2])
    wanted = model(batch)
    twin = copy.deepcopy(model).double()
    torch.testing.assert_close(twin(batch).float(), wanted, rtol=1e-3, atol=1e-3)
    assert twin(batch).dtype == torch.float64 and model(batch).dtype == torch.float32
    keys = set(model.state_dict())
    assert {key.split(".")[0] for key in keys} == {"backbone", "head"}
    other = head.attach(backbone)
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(batch), wanted, rtol=0, atol=0)


def test_numbers_have_no_classes(made):
    backbone, _, images, store = made
    numbers = np.random.default_rng(0).normal(size=(12, 2))
    head = HeadRegressor("linear", beta=0.05).fit(store, numbers).head_
    model = head.attach(backbone)
    assert model.classes is None
    np.testing.assert_allclose(model.predict(images), head.outputs(store).numpy(), atol=1e-4)


@pytest.mark.slow
def test_the_whole_road_as_a_program(made):
    backbone, head, images, _ = made
    model = head.attach(backbone)
    batch = model.preprocess(images)
    program = torch.export.export(model, (batch[:2],), dynamic_shapes=({0: torch.export.Dim("n")},))
    torch.testing.assert_close(program.module()(batch), model(batch), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_the_whole_road_as_an_onnx_file(made, tmp_path):
    backbone, head, images, _ = made
    model = head.attach(backbone)
    batch = model.preprocess(images)
    model.to_onnx(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(["outputs"], {"images": batch.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), model(batch), rtol=1e-4, atol=1e-4)
