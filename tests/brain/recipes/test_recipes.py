"""Recipes: a part's own options, overrides that choose another part, and run folders of an earlier form."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from brain import recipes
from brain.commands.common import store_of
from brain.parts import ENCODERS, OBJECTIVES, PREDICTORS
from brain.runs.folder import Run
from shared.errors import TinyJEPAError
from shared.registry import Registry
from shared.worlds import WORLDS
from tests import ROOT

EARLIER = Path(__file__).parent / "earlier"
"""Recipes as run folders kept them when every recipe had the keys of all parts."""


@pytest.mark.parametrize("registry", [ENCODERS, PREDICTORS, OBJECTIVES], ids=lambda registry: registry.kind)
def test_every_option_of_every_part_is_explained(registry: Registry) -> None:
    for name in registry:
        for key, field in registry.get(name).Options.model_fields.items():
            assert field.description, f"{registry.kind} {name}: {key}"


def test_explanations_are_of_the_chosen_parts() -> None:
    keys = {name: {key for key, _, _ in recipes.explain(recipes.load(name))} for name in ("car-racing", "video")}
    assert {"encoder.depth", "objective.clip"} <= keys["video"]
    assert not {"encoder.depth", "objective.clip"} & keys["car-racing"]
    assert "objective.inverse_dynamics" in keys["car-racing"] - keys["video"]


def test_another_part_leaves_out_the_options_it_lacks() -> None:
    video = recipes.load("video")
    other = recipes.load("video", ["encoder.kind=cnn", "objective.views=temporal", "objective.rollout=3"])
    assert other.encoder.kind == "cnn" and other.encoder.dim == video.encoder.dim
    assert not hasattr(other.encoder, "tubelet") and not hasattr(other.objective, "clip")
    assert other.objective.learning_rate == video.objective.learning_rate
    predictor = recipes.load("two-room", ["prediction.predictor.kind=gru"]).prediction.predictor
    assert (predictor.kind, predictor.width) == ("gru", 256)


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["encoder.depth=6"], "encoder.depth'.*an option of video: leave it out, or set encoder.kind=video"),
        (["encoder.kind=vit", "encoder.patch=4"], "Keys of encoder with kind=vit: kind, dim, width"),
        (["objective.predictor.widht=4"], "Did you mean 'objective.predictor.width'"),
        (["observation.stak=2"], "Did you mean 'observation.stack'.*Keys of observation: mode, stack, stride"),
        (["objectve.batch=2"], "Did you mean 'objective'"),
        (["encoder=cnn"], "a table of keys"),
        (["encoder.kind=[1]"], "name of a registered encoder"),
        (["encoder.kind.deep=1"], "encoder.kind is no section"),
    ],
)
def test_keys_that_are_not_there(overrides: list[str], why: str) -> None:
    with pytest.raises(TinyJEPAError, match=why) as refused:
        recipes.load("car-racing", overrides)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["car-racing", "tiny-jepa", "video", "two-room-gru"])
def test_a_recipe_of_an_earlier_run_is_the_recipe_of_today(name: str, tmp_path: Path) -> None:
    run = Run(tmp_path)
    (tmp_path / "recipe.toml").write_text((EARLIER / f"{name}.toml").read_text())
    world = recipes.load(name).world
    facts = {"store": "x", "world": world, "frame_shape": [64, 64, 3], "action_dim": 3, "seed": 0, "versions": {}}
    (tmp_path / "run.json").write_text(json.dumps(facts))
    today = recipes.load(name)
    assert run.recipe().model_copy(update={"summary": today.summary}) == today
    path = str(tmp_path / "recipe.toml")
    assert recipes.load(path, ["objective.batch=32"]).objective.batch == 32
    with pytest.raises(TinyJEPAError, match=r"unknown recipe key 'encoder\.dept'"):
        recipes.load(path, ["encoder.dept=4"])


def test_the_store_is_that_of_the_recipes_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYJEPA_DATA", "/data")
    for name in recipes.names():
        recipe = recipes.load(name)
        if recipe.world:
            assert recipe.world in WORLDS and str(store_of(recipe)).startswith(f"/data/{recipe.world}")
    with pytest.raises(TinyJEPAError, match="give --store"):
        store_of(recipes.load("car-racing", ["world="]))


def test_recipes_of_the_field_train_by_what_their_sources_say_and_suit_any_world() -> None:
    lewm, pldm, dino = (recipes.load(name) for name in ("lewm", "pldm", "dino-wm"))
    terms = ("variance", "covariance", "sigreg", "temporal_similarity", "inverse_dynamics")
    weights = {recipe.name: {term for term in terms if getattr(recipe.objective, term)} for recipe in (lewm, pldm)}
    assert weights == {"lewm": {"sigreg"}, "pldm": {*terms} - {"sigreg"}}
    assert dino.objective.views == "augment" and dino.prediction.start == "fresh"  # no dynamics in the encoder
    for recipe in (lewm, pldm, dino):
        with pytest.raises(TinyJEPAError, match="give --store"):
            store_of(recipe)


def test_names_and_summaries_import_no_part() -> None:
    code = "import sys; from brain import recipes; print([recipes.summary(n) for n in recipes.names()]); "
    code += "assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
