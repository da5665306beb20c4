/** The chat room: two viewers and the bots, each in a worker, and the server's ledger of what became of everything. */

import { askLedger, PRIORITIES, type Counts, type Ground, type Ledger, type Priority } from "./ground";
import type { Bullet, News, Order } from "./worker";

export const RATE_MAX = 400;
/** A client may send ten messages a second for as long as it likes. */
const BOTS = 40;
const LEDGER_MILLIS = 1_000;
/** So long in a flood, a browser that leaves messages in the socket has made the server wait. */
const PATIENCE_MILLIS = 20_000;
const FLOOD_LEAST = 50;

export type HallDeed = "flood" | "gift" | "shed" | "bullet";

export interface Seat {
  ready: boolean;
  counts: Counts;
  /** How old the newest message is that the viewer has got to, in milliseconds. */
  age: number;
  trouble: string;
  /** When it last said what it sees, by the page's own clock. */
  heardAt: number;
  onBullets: ((bullets: Bullet[], mine: boolean) => void) | undefined;
}

export class Hall {
  readonly seats: [Seat, Seat] = [seat(), seat()];
  rate = 0;
  throttled = false;
  /** The throttled viewer does not seem to be slow for the server. */
  inVain = false;
  sent = 0;
  refused = 0;
  trouble = "";
  ledger: Ledger | undefined;

  #workers: [Worker | undefined, Worker | undefined] = [undefined, undefined];
  #bots: Worker | undefined;
  #hidden = false;
  #slowSince = 0;
  #shedThen = 0;

  constructor(
    readonly ground: Ground,
    readonly run: string,
    readonly lines: () => Record<Priority, string[]>,
    readonly changed: () => void,
    readonly did: (deed: HallDeed) => void,
  ) {}

  start(): void {
    this.#sit(0, false);
    this.#sit(1, false);
    const poll = async () => {
      if (!document.hidden) await this.#readLedger();
      setTimeout(poll, LEDGER_MILLIS);
    };
    void poll();
    document.addEventListener("visibilitychange", () => {
      this.#hidden = document.hidden;
      this.#tellRate();
    });
  }

  flood(perSecond: number): void {
    this.rate = perSecond;
    if (perSecond) this.did("flood");
    if (perSecond && !this.#bots) this.#startBots();
    this.#tellRate();
    this.#expect();
    this.changed();
  }

  /** The other viewer has a thread that waits at each message, or has a quick one again: as a new session. */
  throttle(throttled: boolean): void {
    if (throttled === this.throttled) return;
    this.throttled = throttled;
    this.#sit(1, throttled);
    this.#expect();
    this.changed();
  }

  say(text: string, priority: Priority, gift: boolean): void {
    this.#order(this.#workers[0], { kind: "say", text, priority, gift });
    // Who writes in a chat room is not sent the message back.
    this.seats[0].onBullets?.([{ text, priority }], true);
    this.did(gift ? "gift" : "bullet");
  }

  get shed(): Counts {
    return sum(this.ledger, ["shed_age", "shed_distance", "shed_sample", "shed_overrun"]);
  }

  #sit(place: 0 | 1, slow: boolean): void {
    this.#workers[place]?.terminate();
    const one = this.seats[place];
    const before = one.counts;
    Object.assign(one, { ready: false, age: 0, trouble: "" });
    const worker = (this.#workers[place] = start());
    worker.onmessage = ({ data }: MessageEvent<News>) => {
      if (worker !== this.#workers[place]) return;
      if (data.kind === "ready") one.ready = true;
      else if (data.kind === "trouble") one.trouble = data.text;
      else if (data.kind === "seen") {
        one.counts = added(before, data.counts);
        one.age = data.age;
        one.heardAt = performance.now();
        one.onBullets?.(data.bullets, false);
      }
      this.changed();
    };
    worker.onerror = (event) => {
      one.trouble = event.message;
      this.changed();
    };
    this.#order(worker, { kind: "viewer", ground: this.ground, id: `viewer-${place + 1}-${this.run}`, slow });
  }

  #startBots(): void {
    this.#bots = start();
    this.#bots.onmessage = ({ data }: MessageEvent<News>) => {
      if (data.kind === "sent") ({ sent: this.sent, refused: this.refused } = data);
      else if (data.kind === "trouble") this.trouble = data.text;
      this.changed();
    };
    const ids = Array.from({ length: BOTS }, (_, number) => `bot-${number + 1}-${this.run}`);
    this.#order(this.#bots, { kind: "bots", ground: this.ground, ids, lines: this.lines() });
  }

  #order(worker: Worker | undefined, order: Order): void {
    worker?.postMessage(order);
  }

  /** Nobody watches a hidden page: it does not flood either. */
  #tellRate(): void {
    this.#order(this.#bots, { kind: "rate", perSecond: this.#hidden ? 0 : this.rate });
  }

  #expect(): void {
    this.inVain = false;
    this.#shedThen = total(this.shed);
    this.#slowSince = this.throttled && this.rate >= FLOOD_LEAST ? performance.now() : 0;
  }

  async #readLedger(): Promise<void> {
    try {
      this.ledger = await askLedger();
      const shed = total(this.shed);
      if (shed > this.#shedThen && this.throttled) this.did("shed");
      this.inVain = this.#slowSince > 0 && performance.now() - this.#slowSince > PATIENCE_MILLIS && shed <= this.#shedThen;
      this.changed();
    } catch {
      // The people's own connections say that the server is away.
    }
  }
}

export function total(counts: Counts): number {
  return PRIORITIES.reduce((all, name) => all + counts[name], 0);
}

export function sum(ledger: Ledger | undefined, names: Exclude<keyof Ledger, "readers">[]): Counts {
  return names.reduce((all, name) => added(all, ledger?.[name] ?? NOTHING), NOTHING);
}

function added(one: Counts, other: Counts): Counts {
  return { high: one.high + other.high, normal: one.normal + other.normal, low: one.low + other.low };
}

const NOTHING: Counts = { high: 0, normal: 0, low: 0 };

function seat(): Seat {
  return { ready: false, counts: NOTHING, age: 0, trouble: "", heardAt: 0, onBullets: undefined };
}

function start(): Worker {
  return new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
}
