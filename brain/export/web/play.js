// What happens, and what the model makes of it: a world and a model, one simulated step at a time.

const KEPT = 240; // steps of the energy curve
const VIOLATED = 12; // steps that a violation lasts

const distance = (a, b) => a.reduce((sum, value, i) => sum + (value - b[i]) ** 2, 0) / a.length;

export class Play {
  constructor(world, model) {
    Object.assign(this, { world, model });
    const { stack, stride } = model.facts;
    this.stride = stride;
    this.lead = (stack - 1) * stride; // steps before the first observation
    this.threshold = model.facts.energy.threshold;
    this.steps = 0;
    this.energies = []; // { step, energy, anomaly }, the last KEPT
  }

  // Begin a new episode: the model knows nothing of what was before.
  async reset() {
    this.world.reset();
    await this.begin();
  }

  async begin() {
    this.frames = []; // of the last lead + 1 steps
    this.latents = []; // of the last stride + 1 steps, null before the first observation
    this.actions = []; // of the last stride steps
    this.dream = null;
    this.prediction = null;
    this.teleported = false;
    this.violate(null);
    await this.look();
  }

  get frame() {
    return this.frames.at(-1);
  }

  get z() {
    return this.latents.at(-1) ?? null;
  }

  // The next frame shows the world somewhere else.
  teleport() {
    this.world.teleport();
    this.teleported = true;
  }

  // The next steps show what this world cannot do; null ends it.
  violate(name) {
    this.world.violation = name;
    this.violated = name ? VIOLATED : 0;
  }

  // From now on the model rolls its own predictions forward and looks at nothing but the actions.
  dreamAhead(modelSteps) {
    if (!this.z) return;
    this.dream = { z: this.z, start: this.z, step: 0, steps: modelSteps, wait: 0, errors: [], still: [] };
  }

  get dreaming() {
    return this.dream !== null && this.dream.step < this.dream.steps;
  }

  async step(action) {
    this.world.step(action);
    this.actions.push(Array.from(action));
    if (this.actions.length > this.stride) this.actions.shift();
    this.steps += 1;
    await this.look();
    if (this.dreaming && (this.dream.wait += 1) === this.stride) await this.dreamOn();
    this.teleported = false;
    if (this.violated && (this.violated -= 1) === 0) {
      this.violate(null);
      this.world.recover?.();
    }
  }

  async look() {
    this.frames.push(this.world.frame());
    if (this.frames.length > this.lead + 1) this.frames.shift();
    const seen = this.frames.length === this.lead + 1;
    const observation = this.frames.filter((_, i) => i % this.stride === 0);
    this.latents.push(seen ? await this.model.encode(observation) : null);
    if (this.latents.length > this.stride + 1) this.latents.shift();
    const before = this.latents.length === this.stride + 1 ? this.latents[0] : null;
    this.prediction = before && seen ? await this.model.predict(before, this.actions.flat()) : null;
    const energy = this.prediction ? this.model.energy(this.prediction, this.z) : NaN;
    this.energies.push({ step: this.steps, energy, anomaly: this.teleported || this.violated > 0 });
    if (this.energies.length > KEPT) this.energies.shift();
  }

  async dreamOn() {
    const dream = this.dream;
    dream.z = (await this.model.predict(dream.z, this.actions.flat())).mean;
    dream.wait = 0;
    dream.step += 1;
    dream.errors.push(distance(dream.z, this.z));
    dream.still.push(distance(dream.start, this.z));
  }

  // What the decoder is asked to draw: the dream while there is one, else what the model sees.
  get imagined() {
    return this.dreaming ? this.dream.z : this.z;
  }
}
