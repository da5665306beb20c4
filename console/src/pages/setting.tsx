/** One setting: what it does, a control that fits its type, and where its value comes from. */

import type { ComponentChildren } from "preact";

import type { Setting, SettingValue } from "../api";
import { said, settingKind, settingLine, t } from "../i18n";
import { Badge, Button, type Tone } from "../parts/basics";
import { Icon } from "../parts/icon";

/** What is not saved yet. */
export type Edit = { forget: true; raw?: undefined } | { forget?: false; raw: string | boolean };

const SOURCES: Record<Setting["source"], Tone> = { default: "plain", file: "accent", stored: "good", pinned: "warn" };

const isEmpty = (value: SettingValue) => value === "" || value === null || (Array.isArray(value) && value.length === 0);

/** Lists of tables are written as JSON, all other lists a line each. */
const isOfTables = (setting: Setting): boolean =>
  /tables/.test(setting.kind) ||
  [setting.value, setting.default].some((list) => Array.isArray(list) && list.some((one) => typeof one === "object"));

const optionsOf = (setting: Setting): string[] | null =>
  setting.choices ?? /^one of (.+)$/.exec(setting.kind)?.[1]?.split(/,\s*/) ?? null;

function boundsOf(setting: Setting): { min?: string; max?: string } {
  const found = /number.* (from|above) (\S+) to (\S+)$/.exec(setting.kind);
  return found ? { min: found[2], max: found[3] } : {};
}

/** As it is shown in its control. */
export function rawOf(setting: Setting, value: SettingValue = setting.value): string | boolean {
  if (setting.type === "bool") return value === true;
  if (value === null || value === undefined) return "";
  if (setting.type === "list" && Array.isArray(value))
    return isOfTables(setting) ? (value.length ? JSON.stringify(value, null, 2) : "") : value.join("\n");
  return typeof value === "object" ? JSON.stringify(value, null, 2) : String(value);
}

/** What the server is told, or why it cannot be told so. The server has the last word. */
export function toValue(setting: Setting, raw: string | boolean): { value: SettingValue } | { error: string } {
  if (typeof raw === "boolean") return { value: raw };
  const text = raw.trim();
  if (setting.type === "int" || setting.type === "float") {
    const value = Number(text);
    if (text === "" || !Number.isFinite(value) || (setting.type === "int" && !Number.isInteger(value)))
      return { error: t.settings.notNumber };
    const { min, max } = boundsOf(setting);
    if ((min !== undefined && value < Number(min)) || (max !== undefined && value > Number(max)))
      return { error: t.settings.bounds(min ?? "", max ?? "") };
    return { value };
  }
  if (setting.type === "list") {
    if (!isOfTables(setting))
      return {
        value: text
          .split("\n")
          .map((line) => line.trim())
          .filter(Boolean),
      };
    return text === "" ? { value: [] } : parsed(text, (value) => value);
  }
  if (setting.type === "json") {
    if (text === "") return { value: "" };
    // Kept as the operator has laid it out, where the server keeps text.
    return parsed(text, (value) => (typeof setting.default === "string" ? raw : value));
  }
  return { value: raw };
}

function parsed(
  text: string,
  take: (value: SettingValue) => SettingValue,
): { value: SettingValue } | { error: string } {
  try {
    return { value: take(JSON.parse(text) as SettingValue) };
  } catch (error) {
    return { error: t.settings.notJson((error as Error).message) };
  }
}

export function SettingRow({
  setting,
  edit,
  error,
  onEdit,
  children,
}: {
  setting: Setting;
  edit: Edit | undefined;
  error: string | undefined;
  onEdit: (edit: Edit | null) => void;
  /** Takes the place of the control's hint. */
  children?: ComponentChildren;
}) {
  const id = `setting-${setting.name}`;
  const isPinned = setting.source === "pinned";
  const isFixed = isPinned || setting.storable === false;
  const raw = edit ? (edit.forget ? rawOf(setting, setting.default) : edit.raw) : rawOf(setting);
  const describedBy = [`${id}-name`, error ? `${id}-error` : "", isFixed ? `${id}-fixed` : ""]
    .filter(Boolean)
    .join(" ");
  const change = (next: string | boolean) =>
    onEdit(
      next === rawOf(setting) && setting.type !== "secret"
        ? null
        : next === "" && setting.type === "secret"
          ? null
          : { raw: next },
    );
  const common = { id, disabled: isFixed, "aria-describedby": describedBy, "aria-invalid": error ? true : undefined };
  const isLong = setting.type === "json" || setting.type === "list";
  return (
    <div class={`setting ${edit ? "edited" : ""} ${isLong ? "long" : ""} ${setting.type === "bool" ? "brief" : ""}`}>
      <div class="setting-text">
        <label for={id}>{settingLine(setting.name, setting.line)}</label>
        <p class="setting-name" id={`${id}-name`}>
          <span class="code">{setting.name}</span> <span class="faint">{settingKind(setting.kind)}</span>
        </p>
      </div>
      <div class="setting-value">
        <Control setting={setting} raw={raw} common={common} onChange={change} />
        {error && (
          <p class="field-error" id={`${id}-error`} role="alert" dir="auto">
            {error}
          </p>
        )}
        <div class="setting-source">
          {isPinned && <Icon name="pin" />}
          <Badge tone={SOURCES[setting.source]} title={said(t.settings.sourceHints, setting.source)}>
            {said(t.settings.sources, setting.source)}
          </Badge>
          {edit ? (
            <>
              {edit.forget && <span class="faint">{t.settings.forgotten}</span>}
              <Button kind="quiet" small onClick={() => onEdit(null)}>
                {t.settings.undo}
              </Button>
            </>
          ) : (
            <>
              {setting.source !== "default" && setting.type !== "secret" && !isLong && (
                <span class="faint">{t.settings.isDefault(shown(setting))}</span>
              )}
              {setting.source === "stored" && (
                <Button kind="quiet" small onClick={() => onEdit({ forget: true })}>
                  {t.settings.forget}
                </Button>
              )}
            </>
          )}
        </div>
        {isFixed && (
          <p class="hint" id={`${id}-fixed`}>
            {isPinned ? t.settings.pinned : t.settings.notStorable}
          </p>
        )}
        {children}
      </div>
    </div>
  );
}

function shown(setting: Setting): string {
  if (typeof setting.default === "boolean") return setting.default ? t.common.on : t.common.off;
  return isEmpty(setting.default) ? t.settings.empty : String(setting.default);
}

interface Common {
  id: string;
  disabled: boolean;
  "aria-describedby": string;
  "aria-invalid": boolean | undefined;
}

function Control({
  setting,
  raw,
  common,
  onChange,
}: {
  setting: Setting;
  raw: string | boolean;
  common: Common;
  onChange: (raw: string | boolean) => void;
}) {
  if (typeof raw === "boolean") {
    return (
      <span class="switch">
        <input
          {...common}
          type="checkbox"
          role="switch"
          checked={raw}
          onChange={(event) => onChange(event.currentTarget.checked)}
        />
        <span aria-hidden="true">{raw ? t.common.on : t.common.off}</span>
      </span>
    );
  }
  const options = optionsOf(setting);
  if (options) {
    return (
      <select {...common} value={raw} onChange={(event) => onChange(event.currentTarget.value)}>
        {options.map((option) => (
          <option key={option} value={option}>
            {option}
          </option>
        ))}
      </select>
    );
  }
  if (setting.type === "int" || setting.type === "float") {
    return (
      <input
        {...common}
        inputMode={setting.type === "int" ? "numeric" : "decimal"}
        autocomplete="off"
        class="number"
        value={raw}
        onInput={(event) => onChange(event.currentTarget.value)}
      />
    );
  }
  if (setting.type === "secret") {
    return (
      <input
        {...common}
        type="password"
        autocomplete="new-password"
        placeholder={setting.set ? t.settings.secretSet : t.settings.secretUnset}
        value={raw}
        onInput={(event) => onChange(event.currentTarget.value)}
      />
    );
  }
  if (setting.type === "json" || setting.type === "list") {
    const lines = raw.split("\n").length;
    return (
      <textarea
        {...common}
        class="code"
        spellcheck={false}
        rows={Math.min(12, Math.max(setting.type === "json" ? 4 : 2, lines))}
        placeholder={setting.type === "list" && !isOfTables(setting) ? t.settings.onePerLine : "[]"}
        value={raw}
        onInput={(event) => onChange(event.currentTarget.value)}
      />
    );
  }
  return (
    <input
      {...common}
      dir="auto"
      autocomplete="off"
      spellcheck={false}
      placeholder={t.settings.empty}
      value={raw}
      onInput={(event) => onChange(event.currentTarget.value)}
    />
  );
}
