// The two-room world, as shared/worlds/two_room (rule "stay"): tests hold both to the same trajectories.

const SIZE = 65;
const LOW = 4;
const HIGH = 60;
const HALF_WALL = 1;
const HALF_DOOR = 4;
const DOT_STD = 1.3;
const MAX_STEP = 2.45;
const WALLS = Array.from({ length: 25 }, (_, i) => 20 + i).filter((x) => x < 36 || x > 40);
const DOORS = Array.from({ length: 45 }, (_, i) => 10 + i);
const SPEED = 1.2; // pixels a step by keyboard
const CLEAR = 2; // goals keep so far from the borders
const BESIDE = 3; // and from the middle of the wall

export class TwoRoom {
  static size = SIZE;
  static channels = 2;
  static title = "Two rooms";
  static about =
    "A dot in two rooms with a door between them. An action is a step (dx, dy); a step into a wall does not happen. " +
    "Reset builds the wall somewhere else.";
  static drives = true;
  static pointed = true; // a point of the picture can be a goal
  static violations = {
    "dot-vanishes": "Dot vanishes", "dot-doubles": "Dot doubles", "dot-grows": "Dot grows",
    "through-walls": "Through walls", "stopped-in-free-space": "Stops", "against-the-action": "Against the action",
  };
  violation = null; // the one that is on

  constructor(random = Math.random) {
    this.random = random;
    this.reset();
  }

  reset() {
    const wall = WALLS[Math.floor(this.random() * WALLS.length)];
    const door = DOORS[Math.floor(this.random() * DOORS.length)];
    this.start([32, 32, wall, door]);
    [this.x, this.y] = this.free();
    this.heading = this.random() * 2 * Math.PI;
  }

  // state: x, y of the dot, wall_x, door_y, as the Python world's state()
  start([x, y, wall, door]) {
    Object.assign(this, { x, y, wall, door });
    this.background = new Uint8Array(SIZE * SIZE);
    for (let row = 0; row < SIZE; row++) {
      for (let column = 0; column < SIZE; column++) {
        const middle = Math.abs(column - wall) <= HALF_WALL && Math.abs(row - door) > HALF_DOOR;
        const border = [row, column].some((at) => at === LOW || at === HIGH);
        this.background[row * SIZE + column] = middle || border ? 255 : 0;
      }
    }
  }

  state() {
    return [this.x, this.y, this.wall, this.door];
  }

  step([dx, dy]) {
    const length = Math.hypot(dx, dy);
    if (length > MAX_STEP) [dx, dy] = [(dx * MAX_STEP) / length, (dy * MAX_STEP) / length];
    if (this.violation === "stopped-in-free-space") return;
    if (this.violation === "against-the-action") [dx, dy] = [-dx, -dy];
    const [x, y] = [this.x + dx, this.y + dy];
    const inside = x > 0 && y > 0 && x < SIZE && y < SIZE;
    this.hit = this.violation === "through-walls" ? !inside : this.blocked(x, y, dx, dy);
    if (!this.hit) [this.x, this.y] = [x, y];
  }

  blocked(x, y, dx, dy) {
    if (x <= LOW || x >= HIGH || y <= LOW || y >= HIGH) return true;
    for (const side of [this.wall - HALF_WALL, this.wall + HALF_WALL]) {
      if ((this.x - side) * (x - side) < 0) {
        const share = (side - this.x) / dx;
        if (Math.abs(this.y + share * dy - this.door) > HALF_DOOR) return true;
      }
    }
    const jamb = this.door + (dy < 0 ? -HALF_DOOR : HALF_DOOR);
    if ((this.y - jamb) * (y - jamb) < 0) {
      const share = (jamb - this.y) / dy;
      return Math.abs(this.x + share * dx - this.wall) < HALF_WALL;
    }
    return false;
  }

  free() {
    for (;;) {
      const [x, y] = [0, 1].map(() => LOW + 2 + this.random() * (HIGH - LOW - 4));
      if (Math.abs(x - this.wall) > HALF_WALL + 2) return [x, y];
    }
  }

  // Somewhere else, at least 16 pixels away; the next frame shows it.
  teleport() {
    const [x, y] = [this.x, this.y];
    do {
      [this.x, this.y] = this.free();
    } while (Math.hypot(this.x - x, this.y - y) < 16);
  }

  // The action that nobody gives: straight ahead with a little noise, turning at walls, now and then to the door.
  wander() {
    if (this.hit || this.random() < 0.02) {
      const door = this.random() < 0.5;
      const beyond = this.x < this.wall ? this.wall + 4 : this.wall - 4;
      this.heading = door
        ? Math.atan2(this.door - this.y, (Math.abs(this.y - this.door) < 3 ? beyond : this.wall) - this.x)
        : this.random() * 2 * Math.PI;
    }
    this.heading += (this.random() - 0.5) * 0.3;
    return [SPEED * Math.cos(this.heading), SPEED * Math.sin(this.heading)];
  }

  // keys: held directions, each -1, 0 or 1
  static steer(right, down) {
    return [SPEED * right, SPEED * down];
  }

  // An action as long as the world lets it be.
  static limited([dx, dy]) {
    const share = Math.min(1, MAX_STEP / Math.max(Math.hypot(dx, dy), 1e-9));
    return [dx * share, dy * share];
  }

  // The place nearest to a point, in pixels, where the dot can be: off the walls, as Walk.pointed in Python.
  nearest(x, y) {
    [x, y] = [x, y].map((at) => Math.min(Math.max(at, LOW + CLEAR), HIGH - CLEAR));
    if (Math.abs(x - this.wall) < BESIDE && Math.abs(y - this.door) > HALF_DOOR) x = this.wall + (x < this.wall ? -BESIDE : BESIDE);
    return [x, y];
  }

  // These rooms with the dot somewhere else.
  frameAt(x, y) {
    return this.frame([x, y]);
  }

  // The step towards a point of the picture, in pixels.
  towards(x, y) {
    const [dx, dy] = [x - this.x, y - this.y];
    const length = Math.hypot(dx, dy);
    const step = Math.min(length, MAX_STEP * 0.8);
    return length < 0.5 ? [0, 0] : [(dx * step) / length, (dy * step) / length];
  }

  // uint8 (65, 65, 2): dot, then walls
  frame(elsewhere = null) {
    const frame = new Uint8Array(SIZE * SIZE * 2);
    this.background.forEach((value, pixel) => (frame[2 * pixel + 1] = value));
    if (elsewhere) {
      this.dot(frame, ...elsewhere, DOT_STD);
      return frame;
    }
    if (this.violation === "dot-vanishes") return frame;
    this.dot(frame, this.x, this.y, this.violation === "dot-grows" ? 2 * DOT_STD : DOT_STD);
    if (this.violation === "dot-doubles") this.dot(frame, this.x, this.y < SIZE / 2 ? this.y + 12 : this.y - 12, DOT_STD);
    return frame;
  }

  dot(frame, atX, atY, std) {
    const [across, down] = [atX, atY].map((centre) =>
      Float64Array.from({ length: SIZE }, (_, i) => Math.exp((i - centre) ** 2 * (-0.5 / std ** 2))),
    );
    for (let y = 0; y < SIZE; y++) {
      for (let x = 0; x < SIZE; x++) {
        const pixel = 2 * (y * SIZE + x);
        frame[pixel] = Math.max(frame[pixel], Math.floor(255 * down[y] * across[x]));
      }
    }
  }

  // The dot may have been led into a wall or out of the rooms: it goes on from a place where it can be.
  recover() {
    const solid = Math.abs(this.x - this.wall) <= HALF_WALL && Math.abs(this.y - this.door) > HALF_DOOR;
    const out = [this.x, this.y].some((at) => at <= LOW || at >= HIGH);
    if (solid || out) [this.x, this.y] = this.free();
  }

  static layers(frame, pixel) {
    return [frame[2 * pixel] / 255, frame[2 * pixel + 1] / 255];
  }
}
