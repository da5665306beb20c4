/**
 * The console's calls, typed. What goes wrong comes out as one of two errors: `Refused`, the server said no, or
 * `Unreachable`, nobody answered. Whether the server can be reached at all is told by `link.ts`, whether somebody is
 * signed in by whoever set `onSignedOut`.
 */

import * as link from "./link";

export interface Session {
  set_up: boolean;
  signed_in: boolean;
  version: string;
  expires_at?: number;
}

export interface Percentiles {
  p50: number | null;
  p99: number | null;
  count: number;
}

export type Priority = "high" | "normal" | "low";

export interface TopRoom {
  app: string;
  id: string;
  name: string;
  readers: number;
  messages: number;
  owed: number;
  written: number;
  shed: Partial<Record<Priority, Record<string, number>>>;
  refused: Record<string, number>;
}

export interface Live {
  at: number;
  since: number;
  connections: { tcp: number; websocket: number };
  sessions: number;
  rooms: number;
  totals: {
    sends: number;
    deliveries: number;
    room_deliveries: number;
    shed: number;
    pushes: number;
    hook_calls: number;
    refusals: number;
  };
  ack_ms: Percentiles;
  commit_ms: Percentiles;
  lag_ms: { last: number; p99: number | null };
  memory_bytes: number;
  console_cpu_share: number;
  top_rooms: TopRoom[];
}

export interface Application {
  id: string;
  key: string;
  master_key_hint: string;
  created_at?: number | null;
  sessions: number;
  settings_stored: number;
}

export interface Keys {
  key: string;
  master_key: string;
  hook_key: string;
}

export type KeyName = keyof Keys;

export type ConversationKind = "normal" | "room" | "service" | "temporary";

export interface ConversationLine {
  id: string;
  kind: ConversationKind;
  name: string | null;
  creator: string | null;
  created_at: number | null;
  updated_at: number | null;
  members?: number | null;
  last_message_at?: number | null;
}

export interface Member {
  client_id: string;
  role?: string | null;
  online?: boolean;
  muted?: boolean;
  silenced?: boolean;
}

/** A client id, with when it ends where it ends by itself. */
export type Held = string | { client_id: string; until?: number | null };

export interface Conversation extends Omit<ConversationLine, "members"> {
  attributes?: Record<string, unknown> | null;
  members?: Member[];
  member_count?: number;
  online?: { count: number; sample?: string[] } | number | null;
  silenced?: Held[];
  blocked?: Held[];
  ledger?: Record<string, unknown> | null;
}

export interface Message {
  id: string;
  timestamp: number;
  from: string;
  binary?: boolean;
  text?: string | null;
  data?: string | null;
  type?: string | number | null;
  recalled?: boolean;
  patched_at?: number | null;
  mentions?: string[];
  mention_all?: boolean;
  receipt?: boolean;
  address?: string | null;
}

export interface ClientSession {
  tag?: string | null;
  address?: string | null;
  since?: number | null;
  door?: string | null;
}

export interface Client {
  online: boolean;
  sessions: ClientSession[];
}

export interface Step {
  at: number;
  what: string;
  [fact: string]: unknown;
}

export interface Story {
  id: string;
  found: boolean;
  durable?: Record<string, unknown> | null;
  steps: Step[];
  /** Steps that there were too many of. */
  left_out?: number;
}

export type SettingValue = boolean | number | string | null | unknown[] | Record<string, unknown>;

export interface Setting {
  name: string;
  kind: string;
  line: string;
  type: "bool" | "int" | "float" | "text" | "secret" | "json" | "list";
  default: SettingValue;
  value: SettingValue;
  set?: boolean;
  source: "default" | "file" | "stored" | "pinned";
  /** Whether it can be set here at all; what names files of the server's cannot. */
  storable?: boolean;
  choices?: string[] | null;
}

export interface WordHit {
  word: string;
  line?: number;
  count: number;
}

export interface Words {
  source: "file" | "stored" | null;
  /** The stored list, where it is short. */
  text?: string | null;
  /** The list itself, or how many words it has. */
  words: string | number | string[];
  statistics: {
    enabled?: boolean;
    words?: number;
    loaded_at?: number;
    texts?: number;
    masked?: number;
    hits?: WordHit[];
  };
}

export interface TriedWords {
  masked: string;
  hits: { word: string; start: number; end: number }[];
}

export interface HookState {
  name: string;
  defined: boolean | string | null;
  breaker_open: boolean;
  calls: Record<string, number>;
}

export interface Hooks {
  engines: { name: string; defined: string[] }[];
  hooks: HookState[];
  recent: { at: number; hook: string; engine: string; milliseconds: number; outcome: string; problem?: string }[];
}

export interface HookTest {
  milliseconds: number;
  outcome: string;
  problem?: string;
  answer?: unknown;
}

export interface Push {
  providers: { name: string; paused: boolean | number | null; sent: number; failed: number }[];
  waiting: Record<string, number>;
}

export interface PushPreview {
  ios?: unknown;
  android?: unknown;
  webhook?: unknown;
}

export interface AuditLine {
  at: number;
  address: string;
  what: string;
  application?: string | null;
  detail?: unknown;
}

/** The server understood and will not do it. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
    /** LeanCloud's number of the error, where it has one. */
    readonly code?: number,
    /** What in the request it is about: a setting's name, a parameter. */
    readonly field?: string,
    /** Seconds until it may be asked again. */
    readonly retryAfter?: number,
  ) {
    super(message);
  }
}

/** Nobody answered, or not in time. */
export class Unreachable extends Error {}

const BASE = "/console/api";

/** Longer than any call of the console takes, shorter than an operator's patience. */
const DEADLINE_MS = 20_000;

let signedOut: () => void = () => {};

/** `told` is called whenever a call finds that the session has ended. */
export function onSignedOut(told: () => void): void {
  signedOut = told;
}

async function call<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const headers: Record<string, string> = { Accept: "application/json" };
  // Together with the cookie's SameSite it keeps other sites' forms out: they cannot set a header.
  if (method !== "GET") headers["X-Fastim-Console"] = "1";
  const isText = typeof body === "string";
  if (body !== undefined) headers["Content-Type"] = isText ? "text/plain; charset=utf-8" : "application/json";
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  let response: Response;
  let text: string;
  try {
    response = await fetch(BASE + path, {
      method,
      headers,
      body: body === undefined ? undefined : isText ? body : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error",
      signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
    });
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    link.lost();
    throw new Unreachable();
  }
  // A proxy in front answers for a server that is down.
  if (response.status === 502 || response.status === 503 || response.status === 504) {
    if (parsed(text)?.error === undefined) {
      link.lost();
      throw new Unreachable();
    }
  }
  link.back();
  if (response.ok) return (text === "" ? null : JSON.parse(text)) as T;
  const said = parsed(text);
  if (response.status === 401 && !ENTRANCE.has(path)) signedOut();
  const wait = Number(response.headers.get("Retry-After"));
  throw new Refused(
    response.status,
    said?.error ?? `${response.status} ${response.statusText}`.trim(),
    said?.code,
    said?.field,
    Number.isFinite(wait) && wait > 0 ? wait : undefined,
  );
}

/** Calls whose 401 says "wrong password", and nothing about the session. */
const ENTRANCE = new Set(["/session", "/setup", "/sign-in", "/sign-out", "/password"]);

function parsed(text: string): { error?: string; code?: number; field?: string } | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : null;
  } catch {
    return null;
  }
}

function query(parameters: Record<string, string | number | undefined>): string {
  const filled = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== "");
  return filled.length ? `?${new URLSearchParams(filled.map(([name, value]) => [name, String(value)]))}` : "";
}

const get = <T>(path: string, signal?: AbortSignal) => call<T>("GET", path, undefined, signal);
const post = <T = unknown>(path: string, body: object = {}) => call<T>("POST", path, body);
const at = encodeURIComponent;

// --- Entrance --------------------------------------------------------------------------------------------------------

export const session = (signal?: AbortSignal) => get<Session>("/session", signal);
export const setUp = (token: string, password: string) => post("/setup", { token, password });
export const signIn = (password: string) => post("/sign-in", { password });
export const signOut = () => post("/sign-out");
export const changePassword = (old: string, chosen: string) => post("/password", { old, new: chosen });

// --- Server ----------------------------------------------------------------------------------------------------------

export const live = (signal?: AbortSignal) => get<Live>("/live", signal);
export const audit = (limit: number, signal?: AbortSignal) => get<AuditLine[]>(`/audit${query({ limit })}`, signal);

// --- Applications ----------------------------------------------------------------------------------------------------

const of = (app: string) => `/applications/${at(app)}`;

export const applications = (signal?: AbortSignal) => get<Application[]>("/applications", signal);
export const createApplication = (id: string) => post<Keys & { id: string }>("/applications", id ? { id } : {});
export const keys = (app: string) => get<Keys>(`${of(app)}/keys`);
export const rotateKey = (app: string, which: KeyName) => post<Keys>(`${of(app)}/keys`, { which });

// --- Conversations ---------------------------------------------------------------------------------------------------

const talk = (app: string, id: string) => `${of(app)}/conversations/${at(id)}`;

export const conversations = (
  app: string,
  wanted: { search?: string; kind?: string; limit?: number; skip?: number },
  signal?: AbortSignal,
) => get<{ conversations: ConversationLine[]; more: boolean }>(`${of(app)}/conversations${query(wanted)}`, signal);

export const conversation = (app: string, id: string, signal?: AbortSignal) => get<Conversation>(talk(app, id), signal);

export const messages = (
  app: string,
  id: string,
  before?: { timestamp: number; id: string },
  signal?: AbortSignal,
  limit = 50,
) =>
  get<{ messages: Message[]; more: boolean }>(
    `${talk(app, id)}/messages${query({ before_timestamp: before?.timestamp, before_id: before?.id, limit })}`,
    signal,
  );

export const send = (app: string, id: string, message: { from: string; text: string; priority?: Priority }) =>
  post(`${talk(app, id)}/messages`, message);
export const recall = (app: string, id: string, message: Message) =>
  post(`${talk(app, id)}/messages/${at(message.id)}/recall`, { timestamp: message.timestamp, from: message.from });
export const removeMember = (app: string, id: string, clientId: string) =>
  post(`${talk(app, id)}/members/remove`, { client_id: clientId });
export const silence = (app: string, id: string, clientId: string, silenced: boolean, seconds?: number) =>
  post(`${talk(app, id)}/silence`, { client_id: clientId, silenced, ...(seconds ? { seconds } : {}) });
export const block = (app: string, id: string, clientId: string, blocked: boolean) =>
  post(`${talk(app, id)}/block`, { client_id: clientId, blocked });

export const client = (app: string, clientId: string, signal?: AbortSignal) =>
  get<Client>(`${of(app)}/clients/${at(clientId)}`, signal);
export const kick = (app: string, clientId: string, reason: string) =>
  post(`${of(app)}/clients/${at(clientId)}/kick`, reason ? { reason } : {});

export const story = (app: string, messageId: string, conversationId: string, signal?: AbortSignal) =>
  get<Story>(`${of(app)}/messages/${at(messageId)}/story${query({ conversation_id: conversationId })}`, signal);

// --- Configuration ---------------------------------------------------------------------------------------------------

export const settings = (app: string, signal?: AbortSignal) =>
  get<{ settings: Setting[] }>(`${of(app)}/settings`, signal);
/** All or nothing. `null` forgets what is stored. */
export const changeSettings = (app: string, values: Record<string, SettingValue>) =>
  call<{ settings: Setting[] }>("PUT", `${of(app)}/settings`, values);

export const words = (app: string, signal?: AbortSignal) => get<Words>(`${of(app)}/words`, signal);
export const storeWords = (app: string, list: string) => call<unknown>("PUT", `${of(app)}/words`, list);
export const forgetWords = (app: string) => call<unknown>("DELETE", `${of(app)}/words`);
export const tryWords = (app: string, text: string) => post<TriedWords>(`${of(app)}/words/try`, { text });

export const hooks = (app: string, signal?: AbortSignal) => get<Hooks>(`${of(app)}/hooks`, signal);
export const testHook = (app: string, hook: string) => post<HookTest>(`${of(app)}/hooks/test`, { hook });

export const push = (app: string, signal?: AbortSignal) => get<Push>(`${of(app)}/push`, signal);
export const previewPush = (app: string, from: { text?: string; static?: string }) =>
  post<PushPreview>(`${of(app)}/push/preview`, from);
export const testPush = (app: string, to: { installation_id?: string; client_id?: string; text: string }) =>
  post<{ outcome: string; says?: string | null }>(`${of(app)}/push/test`, to);
