/** Loading what a page shows, and doing what it asks for. */

import { useCallback, useEffect, useRef, useState } from "preact/hooks";

import { useLink } from "./link";

export interface Loaded<T> {
  /** The latest that is known; what failed to load again stays as it was. */
  data: T | undefined;
  error: Error | undefined;
  loading: boolean;
  reload: () => void;
  /** Put what a call has answered in its place. */
  replace: (data: T) => void;
}

/** What `load` gives, loaded anew when `key` changes and when a lost server is back. */
export function useLoad<T>(key: string, load: (signal: AbortSignal) => Promise<T>): Loaded<T> {
  const [state, setState] = useState<{ key: string; data?: T; error?: Error; loading: boolean }>({
    key,
    loading: true,
  });
  const [asked, setAsked] = useState(0);
  const { times } = useLink();
  const latest = useRef(load);
  latest.current = load;

  useEffect(() => {
    const given = new AbortController();
    setState((old) => ({ key, data: old.key === key ? old.data : undefined, loading: true }));
    latest.current(given.signal).then(
      (data) => given.signal.aborted || setState({ key, data, loading: false }),
      (error: Error) => given.signal.aborted || setState((old) => ({ ...old, error, loading: false })),
    );
    return () => given.abort();
  }, [key, asked, times]);

  const reload = useCallback(() => setAsked((count) => count + 1), []);
  const replace = useCallback((data: T) => setState((old) => ({ key: old.key, data, loading: false })), []);
  // Between a new key and its effect, the old key's data would be shown under the new name.
  const data = state.key === key ? state.data : undefined;
  return { data, error: state.error, loading: state.loading, reload, replace };
}

/** Runs one thing at a time; `busy` while it is under way, `error` when it went wrong. */
export function useAction(): {
  busy: boolean;
  error: Error | undefined;
  clear: () => void;
  run: (work: () => Promise<unknown>) => Promise<boolean>;
} {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Error | undefined>();
  const running = useRef(false);
  const mounted = useRef(true);
  useEffect(() => () => void (mounted.current = false), []);
  const run = useCallback(async (work: () => Promise<unknown>) => {
    if (running.current) return false;
    running.current = true;
    setBusy(true);
    setError(undefined);
    try {
      await work();
      return true;
    } catch (problem) {
      if (mounted.current) setError(problem as Error);
      return false;
    } finally {
      running.current = false;
      if (mounted.current) setBusy(false);
    }
  }, []);
  return { busy, error, clear: useCallback(() => setError(undefined), []), run };
}
