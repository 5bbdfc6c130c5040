// Canvases: the pictures, the energy chart, the latent's bars and its path. Colours come from the style sheet.

export const SHOWN = 300; // points of the curves
const TRAIL = 70; // points of the path

let colours = {};
export function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["ink", "soft", "faint", "line", "true", "other", "intervention", "intervention-fill", "panel", "good"]) {
    colours[name] = style.getPropertyValue(`--${name}`).trim();
  }
}

export function picture(canvas, rgb, width, height) {
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const image = new ImageData(width, height);
  for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
    image.data[to] = rgb[from];
    image.data[to + 1] = rgb[from + 1];
    image.data[to + 2] = rgb[from + 2];
    image.data[to + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// The drawing context in CSS pixels, cleared, as sharp as the screen.
function fresh(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = "12px system-ui, 'DejaVu Sans', sans-serif";
  context.lineJoin = "round";
  return [context, width, height];
}

// The range of the energy axis, in powers of ten. It widens at once and narrows slowly, so that it does not jump.
const range = { low: -1, high: 1, last: -1 };
function fitRange(points, threshold) {
  let [low, high] = threshold ? [threshold / 3, threshold * 3] : [Infinity, -Infinity];
  for (const [, energy, other] of points) {
    for (const value of [energy, other]) {
      if (value !== null && value > 0) {
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
    }
  }
  if (!(high > 0)) return;
  const newest = points.length ? points[points.length - 1][0] : 0;
  const ease = newest < range.last || range.last < 0 ? 1 : 0.08;
  range.last = newest;
  const [bottom, top] = [Math.max(Math.log10(low) - 0.12, -9), Math.log10(high) + 0.3];
  range.low = bottom < range.low ? bottom : range.low + ease * (bottom - range.low);
  range.high = top > range.high ? top : range.high + ease * (top - range.high);
}

export function chart(canvas, points, state) {
  const [context, width, height] = fresh(canvas);
  const [left, right, top, bottom] = [44, 10, 20, 20];
  fitRange(points, state.threshold);
  const newest = points.length ? points[points.length - 1][0] : 0;
  const x = (n) => left + ((n - newest + SHOWN - 1) / (SHOWN - 1)) * (width - left - right);
  const y = (value) => {
    const share = (Math.log10(Math.max(value, 1e-9)) - range.low) / (range.high - range.low);
    return height - bottom - Math.min(Math.max(share, 0), 1) * (height - top - bottom);
  };
  context.textBaseline = "middle";
  context.textAlign = "right";
  context.lineWidth = 1;
  for (let power = Math.ceil(range.low); power <= range.high; power++) {
    const at = Math.round(y(10 ** power)) + 0.5;
    context.strokeStyle = colours.line;
    line(context, [[left, at], [width - right, at]]);
    context.fillStyle = colours.soft;
    context.fillText(power < -3 || power > 4 ? `1e${power}` : String(Number((10 ** power).toPrecision(1))), left - 7, at);
  }
  context.textAlign = "center";
  context.fillStyle = colours.soft;
  const second = state.rate;
  for (let back = 0; back < SHOWN; back += Math.max(1, Math.ceil(SHOWN / second / 6)) * second) {
    if (x(newest - back) < left) break;
    context.fillText(back ? `−${Math.round(back / second)} s` : "now", Math.min(x(newest - back), width - right - 12), height - 8);
  }
  bands(context, points, state, x, top, height - bottom, width - right);
  for (const [n, , , , cut] of points) {
    if (!cut || x(n) < left) continue;
    context.strokeStyle = colours.faint;
    context.setLineDash([2, 3]);
    line(context, [[x(n), top], [x(n), height - bottom]]);
    context.setLineDash([]);
  }
  if (state.threshold) {
    context.strokeStyle = colours.soft;
    context.lineWidth = 1.5;
    context.setLineDash([7, 5]);
    line(context, [[left, y(state.threshold)], [width - right, y(state.threshold)]]);
    context.setLineDash([]);
  }
  curve(context, points, 2, colours.other, 1.5, x, y, left);
  curve(context, points, 1, colours.true, 2.25, x, y, left);
  context.fillStyle = colours.other;
  for (const [n, energy] of points) {
    if (state.threshold && energy > state.threshold && x(n) >= left) dot(context, x(n), y(energy), 2.5);
  }
}

function bands(context, points, state, x, top, bottom, right) {
  const labels = Object.fromEntries(state.interventions);
  let free = 44; // where the next label may begin
  for (let i = 0; i < points.length; i++) {
    const intervention = points[i][3];
    if (!intervention) continue;
    const first = i;
    while (i + 1 < points.length && points[i + 1][3] === intervention && points[i + 1][0] === points[i][0] + 1) i++;
    const start = Math.max(x(points[first][0] - 0.5), 44);
    const stop = Math.min(Math.max(x(points[i][0] + 0.5), start + 2), right);
    if (stop < 46) continue;
    context.fillStyle = colours["intervention-fill"];
    context.fillRect(start, top, stop - start, bottom - top);
    context.fillStyle = colours.intervention;
    context.fillRect(start, top, Math.max(stop - start, 2), 2);
    const text = `▾ ${labels[intervention] || intervention}`;
    const half = context.measureText(text).width / 2;
    const centre = Math.max(Math.min((start + stop) / 2, right - half), free + half);
    if (centre + half > right + 1) continue;
    context.fillText(text, centre, top - 9);
    free = centre + half + 8;
  }
}

function curve(context, points, column, colour, thickness, x, y, left) {
  context.strokeStyle = colour;
  context.lineWidth = thickness;
  context.beginPath();
  let pen = false;
  for (const point of points) {
    const value = point[column];
    if (value === null || x(point[0]) < left) {
      pen = false;
      continue;
    }
    if (pen) context.lineTo(x(point[0]), y(value));
    else context.moveTo(x(point[0]), y(value));
    pen = true;
  }
  context.stroke();
}

function line(context, corners) {
  context.beginPath();
  corners.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
}

function dot(context, x, y, radius) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
}

export function bars(canvas, z, foreseen, spread) {
  const [context, width, height] = fresh(canvas);
  const middle = height / 2;
  context.strokeStyle = colours.line;
  line(context, [[0, Math.round(middle) + 0.5], [width, Math.round(middle) + 0.5]]);
  if (!z) return;
  const step = width / z.length;
  const reach = (value) => Math.min(Math.max(value / spread / 3.5, -1), 1) * (middle - 4);
  context.fillStyle = colours.true;
  z.forEach((value, i) => context.fillRect(i * step + step * 0.12, middle, step * 0.76, -reach(value)));
  if (!foreseen) return;
  context.fillStyle = colours.ink;
  foreseen.forEach((value, i) => context.fillRect(i * step, middle - reach(value) - 1, step, 2));
}

export function plane(canvas, cloud, points, plan) {
  const [context, width, height] = fresh(canvas);
  const reach = [0, 1].map((axis) => 1.15 * cloud.reduce((most, place) => Math.max(most, Math.abs(place[axis])), 1));
  const inside = (share, size) => Math.min(Math.max((size * (1 + share)) / 2, 5), size - 5);
  const at = ([x, y]) => [inside(x / reach[0], width), inside(-y / reach[1], height)];
  context.fillStyle = colours.faint;
  for (const place of cloud) dot(context, ...at(place), 1.6);
  const trail = points.slice(-TRAIL).filter((point) => point[5] !== null);
  for (let i = 1; i < trail.length; i++) {
    const [before, after] = [trail[i - 1], trail[i]];
    if (after[4] || after[0] - before[0] > 20) continue;
    const jump = after[3] === "teleport";
    context.globalAlpha = jump ? 1 : 0.15 + 0.85 * (i / trail.length);
    context.strokeStyle = jump ? colours.other : colours.true;
    context.lineWidth = 2;
    context.setLineDash(jump ? [4, 4] : []);
    line(context, [at([before[5], before[6]]), at([after[5], after[6]])]);
  }
  context.globalAlpha = 1;
  context.setLineDash([]);
  if (!trail.length) return;
  const last = trail[trail.length - 1];
  if (plan && plan.plane.length) {
    context.strokeStyle = colours.intervention;
    context.lineWidth = 2;
    line(context, plan.plane.map(at));
  }
  if (plan && plan.goal_plane.length) ring(context, ...at(plan.goal_plane[0]), 6, colours.good, 2.5);
  context.fillStyle = colours.ink;
  dot(context, ...at([last[5], last[6]]), 5);
}

// Over the picture of the world: what the planner imagines. Colours do not follow the page's, since the world's do not.
export function imagined(canvas, plan) {
  const [context, width, height] = fresh(canvas);
  if (!plan || !plan.acting) return;
  const at = ([x, y]) => [x * width, y * height];
  context.lineCap = "round";
  context.strokeStyle = "rgba(150, 205, 255, .38)";
  context.lineWidth = 1;
  for (const path of plan.paths) line(context, path.map(at));
  context.fillStyle = "rgba(150, 205, 255, .75)";
  for (const path of plan.paths) dot(context, ...at(path[path.length - 1]), 1.3);
  if (plan.goal) {
    const place = at(plan.goal);
    ring(context, ...place, 8, "rgba(10, 16, 22, .8)", 5);
    ring(context, ...place, 8, "#3ddc97", 2.5);
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.strokeStyle = "#3ddc97";
      line(context, [[place[0] + 5 * dx, place[1] + 5 * dy], [place[0] + 12 * dx, place[1] + 12 * dy]]);
    }
  }
  if (!plan.way.length) return;
  const way = plan.way.map(at);
  for (const [colour, thickness] of [["rgba(10, 16, 22, .8)", 5], ["#ffd65c", 2.5]]) {
    context.strokeStyle = colour;
    context.lineWidth = thickness;
    line(context, way);
  }
  context.fillStyle = "#ffd65c";
  dot(context, ...way[way.length - 1], 3.5);
}

function ring(context, x, y, radius, colour, thickness) {
  context.strokeStyle = colour;
  context.lineWidth = thickness;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.stroke();
}
