import { useState } from "preact/hooks";

import { changePassword } from "../api";
import { t } from "../i18n";
import { useAction } from "../load";
import { Button, Problem } from "../parts/basics";
import { Dialog } from "../parts/dialog";
import { PasswordField } from "../parts/field";
import { notice } from "../parts/notice";
import { NewPassword, useNewPassword } from "./set-up";

export function PasswordDialog({ onClose }: { onClose: () => void }) {
  const [old, setOld] = useState("");
  const choice = useNewPassword();
  const action = useAction();
  return (
    <Dialog title={t.entrance.change} onClose={onClose}>
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          if (!choice.check()) return;
          if (await action.run(() => changePassword(old, choice.password))) {
            notice(t.entrance.changed);
            onClose();
          }
        }}
      >
        <PasswordField label={t.entrance.old} value={old} onValue={setOld} autoComplete="current-password" autofocus />
        <NewPassword choice={choice} label={t.entrance.fresh} />
        <Problem error={action.error} />
        <footer>
          <Button onClick={onClose}>{t.common.cancel}</Button>
          <Button kind="primary" type="submit" busy={action.busy}>
            {t.entrance.change}
          </Button>
        </footer>
      </form>
    </Dialog>
  );
}
