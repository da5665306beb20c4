/** The small pieces that every page is made of. */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";

import { Refused, Unreachable } from "../api";
import { exactly, machine, moment } from "../format";
import { t } from "../i18n";
import { Icon, type IconName } from "./icon";

export type Tone = "plain" | "good" | "warn" | "bad" | "accent";

export function Button({
  kind = "plain",
  icon,
  busy = false,
  small = false,
  children,
  ...rest
}: {
  kind?: "plain" | "primary" | "danger" | "quiet";
  icon?: IconName;
  busy?: boolean;
  small?: boolean;
  children?: ComponentChildren;
} & Omit<JSX.IntrinsicElements["button"], "icon">) {
  return (
    <button
      type="button"
      {...rest}
      class={`button ${kind} ${small ? "small" : ""}`}
      aria-busy={busy || undefined}
      aria-disabled={busy || undefined}
    >
      {icon && <Icon name={icon} />}
      {children !== undefined && <span>{children}</span>}
    </button>
  );
}

/** A button that is an icon alone; `label` is its name. */
export function IconButton({
  icon,
  label,
  ...rest
}: { icon: IconName; label: string } & Omit<JSX.IntrinsicElements["button"], "icon" | "label">) {
  return (
    <button type="button" {...rest} class="icon-button" aria-label={label} title={label}>
      <Icon name={icon} />
    </button>
  );
}

export function Badge({
  tone = "plain",
  title,
  children,
}: {
  tone?: Tone;
  title?: string;
  children: ComponentChildren;
}) {
  return (
    <span class={`badge ${tone}`} title={title}>
      {children}
    </span>
  );
}

/** What somebody else wrote: shown as text, in its own direction. */
export function Theirs({ text, code = false }: { text: string; code?: boolean }) {
  return <bdi class={code ? "theirs code" : "theirs"}>{text}</bdi>;
}

export function Time({ at, exact = false }: { at: number | null | undefined; exact?: boolean }) {
  if (!at) return <span class="faint">–</span>;
  return (
    <time dateTime={machine(at)} title={exactly(at)}>
      {exact ? exactly(at) : moment(at)}
    </time>
  );
}

export function sentence(error: Error): string {
  if (error instanceof Unreachable) return t.common.unreachable;
  if (error instanceof Refused) {
    if (error.status === 429 && error.retryAfter) return t.common.locked(error.retryAfter);
    return error.code ? `${error.message} (${t.common.code(error.code)})` : error.message;
  }
  return t.common.expected;
}

export function Problem({ error, retry, id }: { error: Error | undefined; retry?: () => void; id?: string }) {
  if (!error) return null;
  return (
    <div class="problem" role="alert" id={id}>
      <Icon name="alert" />
      <p dir="auto">{sentence(error)}</p>
      {retry && (
        <Button small onClick={retry}>
          {t.common.tryAgain}
        </Button>
      )}
    </div>
  );
}

/** Says nothing for the first 300 ms: most answers are faster. Keeps the room that the content will take. */
export function Loading({ lines = 4 }: { lines?: number }) {
  return (
    <div class="loading" role="status">
      <span class="unseen">{t.common.loading}</span>
      {Array.from({ length: lines }, (_, line) => (
        <span key={line} class="bone" />
      ))}
    </div>
  );
}

export function Empty({ icon, children }: { icon: IconName; children: ComponentChildren }) {
  return (
    <div class="empty">
      <Icon name={icon} />
      <div>{children}</div>
    </div>
  );
}

export function Card({
  title,
  hint,
  side,
  children,
  flush = false,
  level = 2,
}: {
  title?: ComponentChildren;
  hint?: ComponentChildren;
  side?: ComponentChildren;
  children?: ComponentChildren;
  flush?: boolean;
  level?: 2 | 3;
}) {
  const id = useId();
  const Heading = `h${level}` as "h2" | "h3";
  return (
    <section class={flush ? "card flush" : "card"} aria-labelledby={title ? id : undefined}>
      {title && (
        <header>
          <div>
            <Heading id={id}>{title}</Heading>
            {hint && <p class="hint">{hint}</p>}
          </div>
          {side && <div class="side-actions">{side}</div>}
        </header>
      )}
      {children}
    </section>
  );
}

/** A page's heading; what stands in the window's title, too. */
export function Head({
  title,
  lead,
  children,
  back,
}: {
  title: string;
  lead?: ComponentChildren;
  children?: ComponentChildren;
  back?: string;
}) {
  useEffect(() => {
    document.title = t.title(title);
  }, [title]);
  return (
    <header class="page-head">
      {back && (
        <a class="icon-button" href={back} aria-label={t.common.back} title={t.common.back}>
          <Icon name="back" />
        </a>
      )}
      <div class="page-title">
        <h1 tabIndex={-1}>
          <bdi>{title}</bdi>
        </h1>
        {lead && <p class="hint">{lead}</p>}
      </div>
      {children && <div class="page-actions">{children}</div>}
    </header>
  );
}

export function Copy({ text, label }: { text: string; label: string }) {
  const [copied, setCopied] = useState(false);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const copy = async () => {
    if (!(await copyText(text))) return;
    setCopied(true);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setCopied(false), 1_500);
  };
  return (
    <IconButton
      icon={copied ? "check" : "copy"}
      label={copied ? t.common.copied : `${t.common.copy}: ${label}`}
      onClick={() => void copy()}
    />
  );
}

/** The clipboard's interface is there over TLS and on loopback alone; elsewhere the old command has to do. */
async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "unseen";
    // Inside an open dialog everything else is inert.
    (document.querySelector("dialog[open]") ?? document.body).append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}

/** Pairs of a name and what it is. */
export function Facts({ children }: { children: ComponentChildren }) {
  return <dl class="facts">{children}</dl>;
}

export function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

export function Json({ value, label }: { value: unknown; label: string }) {
  return (
    <pre class="json" tabIndex={0} role="group" aria-label={label} dir="auto">
      {typeof value === "string" ? value : JSON.stringify(value, null, 2)}
    </pre>
  );
}
