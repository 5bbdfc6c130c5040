// The page: which world is shown, what the buttons and keys do, and the clock.

import { clearFrame, drawBars, drawCurve, drawDrift, drawFrame, drawPlan } from "./charts.js";
import { Model, readJson, startRuntime } from "./model.js";
import { Planner } from "./planner.js";
import { Play } from "./play.js";
import { BouncingLogo } from "./worlds/bouncing_logo.js";
import { TwoRoom } from "./worlds/two_room.js";

const WORLDS = { "bouncing-logo": BouncingLogo, "two-room": TwoRoom };
const DREAM_STEPS = 30;
const MARGIN = 1e-3; // of the browser's latents beside torch's

const byId = (id) => document.getElementById(id);
const held = new Set(); // "right,down" of the keys and pad buttons held
const models = {};
const plays = {};
let play = null;
let running = !window.matchMedia("(prefers-reduced-motion: reduce)").matches;
let busy = Promise.resolve(); // the model does one thing after the other
let pointer = null; // where the picture is pressed, in pixels of the world

const WAYS = { ArrowUp: "0,-1", ArrowDown: "0,1", ArrowLeft: "-1,0", ArrowRight: "1,0" };

async function action() {
  const { world, planner } = play;
  if (!world.constructor.drives) return [];
  if (planning() && planner.goal && play.z) return planner.act(play.z, shown);
  if (pointer) return world.towards(...pointer);
  if (held.size) {
    const ways = [...held].map((way) => way.split(",").map(Number));
    return TwoRoom.steer(...[0, 1].map((axis) => ways.reduce((sum, way) => sum + way[axis], 0)));
  }
  return byId("wander").checked ? world.wander() : [0, 0];
}

const planning = () => play.world.constructor.pointed && byId("plans").checked;

// While the planner searches, the page shows what it has imagined so far.
async function shown() {
  byId("reality-note").textContent = `planning, ${play.planner.imagined} steps imagined`;
  drawPlan(byId("plan"), play.planner, play.world.constructor.size);
  await new Promise((done) => setTimeout(done));
}

function soon(work) {
  busy = busy.then(work).catch(fail);
  return busy;
}

const advance = () =>
  soon(async () => {
    await play.step(await action());
    await draw();
  });

async function draw() {
  const world = play.world.constructor;
  const energy = play.energies.at(-1).energy;
  const alarm = energy > play.threshold;
  const dreaming = play.dreaming;
  drawFrame(byId("reality"), play.frame, world);
  drawPlan(byId("plan"), planning() ? play.planner : null, world.size);
  const shows = play.model.decodes && byId("decoder").checked;
  if (shows && play.imagined) drawFrame(byId("mind"), await play.model.decode(play.imagined), world);
  else clearFrame(byId("mind"));
  byId("mind-off").hidden = shows;
  byId("mind-title").textContent = dreaming ? `Dream ${play.dream.step}/${DREAM_STEPS}` : "Model’s view";
  byId("stage").classList.toggle("dreaming", dreaming);
  byId("tick-key").textContent = dreaming ? "dreamt" : "predicted one step before";
  for (const button of byId("violations").children) {
    button.setAttribute("aria-pressed", String(button.dataset.violation === play.world.violation));
  }
  drawBars(byId("bars"), play.z, dreaming ? play.dream.z : play.prediction?.mean);
  drawCurve(byId("curve"), play.energies, play.threshold);
  drawDrift(byId("drift"), play.dream, "Press Dream to compare");
  byId("energy").textContent = Number.isFinite(energy) ? energy.toPrecision(2) : "–";
  byId("surprise").dataset.state = alarm ? "alarm" : dreaming ? "dream" : "calm";
  const said = !Number.isFinite(energy) ? "looking" : alarm ? "this cannot follow" : "as expected";
  byId("verdict").textContent = `${said} (threshold ${play.threshold.toPrecision(2)})`;
  byId("reality-note").textContent = `step ${play.steps}`;
  byId("dream").disabled = dreaming || !play.z;
  if (alarm && play.energies.at(-2)?.energy <= play.threshold) say(`Surprise ${energy.toPrecision(2)}: this cannot follow.`);
}

const say = (text) => (byId("status").textContent = text);

function fail(error) {
  console.error(error);
  running = false;
  byId("loading").hidden = false;
  byId("loading").className = "error";
  byId("loading").textContent = `The page stopped: ${error.message ?? error}`;
}

// One step each time the world's clock says so; slower where the model needs longer.
async function clock() {
  for (;;) {
    const began = performance.now();
    const wait = 1000 / (Math.min(play.model.facts.control_rate, 25) * 2 ** Number(byId("speed").value));
    if (running && !document.hidden) await advance();
    await new Promise((done) => setTimeout(done, Math.max(wait - (performance.now() - began), 4)));
  }
}

const teleport = () => soon(() => play.teleport());

// The buttons of a world's violations; paused, one is followed by a step.
function offer(world) {
  const buttons = Object.entries(world.violations).map(([name, label]) => {
    const button = document.createElement("button");
    button.textContent = label;
    button.dataset.violation = name;
    button.onclick = () => soon(() => play.violate(name)).then(() => running || advance());
    return button;
  });
  byId("violations").replaceChildren(...buttons);
}

const COMMANDS = {
  // what the button does; paused, a teleport and a dream are followed by a step, or nothing would be seen
  teleport: () => teleport().then(() => running || advance()),
  dream: () => soon(() => play.dreaming || play.dreamAhead(DREAM_STEPS)).then(() => running || soon(draw)),
  step: () => {
    setRunning(false);
    return advance();
  },
  play: () => setRunning(!running),
  reset: () => soon(() => (play.planner?.forget(), play.reset())).then(() => soon(draw)),
};
const KEYS = { t: "teleport", d: "dream", s: "step", p: "play", r: "reset" };

function setRunning(now) {
  running = now;
  byId("play").firstChild.textContent = now ? "Pause " : "Play ";
}

async function show(name) {
  models[name] ??= await Model.load(`models/${name}`);
  await soon(() => swap(name));
  await soon(draw);
  const { facts } = play.model;
  const error = await soon(() => play.model.check());
  byId("facts").textContent =
    `Recipe ${facts.recipe}: ${play.model.size} numbers a latent, ${facts.stack} frame(s) an observation. ` +
    (error <= MARGIN ? `Same as in torch: the latents of this browser differ by ${error.toExponential(1)} at most.`
      : `Beware: the latents of this browser differ from torch's by ${error.toPrecision(2)}.`) +
    (facts.remembers ? " This predictor remembers; the page dreams step by step, without its memory." : "");
}

// One piece of work: nothing that was asked for meanwhile may find the new world before its first moment.
async function swap(name) {
  plays[name] ??= new Play(new WORLDS[name](), models[name]);
  plays[name].planner ??= WORLDS[name].pointed ? new Planner(models[name], plays[name].world) : null;
  const fresh = plays[name].frames === undefined;
  play = plays[name];
  const { facts, decodes } = play.model;
  const world = play.world.constructor;
  for (const tab of byId("worlds").children) tab.setAttribute("aria-pressed", String(tab.dataset.world === name));
  byId("about").textContent = world.about;
  offer(world);
  byId("facts").textContent = "";
  byId("drive").hidden = !world.drives;
  byId("pointing").hidden = !world.pointed;
  if (fresh && world.pointed) byId("plans").checked = facts.latent_shape.length > 1; // vectors know no ways around walls
  byId("reality").classList.toggle("drivable", world.drives);
  byId("decoder").disabled = !decodes;
  byId("mind-off").textContent = decodes
    ? "No pictures in here: a pure JEPA only has its latent, drawn as bars."
    : "This run has no decoder: all there is are the bars below.";
  byId("false-alarms").textContent = `${100 * facts.energy.false_alarm_target} %`;
  byId("dream-actions").textContent = world.drives ? " under the actions that are taken" : "";
  if (fresh) await play.begin();
}

function wire(names) {
  for (const name of names) {
    const tab = document.createElement("button");
    tab.textContent = WORLDS[name].title;
    tab.dataset.world = name;
    tab.addEventListener("click", () => show(name).catch(fail));
    byId("worlds").append(tab);
  }
  byId("worlds").hidden = names.length < 2;
  for (const [id, work] of Object.entries(COMMANDS)) byId(id).addEventListener("click", work);
  byId("decoder").addEventListener("change", () => soon(draw));
  byId("plans").addEventListener("change", () => soon(() => play.planner.forget()).then(() => soon(draw)));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.type === "range") return;
    if (event.key in WAYS && play?.world.constructor.drives) {
      held.add(WAYS[event.key]);
      event.preventDefault();
    } else if (event.key in KEYS && !event.repeat) COMMANDS[KEYS[event.key]]();
  });
  document.addEventListener("keyup", (event) => held.delete(WAYS[event.key]));
  window.addEventListener("blur", () => held.clear());
  for (const button of document.querySelectorAll("[data-drive]")) {
    button.addEventListener("pointerdown", () => held.add(button.dataset.drive));
    for (const end of ["pointerup", "pointerleave", "pointercancel"]) {
      button.addEventListener(end, () => held.delete(button.dataset.drive));
    }
  }
  const reality = byId("reality");
  const press = (event) => {
    if (!play.world.constructor.drives || !event.buttons) return;
    const box = reality.getBoundingClientRect();
    const size = play.world.constructor.size;
    const place = [((event.clientX - box.left) / box.width) * size, ((event.clientY - box.top) / box.height) * size];
    if (!planning()) pointer = place;
    else if (event.type === "pointerdown") soon(() => play.planner.aim(...place.map((at) => at - 0.5))).then(() => soon(draw));
  };
  reality.addEventListener("pointerdown", press);
  reality.addEventListener("pointermove", press);
  for (const end of ["pointerup", "pointerleave", "pointercancel"]) reality.addEventListener(end, () => (pointer = null));
  window.addEventListener("resize", () => play && soon(draw));
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => play && soon(draw));
}

async function start() {
  const { worlds } = await readJson("models/index.json");
  wire(worlds);
  await startRuntime((share) => (byId("progress").value = share));
  byId("loading-text").textContent = "the model";
  byId("stage").hidden = false;
  await show(worlds[0]);
  byId("loading").hidden = true;
  setRunning(running);
  clock();
}

start().catch(fail);
