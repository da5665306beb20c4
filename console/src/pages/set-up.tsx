/** The first password, set through the link that the server printed. */

import { useState } from "preact/hooks";

import { setUp } from "../api";
import { t } from "../i18n";
import { useAction } from "../load";
import { Button, Problem } from "../parts/basics";
import { PasswordField } from "../parts/field";
import { go } from "../route";
import { Entrance } from "./entrance";

export const LEAST_CHARACTERS = 10;

export function SetUp({ token, onDone }: { token: string; onDone: () => Promise<void> }) {
  const choice = useNewPassword();
  const action = useAction();
  return (
    <Entrance title={t.entrance.setUp} lead={t.entrance.setUpHow}>
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          if (!choice.check()) return;
          await action.run(async () => {
            await setUp(token, choice.password);
            // The link must not stay in the address bar: it has done its work.
            history.replaceState(null, "", "#/");
            go("#/live");
            await onDone();
          });
        }}
      >
        <NewPassword choice={choice} autofocus />
        <Problem error={action.error} />
        <Button kind="primary" type="submit" busy={action.busy}>
          {t.entrance.set}
        </Button>
      </form>
    </Entrance>
  );
}

export interface PasswordChoice {
  password: string;
  again: string;
  problem: "short" | "differ" | null;
  setPassword: (value: string) => void;
  setAgain: (value: string) => void;
  /** Whether it can be taken; says what is wrong if not. */
  check: () => boolean;
}

export function useNewPassword(): PasswordChoice {
  const [password, setPassword] = useState("");
  const [again, setAgain] = useState("");
  const [problem, setProblem] = useState<PasswordChoice["problem"]>(null);
  const check = () => {
    const found = [...password].length < LEAST_CHARACTERS ? "short" : password !== again ? "differ" : null;
    setProblem(found);
    return found === null;
  };
  const changed = (set: (value: string) => void) => (value: string) => {
    set(value);
    setProblem(null);
  };
  return { password, again, problem, setPassword: changed(setPassword), setAgain: changed(setAgain), check };
}

export function NewPassword({
  choice,
  label,
  autofocus,
}: {
  choice: PasswordChoice;
  label?: string;
  autofocus?: boolean;
}) {
  return (
    <>
      <PasswordField
        label={label ?? t.entrance.password}
        hint={choice.password ? <Strength password={choice.password} /> : t.entrance.least}
        value={choice.password}
        onValue={choice.setPassword}
        autoComplete="new-password"
        autofocus={autofocus ?? false}
        error={choice.problem === "short" ? t.entrance.short : undefined}
      />
      <PasswordField
        label={t.entrance.again}
        value={choice.again}
        onValue={choice.setAgain}
        autoComplete="new-password"
        error={choice.problem === "differ" ? t.entrance.differ : undefined}
      />
    </>
  );
}

/** Length and variety, roughly: a nudge, no gate. */
function Strength({ password }: { password: string }) {
  const variety = [/[a-z]/, /[A-Z]/, /\d/, /[^a-zA-Z\d]/].filter((kind) => kind.test(password)).length;
  const distinct = new Set(password).size;
  const score = [...password].length * Math.min(1, distinct / 8) + variety * 2;
  const grade = score < 16 ? "weak" : score < 24 ? "fair" : "strong";
  return (
    <span class="strength">
      <meter
        min={0}
        max={3}
        low={1.5}
        high={2.5}
        optimum={3}
        value={grade === "weak" ? 1 : grade === "fair" ? 2 : 3}
        aria-label={t.entrance.strength}
      />
      {t.entrance[grade]}
    </span>
  );
}
