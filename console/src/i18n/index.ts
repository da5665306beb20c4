/** The language that is shown: the browser's, unless the switch says otherwise. `t` is the dictionary in force. */

import { useEffect, useState } from "preact/hooks";

import { remember, remembered } from "../theme";
import { en } from "./en";
import { kindInChinese, linesInChinese } from "./settings";
import { zh } from "./zh";

export type Language = "en" | "zh";

const KEY = "fastim.language";
const listeners = new Set<(language: Language) => void>();

let chosen: Language = start();

/** What to say; read it while drawing, never keep it. */
export let t = chosen === "zh" ? zh : en;

function start(): Language {
  const stored = remembered(KEY);
  if (stored === "en" || stored === "zh") return stored;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

export const language = (): Language => chosen;

export function applyLanguage(): void {
  document.documentElement.lang = chosen === "zh" ? "zh-CN" : "en";
}

export function chooseLanguage(next: Language): void {
  chosen = next;
  t = next === "zh" ? zh : en;
  remember(KEY, next);
  applyLanguage();
  for (const listener of listeners) listener(next);
}

export function useLanguage(): Language {
  const [shown, setShown] = useState(chosen);
  useEffect(() => {
    listeners.add(setShown);
    return () => void listeners.delete(setShown);
  }, []);
  return shown;
}

/** A name that the server gives, in words where there are some: `said(t.story.steps, step.what)`. */
export function said(table: object, name: string): string {
  const words = Object.hasOwn(table, name) ? (table as Record<string, unknown>)[name] : undefined;
  return typeof words === "string" ? words : name;
}

/** What a setting does. The server says it in English, and knows settings that this page may not know. */
export const settingLine = (name: string, line: string): string =>
  chosen === "zh" ? (linesInChinese[name] ?? line) : line;

/** What a setting's value is: type, unit, bounds. */
export const settingKind = (kind: string): string => (chosen === "zh" ? kindInChinese(kind) : kind);
