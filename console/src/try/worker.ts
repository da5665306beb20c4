/**
 * What plays in the chat room, each in a thread of its own so that it has a connection of its own and nobody else waits
 * for it: a viewer, or the bots that flood. The thread of a slow viewer waits at each message, as a slow device does: then
 * nothing takes what the browser has read from the socket, and after a while the browser reads no more.
 */

import "./scope";
import { Event, MessagePriority, Realtime, TextMessage } from "leancloud-realtime";
import type { ChatRoom, Message } from "leancloud-realtime";

import { options, type Counts, type Ground, type Priority } from "./ground";

export type Order =
  | { kind: "viewer"; ground: Ground; id: string; slow: boolean }
  | { kind: "bots"; ground: Ground; ids: string[]; lines: Record<Priority, string[]> }
  | { kind: "rate"; perSecond: number }
  | { kind: "say"; text: string; priority: Priority; gift: boolean };

export interface Bullet {
  text: string;
  priority: Priority;
}

export type News =
  | { kind: "ready" }
  | { kind: "seen"; counts: Counts; age: number; bullets: Bullet[] }
  | { kind: "sent"; sent: number; refused: number }
  | { kind: "trouble"; text: string };

/** What a slow viewer needs for each message. */
const SLOW_MILLIS = 40;
const TELL_MILLIS = 200;
const BULLETS_MAX = 8;
/** What each of the bots' messages carries beside its text: as much as badges, levels and bubbles come to. */
const EXTRAS = "x".repeat(1_000);
/** A client may send 600 messages a minute; more bots, more messages. */
const TICK_MILLIS = 50;

const PRIORITIES: Record<Priority, MessagePriority> = {
  high: MessagePriority.HIGH,
  normal: MessagePriority.NORMAL,
  low: MessagePriority.LOW,
};

let room: ChatRoom | undefined;
let perSecond = 0;

const tell = (news: News) => postMessage(news);
const complain = (error: unknown) => tell({ kind: "trouble", text: error instanceof Error ? error.message : String(error) });

onmessage = ({ data }: MessageEvent<Order>) => {
  if (data.kind === "viewer") view(data).catch(complain);
  else if (data.kind === "bots") flood(data).catch(complain);
  else if (data.kind === "rate") perSecond = data.perSecond;
  else if (room) send(room, data.text, data.priority, { gift: data.gift, p: data.priority }).catch(complain);
};

async function view({ ground, id, slow }: Extract<Order, { kind: "viewer" }>): Promise<void> {
  const client = await new Realtime(options(ground)).createIMClient(id);
  const counts: Counts = { high: 0, normal: 0, low: 0 };
  const wait = slow ? waiting() : undefined;
  let bullets: Bullet[] = [];
  let age = 0;
  let told = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const report = () => {
    clearTimeout(timer);
    timer = undefined;
    told = performance.now();
    tell({ kind: "seen", counts, age, bullets });
    bullets = [];
  };
  client.on(Event.MESSAGE as never, (message: Message) => {
    if (!(message instanceof TextMessage)) return;
    const priority = priorityOf(message);
    counts[priority] += 1;
    age = Math.max(0, Date.now() - Number(message.timestamp));
    if (bullets.length < BULLETS_MAX || priority === "high") bullets.push({ text: message.getText() ?? "", priority });
    if (performance.now() - told >= TELL_MILLIS) report();
    else timer ??= setTimeout(report, TELL_MILLIS);
    wait?.(SLOW_MILLIS);
  });
  room = (await client.getConversation(ground.room)) as ChatRoom;
  await room.join();
  client.on("reconnect", () => void room?.join().catch(complain));
  tell({ kind: "ready" });
}

async function flood({ ground, ids, lines }: Extract<Order, { kind: "bots" }>): Promise<void> {
  const realtime = new Realtime(options(ground));
  const rooms = await Promise.all(
    ids.map(async (id) => (await (await realtime.createIMClient(id)).getConversation(ground.room)) as ChatRoom),
  );
  tell({ kind: "ready" });
  let owed = 0;
  let last = performance.now();
  let sent = 0;
  let refused = 0;
  let number = 0;
  setInterval(() => {
    const now = performance.now();
    // A page in the background is woken once a second, and not to make up for everything at once.
    owed = Math.min(owed + (perSecond * (now - last)) / 1_000, perSecond / 2);
    last = now;
    for (; owed >= 1; owed -= 1) {
      number += 1;
      const priority: Priority = number % 25 === 0 ? "high" : number % 5 < 3 ? "low" : "normal";
      const text = lines[priority][Math.floor(Math.random() * lines[priority].length)] ?? "";
      send(rooms[number % rooms.length]!, text, priority, { gift: priority === "high", p: priority, extras: EXTRAS }).then(
        () => (sent += 1),
        () => (refused += 1),
      );
    }
  }, TICK_MILLIS);
  setInterval(() => tell({ kind: "sent", sent, refused }), 500);
}

function send(to: ChatRoom, text: string, priority: Priority, attributes: object): Promise<unknown> {
  const message = new TextMessage(text);
  message.setAttributes(attributes);
  return to.send(message, { priority: PRIORITIES[priority] });
}

function priorityOf(message: TextMessage): Priority {
  const named = (message.getAttributes() as { p?: string } | undefined)?.p;
  return named === "high" || named === "low" ? named : "normal";
}

/** Something that stops this thread for a while. */
function waiting(): (millis: number) => void {
  try {
    const cell = new Int32Array(new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }).buffer);
    return (millis) => void Atomics.wait(cell, 0, 0, millis);
  } catch {
    return (millis) => {
      const end = performance.now() + millis;
      while (performance.now() < end);
    };
  }
}
