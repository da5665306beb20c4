/**
 * An application's settings, a page for each table. What is edited is kept while one goes from table to table, and saved
 * together: all of it or nothing. The word filter, push and hooks have more to show beside their settings.
 */

import { useEffect, useRef, useState } from "preact/hooks";

import { changeSettings, Refused, settings as askSettings, type Setting, type SettingValue } from "../api";
import { usePlace } from "../context";
import { said, t } from "../i18n";
import { useAction, useLoad } from "../load";
import { Button, Card, Empty, Head, Loading, Problem } from "../parts/basics";
import { Dialog } from "../parts/dialog";
import { notice } from "../parts/notice";
import { href, useGuard } from "../route";
import { HooksPanel } from "./hooks";
import { PushPanel, StaticPush } from "./push";
import { SettingRow, toValue, type Edit } from "./setting";
import { WordsPanel } from "./words";

const STATIC = "push.static";
/** How push is sent; the rest of its table are devices' keys. */
const PUSH_RULES = new Set(["push.webhook", "push.retry_first_seconds", "push.retry_most_seconds", "push.at_once"]);

/** What is not saved, by application: it outlives a session that ends in the middle. */
const drafts = new Map<string, Record<string, Edit>>();

const tableOf = (name: string): string => name.split(".", 1)[0]!;

export function SettingsPage({ group }: { group: string }) {
  const { app } = usePlace();
  const loaded = useLoad(`settings ${app}`, (signal) => askSettings(app, signal));
  const [edits, setEdits] = useState<Record<string, Edit>>(() => drafts.get(app) ?? {});
  const [errors, setErrors] = useState<Record<string, string>>({});
  const [leave, setLeave] = useState<(() => void) | null>(null);
  const action = useAction();
  drafts.set(app, edits);
  const many = Object.keys(edits).length;
  const all = loaded.data?.settings ?? [];
  const tables = [...new Set(all.map((setting) => tableOf(setting.name)))];
  const current = tables.includes(group) ? group : (tables[0] ?? "");

  useGuard({
    loses: (next) => many > 0 && (next.page !== "settings" || (next.query.get("app") ?? app) !== app),
    ask: (go) => setLeave(() => go),
  });

  const edit = (setting: Setting, next: Edit | null) => {
    setEdits((old) => {
      const { [setting.name]: _, ...others } = old;
      return next === null ? others : { ...others, [setting.name]: next };
    });
    setErrors(({ [setting.name]: _, ...others }) => others);
    action.clear();
  };

  const save = async () => {
    const values: Record<string, SettingValue> = {};
    const found: Record<string, string> = {};
    for (const setting of all) {
      const own = edits[setting.name];
      if (!own) continue;
      const made = own.forget ? { value: null } : toValue(setting, own.raw);
      if ("error" in made) found[setting.name] = made.error;
      else values[setting.name] = made.value;
    }
    if (Object.keys(found).length) return point(found);
    await action.run(async () => {
      try {
        loaded.replace(await changeSettings(app, values));
      } catch (error) {
        if (error instanceof Refused && error.field && all.some((setting) => setting.name === error.field))
          return point({ [error.field]: error.message });
        throw error;
      }
      setEdits({});
      setErrors({});
      notice(t.settings.saved);
    });
  };

  /** Shows what is wrong where it is, going there first if need be. */
  const point = (found: Record<string, string>) => {
    setErrors(found);
    const first = Object.keys(found)[0]!;
    if (tableOf(first) !== current) location.hash = href(["settings", tableOf(first)]);
    setTimeout(() => document.getElementById(`setting-${first}`)?.focus(), 50);
  };

  const row = (setting: Setting) => (
    <SettingRow
      key={setting.name}
      setting={setting}
      edit={edits[setting.name]}
      error={errors[setting.name]}
      onEdit={(next) => edit(setting, next)}
    />
  );
  const of = all.filter((setting) => tableOf(setting.name) === current);
  const rows = (wanted: Setting[]) => <div class="setting-list">{wanted.map(row)}</div>;

  const body = () => {
    const title = said(t.settings.groups, current);
    if (current === "push") {
      const own = of.find((setting) => setting.name === STATIC);
      return (
        <>
          {own && (
            <StaticPush setting={own} edit={edits[STATIC]} error={errors[STATIC]} onEdit={(next) => edit(own, next)} />
          )}
          <PushPanel />
          <Card title={t.settings.rules} flush>
            {rows(of.filter((setting) => PUSH_RULES.has(setting.name)))}
          </Card>
          <Card title={t.settings.providers} flush>
            {rows(of.filter((setting) => setting.name !== STATIC && !PUSH_RULES.has(setting.name)))}
          </Card>
        </>
      );
    }
    return (
      <>
        <Card title={title} flush>
          {rows(of)}
        </Card>
        {current === "words" && (
          <WordsPanel isEnabled={of.find((setting) => setting.name === "words.enabled")?.value === true} />
        )}
        {current === "hooks" && <HooksPanel />}
      </>
    );
  };

  return (
    <>
      <Head title={t.settings.title} lead={t.settings.lead} />
      <Problem error={loaded.error} retry={loaded.reload} />
      {!loaded.data && !loaded.error && <Loading lines={8} />}
      {loaded.data && !all.length && <Empty icon="settings">{t.common.none}</Empty>}
      {all.length > 0 && (
        <div class="settings">
          <Tabs
            tables={tables}
            current={current}
            edited={new Set(Object.keys(edits).map(tableOf))}
            wrong={new Set(Object.keys(errors).map(tableOf))}
          />
          <div class="settings-body">{body()}</div>
        </div>
      )}
      {many > 0 && (
        <div class="save-bar" role="region" aria-label={t.settings.changed(many)}>
          <Problem error={action.error} />
          <div class="save-row">
            <p>{t.settings.changed(many)}</p>
            <Button
              onClick={() => {
                setEdits({});
                setErrors({});
                action.clear();
              }}
            >
              {t.common.discard}
            </Button>
            <Button kind="primary" busy={action.busy} onClick={() => void save()}>
              {t.common.save}
            </Button>
          </div>
        </div>
      )}
      {leave && (
        <Dialog title={t.settings.leave} onClose={() => setLeave(null)}>
          <p>{t.settings.leaveHow(many)}</p>
          <footer>
            <Button autofocus onClick={() => setLeave(null)}>
              {t.settings.stay}
            </Button>
            <Button
              kind="danger"
              onClick={() => {
                drafts.delete(app);
                setEdits({});
                leave();
              }}
            >
              {t.settings.leaveNow}
            </Button>
          </footer>
        </Dialog>
      )}
    </>
  );
}

function Tabs({
  tables,
  current,
  edited,
  wrong,
}: {
  tables: string[];
  current: string;
  edited: Set<string>;
  wrong: Set<string>;
}) {
  const list = useRef<HTMLUListElement>(null);
  // On a phone the list is one row that scrolls.
  useEffect(() => {
    const element = list.current?.querySelector<HTMLElement>("[aria-current]");
    const box = list.current;
    if (element && box) box.scrollLeft = element.offsetLeft - box.offsetLeft - 16;
  }, [current]);
  return (
    <nav class="tabs" aria-label={t.settings.title}>
      <ul ref={list}>
        {tables.map((table) => (
          <li key={table}>
            <a href={href(["settings", table])} aria-current={table === current ? "page" : undefined}>
              {said(t.settings.groups, table)}
              {(edited.has(table) || wrong.has(table)) && <span class={wrong.has(table) ? "dot bad" : "dot accent"} />}
            </a>
          </li>
        ))}
      </ul>
    </nav>
  );
}
