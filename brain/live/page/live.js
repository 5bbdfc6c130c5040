// The page: what the server says is shown, what people do is sent.

import { SHOWN, bars, chart, imagined, picture, plane, readColours } from "./draw.js";

const at = (id) => document.getElementById(id);
const ARROWS = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down" };
const SIGNS = { left: "◀", right: "▶", up: "▲", down: "▼" };
const FEW = new Intl.NumberFormat("en", { maximumSignificantDigits: 2, useGrouping: false });
const SOME = new Intl.NumberFormat("en", { maximumSignificantDigits: 3, useGrouping: false });
const WHOLE = new Intl.NumberFormat("en");
const figure = (value) => {
  if (value === null) return "–"; // unknown, or not finite
  return value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(1) : SOME.format(value);
};

let socket = null;
let state = null;
let points = [];
let view = null; // of the newest message
let pixels = null;
let plan = null; // what the planner imagines
let dirty = false;
let wait = 500; // milliseconds until the next attempt to connect
const held = new Set();
const stats = { drawn: 0, rate: 0, latency: [], errors: [] }; // read by benchmarks.live
window.live = { stats, get state() { return state; }, get points() { return points; }, get plan() { return plan; } };

if (location.search) history.replaceState(null, "", location.pathname); // no token in the address bar

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    wait = 500;
    points = []; // the server sends those that it has
    view = null;
    link("live", "up");
  };
  socket.onmessage = ({ data }) => (typeof data === "string" ? hear(JSON.parse(data)) : see(data));
  socket.onclose = () => {
    link("not connected; trying again", "down");
    held.clear();
    setTimeout(connect, wait);
    wait = Math.min(wait * 2, 8000);
  };
}

function link(text, kind) {
  at("link").textContent = text;
  at("link").className = `link ${kind}`;
}

function ask(what, value) {
  if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ do: what, value }));
}

// --- what comes

function see(data) {
  const length = new DataView(data).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  points.push(...header.points);
  if (points.length > SHOWN) points = points.slice(-SHOWN);
  view = header.view;
  pixels = new Uint8Array(data, 4 + length);
  dirty = true;
}

function hear(news) {
  if (news.plan) {
    plan = news.plan;
    dirty = true;
    return;
  }
  const before = state;
  state = news;
  if (!before || before.server !== state.server || before.scene !== state.scene) {
    points = [];
    view = plan = null;
    held.clear();
    options(at("run"), state.runs.map(([key, name, world]) => [key, name === world ? name : `${name} (${world})`]));
    options(at("policy"), state.policies);
    planner();
    options(at("speed"), state.speeds.map((speed) => [String(speed), `${speed}×`]));
    interventions();
    pad();
    at("dream-steps").max = state.longest_dream;
    at("notes").replaceChildren(...state.notes.map((note) => element("li", note)));
    at("notes").hidden = !state.notes.length;
    at("threshold-key").hidden = state.threshold === null;
    at("threshold").textContent = state.threshold === null ? "" : figure(state.threshold);
    const seconds = figure(state.stride / state.rate);
    at("latent-text").textContent = `${Math.min(state.dim, 128)} of ${state.dim} dimensions; marks: foreseen ${seconds} s before`;
    at("foreseen-text").textContent = state.decoder ? `${seconds} s before` : "this run has no decoder";
    at("drive-help").hidden = !state.keys.length;
    for (const id of ["world", "imagined", "foreseen", "dream", "elsewhere"]) blank(at(id));
  }
  const chosen = { run: state.run, policy: state.policy, speed: String(state.speed) };
  for (const [id, value] of Object.entries(chosen)) if (document.activeElement !== at(id)) at(id).value = value;
  at("play").innerHTML = `${state.playing ? "Pause" : "Play"} <kbd>Space</kbd>`;
  at("title").textContent = state.title;
  at("title").title = state.title;
  at("problem").textContent = state.problem;
  at("problem").hidden = !state.problem;
  at("pad").hidden = state.policy !== "keys";
  events();
  dirty = true;
}

function blank(canvas) {
  canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
}

function element(name, text, kind) {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function options(select, pairs) {
  select.replaceChildren(...pairs.map(([value, label]) => Object.assign(element("option", label), { value })));
}

// Where no planner can act, the choice is there but disabled, with the reason.
function planner() {
  const { why_not: why, points: points_set_goals } = state.planner;
  if (why) at("policy").append(Object.assign(element("option", "planner"), { value: "planner", disabled: true, title: why }));
  at("no-planner").textContent = why ? `No planner: ${why}` : "";
  at("no-planner").hidden = !why;
  at("view").classList.toggle("points", points_set_goals);
  at("plan").hidden = Boolean(why) || !state.policies.some(([name]) => name === "planner");
}

function interventions() {
  const made = state.interventions.map(([name, label, summary, why, own]) => {
    const button = element("button", own ? label : `${label} `);
    button.dataset.intervention = name;
    button.disabled = Boolean(why);
    button.title = why || summary;
    if (!own) {
      button.append(element("kbd", label[0]));
      button.setAttribute("aria-keyshortcuts", label[0].toLowerCase());
    }
    button.onclick = () => ask("intervention", name);
    return [own, button];
  });
  at("interventions").replaceChildren(...made.filter(([own]) => !own).map(([, button]) => button));
  at("violations").replaceChildren(...made.filter(([own]) => own).map(([, button]) => button));
}

function pad() {
  at("pad").replaceChildren(
    ...state.keys.map((key) => {
      const button = element("button", SIGNS[key] || key);
      button.setAttribute("aria-label", `steer ${key}`);
      button.onpointerdown = () => hold(key, true);
      for (const end of ["pointerup", "pointerleave", "pointercancel"]) {
        button.addEventListener(end, () => hold(key, false));
      }
      button.dataset.key = key;
      return button;
    }),
  );
}

function events() {
  const labels = Object.fromEntries(state.interventions);
  const rows = [...state.events].reverse().map((event) => {
    const row = document.createElement("tr");
    const times = state.threshold && event.peak !== null ? ` (${FEW.format(event.peak / state.threshold)}×)` : "";
    row.append(element("td", labels[event.name]), element("td", event.start), element("td", figure(event.peak) + times));
    const none = event.open ? "…" : "–";
    if (event.seen !== null) row.append(element("td", after(event.seen - event.start), "yes"));
    else row.append(element("td", event.open || state.threshold === null ? none : "not noticed", "missed"));
    row.append(element("td", event.over === null ? none : after(event.over - event.start)));
    return row;
  });
  at("events").replaceChildren(...rows);
  at("no-events").hidden = rows.length > 0;
}

function after(frames) {
  return frames === 0 ? "at once" : `+${frames}`;
}

// --- what is drawn

let second = performance.now();
let frames = 0;
function draw() {
  requestAnimationFrame(draw);
  const now = performance.now();
  if (now - second > 1000) {
    stats.rate = (frames * 1000) / (now - second);
    [frames, second] = [0, now];
    if (state) {
      const source = `${state.world}, ${state.source}, recipe ${state.recipe}`;
      at("facts").textContent = `${source} · ${Math.round(stats.rate)} frames/s shown`;
    }
  }
  if (!dirty || !state) return;
  dirty = false;
  chart(at("chart"), points, state);
  plane(at("plane"), state.cloud, points, plan);
  imagined(at("imagined"), plan);
  planTexts();
  if (!view) return;
  frames++;
  let offset = 0;
  for (const [name, width, height] of view.tiles) {
    const size = width * height * 3;
    picture(at(name), pixels.subarray(offset, offset + size), width, height);
    offset += size;
  }
  bars(at("bars"), view.z, view.foreseen, state.spread);
  texts();
  stats.drawn++;
  stats.latency.push(performance.timeOrigin + performance.now() - view.clock * 1000);
  if (stats.latency.length > 1000) stats.latency.shift();
}

function texts() {
  const [, energy, other, intervention] = points[points.length - 1];
  at("now").textContent = figure(energy);
  at("other").textContent = figure(other);
  const verdict = at("verdict");
  const alarm = state.threshold !== null && energy !== null && energy > state.threshold;
  verdict.className = `verdict ${alarm ? "alarm" : energy !== null && state.threshold !== null ? "fine" : ""}`;
  verdict.textContent = energy === null ? "looking" : state.threshold === null ? "no threshold" : alarm ? "✕ impossible" : "✓ plausible";
  const buttons = document.querySelectorAll("[data-intervention]");
  for (const button of buttons) button.classList.toggle("on", button.dataset.intervention === intervention);
  const dream = view.dream;
  if (!dream) blank(at("dream"));
  if (dream) at("dream-text").textContent = `step ${dream.done} of ${dream.steps}, error ${figure(dream.error)}`;
  else at("dream-text").textContent = state.decoder ? "press Dream: the model goes on alone" : "no decoder: only its error";
}

function planTexts() {
  const acting = plan !== null && plan.acting;
  const busy = acting && plan.busy !== null;
  at("busy").hidden = !busy;
  if (busy) at("busy").textContent = `planning ${plan.busy.toFixed(1)} s`;
  const marks = acting ? [plan.way.length && ["way", "plan"], plan.paths.length && ["tried", "imagined"], plan.goal && ["goal", "goal"]] : [];
  const told = [];
  if (busy) told.push(`Imagined ${WHOLE.format(plan.steps)} steps so far.`);
  else if (acting && plan.took !== null) {
    told.push(`${plan.ahead} steps ahead; found in ${figure(plan.took)} s by imagining ${WHOLE.format(plan.steps)} steps.`);
  } else if (!acting && !state.planner.points) told.push("Choose the planner to let it act.");
  if (state.planner.points) told.push("Click in the picture: the planner goes there.");
  const legend = marks.filter(Boolean).flatMap(([kind, text]) => [element("i", "", kind), `${text} `]);
  at("plan").replaceChildren(...legend, legend.length ? document.createElement("br") : "", told.join(" "));
}

// --- what people do

at("view").onclick = ({ clientX, clientY }) => {
  if (!state || !state.planner.points) return;
  const { left, top, width, height } = at("world").getBoundingClientRect();
  const share = (value) => Math.min(Math.max(value, 0), 1);
  ask("goal", [share((clientX - left) / width), share((clientY - top) / height)]);
};

function hold(key, down) {
  if (down === held.has(key)) return;
  if (down) held.add(key);
  else held.delete(key);
  if (down && state.policy !== "keys") ask("policy", "keys");
  ask("keys", [...held]);
  for (const button of at("pad").children) button.classList.toggle("on", held.has(button.dataset.key));
}

function release() {
  for (const key of [...held]) hold(key, false);
}

const dreamOn = () => ask("dream", Number(at("dream-steps").value));
const toggle = () => ask(state && state.playing ? "pause" : "play");
const SHORTCUTS = { " ": toggle, ".": () => ask("step"), n: () => ask("restart"), d: dreamOn };

at("play").onclick = toggle;
at("step").onclick = () => ask("step");
at("restart").onclick = () => ask("restart");
at("dream-go").onclick = dreamOn;
at("run").onchange = ({ target }) => ask("run", target.value);
at("policy").onchange = ({ target }) => ask("policy", target.value);
at("speed").onchange = ({ target }) => ask("speed", Number(target.value));

document.addEventListener("click", ({ detail, target }) => {
  if (detail > 0 && target.closest("button")) target.closest("button").blur(); // so that Space plays and pauses
});
for (const id of ["run", "policy", "speed"]) at(id).addEventListener("change", ({ target }) => target.blur());
document.addEventListener("keydown", (event) => {
  if (!state || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select")) return;
  const key = ARROWS[event.key] || event.key.toLowerCase();
  if (state.keys.includes(key)) {
    event.preventDefault();
    hold(key, true);
    return;
  }
  if (event.repeat && key !== ".") return;
  if (key === " " && event.target.closest("button")) return;
  const intervention = state.interventions.find(([, label, , , own]) => !own && label[0].toLowerCase() === key);
  if (intervention) ask("intervention", intervention[0]);
  else if (SHORTCUTS[key]) SHORTCUTS[key]();
  else return;
  event.preventDefault();
});
document.addEventListener("keyup", (event) => hold(ARROWS[event.key] || event.key.toLowerCase(), false));
window.addEventListener("blur", release);
window.addEventListener("error", ({ message }) => stats.errors.push(message));
window.addEventListener("resize", () => (dirty = true));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  readColours();
  dirty = true;
});

readColours();
connect();
requestAnimationFrame(draw);
