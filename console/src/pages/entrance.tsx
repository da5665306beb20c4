/** What stands before the console: a card in the middle of nothing else. */

import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";

import { t } from "../i18n";
import { Mark } from "../parts/icon";
import { LanguageSwitch, ThemeSwitch } from "../shell";

export function Entrance({ title, lead, children }: { title: string; lead?: string; children?: ComponentChildren }) {
  useEffect(() => {
    document.title = title === t.product ? title : t.title(title);
  }, [title]);
  return (
    <main class="entrance">
      <div class="entrance-card">
        <div class="brand">
          <Mark />
          <b>{t.product}</b>
        </div>
        <h1>{title}</h1>
        {lead && <p class="hint">{lead}</p>}
        {children}
      </div>
      <div class="entrance-switches">
        <LanguageSwitch />
        <ThemeSwitch />
      </div>
    </main>
  );
}
