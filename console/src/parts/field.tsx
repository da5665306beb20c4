/** Fields of forms: a label, a control, a hint and what is wrong with it, tied together for screen readers. */

import type { ComponentChildren } from "preact";
import { useId, useState } from "preact/hooks";

import { t } from "../i18n";

export interface Control {
  id: string;
  "aria-describedby": string | undefined;
  "aria-invalid": boolean | undefined;
}

export function Field({
  label,
  hint,
  error,
  children,
}: {
  label: ComponentChildren;
  hint?: ComponentChildren;
  error?: string | undefined;
  children: (control: Control) => ComponentChildren;
}) {
  const id = useId();
  const described = [hint ? `${id}-hint` : "", error ? `${id}-error` : ""].filter(Boolean).join(" ") || undefined;
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children({ id, "aria-describedby": described, "aria-invalid": error ? true : undefined })}
      {hint && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      {error && (
        <p class="field-error" id={`${id}-error`} role="alert" dir="auto">
          {error}
        </p>
      )}
    </div>
  );
}

export function TextField({
  label,
  hint,
  error,
  value,
  onValue,
  ...rest
}: {
  label: string;
  hint?: ComponentChildren;
  error?: string | undefined;
  value: string;
  onValue: (value: string) => void;
  required?: boolean;
  maxLength?: number;
  pattern?: string;
  autocomplete?: "off";
  spellcheck?: boolean;
  autofocus?: boolean;
  title?: string;
  class?: string;
}) {
  return (
    <Field label={label} hint={hint} error={error}>
      {(control) => (
        <input
          dir="auto"
          {...rest}
          {...control}
          value={value}
          onInput={(event) => onValue(event.currentTarget.value)}
        />
      )}
    </Field>
  );
}

export function PasswordField({
  label,
  hint,
  error,
  value,
  onValue,
  autoComplete,
  autofocus,
}: {
  label: string;
  hint?: ComponentChildren;
  error?: string | undefined;
  value: string;
  onValue: (value: string) => void;
  autoComplete: "current-password" | "new-password";
  autofocus?: boolean;
}) {
  const [shown, setShown] = useState(false);
  return (
    <Field label={label} hint={hint} error={error}>
      {(control) => (
        <div class="joined">
          <input
            {...control}
            type={(shown ? "text" : "password") as "password"}
            name={autoComplete}
            autocomplete={autoComplete}
            autofocus={autofocus}
            autocapitalize="off"
            spellcheck={false}
            required
            value={value}
            onInput={(event) => onValue(event.currentTarget.value)}
          />
          <button type="button" class="button plain" aria-pressed={shown} onClick={() => setShown(!shown)}>
            {shown ? t.entrance.hide : t.entrance.show}
          </button>
        </div>
      )}
    </Field>
  );
}

/** A choice among a few, as buttons side by side. */
export function Choice<T extends string | number>({
  label,
  value,
  options,
  onValue,
}: {
  label: string;
  value: T;
  options: readonly (readonly [T, string])[];
  onValue: (value: T) => void;
}) {
  const name = useId();
  return (
    <fieldset class="choice">
      <legend class="unseen">{label}</legend>
      {options.map(([option, text]) => (
        <label key={option}>
          <input type="radio" name={name} checked={option === value} onChange={() => onValue(option)} />
          <span>{text}</span>
        </label>
      ))}
    </fieldset>
  );
}
