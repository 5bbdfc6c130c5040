// The exported graphs of one run, in onnxruntime-web: encode, predict, decode, and the energy of a transition.

import * as ort from "./ort/ort.js";

// Fetch the runtime (14 MB) from beside the page; progress is called with a share in [0, 1].
export async function startRuntime(progress) {
  const answer = await fetch("ort/ort.wasm");
  if (!answer.ok) throw new Error(`ort/ort.wasm: the server says ${answer.status}`);
  const total = Number(answer.headers.get("content-length")) || 14.3e6;
  const parts = [];
  let length = 0;
  const reader = answer.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    length += part.value.length;
    progress(Math.min(length / total, 1));
  }
  ort.env.wasm.wasmBinary = await new Blob(parts).arrayBuffer();
  ort.env.wasm.numThreads = 1; // more would need headers that a plain file server does not send
  ort.env.wasm.proxy = false;
  ort.env.logLevel = "error";
}

export async function readJson(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: the server says ${answer.status}`);
  return answer.json();
}

export class Model {
  static async load(folder) {
    const facts = await readJson(`${folder}/model.json`);
    const sessions = {};
    for (const [name, file] of Object.entries(facts.files)) {
      if (name === "energy") continue; // the page computes its own
      const answer = await fetch(`${folder}/${file}`);
      if (!answer.ok) throw new Error(`${folder}/${file}: the server says ${answer.status}`);
      sessions[name] = await ort.InferenceSession.create(await answer.arrayBuffer());
    }
    return new Model(folder, facts, sessions);
  }

  constructor(folder, facts, sessions) {
    Object.assign(this, { folder, facts, sessions });
    this.size = facts.latent_shape.reduce((a, b) => a * b); // numbers in a latent
    this.actionDim = facts.stride * facts.action_dim;
    this.decodes = "decoder" in sessions;
  }

  // Frames one model step apart, oldest first, each Uint8Array(H * W * C), to the standardised latent.
  async encode(frames) {
    const shape = [1, this.facts.stack, ...this.facts.frame_shape];
    const stacked = new Uint8Array(shape.reduce((a, b) => a * b));
    frames.forEach((frame, i) => stacked.set(frame, i * frame.length));
    const { z } = await this.sessions.encoder.run({ frames: new ort.Tensor("uint8", stacked, shape) });
    return z.data;
  }

  // One model step under the chunk of its actions: { mean, logVariance }.
  async predict(z, action) {
    const feeds = { z: this.rows(z, 1) };
    if (this.actionDim) feeds.action = new ort.Tensor("float32", Float32Array.from(action), [1, this.actionDim]);
    const { mean, log_variance } = await this.sessions.predictor.run(feeds);
    return { mean: mean.data, logVariance: log_variance.data };
  }

  // One model step from each of ``count`` latents, end to end, each holding its action: the next latents.
  async predictMany(z, count, actions) {
    const chunks = actions.flatMap((action) => Array(this.facts.stride).fill(action).flat());
    const action = new ort.Tensor("float32", Float32Array.from(chunks), [count, this.actionDim]);
    return (await this.sessions.predictor.run({ z: this.rows(z, count), action })).mean.data;
  }

  // The picture of a latent, Uint8Array(H * W * C).
  async decode(z) {
    const { frame } = await this.sessions.decoder.run({ z: this.rows(z, 1) });
    return Uint8Array.from(frame.data, (value) => Math.round(Math.min(Math.max(value, 0), 1) * 255));
  }

  // How implausible a latent is after a prediction: brain.models.world_model.Dynamics.energy, in the form the judge chose.
  energy({ mean, logVariance }, proposal) {
    const scaled = this.facts.energy.form === "scaled";
    let sum = 0;
    for (let i = 0; i < mean.length; i++) {
      sum += (proposal[i] - mean[i]) ** 2 * (scaled ? Math.exp(-0.5 * logVariance[i]) : 1);
    }
    return sum / mean.length;
  }

  rows(values, count) {
    return new ort.Tensor("float32", values, [count, ...this.facts.latent_shape]);
  }

  // The largest difference from the latents that torch gave for the frames in check.json.
  async check() {
    const { frames, z } = await readJson(`${this.folder}/check.json`);
    const bytes = Uint8Array.from(atob(frames), (character) => character.charCodeAt(0));
    const size = this.facts.frame_shape.reduce((a, b) => a * b);
    let largest = 0;
    for (let n = 0; n < z.length; n++) {
      const at = (i) => (n * this.facts.stack + i) * size;
      const stack = Array.from({ length: this.facts.stack }, (_, i) => bytes.subarray(at(i), at(i) + size));
      const found = await this.encode(stack);
      z[n].forEach((value, i) => (largest = Math.max(largest, Math.abs(value - found[i]))));
    }
    return largest;
  }
}
