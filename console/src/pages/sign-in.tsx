import { useState } from "preact/hooks";

import { Refused, signIn } from "../api";
import { t } from "../i18n";
import { useAction } from "../load";
import { Button, Problem, sentence } from "../parts/basics";
import { PasswordField } from "../parts/field";
import { Entrance } from "./entrance";

export function SignIn({ says, onDone }: { says: string | undefined; onDone: () => Promise<void> }) {
  const [password, setPassword] = useState("");
  const action = useAction();
  const refused = action.error instanceof Refused ? action.error : undefined;
  const isWrong = refused?.status === 401;
  return (
    <Entrance title={t.entrance.signInTo} lead={says}>
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          // A password that was wrong is one to type again.
          if (!(await action.run(() => signIn(password).then(onDone)))) setPassword("");
        }}
      >
        <PasswordField
          label={t.entrance.password}
          value={password}
          onValue={setPassword}
          autoComplete="current-password"
          autofocus
          error={refused ? (isWrong ? t.entrance.wrong : sentence(refused)) : undefined}
        />
        {!refused && <Problem error={action.error} />}
        <Button kind="primary" type="submit" busy={action.busy}>
          {t.entrance.signIn}
        </Button>
      </form>
    </Entrance>
  );
}
