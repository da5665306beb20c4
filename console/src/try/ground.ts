/** Where this page plays: an application of its own, which the server makes for it. */

import { Refused, Unreachable } from "../api";

export interface Ground {
  application: { id: string; key: string };
  server: string;
  room: string;
  words: string[];
}

export interface Counts {
  high: number;
  normal: number;
  low: number;
}

export const PRIORITIES = ["high", "normal", "low"] as const;
export type Priority = (typeof PRIORITIES)[number];

export type Ledger = { readers: number } & Record<
  | "messages"
  | "refused_rate"
  | "refused_governor"
  | "owed"
  | "written"
  | "shed_age"
  | "shed_distance"
  | "shed_sample"
  | "shed_overrun"
  | "closed"
  | "torn"
  | "pending",
  Counts
>;

export const ask = (): Promise<Ground> => get("try");
export const askLedger = (): Promise<Ledger> => get("try/ledger");

/**
 * What a new Realtime of the SDK is told. Both addresses, or it looks one up on the internet. What it asks of the second
 * one, after a connection was lost, it asks over TLS alone: without that it does without.
 */
export function options(ground: Ground, wire = "") {
  const host = ground.server.replace(/^wss?:\/\//, "");
  return {
    appId: ground.application.id,
    appKey: ground.application.key,
    RTMServers: `${ground.server}/${wire && `?wire=${encodeURIComponent(wire)}`}`,
    server: { RTMRouter: host, api: host },
  };
}

async function get<T>(path: string): Promise<T> {
  let response: Response;
  try {
    response = await fetch(`/console/api/${path}`, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(10_000) });
  } catch {
    throw new Unreachable();
  }
  const body = (await response.json().catch(() => ({}))) as { error?: string };
  if (!response.ok) throw new Refused(response.status, body.error ?? response.statusText);
  return body as T;
}
