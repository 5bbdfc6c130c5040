// The bouncing logo, as shared/worlds/bouncing_logo/world.py: tests hold both to the same trajectories.

export class BouncingLogo {
  static size = 16;
  static channels = 1;
  static title = "Bouncing logo";
  static about =
    "A soft spot drifts on a diagonal and bounces off the walls. One frame cannot tell where it goes; the model sees two.";
  static drives = false;
  static violations = { vanishes: "Vanishes", doubles: "Doubles", grows: "Grows", "leaves-the-box": "Leaves the box", stops: "Stops" };
  violation = null; // the one that is on

  constructor(random = Math.random) {
    this.random = random;
    this.reset();
  }

  reset() {
    const n = BouncingLogo.size;
    const between = () => 2 + this.random() * (n - 5);
    const sign = () => (this.random() < 0.5 ? -1 : 1);
    this.start([between(), between(), sign() * 0.05 * (n - 1), sign() * 0.05 * (n - 1)]);
    this.step();
  }

  // state: x, y (pixels), vx, vy (pixels per step), as the Python world's state()
  start([x, y, vx, vy]) {
    this.position = [x, y];
    this.velocity = [vx, vy];
  }

  state() {
    return [...this.position, ...this.velocity];
  }

  step() {
    if (this.violation === "stops") return;
    const low = 1;
    const high = BouncingLogo.size - 2;
    if (this.violation === "leaves-the-box") {
      this.position = this.position.map((place, axis) => place + this.velocity[axis]);
      return;
    }
    for (const axis of [0, 1]) {
      const moved = this.position[axis] + this.velocity[axis];
      if (moved < low || moved > high) this.velocity[axis] *= -1;
      this.position[axis] = Math.min(Math.max(moved, low), high);
    }
  }

  // Somewhere else, at least a third of the box away; the next frame shows it.
  teleport() {
    const n = BouncingLogo.size;
    const before = this.position;
    do {
      this.position = [3 + this.random() * (n - 7), 3 + this.random() * (n - 7)];
    } while (Math.hypot(this.position[0] - before[0], this.position[1] - before[1]) < n / 3);
  }

  // uint8 (16, 16, 1): a Gaussian of 1.5 pixels
  frame() {
    const n = BouncingLogo.size;
    const frame = new Uint8Array(n * n);
    if (this.violation === "vanishes") return frame;
    this.spot(frame, this.position, this.violation === "grows" ? 18 : 4.5);
    if (this.violation === "doubles") this.spot(frame, this.position.map((place) => (place + n / 2) % n), 4.5);
    return frame;
  }

  spot(frame, centre, spread) {
    const n = BouncingLogo.size;
    const [across, down] = centre.map((place) =>
      Float32Array.from({ length: n }, (_, i) => Math.exp(-(Math.fround(i - Math.fround(place)) ** 2) / spread)),
    );
    for (let y = 0; y < n; y++) {
      for (let x = 0; x < n; x++) {
        frame[y * n + x] = Math.min(255, frame[y * n + x] + Math.round(255 * Math.fround(down[y] * across[x])));
      }
    }
  }

  // What a frame's pixel means, 0 to 1 each: [things that move, things that stay]
  static layers(frame, pixel) {
    return [frame[pixel] / 255, 0];
  }
}
