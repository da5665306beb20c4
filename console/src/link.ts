/**
 * Whether the server can be reached. Calls report here; while nobody answers, one prober asks again, ever less often,
 * and everybody else waits for it: pages load again when it is back.
 */

import { useEffect, useState } from "preact/hooks";

const FIRST_MS = 1_000;
const MOST_MS = 30_000;

export interface Link {
  up: boolean;
  /** When it is asked again, milliseconds since the epoch; 0: right now. */
  retryAt: number;
  /** Grows each time that the server is back. */
  times: number;
}

let state: Link = { up: true, retryAt: 0, times: 0 };
let wait = FIRST_MS;
let timer: ReturnType<typeof setTimeout> | undefined;
const listeners = new Set<(link: Link) => void>();

function become(next: Link): void {
  state = next;
  for (const listener of listeners) listener(state);
}

/** A call got no answer. */
export function lost(): void {
  if (!state.up) return;
  wait = FIRST_MS;
  schedule();
}

/** A call got one. */
export function back(): void {
  if (state.up) return;
  clearTimeout(timer);
  become({ up: true, retryAt: 0, times: state.times + 1 });
}

/** Ask now. */
export async function probe(): Promise<void> {
  clearTimeout(timer);
  become({ ...state, up: false, retryAt: 0 });
  try {
    const response = await fetch("/console/api/session", { cache: "no-store", signal: AbortSignal.timeout(8_000) });
    if (response.status < 500) return back();
  } catch {
    // Not yet.
  }
  wait = Math.min(wait * 2, MOST_MS);
  schedule();
}

function schedule(): void {
  // Not all open consoles at the same moment.
  const pause = wait * (0.8 + Math.random() * 0.4);
  become({ ...state, up: false, retryAt: Date.now() + pause });
  timer = setTimeout(() => void probe(), pause);
}

/** What is known of it; the caller is drawn again when that changes. */
export function useLink(): Link {
  const [known, setKnown] = useState(state);
  useEffect(() => {
    listeners.add(setKnown);
    setKnown(state);
    return () => void listeners.delete(setKnown);
  }, []);
  return known;
}
