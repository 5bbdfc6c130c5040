"""The exported page in a real headless Chromium: its worlds, its model, its buttons, and that it stays at home."""

from __future__ import annotations

import base64
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from brain.cli import cli
from brain.export import runtime
from brain.export.page import samples
from brain.models.world_model import WorldModel
from shared.cli.console import run
from shared.errors import TinyJEPAError
from shared.store.schema import StoreSpec
from shared.worlds import make_world

pytest.importorskip("onnxruntime", reason="pip install 'tinyjepa[onnx]'")

from tests.support.chromium import BINARY, serve, tab
from tests.support.exhibits import rooms_run

if BINARY is None:
    pytest.skip("no Chromium on this box", allow_module_level=True)

SEEDED = "{ let seed = 1; Math.random = () => (seed = (seed * 48271) % 2147483647) / 2147483647; }"
THRESHOLD = "Number(document.getElementById('verdict').textContent.match(/threshold ([0-9.e+-]+)/)[1])"


@pytest.fixture(scope="module")
def runs(logo: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return logo, rooms_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def web(runs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web") / "page"
    if not runtime.cached().is_dir() and shutil.which("npm") is None:
        pytest.skip("onnxruntime-web is not cached, and no npm to fetch it")
    command = ["export", *(part for path in runs for part in ("--run", str(path))), "--web", str(folder)]
    if run(cli, "brain", command):
        pytest.skip("onnxruntime-web can be had neither from the cache nor from the npm registry")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with tab() as opened:
        yield opened


@pytest.fixture(scope="module")
def page(web: Path, browser: Any) -> Iterator[Any]:
    """The page, loaded once; what the tests leave on it must not matter to the next."""
    with serve(web) as address:
        browser.send("Page.addScriptToEvaluateOnNewDocument", source=SEEDED)
        browser.open(address)
        browser.until("document.getElementById('loading').hidden")
        yield browser


def click(page: Any, selector: str) -> None:
    page.do(f"document.querySelector({selector!r}).click()")


def show(page: Any, world: str) -> None:
    click(page, f"[data-world={world}]")
    page.until(f"document.querySelector('[data-world={world}]').getAttribute('aria-pressed') === 'true'")
    page.until("document.getElementById('facts').textContent.includes('Same as in torch')")


def energy(page: Any) -> float:
    text = page.do("document.getElementById('energy').textContent")
    return float(text) if text != "–" else float("nan")


def step(page: Any) -> float:
    """One step by keyboard, drawn; the energy of it."""
    before = page.do("document.getElementById('reality-note').textContent")
    page.key("s")
    page.until(f"document.getElementById('reality-note').textContent !== {before!r}")
    return energy(page)


def painted(page: Any, canvas: str) -> str:
    """A canvas' pixels; an empty text where all are clear."""
    script = f"""(() => {{
      const [canvas, empty] = [document.getElementById({canvas!r}), document.createElement('canvas')];
      [empty.width, empty.height] = [canvas.width, canvas.height];
      return canvas.toDataURL() === empty.toDataURL() ? "" : canvas.toDataURL();
    }})()"""
    return str(page.do(script))


def trajectory(page: Any, file: str, name: str, state: list[float], actions: np.ndarray) -> tuple[Any, np.ndarray]:
    """States and frames of a JavaScript world from a state on, under actions (K, A)."""
    states, frames = page.do(
        f"""import('/worlds/{file}').then(({{ {name} }}) => {{
          const world = new {name}();
          world.start({json.dumps(state)});
          const [states, frames] = [[world.state()], [world.frame()]];
          for (const action of {json.dumps(actions.tolist())}) {{
            world.step(action);
            states.push(world.state());
            frames.push(world.frame());
          }}
          return new Promise((done) => {{
            const reader = new FileReader();
            reader.onload = () => done([states, reader.result.split(",")[1]]);
            reader.readAsDataURL(new Blob(frames));
          }});
        }})"""
    )
    return np.array(states), np.frombuffer(base64.b64decode(frames), np.uint8).reshape(len(states), -1)


def test_the_logo_moves_as_in_python(page: Any) -> None:
    for seed in range(5):
        world = make_world("bouncing-logo")
        frames, states = [world.reset(seed=seed)[0].ravel()], [[*world.position, *world.velocity]]  # type: ignore[attr-defined]
        for _ in range(120):
            frames.append(world.step(np.zeros(0))[0].ravel())
            states.append([*world.position, *world.velocity])  # type: ignore[attr-defined]
        found, drawn = trajectory(page, "bouncing_logo.js", "BouncingLogo", states[0], np.zeros((120, 0)))
        np.testing.assert_array_equal(found, np.array(states))
        different = np.abs(drawn.astype(int) - np.stack(frames))
        assert different.max() <= 1 and (different > 0).mean() < 1e-3


def test_the_dot_moves_as_in_python(page: Any) -> None:
    blocked = 0
    for seed in range(4):
        world = make_world("two-room")
        rng = np.random.default_rng(seed)
        frame, _ = world.reset(seed=seed)
        state = [world.x, world.y, world.wall, world.door]  # type: ignore[attr-defined]
        heading = np.repeat(rng.uniform(0, 2 * np.pi, 8), 15)
        actions = np.stack([np.cos(heading), np.sin(heading)], 1) * rng.uniform(0.5, 3.5, (120, 1))
        frames, states = [frame.ravel()], [state]
        for action in actions:
            frames.append(world.step(action)[0].ravel())
            states.append([world.x, world.y, world.wall, world.door])  # type: ignore[attr-defined]
            blocked += states[-1] == states[-2]
        found, drawn = trajectory(page, "two_room.js", "TwoRoom", state, actions)
        np.testing.assert_allclose(found, np.array(states), rtol=0, atol=1e-9)
        different = np.abs(drawn.astype(int) - np.stack(frames))
        assert different.max() <= 1 and (different > 0).mean() < 1e-4
    assert blocked > 10, "walls were hit"


@pytest.mark.parametrize("world", ["bouncing-logo", "two-room"])
def test_latents_are_torchs(page: Any, runs: tuple[Path, Path], world: str) -> None:
    path = runs[world == "two-room"]
    spec = StoreSpec.model_validate(
        json.loads((path / "judge.json").read_text())["store"] | {"world": world}, extra="ignore"
    )
    model = WorldModel.load(path, spec, torch.device("cpu"))
    sample = samples(model)
    z = torch.tensor(sample["z"])
    action = torch.linspace(-1, 1, max(1, model.action_dim))[: model.action_dim].expand(len(z), -1)
    mean, log_variance = model.predict(z, action)
    found = page.do(
        f"""import('/model.js').then(async ({{ Model }}) => {{
          const model = await Model.load('models/{world}');
          const sample = {json.dumps(sample)};
          const bytes = Uint8Array.from(atob(sample.frames), (c) => c.charCodeAt(0));
          const size = model.facts.frame_shape.reduce((a, b) => a * b);
          const rows = [];
          for (let n = 0; n < sample.z.length; n++) {{
            const at = n * model.facts.stack * size;
            const frame = (_, i) => bytes.subarray(at + i * size, at + (i + 1) * size);
            const stack = Array.from({{ length: model.facts.stack }}, frame);
            const p = await model.predict(Float32Array.from(sample.z[n]), {json.dumps(action[0].tolist())});
            const energy = model.energy(p, sample.z[(n + 1) % sample.z.length]);
            rows.push([await model.encode(stack), p.mean, p.logVariance].map((v) => Array.from(v)).concat([[energy]]));
          }}
          return rows;
        }})"""
    )
    kind = json.loads((path / "judge.json").read_text())["energy"]["form"]
    for at, expected in enumerate((z, mean, log_variance, model.energy(z, action, z.roll(-1, 0), kind)[:, None])):
        np.testing.assert_allclose(np.array([row[at] for row in found]), expected.numpy(), rtol=2e-4, atol=2e-5)


def test_teleport_crosses_the_threshold_and_the_model_recovers(page: Any) -> None:
    show(page, "bouncing-logo")
    threshold = page.do(THRESHOLD)
    for _ in range(4):
        step(page)
    calm = [step(page) for _ in range(30)]
    assert np.median(calm) < threshold
    curve = painted(page, "curve")
    before = page.do("document.getElementById('reality-note').textContent")
    page.key("t")
    page.until(f"document.getElementById('reality-note').textContent !== {before!r}")
    assert energy(page) > threshold and energy(page) > 2 * max(calm)
    assert page.do("document.getElementById('surprise').dataset.state") == "alarm"
    assert "cannot follow" in page.do("document.getElementById('status').textContent")
    assert painted(page, "curve") != curve
    after = [step(page) for _ in range(8)]
    assert np.median(after[2:]) < threshold


@pytest.mark.parametrize(("world", "button"), [("bouncing-logo", "vanishes"), ("two-room", "dot-vanishes")])
def test_a_violation_is_shown_for_twelve_steps_with_its_verdict(page: Any, world: str, button: str) -> None:
    """The verdict is that of energy and threshold, whichever it is."""
    show(page, world)
    for _ in range(4):
        step(page)
    before = page.do("document.getElementById('reality-note').textContent")
    page.do(f"document.querySelector('[data-violation={button}]').click()")
    page.until(f"document.getElementById('reality-note').textContent !== {before!r}")
    pressed = f"document.querySelector('[data-violation={button}]').getAttribute('aria-pressed')"
    states = [page.do(pressed)]
    for _ in range(12):
        step(page)
        states.append(page.do(pressed))
    alarm = energy(page) > page.do(THRESHOLD)
    assert page.do("document.getElementById('surprise').dataset.state") == ("alarm" if alarm else "calm")
    assert states == ["true"] * 11 + ["false"] * 2


def test_the_decoder_can_be_switched_off(page: Any) -> None:
    show(page, "bouncing-logo")
    step(page)
    assert painted(page, "mind") and page.do("document.getElementById('mind-off').hidden")
    click(page, "#decoder")
    page.until("!document.getElementById('mind-off').hidden")
    assert not painted(page, "mind") and painted(page, "bars")
    click(page, "#decoder")
    page.until("document.getElementById('mind-off').hidden")
    assert painted(page, "mind")


def test_dream_of_thirty_steps_beside_reality(page: Any) -> None:
    show(page, "bouncing-logo")
    step(page)
    page.key("d")
    page.until("document.getElementById('mind-title').textContent.startsWith('Dream')")
    assert page.do("document.getElementById('dream').disabled")
    drift = painted(page, "drift")
    for done in range(30):
        assert page.do("document.getElementById('mind-title').textContent") == f"Dream {done}/30"
        step(page)
    assert page.do("document.getElementById('mind-title').textContent") == "Model’s view"
    assert painted(page, "drift") != drift and not page.do("document.getElementById('dream').disabled")


def test_it_plays_and_pauses(page: Any) -> None:
    show(page, "bouncing-logo")
    at = "Number(document.getElementById('reality-note').textContent.split(' ')[1])"
    step(page)
    paused = page.do(at)
    page.key("p")
    page.until(f"{at} > {paused + 5}")
    page.key("p")
    assert page.do("document.getElementById('play').textContent").startswith("Play")


def test_driving_by_keyboard_and_by_hand(page: Any) -> None:
    show(page, "two-room")
    assert page.do("document.getElementById('decoder').disabled"), "this run has no decoder"
    assert "no decoder" in page.do("document.getElementById('mind-off').textContent")
    page.do("document.getElementById('wander').checked = false")
    still = step(page)
    pictures = [painted(page, "reality")]
    page.do("document.querySelector('#reality').focus()")
    for arrow in ("ArrowLeft", "ArrowRight"):  # a wall may stop it on one side
        page.key(arrow, kind="keyDown")
        for _ in range(3):
            step(page)
        page.key(arrow)
        pictures.append(painted(page, "reality"))
    assert len(set(pictures)) > 1 and np.isfinite(still)
    box = page.do("JSON.parse(JSON.stringify(document.getElementById('reality').getBoundingClientRect()))")
    pictures = [painted(page, "reality")]
    for share in (0.2, 0.8):  # towards two corners
        place = {"x": box["x"] + share * box["width"], "y": box["y"] + share * box["height"]}
        at = {**place, "button": "left", "clickCount": 1}
        page.send("Input.dispatchMouseEvent", type="mousePressed", buttons=1, **at)
        step(page)
        page.send("Input.dispatchMouseEvent", type="mouseReleased", **at)
        pictures.append(painted(page, "reality"))
    assert len(set(pictures)) > 1


def test_it_fits_a_phone_and_stays_at_home(page: Any) -> None:
    page.size(360, 740)
    assert page.do("document.documentElement.scrollWidth") <= 360
    page.size(1100, 900)
    address = page.do("location.origin")
    assert len(page.requests) > 10
    assert [url for url in page.requests if not url.startswith((f"{address}/", "data:", "blob:"))] == []
    assert page.problems == []


def test_a_page_is_replaced_but_nothing_else(runs: tuple[Path, Path], web: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    command = ["export", "--run", str(runs[1]), "--web"]
    assert run(cli, "brain", [*command, str(tmp_path / "mine")]) == 2
    assert (tmp_path / "mine" / "thesis.txt").exists()
    shutil.copytree(web, tmp_path / "page")
    assert run(cli, "brain", [*command, str(tmp_path / "page")]) == 0
    assert json.loads((tmp_path / "page/models/index.json").read_text()) == {"worlds": ["two-room"]}
    (tmp_path / "page" / "CNAME").write_text("example.org")
    assert run(cli, "brain", [*command, str(tmp_path / "page")]) == 2
    assert (tmp_path / "page" / "CNAME").read_text() == "example.org"
    (tmp_path / "page" / "CNAME").unlink()
    assert run(cli, "brain", [*command, str(tmp_path / "page"), "--run", str(runs[1])]) == 2


def test_the_runtime_is_the_pinned_one_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(TinyJEPAError, match="npm is not installed: run npm pack onnxruntime-web@"):
        runtime.take_runtime(tmp_path / "ort", None)
    for place, _ in runtime.FILES.values():
        (tmp_path / "package" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "package" / place).write_bytes(b"another version")
    with pytest.raises(TinyJEPAError, match="is not that of onnxruntime-web@"):
        runtime.take_runtime(tmp_path / "ort", tmp_path / "package")
    (tmp_path / "notes.txt").write_text("x")
    with tarfile.open(tmp_path / "ort.tgz", "w:gz") as packed:
        packed.add(tmp_path / "package", "package")
    whole = (tmp_path / "ort.tgz").read_bytes()
    (tmp_path / "cut.tgz").write_bytes(whole[: len(whole) // 2])
    for name in ("notes.txt", "cut.tgz"):
        with pytest.raises(TinyJEPAError, match="is no onnxruntime-web"):
            runtime.take_runtime(tmp_path / "ort", tmp_path / name)
