/** Dark or light: what the system prefers, unless the switch says otherwise. */

import { useEffect, useState } from "preact/hooks";

export type Theme = "light" | "dark";

const KEY = "fastim.theme";
const preference = matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set<(theme: Theme) => void>();

function chosen(): Theme | null {
  const stored = remembered(KEY);
  return stored === "light" || stored === "dark" ? stored : null;
}

function current(): Theme {
  return chosen() ?? (preference.matches ? "dark" : "light");
}

/** Before anything is drawn, so that nothing flashes. */
export function applyTheme(): void {
  const theme = current();
  document.documentElement.dataset["theme"] = theme;
  for (const listener of listeners) listener(theme);
}

export function choose(theme: Theme): void {
  // What the system prefers anyway is not remembered: the console then follows it again.
  remember(KEY, theme === (preference.matches ? "dark" : "light") ? null : theme);
  applyTheme();
}

export function useTheme(): Theme {
  const [theme, setTheme] = useState(current);
  useEffect(() => {
    listeners.add(setTheme);
    return () => void listeners.delete(setTheme);
  }, []);
  return theme;
}

preference.addEventListener("change", applyTheme);

/** What this browser keeps for the console; nothing where storage is off. */
export function remembered(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

/** `null` forgets. */
export function remember(key: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // Storage is off: the choice lasts as long as the page.
  }
}
