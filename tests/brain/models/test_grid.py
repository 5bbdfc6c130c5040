"""Grids of cells: places are kept, what never moves earns no variance, energies can be of the worst cells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from brain import recipes
from brain.export.graphs import graphs
from brain.export.page import Exhibit, write_page
from brain.models.decoders.grid import GridDecoder
from brain.models.encoders.base import Frames
from brain.models.encoders.grid import GridEncoder, GridOptions
from brain.models.encoders.vit import ViTOptions
from brain.models.encoders.vit_patches import ViTPatches
from brain.models.layers.cells import to_cells, to_tokens
from brain.models.predictors.grid import GridPredictor, GridPredictorOptions
from brain.models.predictors.grid_transformer import GridTransformer, GridTransformerOptions
from brain.models.space import LatentSpace
from brain.models.world_model import WorldModel, make_encoder
from brain.objectives.base import Regularised, make_objective
from brain.objectives.collapse import effective_rank, embedding_std
from brain.objectives.losses import CovarianceLoss, VarianceLoss, samples
from shared.errors import TinyJEPAError
from tests.support.dots import dot_spec

SPACE = LatentSpace(6, (5, 7))


def interior(cells: Tensor) -> Tensor:
    return cells[:, :, 3:-3, 3:-3]


def test_cells_lie_row_by_row() -> None:
    cells = torch.arange(2 * 3 * 4 * 5).view(2, 3, 4, 5)
    tokens = to_tokens(cells)
    assert tokens.shape == (2, 20, 3) and torch.equal(tokens[1, 2 * 5 + 3], cells[1, :, 2, 3])
    assert torch.equal(to_cells(tokens, (4, 5)), cells)


@pytest.mark.parametrize(
    ("stride", "size", "grid"), [(4, (65, 64), (17, 16)), (8, (64, 40), (8, 5)), (2, (9, 8), (5, 4))]
)
def test_a_grid_has_a_cell_for_each_stride(stride: int, size: tuple[int, int], grid: tuple[int, int]) -> None:
    encoder = GridEncoder(GridOptions(dim=6, width=8, stride=stride), Frames(*size, 3, stack=2))
    assert encoder.space == LatentSpace(6, grid)
    assert encoder(torch.zeros(2, 6, *size)).shape == (2, *encoder.latent_shape)


def test_a_moved_picture_gives_moved_cells() -> None:
    torch.manual_seed(0)
    encoder = GridEncoder(GridOptions(dim=6, width=8), Frames(64, 64, 1)).eval()
    assert encoder.space.grid is not None
    picture = torch.rand(1, 1, 64, 64)
    one, other = (to_cells(encoder(x), encoder.space.grid) for x in (picture, picture.roll((8, 4), (2, 3))))
    seamless = (..., slice(6, -4), slice(6, -4))  # away from the edges and from where the picture was joined
    torch.testing.assert_close(other[seamless], one.roll((2, 1), (2, 3))[seamless])


def test_towers_see_their_own_channels() -> None:
    torch.manual_seed(0)
    encoder = GridEncoder(GridOptions(dim=12, split=(8, 4)), Frames(65, 65, 2, stack=2))
    one = torch.rand(2, 4, 65, 65)
    other = one.clone()
    other[:, 1::2] = 0
    difference = (encoder(one) - encoder(other)).detach()
    assert not difference[..., :8].any() and difference[..., 8:].abs().max() > 0
    with pytest.raises(ValueError, match="must sum to dim 12"):
        GridOptions(dim=12, split=(8, 8))


def test_what_a_predictor_changes_depends_on_near_cells_and_on_the_action() -> None:
    torch.manual_seed(0)
    options = GridPredictorOptions(width=8, depth=1)
    predictor = GridPredictor(options, LatentSpace(4, (11, 11)), 2)
    z, action = torch.randn(1, 121, 4), torch.randn(1, 2)
    moved = z.clone()
    moved[0, 60] += 1  # the middle cell
    changed = (predictor(moved, action) - predictor(z, action)).detach().abs().amax(2).view(11, 11) > 0
    rows, columns = changed.nonzero().unbind(1)
    assert changed[5, 5] and rows.min() == columns.min() == 2 and rows.max() == columns.max() == 8  # three 3x3 layers
    assert (predictor(z, action) - predictor(z, -action)).abs().max() > 0
    torch.testing.assert_close(predictor(z, action), z, atol=0.05, rtol=0)  # begins at persistence
    head = predictor.variance_head()
    head(predictor.step(z, action)[1]).sum().backward()
    assert predictor.enter.weight.grad is None  # the variance head leaves the predictor alone


def test_coordinates_tell_cells_apart() -> None:
    torch.manual_seed(0)
    z, action = torch.zeros(1, 121, 4), torch.zeros(1, 2)
    for coordinates in (False, True):
        options = GridPredictorOptions(width=8, depth=0, coordinates=coordinates)
        predictor = GridPredictor(options, LatentSpace(4, (11, 11)), 2)
        inner = interior(to_cells(predictor(z, action), (11, 11)).detach()).flatten(2)
        assert (inner.std(2).max() > 0) == coordinates


def test_patterns_across_cells_are_no_variance() -> None:
    """Cells that differ and never change, as padding and walls make them, satisfy neither variance nor rank."""
    generator = torch.Generator().manual_seed(0)
    walls = 5 * torch.randn(1, 35, 6, generator=generator).expand(64, -1, -1)
    assert float(VarianceLoss()(samples(walls))) > 0.98 and float(CovarianceLoss()(samples(walls))) < 1e-9
    assert embedding_std(walls) < 1e-6
    moving = walls + torch.randn(64, 35, 6, generator=generator)
    assert float(VarianceLoss()(samples(moving))) < 0.05 and embedding_std(moving) == pytest.approx(1, rel=0.05)
    assert effective_rank(moving) > 5.9
    one = walls.clone()
    one[..., :1] += torch.randn(64, 35, 1, generator=generator)
    assert effective_rank(one) == pytest.approx(1, abs=0.01)
    vectors = torch.randn(9, 4, generator=generator)
    assert samples(vectors) is vectors


def test_cells_need_not_be_centred() -> None:
    """Then walls satisfy the hinge. A vector has no cells to centre."""
    walls = 5 * torch.randn(1, 35, 6, generator=torch.Generator().manual_seed(0)).expand(64, -1, -1)
    assert float(VarianceLoss()(samples(walls, centred=False))) == 0
    chosen = recipes.load("two-room-grid", ["objective.centre_cells=false"])
    objective = make_objective(chosen, make_encoder(chosen, (65, 65, 2)), 2)
    assert isinstance(objective, Regularised)
    parts = objective.regularised(walls, generator=torch.Generator())[1]
    assert float(parts["variance"]) == 0 and float(parts["covariance"]) > 0.1
    with pytest.raises(TinyJEPAError, match="a vector has no cells"):
        recipes.load("two-room", ["objective.centre_cells=false"])


def a_model(*overrides: str) -> WorldModel:
    torch.manual_seed(0)
    parts = [f"{stage}.predictor.kind=grid" for stage in ("objective", "prediction")]
    small = ["encoder.kind=grid", "encoder.dim=6", "encoder.width=8", *parts]
    return WorldModel(recipes.load("car-racing", [*small, *overrides]), dot_spec()).eval()


def test_the_energy_of_the_worst_cells() -> None:
    whole, worst = a_model(), a_model("energy.worst=3")
    z = torch.randn(5, *whole.latent_shape)
    action = torch.zeros(5, whole.action_dim)
    mean, _ = whole.predict(z, action)
    proposal = mean.clone()
    proposal[:, :2] += 1  # two cells are wrong
    cells = whole.latent_shape[0]
    torch.testing.assert_close(whole.energy(z, action, proposal, "plain"), torch.full((5,), 2 / cells))
    torch.testing.assert_close(worst.energy(z, action, proposal, "plain"), torch.full((5,), 2 / 3))
    expected = torch.exp(-0.5 * whole.predict(z, action)[1])[:, :2].mean(2).sum(1) / cells
    torch.testing.assert_close(whole.energy(z, action, proposal, "scaled"), expected)


def test_standardisation_is_per_channel() -> None:
    model = a_model()
    assert model.dynamics.latent_mean.shape == (6,)
    model.dynamics.latent_mean += torch.arange(6)
    z = torch.randn(2, 3, *model.latent_shape)
    torch.testing.assert_close(model.dynamics.standardise(z), z - torch.arange(6))


@pytest.mark.parametrize("shape", [(65, 65, 2), (64, 48, 3), (5, 7, 1)])
def test_a_decoder_draws_the_whole_frame(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    frames = GridDecoder(SPACE, shape)(torch.randn(3, *SPACE.shape))
    assert frames.shape == (3, *shape) and frames.min() >= 0 and frames.max() <= 1


def test_graphs_take_grids() -> None:
    model = a_model()
    found = graphs(model, GridDecoder(model.space, model.spec.frame_shape).eval())
    inputs: Callable[[str], list[Tensor]] = lambda name: list(found[name].inputs.values())  # noqa: E731
    count = len(inputs("predictor")[0])
    assert found["encoder"].module(*inputs("encoder")).shape == (count, *model.latent_shape)
    mean, log_variance = found["predictor"].module(*inputs("predictor"))
    assert mean.shape == log_variance.shape == (count, *model.latent_shape)
    assert found["decoder"].module(*inputs("decoder")).shape == (count, *model.spec.frame_shape)


def test_a_predictor_of_vectors_is_refused() -> None:
    with pytest.raises(
        TinyJEPAError, match="takes latents of the kind vector, but those of encoder grid are of the kind grid"
    ):
        recipes.load("two-room-grid", ["prediction.predictor.kind=gru", "prediction.start=fresh"])


def test_the_page_for_browsers_takes_no_energy_of_the_worst_cells(tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = dot_spec().model_copy(update={"world": "two-room", "frame_shape": (65, 65, 2)})
    exhibit = Exhibit(tmp_path / "run", WorldModel(recipes.load("two-room-grid", ["energy.worst=4"]), spec), None, {})
    with pytest.raises(TinyJEPAError, match="has an energy of its worst cells"):
        write_page(tmp_path / "page", [exhibit], None)
    assert not (tmp_path / "page").exists()


def test_a_patch_of_the_vision_transformer_is_a_cell() -> None:
    torch.manual_seed(0)
    encoder = ViTPatches(ViTOptions(dim=6, width=8), Frames(65, 40, 3, stack=2)).eval()
    assert encoder.space == LatentSpace(6, (9, 5))
    seen = torch.rand(1, 6, 65, 40)
    changed = seen.clone()
    changed[:, :, 16:24, 8:16] = 0  # the patch in row 2, column 1
    moved = (encoder(changed) - encoder(seen)).detach()[0].norm(dim=1)
    assert int(moved.argmax()) == 2 * 5 + 1


def test_every_cell_of_a_transformer_hears_of_every_other_and_of_the_action() -> None:
    torch.manual_seed(0)
    predictor = GridTransformer(GridTransformerOptions(width=8, depth=1), LatentSpace(4, (11, 11)), 2)
    z, action = torch.randn(1, 121, 4), torch.randn(1, 2)
    torch.testing.assert_close(predictor(z, action), z, atol=0.05, rtol=0)  # training starts at persistence
    moved = z.clone()
    moved[0, 0] += 1  # a corner
    far = (predictor(moved, action) - predictor(z, action)).detach()[0, 1:].abs().amax(1)
    pushed = (predictor(z, action + 1) - predictor(z, action)).detach()[0].abs().amax(1)
    assert (far > 0).all() and (pushed > 0).all()
    with pytest.raises(ValueError, match="a multiple of 4"):
        GridTransformerOptions(width=10)
