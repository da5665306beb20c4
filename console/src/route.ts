/**
 * Which page is shown: `#/page/part/...?name=value`. Unsaved changes are asked about before a page is left; whoever
 * has some says so with `useGuard`.
 */

import { useEffect, useState } from "preact/hooks";

export interface Route {
  page: string;
  parts: string[];
  query: URLSearchParams;
}

export function parse(hash: string): Route {
  const [path = "", search = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [page = "", ...parts] = path.split("/").map(decoded);
  return { page: page || "live", parts: parts.filter(Boolean), query: new URLSearchParams(search) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

let suffix = "";

/** Links name the application once there are several, so that they can be passed on. */
export function nameApplication(id: string | null): void {
  suffix = id === null ? "" : `app=${encodeURIComponent(id)}`;
}

/** The address of a page; `query` is written as it is given. */
export function href(parts: string[], query: Record<string, string> = {}): string {
  const search = [new URLSearchParams(query).toString(), query["app"] === undefined ? suffix : ""]
    .filter(Boolean)
    .join("&");
  return `#/${parts.map(encodeURIComponent).join("/")}${search ? `?${search}` : ""}`;
}

export function go(address: string): void {
  location.hash = address;
}

/** Asks whether `stay` is to be given up; set by the one page that has something to lose. */
export interface Guard {
  /** Whether leaving for `next` loses something. */
  loses: (next: Route) => boolean;
  ask: (leave: () => void) => void;
}

let guard: Guard | null = null;
let shown = location.hash;
const listeners = new Set<(route: Route) => void>();

function arrive(): void {
  const next = location.hash;
  if (next === shown) return;
  if (guard?.loses(parse(next))) {
    history.replaceState(null, "", shown || "#/");
    guard.ask(() => {
      guard = null;
      location.hash = next;
    });
    return;
  }
  shown = next;
  for (const listener of listeners) listener(parse(next));
}

addEventListener("hashchange", arrive);
addEventListener("beforeunload", (event) => {
  if (guard?.loses({ page: "", parts: [], query: new URLSearchParams() })) event.preventDefault();
});

export function useRoute(): Route {
  const [route, setRoute] = useState(() => parse(location.hash));
  useEffect(() => {
    listeners.add(setRoute);
    return () => void listeners.delete(setRoute);
  }, []);
  return route;
}

/** While the caller is shown, leaving goes past `own`. */
export function useGuard(own: Guard): void {
  useEffect(() => {
    guard = own;
    return () => {
      if (guard === own) guard = null;
    };
  });
}
