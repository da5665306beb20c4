/** Numbers, times and sizes as people read them, in the language that is chosen. */

import { language } from "./i18n";

const locale = () => (language() === "zh" ? "zh-CN" : "en-GB");

const made = new Map<string, Intl.NumberFormat | Intl.DateTimeFormat>();

function remembered<T extends Intl.NumberFormat | Intl.DateTimeFormat>(key: string, make: () => T): T {
  const name = `${locale()} ${key}`;
  const known = made.get(name) ?? make();
  made.set(name, known);
  return known as T;
}

export function count(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  return remembered("count", () => new Intl.NumberFormat(locale(), { maximumFractionDigits: 0 })).format(value);
}

/** With as many digits as say something: 0.42, 7.3, 12,345. */
export function figure(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const digits = value !== 0 && Math.abs(value) < 1 ? 2 : Math.abs(value) < 10 ? 1 : 0;
  return remembered(
    `figure ${digits}`,
    () => new Intl.NumberFormat(locale(), { maximumFractionDigits: digits }),
  ).format(value);
}

/** Short enough for an axis or a narrow column: 12k, 3.4M. */
export function compact(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (Math.abs(value) < 1_000) return figure(value);
  for (const [unit, size] of [
    ["G", 1e9],
    ["M", 1e6],
    ["k", 1e3],
  ] as const) {
    if (Math.abs(value) >= size)
      return `${(value / size).toFixed(Math.abs(value) < 10 * size ? 1 : 0).replace(/\.0$/, "")}${unit}`;
  }
  return String(value);
}

export function milliseconds(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  return value >= 10_000 ? `${figure(value / 1_000)} s` : `${figure(value)} ms`;
}

export function bytes(value: number): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 1_000 && unit < units.length - 1) {
    value /= 1_024;
    unit += 1;
  }
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;
}

const DAY_MS = 86_400_000;

/** A moment: the time alone for today's. */
export function moment(at: number | null | undefined): string {
  if (!at) return "–";
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return String(at);
  const isToday = date.toDateString() === new Date().toDateString();
  return remembered(
    `moment ${isToday}`,
    () =>
      new Intl.DateTimeFormat(
        locale(),
        isToday
          ? { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }
          : { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
      ),
  ).format(date);
}

/** A moment to the millisecond, for what is compared with logs. */
export function exactly(at: number): string {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return String(at);
  return remembered(
    "exactly",
    () =>
      new Intl.DateTimeFormat(locale(), {
        year: "numeric",
        month: "short",
        day: "numeric",
        hour: "2-digit",
        minute: "2-digit",
        second: "2-digit",
        fractionalSecondDigits: 3,
        hourCycle: "h23",
      }),
  ).format(date);
}

export function machine(at: number): string | undefined {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString();
}

/** How long: 42 s, 5 min, 3 h, 12 d. */
export function span(millis: number): string {
  const seconds = Math.max(0, Math.round(millis / 1_000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  if (millis < DAY_MS) return `${Math.floor(seconds / 3_600)} h ${Math.floor((seconds % 3_600) / 60)} min`;
  return `${Math.floor(millis / DAY_MS)} d ${Math.floor((millis % DAY_MS) / 3_600_000)} h`;
}

/** Text of somebody else's inside a sentence of ours: its direction stays its own. */
export const isolate = (text: string): string => `\u2068${text}\u2069`;
