// The planner of the page: a tree of imagined moments, a smaller one than brain/planning/planners/tree.py.

const NODES = 300; // moments that a tree holds at most
const BRANCHES = 12; // actions that are tried from each moment
const LENGTH = 3; // model steps of a branch, which holds its action
const TOGETHER = 12; // moments from which it grows at a time
const APART = 0.5; // least squared distance of moments, in that of a typical branch
const TYPICAL = 0.75; // the quantile of the first branches whose length is typical
const FINER = 3; // times that a tree with nothing more to add halves the distance of its moments
const LONGEST = 1.6; // of actions that are tried, in typical lengths
const REPLAN = 3; // model steps that are done before it looks again
const NEAR = 6; // model steps that are searched for when no more are left
const SAMPLES = 24;
const SIDE = 14; // goals across the picture, by which places are read off latents

function between(a, i, b, j, size) {
  let sum = 0;
  for (let k = 0, p = i * size, q = j * size; k < size; k++) sum += (a[p + k] - b[q + k]) ** 2;
  return sum / size;
}

export class Planner {
  constructor(model, world) {
    Object.assign(this, { model, world });
    this.size = model.size;
    this.forget();
  }

  forget() {
    this.goal = null; // { x, y } in pixels of the world, with its latent z
    this.way = []; // actions of the model steps ahead
    this.path = []; // where they lead, [x, y] each
    this.tree = []; // branches, [[x, y], [x, y]] each
    this.queue = []; // actions of the frames until it looks again
    this.refuted = [];
    this.imagined = 0;
    this.expected = null;
    this.apart = 0;
  }

  async aim(x, y) {
    this.forget();
    [x, y] = this.world.nearest(x, y);
    this.goal = { x, y, z: await this.model.encode(this.still(x, y)) };
    this.places = await this.map();
  }

  // The observation of a dot that stands somewhere in these rooms.
  still(x, y) {
    return Array(this.model.facts.stack).fill(this.world.frameAt(x, y));
  }

  // The latents of goals all over the picture, and where these are.
  async map() {
    const at = [];
    const step = this.world.constructor.size / SIDE;
    for (let i = 0; i < SIDE * SIDE; i++) at.push(this.world.nearest(((i % SIDE) + 0.5) * step, (Math.floor(i / SIDE) + 0.5) * step));
    const z = new Float32Array(at.length * this.size);
    for (let i = 0; i < at.length; i++) z.set(await this.model.encode(this.still(...at[i])), i * this.size);
    return { at, z };
  }

  // The place of a latent: the mean of the goals most like it.
  place(z, i) {
    const { at, z: goals } = this.places;
    const squares = at.map((_, j) => between(z, i, goals, j, this.size));
    const [nearest, , , fourth] = [...squares].sort((a, b) => a - b);
    const weights = squares.map((square) => Math.exp((-2 * (square - nearest)) / Math.max(fourth - nearest, 1e-9)));
    const total = weights.reduce((a, b) => a + b);
    return [0, 1].map((axis) => weights.reduce((sum, weight, j) => sum + weight * at[j][axis], 0) / total);
  }

  // The next frame's action from the latent that is seen.
  async act(z, progress) {
    if (!this.queue.length) await this.decide(z, progress);
    return this.queue.shift();
  }

  async decide(z, progress) {
    const { goal, size } = this;
    if (this.expected && between(this.expected.end, 0, z, 0, size) > this.apart) this.refuted.push(this.expected);
    let end = this.way.length ? await this.follow(z, this.way) : null;
    if (!end || between(end.at(-1), 0, goal.z, 0, size) > this.within) {
      this.imagined = 0;
      this.way = await this.grow(z, progress);
      end = null;
    }
    if (this.way.length <= NEAR) [this.way, end] = [await this.approach(z), null];
    const path = end ?? (await this.follow(z, this.way));
    this.path = [z, ...path].map((one) => this.place(one, 0));
    const done = Math.min(REPLAN, this.way.length);
    for (const action of this.way.slice(0, done)) {
      for (let frame = 0; frame < this.model.facts.stride; frame++) this.queue.push(action);
    }
    this.expected = { start: z, end: path[done - 1] };
    this.way = this.way.slice(done);
  }

  async roll(z, count, actions) {
    this.imagined += count;
    return this.model.predictMany(z, count, actions);
  }

  // The latents that the actions of a way lead through.
  async follow(z, way) {
    const path = [];
    for (const action of way) path.push((z = await this.roll(z, 1, [action])));
    return path;
  }

  random() {
    const { action_mean: mean, action_std: std } = this.model.facts;
    const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
    const noise = mean.map(() => 2 * normal());
    const length = Math.hypot(...noise);
    const most = LONGEST * Math.sqrt(mean.length);
    return this.world.constructor.limited(noise.map((part, i) => mean[i] + (std[i] * part * Math.min(length, most)) / length));
  }

  // A way to the goal, or to the moment most like it: random actions branch off, those that end somewhere new are kept.
  async grow(start, progress) {
    const { size, goal } = this;
    const nodes = new Float32Array(NODES * size);
    nodes.set(start);
    const parents = [-1];
    const actions = [null];
    const depth = [0];
    const wayTo = (node) => (parents[node] < 0 ? [] : [...wayTo(parents[node]), ...Array(LENGTH).fill(actions[node])]);
    let [open, finer, gap] = [[0], 0, this.apart];
    let best = { cost: between(start, 0, goal.z, 0, size), way: [] };
    this.tree = [];
    while (parents.length < NODES) {
      if (!open.length) {
        if (finer === FINER) break;
        [gap, finer, open] = [gap / 2, finer + 1, parents.map((_, i) => i)];
      }
      const roots = open.sort((a, b) => depth[a] - depth[b]).splice(0, TOGETHER);
      const count = roots.length * BRANCHES;
      const tried = Array.from({ length: count }, () => this.random());
      let z = new Float32Array(count * size);
      for (let i = 0; i < count; i++) {
        const root = roots[Math.floor(i / BRANCHES)];
        z.set(nodes.subarray(root * size, (root + 1) * size), i * size);
      }
      const begun = z;
      const found = []; // what a step leads nearest to the goal
      for (let step = 1; step <= LENGTH; step++) {
        z = await this.roll(z, count, tried);
        for (let i = 0; i < count; i++) found.push({ cost: between(z, i, goal.z, 0, size), i, step });
      }
      if (parents.length === 1 && !finer) {
        const lengths = tried.map((_, i) => between(z, i, begun, i, size)).sort((a, b) => a - b);
        this.apart = Math.max(this.apart, APART * lengths[Math.floor(TYPICAL * (count - 1))]);
        gap = this.apart;
      }
      const refuted = (i) =>
        this.refuted.some(({ start: from, end }) => between(begun, i, from, 0, size) <= this.apart && between(z, i, end, 0, size) <= this.apart);
      const barred = tried.map((_, i) => refuted(i));
      for (const { cost, i, step } of found) {
        if (cost >= best.cost || barred[i]) continue;
        best = { cost, way: [...wayTo(roots[Math.floor(i / BRANCHES)]), ...Array(step).fill(tried[i])] };
      }
      if (best.cost <= this.apart / 2) break;
      const away = tried.map((_, i) => {
        let least = barred[i] ? 0 : Infinity;
        for (let node = 0; node < parents.length && least > gap; node++) least = Math.min(least, between(z, i, nodes, node, size));
        return least;
      });
      const order = tried.map((_, i) => i).sort((a, b) => away[b] - away[a]);
      const first = parents.length;
      for (const i of order) {
        if (parents.length === NODES || !(away[i] > gap)) break;
        let clear = true;
        for (let node = first; node < parents.length && clear; node++) clear = between(z, i, nodes, node, size) > gap;
        if (!clear) continue;
        const root = roots[Math.floor(i / BRANCHES)];
        open.push(parents.length);
        nodes.set(z.subarray(i * size, (i + 1) * size), parents.length * size);
        this.tree.push([this.place(nodes, root), this.place(nodes, parents.length)]);
        parents.push(root);
        actions.push(tried[i]);
        depth.push(depth[root] + 1);
      }
      await progress();
    }
    this.within = best.cost + this.apart;
    return best.way;
  }

  // The last steps: of random variations of the way, held for three steps each, the one that stays nearest to the goal.
  async approach(start) {
    const { size, goal } = this;
    const base = Array.from({ length: NEAR }, (_, step) => this.way[step] ?? [0, 0]);
    let best = { cost: Infinity, way: base };
    for (const width of [0.5, 0.2]) {
      const plans = Array.from({ length: SAMPLES }, (_, n) => {
        const noise = [0, 1].map(() => this.random().map((part) => (n ? width * part : 0)));
        return best.way.map((action, step) => this.world.constructor.limited(action.map((part, i) => part + noise[step < NEAR / 2 ? 0 : 1][i])));
      });
      let z = new Float32Array(SAMPLES * size);
      for (let n = 0; n < SAMPLES; n++) z.set(start, n * size);
      const costs = Array(SAMPLES).fill(0);
      for (let step = 0; step < NEAR; step++) {
        z = await this.roll(z, SAMPLES, plans.map((plan) => plan[step]));
        for (let n = 0; n < SAMPLES; n++) costs[n] += between(z, n, goal.z, 0, size);
      }
      const cheapest = costs.indexOf(Math.min(...costs));
      if (costs[cheapest] < best.cost) best = { cost: costs[cheapest], way: plans[cheapest] };
    }
    return best.way;
  }
}
