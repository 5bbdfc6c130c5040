// Canvas drawings: frames, latent bars, the energy curve and the drift of a dream. Colours are the page's CSS variables.

const css = getComputedStyle(document.documentElement);
const colour = (name) => css.getPropertyValue(`--${name}`).trim();
const rgb = (name) => [1, 3, 5].map((at) => parseInt(colour(name).slice(at, at + 2), 16));

// A frame, or a decoded one: what moves over what stays, on the dark ground.
export function drawFrame(canvas, frame, world) {
  const size = world.size;
  if (canvas.width !== size) canvas.width = canvas.height = size;
  const context = canvas.getContext("2d");
  const image = context.createImageData(size, size);
  const [ground, stay, move] = ["void", "stay", "move"].map(rgb);
  for (let pixel = 0; pixel < size * size; pixel++) {
    const [moves, stays] = world.layers(frame, pixel);
    for (let c = 0; c < 3; c++) {
      const behind = ground[c] + (stay[c] - ground[c]) * stays;
      image.data[4 * pixel + c] = behind + (move[c] - behind) * moves;
    }
    image.data[4 * pixel + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

// Over a frame: the planner's goal, what it imagined and its plan, in pixels of the world.
export function drawPlan(canvas, planner, size) {
  const { context, width } = sheet(canvas);
  if (!planner?.goal) return;
  const at = ([x, y]) => [((x + 0.5) * width) / size, ((y + 0.5) * width) / size];
  for (const branch of planner.tree) polyline(context, branch.map(at), "rgba(150, 205, 255, .4)", 1);
  if (planner.path.length) {
    polyline(context, planner.path.map(at), "rgba(10, 16, 22, .8)", 5);
    polyline(context, planner.path.map(at), "#ffd65c", 2.5);
  }
  const [x, y] = at([planner.goal.x, planner.goal.y]);
  for (const [stroke, thickness] of [["rgba(10, 16, 22, .8)", 5], ["#3ddc97", 2.5]]) {
    context.strokeStyle = stroke;
    context.lineWidth = thickness;
    context.beginPath();
    context.arc(x, y, 9, 0, 2 * Math.PI);
    context.stroke();
  }
}

export function clearFrame(canvas) {
  canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
}

const MOST_BARS = 128;

function sheet(canvas) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const density = window.devicePixelRatio || 1;
  const [across, down] = [Math.round(width * density), Math.round(height * density)];
  if (canvas.width !== across || canvas.height !== down) [canvas.width, canvas.height] = [across, down];
  const context = canvas.getContext("2d");
  context.setTransform(density, 0, 0, density, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  return { context, width, height };
}

function polyline(context, points, stroke, width = 2) {
  context.beginPath();
  let pen = false;
  for (const [x, y] of points) {
    if (Number.isFinite(y)) pen ? context.lineTo(x, y) : context.moveTo(x, y);
    pen = Number.isFinite(y);
  }
  context.strokeStyle = stroke;
  context.lineWidth = width;
  context.lineJoin = "round";
  context.stroke();
}

// Bars from the middle, cut at 3 standard deviations; ticks are a second latent of the same width. Of a large latent,
// some numbers that are evenly spread over it.
export function drawBars(canvas, latent, other) {
  const few = (all) => (all && all.length > MOST_BARS ? Array.from({ length: MOST_BARS }, (_, i) => all[Math.floor((i * all.length) / MOST_BARS)]) : all);
  const [values, ticks] = [few(latent), few(other)];
  const { context, width, height } = sheet(canvas);
  const middle = height / 2;
  context.fillStyle = colour("line");
  context.fillRect(0, middle - 0.5, width, 1);
  if (!values) return;
  const cell = width / values.length;
  const at = (value) => middle - (Math.max(-3, Math.min(3, value)) / 3) * (middle - 2);
  context.fillStyle = colour("model");
  values.forEach((value, i) => {
    const top = Math.min(at(value), middle);
    context.fillRect(i * cell + cell * 0.12, top, cell * 0.76, Math.max(Math.abs(at(value) - middle), 1));
  });
  context.fillStyle = colour("ink");
  ticks?.forEach((value, i) => context.fillRect(i * cell, at(value) - 1, cell, 2));
}

const HISTORY = 240;

// The energy of the last steps on a logarithmic axis around the threshold.
export function drawCurve(canvas, energies, threshold) {
  const { context, width, height } = sheet(canvas);
  const [left, bottom] = [46, 6];
  const known = energies.map(({ energy }) => energy).filter(Number.isFinite);
  const low = Math.log10(Math.min(threshold / 10, ...known.map((value) => Math.max(value, threshold / 1e3))));
  const high = Math.log10(Math.max(threshold * 30, ...known)) + 0.1;
  const y = (energy) => bottom + ((high - Math.log10(energy)) / (high - low)) * (height - 2 * bottom);
  const x = (i) => left + ((i + HISTORY - energies.length) / (HISTORY - 1)) * (width - left - 2);
  context.fillStyle = colour("soft");
  context.textAlign = "right";
  for (let power = Math.ceil(low); power <= high; power++) {
    const label = power < -3 ? `1e${power}` : String(Number((10 ** power).toPrecision(1)));
    context.fillStyle = colour("soft");
    context.fillText(label, left - 8, y(10 ** power));
    context.fillStyle = colour("line");
    context.fillRect(left, y(10 ** power), width - left, 1);
  }
  context.fillStyle = colour("bad");
  energies.forEach(({ anomaly }, i) => {
    if (!anomaly) return;
    context.globalAlpha = 0.3;
    context.fillRect(x(i) - 3, bottom, 6, height - 2 * bottom);
    context.globalAlpha = 1;
  });
  context.setLineDash([5, 4]);
  polyline(context, [[left, y(threshold)], [width, y(threshold)]], colour("bad"), 1.5);
  context.setLineDash([]);
  const points = energies.map(({ energy }, i) => [x(i), y(Math.max(energy, 10 ** low))]);
  polyline(context, points, colour("model"));
  context.fillStyle = colour("bad");
  energies.forEach(({ energy }, i) => {
    if (!(energy > threshold)) return;
    context.beginPath();
    context.arc(x(i), y(energy), 3.5, 0, 2 * Math.PI);
    context.fill();
  });
}

// Distance of the dreamt latents from the true ones, beside that of the first latent.
export function drawDrift(canvas, dream, note) {
  const { context, width, height } = sheet(canvas);
  const [left, top, bottom] = [34, 8, 20];
  const steps = dream?.steps ?? 30;
  const highest = Math.max(2, ...(dream ? [...dream.errors, ...dream.still] : []));
  const x = (step) => left + (step / steps) * (width - left - 8);
  const y = (value) => height - bottom - (value / highest) * (height - top - bottom);
  context.textAlign = "right";
  for (const value of [0, 1, 2]) {
    context.fillStyle = colour("soft");
    context.fillText(String(value), left - 8, y(value));
    context.fillStyle = colour("line");
    context.fillRect(left, y(value), width - left, 1);
  }
  context.fillStyle = colour("soft");
  context.textAlign = "center";
  for (const step of [0, 10, 20, 30]) context.fillText(step === 30 ? "30 steps" : String(step), Math.min(x(step), width - 26), height - 9);
  if (!dream) {
    context.fillText(note, left + (width - left) / 2, y(0.5));
    return;
  }
  polyline(context, [[x(0), y(0)], ...dream.still.map((value, i) => [x(i + 1), y(value)])], colour("still"), 1.5);
  polyline(context, [[x(0), y(0)], ...dream.errors.map((value, i) => [x(i + 1), y(value)])], colour("model"));
}
