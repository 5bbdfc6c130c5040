"""The planner of the exported page, in a real headless Chromium: on the true state, and with a run of grids."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from brain import pretrained
from brain.cli import cli
from brain.export import runtime
from shared.cli.console import run
from shared.worlds import make_world
from shared.worlds.tasks import Reach, tasks

pytest.importorskip("onnxruntime", reason="pip install 'tinyjepa[onnx]'")

from tests.support.chromium import BINARY, serve, tab

if BINARY is None:
    pytest.skip("no Chromium on this box", allow_module_level=True)

WEB = Path(runtime.__file__).parent / "web"
EXACT = """
import("./planner.js").then(async ({ Planner }) => {
  const { TwoRoom } = await import("./worlds/two_room.js");
  let seed = SEED; // Park and Miller's minimal standard generator
  Math.random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  const [world, inside] = [new TwoRoom(), new TwoRoom()];
  const [start, goal] = [START, GOAL];
  world.start(start);
  const model = { // the true state: what is seen is where the dot is, and what follows is what the world does
    size: 2,
    facts: { stack: 1, stride: 1, action_mean: [0, 0], action_std: [1.2, 1.2] },
    encode: async ([frame]) => {
      let [x, y, all] = [0, 0, 0];
      for (let i = 0; i < 65 * 65; i++) {
        const value = frame[2 * i];
        [x, y, all] = [x + (i % 65) * value, y + Math.floor(i / 65) * value, all + value];
      }
      return Float32Array.of(x / all, y / all);
    },
    predictMany: async (z, count, actions) => {
      const next = new Float32Array(2 * count);
      for (let i = 0; i < count; i++) {
        inside.start([z[2 * i], z[2 * i + 1], start[2], start[3]]);
        inside.step(actions[i]);
        next.set([inside.x, inside.y], 2 * i);
      }
      return next;
    },
  };
  const planner = new Planner(model, world);
  await planner.aim(...goal);
  const path = [], longest = [];
  for (let step = 0; step < 200; step++) {
    const action = await planner.act(Float32Array.of(world.x, world.y), async () => 0);
    longest.push(Math.hypot(...action));
    world.step(action);
    path.push(world.state());
  }
  const { goal: aimed, path: drawn, tree } = planner;
  return { path, longest: Math.max(...longest), goal: [aimed.x, aimed.y], drawn, tree: tree.length };
})
"""


def test_the_planner_finds_the_door_on_the_true_state() -> None:
    task = tasks(make_world("two-room"))["ours"]
    assert isinstance(task, Reach)
    with serve(WEB) as address, tab() as page:
        page.open(address + "style.css")  # a page of the same origin, without the model
        page.until("document.readyState === 'complete'")
        for number, case in enumerate(task.cases(4)):
            layout = [case.start["wall"], case.start["door"]]
            start, goal = [*case.start["start"], *layout], list(case.goal["start"])
            script = EXACT.replace("SEED", str(number + 1)).replace("START", json.dumps(start))
            found = page.do(script.replace("GOAL", json.dumps(goal)))
            path = np.array(found["path"])
            assert np.allclose(found["goal"], goal) and found["longest"] < 2.451
            assert np.hypot(*(path[-1, :2] - goal)) < 4.5, "it is there at the end"
            assert not task.impossible(path) and found["tree"] > 10
            assert np.abs(np.array(found["drawn"][-1]) - goal).max() < 4.5, "the plan is drawn where it leads"


def test_a_point_means_the_same_place_as_in_python() -> None:
    world = make_world("two-room")
    task = tasks(world)["ours"]
    assert isinstance(task, Reach)
    rng = np.random.default_rng(0)
    places, expected = [], []
    for seed in range(40):
        world.reset(seed=seed)
        x, y = rng.uniform(0, 65, 2)
        options = task.pointed(world.state(), (x + 0.5) / 65, (y + 0.5) / 65)
        assert options is not None
        places.append([x, y, *map(float, world.state()[2:])])
        expected.append(options["start"])
    with serve(WEB) as address, tab() as page:
        page.open(address + "style.css")
        page.until("document.readyState === 'complete'")
        found = page.do(
            "import('./worlds/two_room.js').then(({ TwoRoom }) => { const world = new TwoRoom(); "
            f"return {json.dumps(places)}.map(([x, y, wall, door]) => "
            "(world.start([30, 30, wall, door]), world.nearest(x, y))); })"
        )
    assert np.allclose(found, expected, atol=1e-6)


def test_a_run_of_grids_is_shown_and_planned_with(tmp_path: Path) -> None:
    """What it does is the model's; that it plans for the place that was clicked, and acts on it, is the page's."""
    if not runtime.cached().is_dir() and shutil.which("npm") is None:
        pytest.skip("onnxruntime-web is not cached, and no npm to fetch it")
    rooms, folder = tmp_path / "rooms", tmp_path / "page"
    shutil.copytree(pretrained.folder("two-room"), rooms)
    if run(cli, "brain", ["export", "--run", str(rooms), "--web", str(folder)]):
        pytest.skip("onnxruntime-web can be had neither from the cache nor from the npm registry")
    with serve(folder) as address, tab() as page:
        page.open(address)
        page.until("document.getElementById('loading').hidden")
        page.until("document.getElementById('facts').textContent.includes('Same as in torch')")
        assert page.do("document.getElementById('plans').checked")
        left, top, side = page.do(
            "(b => [b.left, b.top, b.width])(document.getElementById('reality').getBoundingClientRect())"
        )
        ring = (
            "((x, y) => {{ const c = document.getElementById('plan'); const r = c.width / c.clientWidth;"
            "const d = c.getContext('2d').getImageData(x * c.width - 10 * r, y * c.width - 1, 3, 3).data;"
            "return d[17] > d[16] + 40 && d[19] > 100; }})({}, {})"
        )
        page.do(  # every text that the note has had: the search may be over before anybody looks
            "(note => { window.said = []; new MutationObserver(() => said.push(note.textContent))"
            ".observe(note, { childList: true }); })(document.getElementById('reality-note'))"
        )
        for across, down in ((0.2, 0.7), (0.8, 0.3)):  # the dot may stand at the first, and nothing is to be planned
            page.click(left + across * side, top + down * side)
            page.until(ring.format(across, down), 300)
            assert not page.do(ring.format(across, 1 - down))
            with contextlib.suppress(AssertionError):
                page.until("said.some((text) => text.startsWith('planning'))", 60)
                break
        else:
            pytest.fail("it never planned")
        note = page.until("(t => t.startsWith('step') && t)(document.getElementById('reality-note').textContent)", 300)
        page.until(f"document.getElementById('reality-note').textContent !== {note!r}", 300)
        page.do("document.getElementById('plans').click()")
        page.until(f"!{ring.format(across, down)}", 300)
        assert page.problems == []
