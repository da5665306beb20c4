/** One of the two who talk: everything goes through the official SDK, as an app would do it. */

import { mend, pull } from "./cable";
import { Event, Realtime, RecalledMessage, TextMessage, TypedMessage, messageType } from "leancloud-realtime";
import type { Conversation, IMClient, Message } from "leancloud-realtime";

import { options, type Ground } from "./ground";

/** What a patch says that comes from the word filter. */
const MASKED = -4408;
const TYPING_MILLIS = 4_000;
const TYPING_AGAIN_MILLIS = 2_000;
const HISTORY = 30;

/** A type of its own, as the SDK's guide makes them; sent as a transient message: nothing of it is kept. */
class TypingMessage extends TypedMessage {
  constructor() {
    super(undefined);
  }
}
messageType(1)(TypingMessage);

export interface Line {
  key: string;
  id: string;
  mine: boolean;
  text: string;
  at: number;
  state: "sending" | "sent" | "failed";
  recalled: boolean;
  edited: boolean;
  masked: boolean;
  mentioned: boolean;
  will: boolean;
}

export type Link = "starting" | "online" | "offline" | "retrying";
/** What somebody did or saw for the first time: the page keeps a list of that. */
export type Deed = "typing" | "receipt" | "mention" | "filter" | "edit" | "recall" | "unread" | "will";

export class Person {
  lines: Line[] = [];
  draft = "";
  editing: Line | null = null;
  link: Link = "starting";
  unplugged = false;
  peerTyping = false;
  looking = true;
  unread = 0;
  unreadMention = false;
  readAt = 0;
  deliveredAt = 0;
  trouble = "";
  will = false;
  peer!: Person;

  #realtime: Realtime | undefined;
  #conversation: Conversation | undefined;
  #originals = new Map<string, Message>();
  #patches = new Map<string, [Message, number]>();
  #typingSent = 0;
  #typingTimer: ReturnType<typeof setTimeout> | undefined;
  #serial = 0;

  constructor(
    readonly id: string,
    readonly name: () => string,
    readonly willText: () => string,
    readonly changed: () => void,
    readonly did: (deed: Deed) => void,
  ) {}

  /** Connect, and find the conversation with `peer`; with messages of before, if the page was loaded again. */
  async start(ground: Ground): Promise<void> {
    this.#realtime = new Realtime({ ...options(ground, this.id), plugins: [{ beforeMessageDispatch: (message) => this.#isForTheLog(message as Message) }] });
    this.#realtime.register(TypingMessage as never);
    this.#hearLink(this.#realtime);
    const client = await this.#realtime.createIMClient(this.id);
    this.#hear(client);
    this.link = "online";
    this.changed();
  }

  async meet(): Promise<void> {
    const client = await this.#client();
    const conversation = (await client.createConversation({ members: [this.peer.id], unique: true })) as Conversation;
    this.#conversation = conversation;
    conversation.on("lastreadatupdate", () => this.#receipts());
    conversation.on("lastdeliveredatupdate", () => this.#receipts());
    await this.#catchUp();
    await this.#leaveWill();
  }

  type(draft: string): void {
    this.draft = draft;
    this.changed();
    if (!draft.trim() || this.editing || Date.now() - this.#typingSent < TYPING_AGAIN_MILLIS) return;
    this.#typingSent = Date.now();
    void this.#conversation?.send(new TypingMessage(), { transient: true }).catch(() => undefined);
  }

  async submit(): Promise<void> {
    const text = this.draft.trim();
    const edited = this.editing;
    if (!text || !this.#conversation) return;
    this.draft = "";
    this.editing = null;
    this.#typingSent = 0;
    this.changed();
    await (edited ? this.#edit(edited, text) : this.#send(text));
  }

  edit(line: Line): void {
    this.editing = line;
    this.draft = line.text;
    this.changed();
  }

  stopEditing(): void {
    this.editing = null;
    this.draft = "";
    this.changed();
  }

  async recall(line: Line): Promise<void> {
    if (this.editing?.key === line.key) this.stopEditing();
    await this.#attempt(async () => {
      await this.#conversation?.recall({ id: line.id, timestamp: line.at });
      this.#replace(line.id, { recalled: true, text: "" });
    });
  }

  look(looking: boolean): void {
    this.looking = looking;
    if (looking) void this.#read();
    this.changed();
  }

  /** The connection is gone, and nothing says goodbye. */
  unplug(): void {
    this.unplugged = true;
    pull(this.id);
    this.changed();
  }

  plug(): void {
    this.unplugged = false;
    mend(this.id);
    this.changed();
    try {
      this.#realtime?.retry();
    } catch {
      // It is trying already.
    }
  }

  async #client(): Promise<IMClient> {
    if (!this.#realtime) throw new Error("not started");
    return this.#realtime.createIMClient(this.id);
  }

  async #send(text: string): Promise<void> {
    const message = new TextMessage(text);
    if (text.includes(`@${this.peer.name()}`)) message.setMentionList([this.peer.id]);
    const key = `own-${this.#serial++}`;
    this.lines = [...this.lines, { ...BLANK, key, mine: true, text, at: Date.now(), state: "sending" }];
    this.changed();
    try {
      await this.#conversation?.send(message, { receipt: true });
      this.#originals.set(message.id, message);
      this.#change((line) => line.key === key, { id: message.id, at: Number(message.timestamp), state: "sent" });
      const patch = this.#patches.get(message.id);
      if (patch) this.#patched(...patch);
    } catch (error) {
      this.#change((line) => line.key === key, { state: "failed" });
      this.#tell(error);
    }
  }

  async #edit(line: Line, text: string): Promise<void> {
    await this.#attempt(async () => {
      const message = new TextMessage(text);
      if (text.includes(`@${this.peer.name()}`)) message.setMentionList([this.peer.id]);
      await this.#conversation?.update({ id: line.id, timestamp: line.at } as never, message);
      this.#replace(line.id, { text, edited: true });
      // What the filter made of it may have been here before the answer.
      const patch = this.#patches.get(line.id);
      if (patch) this.#patched(...patch);
    });
  }

  async #attempt(what: () => Promise<void>): Promise<void> {
    try {
      this.trouble = "";
      await what();
    } catch (error) {
      this.#tell(error);
    }
  }

  #tell(error: unknown): void {
    this.trouble = error instanceof Error ? error.message : String(error);
    this.changed();
  }

  #hearLink(realtime: Realtime): void {
    const set = (link: Link) => () => {
      this.link = link;
      this.changed();
    };
    realtime.on("disconnect", set("offline"));
    realtime.on("schedule", set("retrying"));
    realtime.on("retry", set("retrying"));
  }

  #hear(client: IMClient): void {
    client.on("reconnect", () => {
      this.link = "online";
      this.changed();
      void this.#catchUp().then(() => this.#leaveWill());
    });
    client.on(Event.MESSAGE as never, (message: Message) => this.#received(message));
    client.on(Event.MESSAGE_UPDATE as never, (message: Message, _: unknown, reason?: { code: number }) => this.#heardPatch(message, reason?.code ?? 0));
    client.on(Event.MESSAGE_RECALL as never, (message: Message) => {
      this.#replace(message.id, { recalled: true, text: "" });
      this.did("recall");
    });
    client.on(Event.UNREAD_MESSAGES_COUNT_UPDATE as never, () => this.#countUnread());
  }

  /** The SDK would count what somebody types among the unread messages. */
  #isForTheLog(message: Message): boolean {
    if (!(message instanceof TypingMessage)) return true;
    this.#peerTypes(true);
    this.did("typing");
    return false;
  }

  #received(message: Message): void {
    this.#peerTypes(false);
    const line = lineOf(message, this.id);
    if (line.will) this.did("will");
    if (line.mentioned) this.did("mention");
    this.#merge([line]);
    this.#countUnread();
    if (this.looking) void this.#read();
  }

  #heardPatch(message: Message, code: number): void {
    this.#patches.set(message.id, [message, code]);
    this.#patched(message, code);
  }

  #patched(message: Message, code: number): void {
    const masked = code === MASKED;
    const known = this.lines.find((line) => line.id === message.id);
    if (!known) return;
    this.#patches.delete(message.id);
    const fresh = lineOf(message, this.id);
    this.#replace(message.id, { text: fresh.text, recalled: fresh.recalled, masked: masked || known.masked, edited: !masked || known.edited });
    this.did(masked ? "filter" : "edit");
  }

  #peerTypes(typing: boolean): void {
    clearTimeout(this.#typingTimer);
    if (typing) this.#typingTimer = setTimeout(() => this.#peerTypes(false), TYPING_MILLIS);
    if (this.peerTyping === typing) return;
    this.peerTyping = typing;
    this.changed();
  }

  #countUnread(): void {
    this.unread = Number(this.#conversation?.unreadMessagesCount ?? 0);
    this.unreadMention = Boolean(this.#conversation?.unreadMessagesMentioned) && this.unread > 0;
    if (this.unread && !this.looking) this.did("unread");
    this.changed();
  }

  async #read(): Promise<void> {
    if (this.link !== "online") return;
    await this.#conversation?.read().catch(() => undefined);
    this.#countUnread();
  }

  #receipts(): void {
    this.readAt = Number(this.#conversation?.lastReadAt ?? 0);
    this.deliveredAt = Number(this.#conversation?.lastDeliveredAt ?? 0);
    if (this.readAt) this.did("receipt");
    this.changed();
  }

  /** Messages that this device was not told of: the SDK leaves asking for them to the app. */
  async #catchUp(): Promise<void> {
    await this.#attempt(async () => {
      const messages = (await this.#conversation?.queryMessages({ limit: HISTORY } as never)) ?? [];
      this.#merge(messages.filter((one) => !(one instanceof TypingMessage)).map((one) => lineOf(one, this.id)));
      this.#countUnread();
      if (this.looking) await this.#read();
    });
  }

  async #leaveWill(): Promise<void> {
    const message = new TextMessage(this.willText());
    message.setAttributes({ will: true });
    await this.#attempt(async () => {
      await this.#conversation?.send(message, { will: true });
      this.will = true;
    });
    this.changed();
  }

  #merge(lines: Line[]): void {
    const known = new Map(this.lines.filter((line) => line.id).map((line) => [line.id, line]));
    const fresh = lines.filter((line) => !known.has(line.id));
    const changed = new Map(lines.filter((line) => known.has(line.id)).map((line) => [line.id, line]));
    this.lines = [...this.lines, ...fresh]
      .map((line) => {
        const now = changed.get(line.id);
        return now ? { ...line, text: now.text, recalled: now.recalled, edited: line.edited || now.text !== line.text } : line;
      })
      .sort((a, b) => a.at - b.at);
    this.changed();
  }

  #replace(id: string, change: Partial<Line>): void {
    this.#change((line) => line.id === id, change);
  }

  #change(which: (line: Line) => boolean, change: Partial<Line>): void {
    this.lines = this.lines.map((line) => (which(line) ? { ...line, ...change } : line));
    this.changed();
  }
}

const BLANK: Omit<Line, "key"> = {
  id: "",
  mine: false,
  text: "",
  at: 0,
  state: "sent",
  recalled: false,
  edited: false,
  masked: false,
  mentioned: false,
  will: false,
};

function lineOf(message: Message, me: string): Line {
  const text = message instanceof TextMessage ? (message.getText() ?? "") : "";
  const attributes = message instanceof TextMessage ? (message.getAttributes() as { will?: boolean } | undefined) : undefined;
  return {
    ...BLANK,
    key: message.id,
    id: message.id,
    mine: message.from === me,
    text,
    at: Number(message.timestamp),
    recalled: message instanceof RecalledMessage,
    mentioned: (message.mentionList ?? []).includes(me),
    will: attributes?.will === true,
  };
}
