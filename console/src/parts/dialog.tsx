/** Dialogs: the browser's own, which keep the focus inside and give it back. */

import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";

import { t } from "../i18n";
import { useAction } from "../load";
import { Button, IconButton, Problem } from "./basics";

export function Dialog({
  title,
  children,
  onClose,
  wide = false,
}: {
  title: string;
  children: ComponentChildren;
  onClose: () => void;
  wide?: boolean;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useLayoutEffect(() => {
    const element = dialog.current!;
    element.showModal();
    // Closed before it goes, so that the focus returns to what opened it.
    return () => element.close();
  }, []);
  return (
    <dialog
      ref={dialog}
      class={wide ? "dialog wide" : "dialog"}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onMouseDown={(event) => {
        if (event.target === dialog.current) onClose();
      }}
    >
      <div class="dialog-body">
        <header>
          <h2 id={id} dir="auto">
            {title}
          </h2>
          <IconButton icon="close" label={t.common.close} onClick={onClose} />
        </header>
        {children}
      </div>
    </dialog>
  );
}

/** Asks before something is done, does it, and says so here when it went wrong. */
export function Confirm({
  title,
  how,
  act,
  danger = true,
  ready = true,
  children,
  onConfirm,
  onClose,
}: {
  title: string;
  how: string;
  act: string;
  danger?: boolean;
  /** Whether what was asked for has been given. */
  ready?: boolean;
  children?: ComponentChildren;
  onConfirm: () => Promise<unknown>;
  onClose: () => void;
}) {
  const action = useAction();
  return (
    <Dialog title={title} onClose={onClose}>
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          if (ready && (await action.run(onConfirm))) onClose();
        }}
      >
        <p dir="auto">{how}</p>
        {children}
        <Problem error={action.error} />
        <footer>
          <Button onClick={onClose} autofocus={!children}>
            {t.common.cancel}
          </Button>
          <Button kind={danger ? "danger" : "primary"} type="submit" busy={action.busy} disabled={!ready}>
            {act}
          </Button>
        </footer>
      </form>
    </Dialog>
  );
}
