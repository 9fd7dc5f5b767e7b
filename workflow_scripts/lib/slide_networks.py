"""The network that reads a whole compressed slide. Source: neural image compression, A.1."""

import torch
from torch import nn

# Strides of the eight convolutions ("stride of 2 except for the 7-th and 8-th layers").
STRIDES = (2, 2, 2, 2, 2, 2, 1, 1)
# Not in the text; that of the published encoder.
SLOPE = 0.2
# Share of a batch in the running mean and variance; torch's default.
MOMENTUM = 0.1


class Normalisation(nn.BatchNorm1d):
    """Batch normalisation whose running mean and variance are, at first, the averages over all batches so far.

    Else they would keep a tenth of the values that they began with, 0 and 1, after 22 steps, which with few slides are
    several epochs: eight layers deep, a network that has learnt much then says the same of every slide, and the
    learning rate falls on a plateau that is none.
    """

    def forward(self, cells: torch.Tensor) -> torch.Tensor:
        """Cells (n, features) normalised; in training by their own mean and variance."""
        if self.training:
            self.momentum = max(MOMENTUM, 1 / (1 + int(self.num_batches_tracked)))
        return super().forward(cells)


class SeparableConvolution(nn.Module):
    """A depthwise separable 3 × 3 convolution, batch normalisation, leaky ReLU and feature-wise dropout, over tissue.

    What lies under no tissue stays 0, so that padding, and how much of a slide is glass, neither enter the batch's mean
    and spread nor come out of them as a constant.
    """

    def __init__(self, entering: int, leaving: int, *, stride: int, dropout: float) -> None:
        super().__init__()
        self.stride = stride
        # Normalisation, which follows, takes off any bias.
        self.depthwise = nn.Conv2d(entering, entering, 3, stride=stride, padding=1, groups=entering, bias=False)
        # A pointwise convolution is a dense layer of each cell.
        self.pointwise = nn.Linear(entering, leaving, bias=False)
        self.normalisation = Normalisation(leaving)
        self.activation = nn.LeakyReLU(SLOPE)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, maps: torch.Tensor, tissue: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps (n, entering, H, W), and where tissue is, (n, H, W) bool, to the same of the next layer.

        With a stride of 2 a cell lies over two by two, and over tissue where one of them does.
        """
        if self.stride == 2:
            tissue = nn.functional.max_pool2d(tissue[:, None].half(), 2, ceil_mode=True)[:, 0] > 0
        seen = self.depthwise(maps).permute(0, 2, 3, 1)
        cells = self.activation(self.normalisation(self.pointwise(seen[tissue])))
        laid_out = cells.new_zeros(*seen.shape[:3], cells.shape[1])
        laid_out[tissue] = cells
        return self.dropout(laid_out.permute(0, 3, 1, 2)), tissue


class SlideNetwork(nn.Module):
    """Grids to outputs: eight separable convolutions, the mean over tissue, a dense layer and the outputs.

    features: numbers per cell of a grid; outputs: logits of classes, a number, or the logarithm of a risk; filters: of
    each convolution, and units of the dense layer, which has batch normalisation and leaky ReLU (A.1: 128); dropout:
    share of feature maps that is put out in training (A.1: 20 %). What lies between the last convolution and the dense
    layer is not in the paper: here the mean over the cells of the last map that have tissue under them, so that a slide
    may have any size. Random weights come from torch's global generator: seed it first.
    """

    def __init__(self, *, features: int, outputs: int, filters: int = 128, dropout: float = 0.2) -> None:
        super().__init__()
        entering = [features] + [filters] * (len(STRIDES) - 1)
        self.convolutions = nn.ModuleList(
            SeparableConvolution(width, filters, stride=stride, dropout=dropout)
            for width, stride in zip(entering, STRIDES, strict=True)
        )
        self.dense = nn.Sequential(nn.Linear(filters, filters, bias=False), Normalisation(filters), nn.LeakyReLU(SLOPE))
        self.output = nn.Linear(filters, outputs)

    def forward(self, grids: torch.Tensor, tissue: torch.Tensor) -> torch.Tensor:
        """Grids (n, features, H, W) float, 0 outside (n, H, W) bool, to (n, outputs); of any height and width.

        A slide's cells are read alike whatever is beside and below them, so slides of unlike size are padded there.
        """
        for layer in self.convolutions:
            grids, tissue = layer(grids, tissue)
        cells = tissue.sum(dim=(1, 2)).clamp(min=1)
        return self.output(self.dense(grids.sum(dim=(2, 3)) / cells[:, None]))

    def squared_weights(self) -> torch.Tensor:
        """The sum of the squared weights of the convolutions: what their L2 regularisation is a multiple of (A.1)."""
        layers = [part for layer in self.convolutions for part in (layer.depthwise, layer.pointwise)]
        return torch.stack([layer.weight.square().sum() for layer in layers]).sum()
