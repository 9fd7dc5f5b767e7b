"""The network that reads grids has the paper's layers, and sees tissue alone."""

import pytest
import torch

from workflow_scripts.lib.slide_networks import SlideNetwork


def network(*, features=6, outputs=2, filters=8, dropout=0.0, seed=0):
    """A network whose batch statistics are not those that it began with."""
    torch.manual_seed(seed)
    found = SlideNetwork(features=features, outputs=outputs, filters=filters, dropout=dropout)
    for name, buffer in found.named_buffers():
        if "running" in name:
            buffer.copy_(torch.rand(buffer.shape) + 0.5)
    for name, weight in found.named_parameters():
        if "normalisation" in name:
            weight.data.copy_(torch.rand(weight.shape) + 0.5)
    return found.eval()


def slide(height, width, *, features=6, share=0.7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    tissue = torch.rand(1, height, width, generator=generator) < share
    tissue[0, height // 2, width // 2] = True
    return torch.randn(1, features, height, width, generator=generator) * tissue[:, None], tissue


def test_the_layers_have_the_papers_strides_and_filters():
    read = SlideNetwork(features=16, outputs=3).eval()
    shapes = []
    for layer in read.convolutions:
        layer.register_forward_hook(lambda _layer, _given, found: shapes.append(tuple(found[0].shape)))
    values, tissue = slide(100, 70, features=16)
    assert read(values, tissue).shape == (1, 3)
    sizes = [(50, 35), (25, 18), (13, 9), (7, 5), (4, 3), (2, 2), (2, 2), (2, 2)]
    assert shapes == [(1, 128, *size) for size in sizes]
    assert [layer.dropout.p for layer in read.convolutions] == [0.2] * 8


def test_the_weights_are_as_many_as_counted_by_hand():
    first, other = 16 * 9 + 16 * 128 + 2 * 128, 128 * 9 + 128 * 128 + 2 * 128
    expected = first + 7 * other + 128 * 128 + 2 * 128 + 128 * 3 + 3
    assert sum(weight.numel() for weight in SlideNetwork(features=16, outputs=3).parameters()) == expected


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (16, 16), (40, 33), (65, 64)])
@pytest.mark.parametrize("more", [(1, 0), (0, 1), (3, 64), (70, 5)])
def test_padding_to_the_right_and_below_changes_no_prediction(size, more):
    read, (values, tissue) = network(), slide(*size)
    right_and_below = (0, more[1], 0, more[0])
    padded = [torch.nn.functional.pad(given, right_and_below) for given in (values, tissue)]
    with torch.inference_mode():
        torch.testing.assert_close(read(*padded), read(values, tissue), atol=1e-5, rtol=1e-5)


def test_padding_changes_no_prediction_in_training_either_but_for_who_else_is_there():
    read, (values, tissue) = (
        network().train(),
        [torch.cat(pair) for pair in zip(slide(9, 9), slide(9, 9, seed=1), strict=True)],
    )
    padded = [torch.nn.functional.pad(given, (0, 30, 0, 30)) for given in (values, tissue)]
    torch.testing.assert_close(read(*padded), read(values, tissue), atol=1e-5, rtol=1e-5)


def test_what_is_said_of_a_slide_does_not_depend_on_who_else_is_there():
    read, one, other = network(), slide(20, 12), slide(20, 12, seed=1)
    with torch.inference_mode():
        together = read(*(torch.cat(pair) for pair in zip(one, other, strict=True)))
        torch.testing.assert_close(together[:1], read(*one), atol=1e-5, rtol=1e-5)


def test_one_cell_of_tissue_is_enough_and_without_any_nothing_breaks():
    # In 64 bits, since random weights leave little of one cell.
    read = network().double()
    values, tissue = torch.zeros(1, 6, 40, 40).double(), torch.zeros(1, 40, 40, dtype=torch.bool)
    assert torch.isfinite(read(values, tissue)).all()
    tissue[0, 33, 7] = True
    values[0, :, 33, 7] = 1
    one_cell = read(values, tissue)
    values[0, :, 33, 7] = -1
    assert torch.isfinite(one_cell).all()
    assert not torch.equal(one_cell, read(values, tissue))


def test_dropout_puts_out_whole_feature_maps():
    read = SlideNetwork(features=6, outputs=1, filters=64, dropout=0.5).train()
    values, tissue = (torch.cat([given] * 2) for given in slide(32, 32, share=1.0))
    maps, _ = read.convolutions[0](values, tissue)
    out = (maps == 0).flatten(2).float().mean(dim=2)
    assert set(out.flatten().tolist()) == {0.0, 1.0}
    assert 0.3 < out.mean() < 0.7


def test_regularisation_is_of_the_convolutions_alone():
    read = network()
    expected = sum(float(weight.detach().square().sum()) for name, weight in read.named_parameters() if "wise" in name)
    assert read.squared_weights().item() == pytest.approx(expected, rel=1e-5)
    read.squared_weights().backward()
    assert {name.split(".")[0] for name, weight in read.named_parameters() if weight.grad is not None} == {
        "convolutions"
    }
