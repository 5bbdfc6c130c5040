"""The decoder of grids."""

from __future__ import annotations

from torch import Tensor, nn

from brain.models.decoders.base import Decoder
from brain.models.layers.cells import to_cells
from brain.models.space import LatentSpace


class GridDecoder(Decoder):
    """A 3x3 convolution, then until the frame is covered: twice the size, a 3x3 convolution, BatchNorm, ReLU.

    float (N, T, D) to (N, H, W, C) in [0, 1]. Every pixel is drawn from the cells around it; a vector
    beside the grid is not read.
    """

    WIDTH = 64
    LEARNING_RATE = 4e-3
    takes_grid = True

    def __init__(self, space: LatentSpace, frame_shape: tuple[int, int, int]) -> None:
        super().__init__()
        assert space.grid is not None
        self.space, self.grid, self.frame_shape = space, space.grid, frame_shape
        width = self.WIDTH
        layers: list[nn.Module] = [nn.Conv2d(space.dim, width, 3, padding=1), nn.ReLU(inplace=True)]
        rows, columns = space.grid
        while rows < frame_shape[0] or columns < frame_shape[1]:
            out = max(width // 2, 16)
            convolution = nn.Conv2d(width, out, 3, padding=1, bias=False)
            layers += [nn.Upsample(scale_factor=2), convolution, nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
            rows, columns, width = 2 * rows, 2 * columns, out
        self.network = nn.Sequential(*layers, nn.Conv2d(width, frame_shape[2], 3, padding=1), nn.Sigmoid())

    def forward(self, z: Tensor) -> Tensor:
        height, width, _ = self.frame_shape
        return self.network(to_cells(z[:, : self.space.cells], self.grid)).permute(0, 2, 3, 1)[:, :height, :width]
